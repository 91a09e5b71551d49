"""Stores of older programs: opened, with all that is in them; those of newer ones are refused by their version."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from node.keys import ledger, material, pools
from node.keys.audit import FIRST_MAC
from node.keys.connection import StoreConnection, adopt, unlock
from node.keys.migrations import OLDEST, SCHEMA_VERSION
from node.keys.records import KeysNotFoundError
from node.keys.schema import open_database
from node.keys.store import open_store
from qnetem.runtime.errors import StorageError

TABLES = {2: Path(__file__).parents[2] / "support" / "key-store-2.sql"}
KEY, STUDY = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
SECRET = bytes(range(1, 129))


def made(path: Path, version: int) -> None:
    """Make a store as a program of that version left it: two blocks, and a key of each for app-1, not collected."""
    text = "".join(line for line in TABLES[version].read_text().splitlines(True) if not line.startswith("--"))
    with closing(sqlite3.connect(path, isolation_level=None, factory=StoreConnection)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        for statement in text.split(";"):
            db.execute(statement)
        adopt(db, path, None)
        unlock(db, path, None)
        db.execute("INSERT INTO audit_head VALUES (1, 0, ?)", (FIRST_MAC,))
        db.execute("PRAGMA application_id = 0x716E6B73")
        db.execute(f"PRAGMA user_version = {version}")
        for row, (block_id, key_id) in enumerate((("l/1.1.0", KEY), ("s/1.1.0.insecure", STUDY)), start=1):
            db.execute(
                "INSERT INTO blocks VALUES (?, ?, 'l', 'peer', 'receiver', 1024, 'available', 1, 512, 1024, 0, 512,"
                " 448, 960, 0, NULL)",
                (row, block_id),
            )
            material.write(db, row, SECRET, ((0, 512), (512, 1024)))
            db.execute("INSERT INTO used VALUES (?, 0, 64)", (row,))
            values = (key_id, "peer", 0, "app-2", 64, "assigned", 1000.0, 1e12, None)
            db.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            db.execute("INSERT INTO pieces VALUES (?, 0, ?, 0, 64)", (key_id, row))
            db.execute("INSERT INTO parties VALUES (?, 'app-1', 0)", (key_id,))
        pools.make(db, "peer", "available", 1024, 1024)
        pools.move(db, "peer", "peer_available", "assigned", 128)
        db.execute("INSERT INTO counters VALUES ('incarnation', 4)")


def shape(path: Path) -> dict[str, Any]:
    """Return what a store's tables and indices are, whatever way they became so."""
    with closing(sqlite3.connect(path)) as db:
        names = db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name").fetchall()
        columns = {name: db.execute(f"PRAGMA table_xinfo({name})").fetchall() for kind, name, _ in names}
        indices = {name: " ".join(sql.split()) for kind, name, sql in names if kind == "index" and sql}
        checks = {name: (sql or "").count("CHECK") for kind, name, sql in names}
    return {"columns": columns, "indices": indices, "checks": checks}


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


@pytest.fixture(params=TABLES)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store of each older version."""
    path = tmp_path / "keys.db"
    made(path, request.param)
    return path


async def test_an_older_store_has_the_tables_of_a_new_one_afterwards(old: Path, tmp_path: Path) -> None:
    """Fails when a table was changed without a step in node.keys.migrations."""
    new = tmp_path / "new.db"
    for path in (old, new):
        async with open_store(path):
            pass
    assert shape(old) == shape(new)


async def test_an_older_store_keeps_all_that_is_in_it(old: Path) -> None:
    async with open_store(old) as store:
        assert await store.next_incarnation() == 5
        study, plain = [(await store.collect("app-1", "app-2", [key_id]))[0] for key_id in (STUDY, KEY)]
        assert plain.key.reveal() == study.key.reveal() == SECRET[:8]
        # what was not told of keys then is made out
        assert (plain.is_insecure, study.is_insecure) == (False, True)
        with pytest.raises(KeysNotFoundError):
            await store.collect("app-1", "app-2", [KEY])
        assert [key.size_bits for key in await store.reserve("app-1", [], "peer", 1, 512)] == [512]
        assert (await store.audit.verify()).fault == ""
    async with open_store(old) as store:
        assert await store.next_incarnation() == 6


def test_a_store_under_another_key_is_left_as_it_was(old: Path) -> None:
    old.with_name("keys.db.key").write_text("00" * 32 + "\n")
    with pytest.raises(StorageError, match="is not sealed under"):
        open_database(old)
    assert version_of(old) < SCHEMA_VERSION


CRASH = """
import sys
from pathlib import Path
from node.keys.schema import open_database
from qnetem.runtime import crashpoint
crashpoint.arm(Path(sys.argv[1]))
open_database(Path(sys.argv[1]) / "keys.db")
"""


@pytest.mark.parametrize("point", ["before", "after"])
def test_killed_in_a_migration_a_store_is_the_old_one_or_the_new_one(old: Path, point: str) -> None:
    version = version_of(old)
    (old.parent / "crash-at").write_text(f"schema.migrate.{point}")
    done = subprocess.run([sys.executable, "-c", CRASH, old.parent], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert version_of(old) == (version if point == "before" else SCHEMA_VERSION)
    with closing(open_database(old)) as db:
        assert ledger.find(db, KEY) is not None
    assert version_of(old) == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("version", "why"),
    [
        (SCHEMA_VERSION + 1, f"schema version {SCHEMA_VERSION + 1} is newer than this program's, {SCHEMA_VERSION}"),
        (OLDEST - 1, f"schema version {OLDEST - 1} is older than {OLDEST}, the first that is read"),
    ],
)
def test_a_store_that_is_not_read_is_refused_in_one_line_with_its_version(
    tmp_path: Path, version: int, why: str
) -> None:
    path = tmp_path / "keys.db"
    made(path, 2)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(StorageError) as refused:
        open_database(path)
    assert str(refused.value) == f"key store {path}: {why}"
    assert path.read_bytes() == before
