"""node.keys.etsi004_schema: the tables of streams in the key store. Pure.

A stream has a row at its owner, the KME of its source, and one at the KME of its destination when that is another.
`next_source` and `next_destination`: the index that the side attached here is given next. The key of a chunk never
becomes another.
"""

from typing import Final

__all__ = ["STREAM_TABLES"]

STREAM_TABLES: Final = """
CREATE TABLE streams (
    stream_id TEXT PRIMARY KEY,
    source TEXT NOT NULL,
    destination TEXT NOT NULL,
    qos TEXT NOT NULL,
    is_source_open INTEGER NOT NULL,
    is_destination_open INTEGER NOT NULL,
    next_source INTEGER NOT NULL DEFAULT 0,
    next_destination INTEGER NOT NULL DEFAULT 0,
    changed_s REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX streams_over ON streams (changed_s) WHERE is_source_open = 0 OR is_destination_open = 0;
CREATE TABLE chunks (
    stream_id TEXT NOT NULL, position INTEGER NOT NULL, key_id TEXT NOT NULL, is_told INTEGER NOT NULL,
    PRIMARY KEY (stream_id, position)
) WITHOUT ROWID;
"""
