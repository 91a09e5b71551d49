"""The audit trail over files: one chain, cut anywhere by kills and full disks; what is removed leaves an anchor."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.keys.audit import Head
from node.keys.audit_config import audit_limits_of
from node.keys.audit_files import AuditLimits
from node.keys.store import KeyStore, open_store
from qnetem.runtime.errors import BadInputError
from qnetem.v1.process_pb2 import AuditConfig

KEY_ID = "00000000-0000-4000-8000-000000000001"
# some four entries a file
SMALL = AuditLimits(segment_bytes=1000)
KEEP_LITTLE = AuditLimits(segment_bytes=1000, keep_bytes=2500)


def trail(folder: Path) -> list[Path]:
    """Return the files, the growing one last."""
    return [*sorted(folder.glob("keys.audit.*.jsonl")), folder / "keys.audit.jsonl"]


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in trail(folder) for line in path.read_bytes().splitlines()]


async def noted(store: KeyStore, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await store.audit.record("key.refused", key_id=KEY_ID, number=number)


async def test_the_chain_goes_on_over_files_and_restarts(tmp_path: Path) -> None:
    for life in range(3):
        async with open_store(tmp_path / "keys.db", audit_limits=SMALL) as store:
            await noted(store, 10, 10 * life)
            verdict = await store.audit.verify()
            assert (verdict.fault, verdict.entry_count, verdict.first_seq) == ("", 10 * life + 10, 1)
    files = trail(tmp_path)
    assert 6 <= len(files) <= 10
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    for path in files[:-1]:
        first = json.loads(path.read_bytes().splitlines()[0])
        assert path.name == f"keys.audit.{first['seq']:012}.jsonl"
        assert 1000 <= path.stat().st_size < 1300
    assert [one["number"] for one in entries(tmp_path)] == list(range(30))
    async with open_store(tmp_path / "keys.db", audit_limits=SMALL) as store:
        assert len(await store.audit.lines_about(KEY_ID)) == 30


async def test_a_file_is_closed_when_it_is_old(tmp_path: Path) -> None:
    now = [1000.0]
    limits = AuditLimits(segment_s=100.0)
    async with open_store(tmp_path / "keys.db", now_s=lambda: now[0], audit_limits=limits) as store:
        for number in range(8):
            await noted(store, 1, number)
            now[0] += 40
        assert (await store.audit.verify()).fault == ""
    walls = [[json.loads(line)["wall_s"] for line in path.read_bytes().splitlines()] for path in trail(tmp_path)]
    assert len(walls) >= 3
    assert all(times[-1] - times[0] <= 120 for times in walls if times)
    assert [one["number"] for one in entries(tmp_path)] == list(range(8))


def without(number: int) -> Callable[[Path], None]:
    return lambda folder: trail(folder)[number].unlink()


def last_line_off(folder: Path) -> None:
    path = trail(folder)[1]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def exchanged(folder: Path) -> None:
    first, second, *_ = trail(folder)
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def doubled(folder: Path) -> None:
    (folder / "keys.audit.000000000002.jsonl").write_bytes(trail(folder)[0].read_bytes())


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "the first file": (without(0), "stands where 1 is due"),
    "a file between": (without(1), "stands where"),
    "the growing file": (without(-1), "cannot be read: No such file"),
    "the end of a closed file": (last_line_off, "stands where"),
    "files exchanged": (exchanged, "stands where 1 is due"),
    "a file doubled": (
        doubled,
        "entry 1 stands where",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_tampering_with_files_shows(tmp_path: Path, name: str) -> None:
    plant, fault = FAULTS[name]
    async with open_store(tmp_path / "keys.db", audit_limits=SMALL) as store:
        await noted(store, 18)
        assert (await store.audit.verify()).fault == ""
        plant(tmp_path)
        assert fault in (await store.audit.verify()).fault


async def test_what_is_removed_as_old_leaves_an_anchor_and_the_rest_is_proved(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    async with open_store(path, audit_limits=KEEP_LITTLE) as store:
        await noted(store, 3)
        early = (await store.audit.verify()).head
        await noted(store, 40, 3)
        verdict = await store.audit.verify()
        assert verdict.fault == ""
        assert verdict.first_seq > 20
        assert verdict.entry_count == verdict.head.seq - verdict.first_seq + 1
        assert sum(one.stat().st_size for one in trail(tmp_path)) < 2500 + 2 * 1300
        # who remembers an entry that was removed has nothing to say, but of the last of those
        assert (await store.audit.verify(early)).fault == ""
        told = [one for one in entries(tmp_path) if one["event"] == "audit.cut"]
        assert told[-1]["last_seq"] == verdict.first_seq - 1
        anchor = Head(told[-1]["last_seq"], bytes.fromhex(told[-1]["last_mac"]))
        assert (await store.audit.verify(anchor)).fault == ""
        assert "is another one" in (await store.audit.verify(Head(anchor.seq, bytes(32)))).fault
    async with open_store(path, audit_limits=KEEP_LITTLE) as store:
        assert (await store.audit.verify()).fault == ""
        trail(tmp_path)[0].unlink()  # as if it were old too
        assert f"stands where {verdict.first_seq} is due" in (await store.audit.verify()).fault


async def test_an_anchor_is_moved_by_nobody_else(tmp_path: Path) -> None:
    """Somebody who can write the store, and not open its seals, removes more, and says so in it."""
    async with open_store(tmp_path / "keys.db", audit_limits=SMALL) as store:
        await noted(store, 18)
        first = trail(tmp_path)[0]
        last = json.loads(first.read_bytes().splitlines()[-1])
        first.unlink()
        row = (last["seq"], bytes.fromhex(last["mac"]), bytes(32))
        await store.run(None, lambda db: db.execute("INSERT INTO audit_anchor VALUES (1, ?, ?, ?)", row))
        assert (await store.audit.verify()).fault == "the anchor of the trail was altered"


async def test_what_is_old_goes_by_age_too(tmp_path: Path) -> None:
    now = [1000.0]
    limits = AuditLimits(segment_s=10.0, keep_s=35.0)
    async with open_store(tmp_path / "keys.db", now_s=lambda: now[0], audit_limits=limits) as store:
        for _ in range(12):
            await noted(store, 1)
            now[0] += 10
        assert (await store.audit.verify()).fault == ""
    # the last cut was at 1100 or later, at 1120 at the latest, and a file spans 20 s at most
    assert 1100 - 35 - 20 <= entries(tmp_path)[0]["wall_s"] <= 1120 - 30


@pytest.mark.parametrize("end", [b"", b'{"seq":1,"mac":"' + b"0" * 64 + b'"}\n'])
async def test_a_file_with_another_end_than_was_written_is_not_removed(tmp_path: Path, end: bytes) -> None:
    """Nothing can be told to begin behind it: it stays, and all that follows."""
    async with open_store(tmp_path / "keys.db", audit_limits=KEEP_LITTLE) as store:
        await noted(store, 8)
        path = trail(tmp_path)[0]
        assert path.name == "keys.audit.000000000001.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]) + end)
        await noted(store, 40)
        assert trail(tmp_path)[0] == path
        assert (await store.audit.verify()).fault
    assert len(entries(tmp_path)) == 48 - (not end)


@pytest.mark.parametrize("first", [b"not an entry\n", b'{"seq":0,"event":"key.refused"}\n'])
async def test_a_growing_file_that_begins_with_something_else_is_kept_as_it_is(tmp_path: Path, first: bytes) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        await noted(store, 2)
    path = trail(tmp_path)[-1]
    path.write_bytes(first + b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    for life in (1, 2):
        async with open_store(tmp_path / "keys.db", audit_limits=SMALL) as store:
            await noted(store, 10)
            assert (await store.audit.verify()).fault.startswith("line 1: ")
        assert trail(tmp_path) == [path]
        assert path.read_bytes().startswith(first)
        assert len(path.read_bytes().splitlines()) == 2 + 10 * life


async def test_a_disk_that_is_full_when_a_file_is_due_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = os.open

    def full(path: Any, *arguments: Any) -> int:
        if str(path).endswith(".next"):
            raise OSError(28, "No space left on device")
        return plain(path, *arguments)

    async with open_store(tmp_path / "keys.db", audit_limits=SMALL) as store:
        monkeypatch.setattr("node.keys.audit_files.os.open", full)
        await noted(store, 10)
        assert len(trail(tmp_path)) == 1
        monkeypatch.undo()
        await noted(store, 10, 10)
        assert len(trail(tmp_path)) > 1
        assert (await store.audit.verify()).fault == ""
    assert [one["number"] for one in entries(tmp_path)] == list(range(20))


WORKER = """
import asyncio, sys
from pathlib import Path
from node.keys.audit_files import AuditLimits
from node.keys.store import open_store
from qnetem.runtime import crashpoint

