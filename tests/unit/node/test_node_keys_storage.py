"""A store that cannot be opened or written: one line that names it, and nothing that was acknowledged is lost."""

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from node.keys import group_commit
from node.keys.records import BlockRole
from node.keys.store import KeyStore, open_store
from qnetem.runtime.errors import StorageError

SECRET = bytes(range(1, 129))


async def opening_fails(path: Path) -> str:
    with pytest.raises(StorageError) as caught:
        async with open_store(path):
            pass
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


async def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "File exists" in await opening_fails(tmp_path / "file" / "keys.db")
    (tmp_path / "keys.db").mkdir()
    assert "Is a directory" in await opening_fails(tmp_path / "keys.db")


async def test_what_is_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    path.write_bytes(b"not a database" * 1000)
    assert "file is not a database" in await opening_fails(path)
    assert path.read_bytes() == b"not a database" * 1000


async def test_another_database_and_another_schema(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    assert "something else" in await opening_fails(other)

    newer = tmp_path / "newer.db"
    async with open_store(newer):
        pass
    with sqlite3.connect(newer) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    assert "schema version 7 is newer than this program's" in await opening_fails(newer)


async def test_a_damaged_database(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    async with open_store(path) as store:
        for index in range(20):
            await store.prepare(f"b{index}", "l", "peer", SECRET, 1024, BlockRole.RECEIVER)
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    path.write_bytes(data)
    await opening_fails(path)


async def test_one_process_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    probe = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('SELECT * FROM keys')"
    async with open_store(path):
        held = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", probe, str(path)], capture_output=True, text=True, check=False
        )
        assert "database is locked" in held.stderr


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.db")
    with pytest.raises(StorageError, match="is closed"):
        await store.pools()
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(StorageError, match="is closed"):
        await store.pools()


async def test_a_collapsed_store_says_so_to_who_waits_and_who_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        monkeypatch.setattr(group_commit.GroupCommit, "_attempt", lambda self, db, job: job.nonsense)
        monkeypatch.setattr(group_commit.AuditLog, "discard", lambda self, db: 1 / 0)
        for outcome in await asyncio.gather(store.pools(), store.pools(), return_exceptions=True):
            assert isinstance(outcome, (AttributeError, StorageError))
        with pytest.raises(StorageError, match="has collapsed"):
            await store.pools()


FULL = """
import asyncio, json, resource, signal, sys
from pathlib import Path
from node.keys.records import BlockRole
from node.keys.store import open_store
from qnetem.runtime.errors import StorageError

async def main():
    acknowledged, refused = [], []
    async with open_store(Path(sys.argv[1])) as store:
        secret = bytes(range(1, 129)) * 64
        await store.prepare("b", "l", "peer", secret, 8 * len(secret), BlockRole.RECEIVER)
        await store.commit("b")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        log = Path(sys.argv[1] + "-wal")
        size = log.stat().st_size if log.exists() else 0
        limit = max(size, Path(sys.argv[1]).stat().st_size) + 150_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        async def one():
            try:
                [key] = await store.reserve("m", [], "peer", 1, 64)
                acknowledged.extend(k.key_id for k in await store.deliver([key.key_id]))
            except StorageError as error:
                refused.append(str(error))
        for _ in range(60):
            await asyncio.gather(one(), one())
        full_count = len(refused)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await one()
        recovered = len(refused) == full_count
    print(json.dumps({"acknowledged": acknowledged, "refused": refused, "recovered": recovered}))

asyncio.run(main())
"""


async def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "s" / "keys.db"
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", FULL, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert len(result["acknowledged"]) > 1
    assert len(result["refused"]) > 1
    assert all(str(path) in line and "\n" not in line for line in result["refused"])
    assert result["recovered"]
    async with open_store(path) as store:
        pool = await store.pool("peer")
    with sqlite3.connect(path) as db:
        consumed = {row[0] for row in db.execute("SELECT key_id FROM keys WHERE state = 'consumed'")}
    db.close()
    assert set(result["acknowledged"]) <= consumed
    assert pool.delivered_bits == 64 * len(consumed)
    assert pool.made_bits == 65536 == pool.held_bits + pool.delivered_bits + pool.voided_bits


async def test_the_log_is_folded_between_commits_that_leave_no_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.keys.group_commit._CHECKPOINT_S", 0.0)
    path = tmp_path / "keys.sqlite"
    async with open_store(path) as store:
        for _ in range(300):
            await store.next_incarnation()
        log = path.with_name("keys.sqlite-wal")
        # it is begun anew again and again: 300 commits write several hundred pages of 4 KiB
        assert 0 < log.stat().st_size < 100 * 4096
