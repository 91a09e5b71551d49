"""node.keys.schema: the tables of the key store, and opening them. Edge: SQLite."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from qnetem.runtime.errors import StorageError

__all__ = ["SCHEMA_VERSION", "broken", "open_database"]

SCHEMA_VERSION: Final = 1
_APPLICATION_ID: Final = 0x716E6B73  # "qnks"

# Secrets lie apart from the rows that change, so that a change of those does not write a secret anew. `own` and `peer`
# bounds are records.Halves; own_next_bits is the first bit of the own half not given; `used` holds, merged, the
# intervals of the peer's half that were given; live_bits counts the bits that still have a value; pools: records.Pool.
_TABLES: Final = """
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY,
    block_id TEXT NOT NULL UNIQUE,
    link_id TEXT NOT NULL,
    peer_node TEXT NOT NULL,
    role TEXT NOT NULL,
    bit_count INTEGER NOT NULL,
    state TEXT NOT NULL,
    is_confirmed INTEGER NOT NULL DEFAULT 0,
    own_next_bits INTEGER NOT NULL,
    own_end_bits INTEGER NOT NULL,
    peer_start_bits INTEGER NOT NULL,
    peer_end_bits INTEGER NOT NULL,
    peer_left_bits INTEGER NOT NULL,
    live_bits INTEGER NOT NULL
);
CREATE INDEX blocks_to_give ON blocks (peer_node, id)
    WHERE state = 'available' AND is_confirmed = 1 AND own_next_bits < own_end_bits;
CREATE INDEX blocks_in_doubt ON blocks (link_id, id)
    WHERE state = 'prepared' OR (state = 'available' AND is_confirmed = 0);
CREATE TABLE secrets (block INTEGER PRIMARY KEY REFERENCES blocks (id), secret BLOB NOT NULL);
CREATE TABLE used (
    block INTEGER NOT NULL, start_bits INTEGER NOT NULL, end_bits INTEGER NOT NULL, PRIMARY KEY (block, start_bits)
) WITHOUT ROWID;
CREATE TABLE keys (
    key_id TEXT PRIMARY KEY,
    peer_node TEXT NOT NULL,
    is_master INTEGER NOT NULL,
    master_sae_id TEXT NOT NULL,
    size_bits INTEGER NOT NULL,
    state TEXT NOT NULL,
    changed_s REAL NOT NULL,
    material BLOB
) WITHOUT ROWID;
CREATE INDEX keys_by_age ON keys (state, changed_s);
CREATE TABLE pieces (
    key_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    block INTEGER NOT NULL,
    offset_bits INTEGER NOT NULL,
    length_bits INTEGER NOT NULL,
    PRIMARY KEY (key_id, position)
) WITHOUT ROWID;
CREATE TABLE parties (
    key_id TEXT NOT NULL, sae_id TEXT NOT NULL, is_collected INTEGER NOT NULL, PRIMARY KEY (key_id, sae_id)
) WITHOUT ROWID;
CREATE TABLE pools (
    peer_node TEXT PRIMARY KEY,
    made_bits INTEGER NOT NULL DEFAULT 0,
    unconfirmed_bits INTEGER NOT NULL DEFAULT 0 CHECK (unconfirmed_bits >= 0),
    available_bits INTEGER NOT NULL DEFAULT 0 CHECK (available_bits >= 0),
    peer_available_bits INTEGER NOT NULL DEFAULT 0 CHECK (peer_available_bits >= 0),
    reserved_bits INTEGER NOT NULL DEFAULT 0 CHECK (reserved_bits >= 0),
    assigned_bits INTEGER NOT NULL DEFAULT 0 CHECK (assigned_bits >= 0),
    delivered_bits INTEGER NOT NULL DEFAULT 0,
    voided_bits INTEGER NOT NULL DEFAULT 0,
    expired_bits INTEGER NOT NULL DEFAULT 0,
    quarantined_bits INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


def broken(path: Path, error: Exception) -> StorageError:
    """Return the one line that says which store cannot be used and why."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StorageError(f"key store {path}: {why}")


def open_database(path: Path) -> sqlite3.Connection:
    """Open, and create when new, the database at `path`: WAL, durable commits, held by this process alone.

    The file is readable by its owner only, and so are those that SQLite puts beside it; a folder made here is 0700.

    Raises:
        StorageError: It cannot be opened or written, is damaged, of another schema, or in use; names the path.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o600)
        os.close(fd)
    except OSError as error:
        raise broken(path, error) from error
    db: sqlite3.Connection | None = None
    try:
        db = sqlite3.connect(path, timeout=1.0, isolation_level=None, cached_statements=256)
        # exclusive: a second process is refused, and the index of the WAL needs no shared file
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA secure_delete = ON")
        if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StorageError(f"key store {path}: the file system does not take a write-ahead log")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA temp_store = MEMORY")
        _check_schema(db, path)
    except BaseException as error:
        if db is not None:
            db.close()
        if isinstance(error, sqlite3.Error):
            raise broken(path, error) from error
        raise
    return db


def _check_schema(db: sqlite3.Connection, path: Path) -> None:
    db.execute("BEGIN IMMEDIATE")
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    elif application != _APPLICATION_ID:
        raise StorageError(f"key store {path}: is a database of something else")
    elif version != SCHEMA_VERSION:
        raise StorageError(f"key store {path}: schema version {version}, this program reads {SCHEMA_VERSION}")
    db.execute("COMMIT")
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise StorageError(f"key store {path}: damaged: {verdict.splitlines()[0]}")
