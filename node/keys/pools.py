"""node.keys.pools: the sums of what became of the bits shared with each peer. Edge: SQLite.

Bits are only ever moved from one sum to another, so that what was made is always the sum of what became of it.
"""

import sqlite3
from typing import Literal

from node.keys.records import INSECURE, Pool

__all__ = ["Column", "insecure_peers", "make", "move", "pool", "pools"]

Column = Literal[
    "unconfirmed",
    "available",
    "peer_available",
    "reserved",
    "assigned",
    "delivered",
    "voided",
    "expired",
    "quarantined",
    "kept",
    "tags",
    "relayed",
]
_SELECT = (
    "SELECT peer_node, made_bits, unconfirmed_bits, available_bits, peer_available_bits, reserved_bits, assigned_bits,"
    " delivered_bits, voided_bits, expired_bits, quarantined_bits, kept_bits, tags_bits, relayed_bits FROM pools"
)


def make(db: sqlite3.Connection, peer_node: str, own: Column, own_bits: int, peer_bits: int) -> None:
    """Add a block's halves."""
    db.execute("INSERT OR IGNORE INTO pools (peer_node) VALUES (?)", (peer_node,))
    db.execute(
        f"UPDATE pools SET made_bits = made_bits + ?, {own}_bits = {own}_bits + ?,"  # noqa: S608 a Column
        " peer_available_bits = peer_available_bits + ? WHERE peer_node = ?",
        (own_bits + peer_bits, own_bits, peer_bits, peer_node),
    )
    if own == "available":
        _top_up(db, peer_node)


def move(db: sqlite3.Connection, peer_node: str, source: Column, target: Column, bits: int) -> None:
    """Move bits. A key drawn here alone, of no peer, is not counted."""
    if bits and peer_node:
        db.execute(
            f"UPDATE pools SET {source}_bits = {source}_bits - ?1, {target}_bits = {target}_bits + ?1"  # noqa: S608
            " WHERE peer_node = ?2",
            (bits, peer_node),
        )
        if target == "available":
            _top_up(db, peer_node)


def move_own(db: sqlite3.Connection, peer_node: str, target: Column, bits: int) -> None:
    """Move bits of the own half, those that can be given first, then those held back."""
    from_available = min(bits, pool(db, peer_node).available_bits)
    move(db, peer_node, "available", target, from_available)
    move(db, peer_node, "kept", target, bits - from_available)


def keep(db: sqlite3.Connection, peer_node: str, bits: int) -> None:
    """Hold back so many bits of the own half, from now on and as they come, to authenticate with."""
    db.execute("INSERT OR IGNORE INTO pools (peer_node) VALUES (?)", (peer_node,))
    db.execute(
        "UPDATE pools SET keep_bits = ?1, available_bits = available_bits + max(kept_bits - ?1, 0),"
        " kept_bits = min(kept_bits, ?1) WHERE peer_node = ?2",
        (bits, peer_node),
    )
    _top_up(db, peer_node)


def _top_up(db: sqlite3.Connection, peer_node: str) -> None:
    missing = "min(max(keep_bits - kept_bits, 0), available_bits)"
    db.execute(
        f"UPDATE pools SET available_bits = available_bits - {missing}, kept_bits = kept_bits + {missing}"  # noqa: S608
        " WHERE peer_node = ? AND keep_bits > kept_bits",
        (peer_node,),
    )


def pool(db: sqlite3.Connection, peer_node: str) -> Pool:
    """Return the pool shared with a peer; all zero when nothing ever was."""
    row = db.execute(f"{_SELECT} WHERE peer_node = ?", (peer_node,)).fetchone()
    return Pool(*row) if row is not None else Pool(peer_node)


def insecure_peers(db: sqlite3.Connection) -> set[str]:
    """Return the peers with whom bits that can still be given are of a protocol that is not secure."""
    rows = db.execute(
        "SELECT DISTINCT peer_node FROM blocks WHERE state = 'available' AND live_bits > 0 AND block_id LIKE ?",
        (f"%{INSECURE}",),
    )
    return {row[0] for row in rows}


def pools(db: sqlite3.Connection) -> list[Pool]:
    """Return all pools, by peer."""
    return [Pool(*row) for row in db.execute(f"{_SELECT} ORDER BY peer_node")]
