"""node.keys.pools: the sums of what became of the bits shared with each peer. Edge: SQLite.

Bits are only ever moved from one sum to another, so that what was made is always the sum of what became of it.
"""

import sqlite3
from typing import Literal

from node.keys.records import Pool

__all__ = ["Column", "make", "move", "pool", "pools"]

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
]
_SELECT = (
    "SELECT peer_node, made_bits, unconfirmed_bits, available_bits, peer_available_bits, reserved_bits, assigned_bits,"
    " delivered_bits, voided_bits, expired_bits, quarantined_bits FROM pools"
)


def make(db: sqlite3.Connection, peer_node: str, own: Column, own_bits: int, peer_bits: int) -> None:
    """Add a block's halves."""
    db.execute("INSERT OR IGNORE INTO pools (peer_node) VALUES (?)", (peer_node,))
    db.execute(
        f"UPDATE pools SET made_bits = made_bits + ?, {own}_bits = {own}_bits + ?,"  # noqa: S608 a Column
        " peer_available_bits = peer_available_bits + ? WHERE peer_node = ?",
        (own_bits + peer_bits, own_bits, peer_bits, peer_node),
    )


def move(db: sqlite3.Connection, peer_node: str, source: Column, target: Column, bits: int) -> None:
    """Move bits. A key drawn here alone, of no peer, is not counted."""
    if bits and peer_node:
        db.execute(
            f"UPDATE pools SET {source}_bits = {source}_bits - ?1, {target}_bits = {target}_bits + ?1"  # noqa: S608
            " WHERE peer_node = ?2",
            (bits, peer_node),
        )


def pool(db: sqlite3.Connection, peer_node: str) -> Pool:
    """Return the pool shared with a peer; all zero when nothing ever was."""
    row = db.execute(f"{_SELECT} WHERE peer_node = ?", (peer_node,)).fetchone()
    return Pool(*row) if row is not None else Pool(peer_node)


def pools(db: sqlite3.Connection) -> list[Pool]:
    """Return all pools, by peer."""
    return [Pool(*row) for row in db.execute(f"{_SELECT} ORDER BY peer_node")]
