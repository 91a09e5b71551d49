"""The audit trail: an entry for each effect and no other, and every kind of tampering shows."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.keys import audit_log, group_commit
from node.keys.audit import Head
from node.keys.records import Assignment, BlockRole, Piece, PoolExhaustedError, StoreLimits
from node.keys.store import KeyStore, open_store
from qnetem.runtime.errors import BadInputError

SECRET = bytes(range(1, 129))


def trail_of(path: Path) -> Path:
    return path.with_suffix(".audit.jsonl")


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in trail_of(path).read_bytes().splitlines()]


async def live(store: KeyStore) -> list[str]:
    """A block, a key to its master, one from the peer to its slave, one given up; return their ids."""
    await store.prepare("l/1.1.0", "l", "peer", SECRET, 1024, BlockRole.TRANSMITTER)
    await store.commit("l/1.1.0")
    await store.confirm("l/1.1.0")
    given, lost = await store.reserve("app-1", [], "peer", 2, 64)
    await store.deliver([given.key_id])
    await store.void([lost.key_id])
    taken = "00000000-0000-4000-8000-000000000001"
    await store.assign("peer", "app-2", ["app-1"], [Assignment(taken, (Piece("l/1.1.0", 512, 64),))])
    await store.collect("app-1", "app-2", [taken])
    await store.audit.record("key.refused", party="app-1", call="dec_keys", reason="KEYS_NOT_FOUND")
    return [given.key_id, lost.key_id, taken]


async def test_every_step_of_a_key_is_there_in_order_and_its_value_is_not(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    async with open_store(path, emulated_s=lambda: 12.5) as store:
        given, lost, taken = await live(store)
        verdict = await store.audit.verify()
        assert (verdict.fault, verdict.entry_count, verdict.head.seq) == ("", 8, 8)
        about = [json.loads(line) for line in await store.audit.lines_about(taken)]
    told = entries(path)
    assert [(one["event"], one.get("key_id", "")) for one in told] == [
        ("block.available", ""),
        ("key.reserved", given),
        ("key.reserved", lost),
        ("key.delivered", given),
        ("key.voided", lost),
        ("key.assigned", taken),
        ("key.delivered", taken),
        ("key.refused", ""),
    ]
    assert [one["seq"] for one in told] == list(range(1, 9))
    assert {one["emulated_s"] for one in told} == {12.5}
    assert [one["event"] for one in about] == ["key.assigned", "key.delivered"]
    assert about[1]["party"] == "app-1"
    assert len(about[1]["digest"]) == 32
    text = trail_of(path).read_bytes()
    for form in (SECRET[64:72], SECRET[64:72].hex().encode()):
        assert form not in text


async def test_what_failed_left_no_entry(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        with pytest.raises(PoolExhaustedError):
            await store.reserve("app-1", [], "peer", 1, 64)
        with pytest.raises(BadInputError, match="is not listed"):
            await store.audit.record("key.invented")
        with pytest.raises(BadInputError, match="seq is not free"):
            await store.audit.record("key.refused", seq=7)
        assert (await store.audit.verify()).head == Head()


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def rewritten(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(b"".join(change(lines(path)))) and None


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a word altered": (rewritten(lambda t: [one.replace(b"app-1", b"app-9", 1) for one in t]), "was altered"),
    "a line left out": (rewritten(lambda t: t[:3] + t[4:]), "entry 5 stands where 4 is due"),
    "two lines exchanged": (rewritten(lambda t: [t[1], t[0], *t[2:]]), "entry 2 stands where 1 is due"),
    "a line repeated": (rewritten(lambda t: [*t[:2], t[1], *t[2:]]), "entry 2 stands where 3 is due"),
    "renumbered": (rewritten(lambda t: [t[0], *(one.replace(b'"seq":3', b'"seq":2') for one in t[2:])]), "was altered"),
    "the first cut off": (rewritten(lambda t: t[1:]), "entry 2 stands where 1 is due"),
    "the last cut off": (rewritten(lambda t: t[:-1]), "cut short: ends with entry 7, the store knows 8"),
    "half a line": (lambda path: os.truncate(path, path.stat().st_size - 5), "line 8: is not an entry"),
    "emptied": (lambda path: path.write_bytes(b"") and None, "cut short: ends with entry 0"),
    "deleted": (lambda path: path.unlink(), "cannot be read"),
    "forged": (rewritten(lambda t: [*t[:-1], t[-1][:-20] + b"0" * 17 + b'"}\n']), "was altered"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_tampering_shows(tmp_path: Path, name: str) -> None:
    plant, fault = FAULTS[name]
    path = tmp_path / "keys.db"
    async with open_store(path) as store:
        await live(store)
        assert (await store.audit.verify()).fault == ""
        plant(trail_of(path))
        assert fault in (await store.audit.verify()).fault


async def test_a_trail_and_a_store_put_back_together_show_to_who_remembers(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    async with open_store(path) as store:
        await store.audit.record("key.refused", reason="A")
    saved = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    async with open_store(path) as store:
        await store.audit.record("key.refused", reason="B")
        known = (await store.audit.verify()).head
        assert (await store.audit.verify(known)).fault == ""
    for name, data in saved.items():
        (tmp_path / name).write_bytes(data)
    async with open_store(path) as store:
        assert (await store.audit.verify()).fault == ""
        assert "rolled back: the store knows entry 1, 2 was seen" in (await store.audit.verify(known)).fault
        await store.audit.record("key.refused", reason="C")
        assert "entry 2: is another one" in (await store.audit.verify(known)).fault


class Crash(BaseException):
    """The process is killed here."""


@pytest.mark.parametrize("point", ["before", "after"])
async def test_effect_and_entry_stand_or_fall_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """Killed around a commit, with the file not written yet: the outbox makes up for it at the next start."""

    def reach(name: str) -> None:
        if name == f"store.incarnation.{point}":
            raise Crash

    path = tmp_path / "keys.db"
    async with open_store(path) as store:
        await store.audit.record("key.refused", reason="A")
        monkeypatch.setattr(group_commit.crashpoint, "reach", reach)
        write = audit_log.AuditLog._write
        monkeypatch.setattr(audit_log.AuditLog, "_write", lambda self, text: write(self, text[:20]) and False)
        noted = asyncio.gather(store.audit.record("key.refused", reason="B"), store.next_incarnation())
        with pytest.raises(Crash):
            await noted
        monkeypatch.undo()
        # as a kill leaves it: nothing is folded at the end
        monkeypatch.setattr(audit_log.AuditLog, "fold", lambda self, db: None)
    monkeypatch.undo()
    async with open_store(path) as store:
        assert (await store.audit.verify()).fault == ""
        is_durable = point == "after"
        assert await store.next_incarnation() == 1 + is_durable
        assert [one["reason"] for one in entries(path)] == ["A", "B"][: 1 + is_durable]


async def test_a_full_disk_under_the_file_loses_no_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.db"
    plain = os.write

    def full(fd: int, data: memoryview) -> int:
        """Take a few bytes of a line, then none."""
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return plain(fd, data[: len(data) - 50])

    async with open_store(path) as store:
        await store.audit.record("key.refused", reason="A")
        monkeypatch.setattr(audit_log.os, "write", full)
        for reason in "BC":
            await store.audit.record("key.refused", reason=reason)
        assert "line 2: is not an entry" in (await store.audit.verify()).fault
        monkeypatch.undo()
        await store.audit.record("key.refused", reason="D")
        assert (await store.audit.verify()).fault == ""
    assert [one["reason"] for one in entries(path)] == list("ABCD")


async def test_the_outbox_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_log, "_OUTBOX_ENTRIES", 20)
    path = tmp_path / "keys.db"
    async with open_store(path, StoreLimits()) as store:
        for _ in range(50):
            await store.audit.record("key.refused", reason="A")
        waiting = await store._commit.run(
            None, lambda db: db.execute("SELECT count(*) FROM audit_outbox").fetchone()[0]
        )
        assert 0 < waiting <= 20
        assert (await store.audit.verify()).entry_count == 50
