"""Private archives, and the ends of long files."""

import json
import stat
import tarfile
from pathlib import Path

import pytest

from qnetem.runtime.errors import AlreadyExistsError, StorageError
from qnetem.testbed.archive import end_of, write_archive


def test_a_file_that_fits_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    assert end_of(path, 8) == (b"one\ntwo\n", 0)


@pytest.mark.parametrize(("limit_bytes", "kept"), [(7, b"two\n"), (5, b"two\n"), (4, b""), (1, b"")])
def test_a_longer_one_loses_whole_lines_at_its_head_and_says_so(tmp_path: Path, limit_bytes: int, kept: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    data, cut_bytes = end_of(path, limit_bytes)
    first, _, rest = data.partition(b"\n")
    assert json.loads(first) == {"event": "collect.cut", "cut_bytes": cut_bytes}
    assert (rest, cut_bytes) == (kept, 8 - len(kept))


def test_an_archive_is_private_ordered_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    size_bytes = write_archive(path, "qnetem-lab", {"b/c": b"second", "a": b"first"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert size_bytes == path.stat().st_size
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["qnetem-lab/a", "qnetem-lab/b/c"]
        assert {(one.mode, one.uid, one.uname) for one in archive} == {(0o600, 0, "")}
        member = archive.extractfile("qnetem-lab/b/c")
        assert member is not None
        assert member.read() == b"second"
    with pytest.raises(AlreadyExistsError, match="is there already"):
        write_archive(path, "qnetem-lab", {})
    assert path.stat().st_size == size_bytes


def test_an_archive_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file or directory"):
        write_archive(tmp_path / "no" / "a.tar.gz", "x", {})
    with pytest.raises(TypeError):
        write_archive(tmp_path / "a.tar.gz", "x", {"a": "text"})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []
