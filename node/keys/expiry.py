"""node.keys.expiry: what time does to keys and blocks: given up, expired, forgotten. Edge: SQLite.

Run inside a transaction, as node.keys.ledger. The lifetime of a key runs in emulated time, as all that protocols time
does; how long a reservation may take and a tombstone stays is wall time.
"""

import sqlite3
from typing import Final

from node.keys import etsi004_ledger, hybrid_ledger, ledger, transfers
from node.keys.records import KeyState, StoreLimits, SweepCounts

__all__ = ["sweep"]

# rows that one sweep deletes at most: others wait for the store meanwhile
_SWEEP_ROWS: Final = 1000


def sweep(
    db: sqlite3.Connection, limits: StoreLimits, now_s: float, emulated_s: float, *, is_restart: bool = False
) -> SweepCounts:
    """Give up stale reservations (after a restart: all), expire what nobody collected, forget what is over.

    A tombstone is forgotten `limits.tombstone_s` after the key ended; a block, with the record of which of its bits
    were given, as long after the last of its bits has lost its value, and not before the tombstones of its keys.
    """
    stale = _aged(db, KeyState.RESERVED, float("inf") if is_restart else now_s - limits.reserve_limit_s)
    transfers.void(db, stale, now_s)
    old = db.execute(
        "SELECT key_id FROM keys WHERE state = 'assigned' AND expires_s <= ? ORDER BY expires_s LIMIT ?",
        (emulated_s, _SWEEP_ROWS),
    ).fetchall()
    for (key_id,) in old:
        key = ledger.find(db, key_id)
        if key is not None:
            ledger.end(db, key, KeyState.EXPIRED, now_s)
    forgotten = []
    for state in (KeyState.CONSUMED, KeyState.VOIDED, KeyState.EXPIRED):
        forgotten += _aged(db, state, now_s - limits.tombstone_s)
    for table in ("keys", "pieces", "parties"):
        db.executemany(f"DELETE FROM {table} WHERE key_id = ?", [(key_id,) for key_id in forgotten])  # noqa: S608
    hybrid_ledger.forget(db, now_s - limits.tombstone_s)
    etsi004_ledger.forget(db, now_s - limits.tombstone_s)
    is_complete = len(forgotten) < _SWEEP_ROWS
    blocks_count = _forget_blocks(db, now_s, limits.tombstone_s) if is_complete else 0
    return SweepCounts(len(stale), len(old), len(forgotten), blocks_count)


def _aged(db: sqlite3.Connection, state: KeyState, before_s: float) -> list[str]:
    limit = -1 if before_s == float("inf") else _SWEEP_ROWS
    rows = db.execute(
        "SELECT key_id FROM keys WHERE state = ? AND changed_s <= ? ORDER BY changed_s LIMIT ?",
        (state, before_s, limit),
    )
    return [row[0] for row in rows]


def _forget_blocks(db: sqlite3.Connection, now_s: float, tombstone_s: float) -> int:
    """Delete blocks that ended long ago; those that an unconfirmed void still names stay."""
    db.execute("UPDATE blocks SET ended_s = ? WHERE live_bits = 0 AND ended_s IS NULL", (now_s,))
    rows = db.execute(
        "SELECT id FROM blocks WHERE ended_s <= ? AND is_preshared = 0 AND id NOT IN"
        " (SELECT p.block FROM keys k JOIN pieces p USING (key_id) WHERE k.state = 'void_pending') LIMIT ?",
        (now_s - tombstone_s, _SWEEP_ROWS),
    ).fetchall()
    db.executemany("DELETE FROM used WHERE block = ?", rows)
    db.executemany("DELETE FROM blocks WHERE id = ?", rows)
    return len(rows)