async def run(folder):
    async with open_store(folder / "keys.db", audit_limits=AuditLimits(segment_bytes=1000, keep_bytes=2500)) as store:
        crashpoint.arm(folder)
        for number in range(60):
            await store.audit.record("key.refused", number=number)
            print(number, flush=True)

asyncio.run(run(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("point", ["trail.closed:3", "trail.cut.before:2", "trail.cut.after:2"])
async def test_killed_in_the_middle_of_a_cut(tmp_path: Path, point: str) -> None:
    (tmp_path / "crash-at").write_text(point)
    arguments = [sys.executable, "-c", WORKER, str(tmp_path)]
    done = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    acknowledged = len(done.stdout.split())
    assert acknowledged > 10
    async with open_store(tmp_path / "keys.db", audit_limits=KEEP_LITTLE) as store:
        verdict = await store.audit.verify()
        assert verdict.fault == ""
        told = entries(tmp_path)
        assert [one["seq"] for one in told] == list(range(verdict.first_seq, verdict.head.seq + 1))
        numbers = [one["number"] for one in told if "number" in one]
        assert numbers[-1] >= acknowledged - 1
        await noted(store, 30, 100)
        assert (await store.audit.verify()).fault == ""
        assert verdict.first_seq < (await store.audit.verify()).first_seq
    assert not list(tmp_path.glob("*.next"))


def test_a_configuration_fills_in_and_refuses() -> None:
    assert audit_limits_of(AuditConfig()) == AuditLimits()
    given = AuditConfig(segment_bytes=10, segment_s=20, keep_bytes=30, keep_s=40)
    assert audit_limits_of(given) == AuditLimits(10, 20, 30, 40)
    with pytest.raises(BadInputError, match="not at least 0"):
        audit_limits_of(AuditConfig(keep_s=-1))
