"""node.keys.hybrid_schema: the table of keys that agreed secrets are part of. Pure.

`sealed`: of hybrid keys, the agreed secret; NULL when the key has ended, and of keys without QKD bits.
"""

from typing import Final

__all__ = ["HYBRID_TABLES"]

HYBRID_TABLES: Final = """
CREATE TABLE agreed (key_id TEXT PRIMARY KEY, mode TEXT NOT NULL, sealed BLOB, noted_s REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX agreed_by_age ON agreed (noted_s);
"""
