"""node.keys.migrations: how an older key store becomes this program's: numbered steps, one transaction. Edge: SQLite.

WHOEVER CHANGES A TABLE adds a step here, numbered one above the last, that does the same to a store that is there; the
step is never changed after a release. A test makes a store of each older schema, opens it, and compares its tables with
those of a new one, column by column.
"""

import sqlite3
from collections.abc import Mapping
from typing import Final

from qnetem.runtime import crashpoint

__all__ = ["OLDEST", "SCHEMA_VERSION", "migrate"]

_BEFORE: Final = crashpoint.declare("schema.migrate.before", "an older store has this program's tables: not durable")
_AFTER: Final = crashpoint.declare("schema.migrate.after", "an older store has this program's tables: durable")

# To the version: what makes it of the one before.
_STEPS: Final[Mapping[int, str]] = {
    3: """
        CREATE TABLE audit_anchor (
            id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL, mac BLOB NOT NULL, seal BLOB NOT NULL
        );
        CREATE TABLE buckets (name TEXT PRIMARY KEY, level_bits REAL NOT NULL, at_s REAL NOT NULL) WITHOUT ROWID;
        ALTER TABLE keys ADD COLUMN is_insecure INTEGER NOT NULL DEFAULT 0;
        UPDATE keys SET is_insecure = 1 WHERE key_id IN (
            SELECT key_id FROM pieces JOIN blocks ON blocks.id = pieces.block WHERE block_id LIKE '%.insecure'
        );
        CREATE TABLE IF NOT EXISTS tag_keys (
            id INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            peer_node TEXT NOT NULL,
            is_own INTEGER NOT NULL,
            tags_count INTEGER NOT NULL,
            sealed BLOB NOT NULL
        );
        CREATE INDEX IF NOT EXISTS tag_keys_of_peer ON tag_keys (peer_node, is_own);
    """,
}
SCHEMA_VERSION: Final = max(_STEPS)
OLDEST: Final = min(_STEPS) - 1


def migrate(db: sqlite3.Connection, version: int) -> None:
    """Bring a store of a version from OLDEST on to SCHEMA_VERSION: all steps or none, in a transaction of its own."""
    db.execute("BEGIN IMMEDIATE")
    for number in range(version + 1, SCHEMA_VERSION + 1):
        for statement in _STEPS[number].split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number}")
    crashpoint.reach(_BEFORE)
    db.execute("COMMIT")
    crashpoint.reach(_AFTER)
