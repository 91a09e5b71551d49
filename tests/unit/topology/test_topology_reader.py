"""Files on disk: what cannot be read says why, and the one topology of a folder is found."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from qnetem.runtime.errors import BadInputError, error_class
from qnetem.topology import TopologyError, find_default, load, parse, template


def refusal(path: Path) -> str:
    """Return the text with which a file is refused."""
    with pytest.raises(TopologyError) as refused:
        load(path)
    return str(refused.value)


def test_a_file_gives_its_topology_and_its_place(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(template("lab"), encoding="utf-8")
    topology = load(file)
    assert topology.path == file
    assert topology == parse(template("lab"))


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(template("lab"), encoding="utf-8-sig")
    assert load(file).name == "lab"


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"", ":1:1: the file is empty"),
        (b"\x7fELF\x02\x01\x01\x00\x00", ":1:1: character '\\x7f' cannot stand in YAML"),
        (b"\x89PNG\r\n", ": not a text file: byte 0 is not UTF-8"),
        ("name: lab".encode("utf-16"), ": not a text file: byte 0 is not UTF-8"),
        (b"a: " + b"x" * 2**20, ": longer than 1048576 bytes"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, answer: str) -> None:
    file = tmp_path / "net.yaml"
    file.write_bytes(content)
    assert refusal(file) == f"{file}{answer}"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert refusal(tmp_path / "none.yaml") == f"{tmp_path / 'none.yaml'}: no such file"
    assert refusal(tmp_path) == f"{tmp_path}: is a folder, not a topology file"
    assert refusal(pipe) == f"{pipe}: is not a regular file"
    assert refusal(tmp_path / ("x" * 300)).endswith(": cannot be read: File name too long")
    assert "cannot be read" in refusal(tmp_path / "a\0b")


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a\nb") == f"{tmp_path}/a\\nb: no such file"


def test_the_error_is_bad_input() -> None:
    with pytest.raises(BadInputError) as refused:
        parse("")
    assert (refused.value.reason, refused.value.is_definite) == ("BAD_TOPOLOGY", True)


def test_the_error_keeps_its_text_over_the_wire_and_between_processes() -> None:
    with pytest.raises(TopologyError) as refused:
        parse("", "net.yaml")
    cls = error_class(refused.value.status, refused.value.reason)
    assert cls is TopologyError
    assert str(cls(str(refused.value))) == str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)  # noqa: S301


def test_the_one_topology_of_a_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "experiment.yaml").write_text("apiVersion: qnetem/v1\nsteady: {}\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "notes.txt").write_text(template("lab"))
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "net.yml").write_text(template("lab"))
    assert find_default(tmp_path) == tmp_path / "net.yml"


def test_a_topology_with_mistakes_is_found_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text("apiVersion: qnetem/v1\ntopology: {nodes: [\n")
    assert find_default(tmp_path) == tmp_path / "net.yaml"


def test_a_folder_without_or_with_several_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TopologyError) as none:
        find_default(tmp_path)
    assert str(none.value) == f"{tmp_path}: no topology here (`qnetem init` makes one, -t FILE names one)"
    for name in ("b.yaml", "a.yml"):
        (tmp_path / name).write_text(template("lab"))
    with pytest.raises(TopologyError) as several:
        find_default(tmp_path)
    assert str(several.value) == f"{tmp_path}: several topologies here: a.yml, b.yaml (name one with -t FILE)"
    with pytest.raises(TopologyError, match="cannot be read: No such file or directory"):
        find_default(tmp_path / "none")


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = "'yaml', 'pydantic', 'google.protobuf', 'numpy', 'difflib', 'networkx'"
    code = "import sys, qnetem.topology.model, qnetem.topology as t; t.load; t.parse; t.find_default; t.TopologyError\n"
    code += f"print([name for name in ({heavy}) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_of_the_package_is_there() -> None:
    import qnetem.topology

    for name in qnetem.topology.__all__:
        assert callable(getattr(qnetem.topology, name))
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = qnetem.topology.lod
