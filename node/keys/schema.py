"""node.keys.schema: the tables of the key store, and opening them. Edge: SQLite."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from node.keys.audit import FIRST_MAC
from node.keys.connection import StoreConnection, adopt, unlock
from node.keys.etsi004_schema import STREAM_TABLES
from node.keys.hybrid_schema import HYBRID_TABLES
from node.keys.migrations import OLDEST, SCHEMA_VERSION, migrate
from node.keys.relay_schema import RELAY_TABLES
from qnetem.runtime.errors import StorageError
from qnetem.runtime.log import get_logger

__all__ = ["broken", "open_database"]

_log = get_logger("node.keys.store")
_APPLICATION_ID: Final = 0x716E6B73  # "qnks"

# Secrets lie apart from the rows that change, sealed in chunks (node.keys.material), so that spending a key writes one
# chunk anew. `own` and `peer` bounds are records.Halves; own_next_bits is the first bit of the own half not given;
# `used` holds, merged, the intervals of the peer's half that were given; live_bits counts the bits that still have a
# value; ended_s: since when (wall) none has. pools: records.Pool. Of keys, changed_s is wall, expires_s emulated time.
# audit_anchor: node.keys.audit_log; buckets: node.keys.rates. What changes here needs a step in node.keys.migrations.
_TABLES: Final = """
CREATE TABLE vault (
    id INTEGER PRIMARY KEY CHECK (id = 1), store_id BLOB NOT NULL, data_key BLOB NOT NULL, audit_secret BLOB NOT NULL
);
CREATE TABLE audit_head (
    id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, mac BLOB NOT NULL
);
CREATE TABLE audit_outbox (last_seq INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, lines BLOB NOT NULL);
CREATE TABLE audit_anchor (
    id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, mac BLOB NOT NULL, seal BLOB NOT NULL
);
CREATE TABLE buckets (name TEXT PRIMARY KEY, level_bits REAL NOT NULL, at_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
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
    live_bits INTEGER NOT NULL,
    is_preshared INTEGER NOT NULL DEFAULT 0,
    ended_s REAL
);
CREATE INDEX blocks_to_give ON blocks (peer_node, id)
    WHERE state = 'available' AND is_confirmed = 1 AND own_next_bits < own_end_bits AND is_preshared = 0;
CREATE INDEX blocks_over ON blocks (id) WHERE live_bits = 0 AND ended_s IS NULL;
CREATE INDEX blocks_ended ON blocks (ended_s) WHERE ended_s IS NOT NULL;
CREATE INDEX blocks_in_doubt ON blocks (link_id, id)
    WHERE state = 'prepared' OR (state = 'available' AND is_confirmed = 0);
CREATE TABLE secrets (id INTEGER PRIMARY KEY, live_bytes INTEGER NOT NULL, sealed BLOB NOT NULL);
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
    expires_s REAL,
    sealed BLOB,
    is_insecure INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX keys_by_age ON keys (state, changed_s);
CREATE INDEX keys_to_expire ON keys (expires_s) WHERE state = 'assigned' AND expires_s IS NOT NULL;
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
    kept_bits INTEGER NOT NULL DEFAULT 0 CHECK (kept_bits >= 0),
    reserved_bits INTEGER NOT NULL DEFAULT 0 CHECK (reserved_bits >= 0),
    assigned_bits INTEGER NOT NULL DEFAULT 0 CHECK (assigned_bits >= 0),
    delivered_bits INTEGER NOT NULL DEFAULT 0,
    voided_bits INTEGER NOT NULL DEFAULT 0,
    expired_bits INTEGER NOT NULL DEFAULT 0,
    quarantined_bits INTEGER NOT NULL DEFAULT 0,
    tags_bits INTEGER NOT NULL DEFAULT 0,
    relayed_bits INTEGER NOT NULL DEFAULT 0,
    keep_bits INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


def broken(path: Path, error: Exception) -> StorageError:
    """Return the one line that says which store cannot be used and why."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return StorageError(f"key store {path}: {why}")


def open_database(path: Path, key_path: Path | None = None) -> StoreConnection:
    """Open, and create when new, the database at `path`: WAL, durable commits, held by this process alone.

    One that an older qnetem wrote gets the tables of this one (node.keys.migrations).

    The file is readable by its owner only, and so are those that SQLite puts beside it; a folder made here is 0700.

    Args:
        path: The database.
        key_path: The file of its storage key; None: one beside the database, made when that is new.

    Raises:
        WrongStorageKeyError: It is sealed under another storage key.
        StorageError: It cannot be opened or written, is damaged, of a schema not read here, or in use; names the path.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o600)
        os.close(fd)
    except OSError as error:
        raise broken(path, error) from error
    db: StoreConnection | None = None
    try:
        db = sqlite3.connect(path, timeout=1.0, isolation_level=None, cached_statements=256, factory=StoreConnection)
        # exclusive: a second process is refused, and the index of the WAL needs no shared file
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA secure_delete = ON")
        if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise StorageError(f"key store {path}: the file system does not take a write-ahead log")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA temp_store = MEMORY")
        version = _check_schema(db, path, key_path)
        unlock(db, path, key_path)
        if version < SCHEMA_VERSION:
            migrate(db, version)
            _log.info("keys.store.migrated", path=str(path), from_version=version, to_version=SCHEMA_VERSION)
    except BaseException as error:
        if db is not None:
            db.close()
        if isinstance(error, sqlite3.Error):
            raise broken(path, error) from error
        raise
    return db


def _check_schema(db: StoreConnection, path: Path, key_path: Path | None) -> int:
    """Make the tables of a new store, check those of another; return the version of what is there."""
    db.execute("BEGIN IMMEDIATE")
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
        for statement in (_TABLES + RELAY_TABLES + HYBRID_TABLES + STREAM_TABLES).split(";"):
            db.execute(statement)
        adopt(db, path, key_path)
        db.execute("INSERT INTO audit_head VALUES (1, 0, ?)", (FIRST_MAC,))
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        version = SCHEMA_VERSION
        db.execute(f"PRAGMA user_version = {version}")
    elif application != _APPLICATION_ID:
        raise StorageError(f"key store {path}: is a database of something else")
    elif version > SCHEMA_VERSION:
        raise StorageError(f"key store {path}: schema version {version} is newer than this program's, {SCHEMA_VERSION}")
    elif version < OLDEST:
        raise StorageError(f"key store {path}: schema version {version} is older than {OLDEST}, the first that is read")
    db.execute("COMMIT")
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise StorageError(f"key store {path}: damaged: {verdict.splitlines()[0]}")
    return int(version)
