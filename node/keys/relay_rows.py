"""node.keys.relay_rows: transfers as rows of the database, and spending the pad of a hop. Edge: SQLite.

Run inside a transaction, as node.keys.ledger. A pad is spent, and destroyed, in the step that makes the bytes it seals:
between two steps no node holds what a transfer carries, but its source and its target.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from node.keys import audit, ledger, material, pools, relay_tag_keys
from node.keys.records import Piece
from node.keys.relay_frame import TAG_BITS, material_bits, sealed
from node.keys.relay_machine import Pad, PadEvent, Receipt, pad_after
from qnetem.runtime.errors import ConflictError
from qnetem.v1 import key_relay_pb2 as pb

__all__ = [
    "Row",
    "change",
    "change_pad",
    "closed",
    "find",
    "forget",
    "insert",
    "key_ids_of",
    "note",
    "of_delivery",
    "pool_link",
    "row_of",
]

_COLUMNS: Final = (
    "transfer_id, delivery_id, role, state, source_node, target_node, previous_node, next_node, pad_state,"
    " material_bits, block_id, received, request"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A transfer in one store; see node.keys.relay_schema."""

    transfer_id: str
    delivery_id: str
    role: str
    state: str
    source_node: str
    target_node: str
    previous_node: str
    next_node: str
    pad_state: str | None
    material_bits: int
    block_id: str
    received: bytes | None
    request: bytes | None

    @property
    def receipt(self) -> Receipt:
        """Its state where it arrived. Raises ConflictError at its source."""
        if self.role == "source":
            raise ConflictError(f"transfer {self.transfer_id}: began here")
        return Receipt(self.state)


def find(db: sqlite3.Connection, transfer_id: str) -> Row | None:
    """Return the transfer of that id."""
    row = db.execute(f"SELECT {_COLUMNS} FROM transfers WHERE transfer_id = ?", (transfer_id,)).fetchone()  # noqa: S608
    return None if row is None else Row(*row)


def insert(db: sqlite3.Connection, row: Row, key_ids: Iterable[str], now_s: float) -> None:
    """Add a transfer."""
    values = [getattr(row, name.strip()) for name in _COLUMNS.split(",")]
    db.execute(
        f"INSERT INTO transfers ({_COLUMNS}, changed_s) VALUES ({'?, ' * len(values)}?)",  # noqa: S608 constants
        (*values, now_s),
    )
    db.executemany("INSERT INTO transfer_keys VALUES (?, ?)", [(row.transfer_id, key_id) for key_id in key_ids])


def key_ids_of(db: sqlite3.Connection, transfer_id: str) -> list[str]:
    """Return the keys that a transfer carries, as far as this node keeps them."""
    return [row[0] for row in db.execute("SELECT key_id FROM transfer_keys WHERE transfer_id = ?", (transfer_id,))]


def forget(db: sqlite3.Connection, before_s: float, limit: int) -> int:
    """Delete transfers that have been over, with their pads, since before that time; return how many."""
    rows = db.execute(
        "SELECT transfer_id FROM transfers WHERE changed_s <= ?"
        " AND NOT (role = 'source' AND state IN ('open', 'held', 'void_pending'))"
        " AND (pad_state IS NULL OR pad_state IN ('settled', 'burned')) ORDER BY changed_s LIMIT ?",
        (before_s, limit),
    ).fetchall()
    for table in ("transfers", "transfer_keys"):
        db.executemany(f"DELETE FROM {table} WHERE transfer_id = ?", rows)  # noqa: S608
    return len(rows)


def closed(db: sqlite3.Connection, next_node: str, header: bytes, value: bytearray) -> pb.RelayRequest:
    """Spend a pad of the pool shared with the next node on `value`, which is overwritten.

    Raises:
        PoolExhaustedError: There are too few bits for it, or for a hash key that is due; names both.
    """
    bits = 8 * len(value)
    tag_key_pieces, tag_key = relay_tag_keys.current(db, next_node)
    [taken] = ledger.take(db, next_node, 1, bits + TAG_BITS)
    spans = [span for _, span in taken]
    pad = material.read(db, spans)
    material.destroy(db, spans)
    pools.move(db, next_node, "available", "relayed", bits)
    pools.move(db, next_node, "available", "tags", TAG_BITS)
    pieces = [Piece(block_id, span[1], span[2]) for block_id, span in taken]
    return sealed(header, pieces, value, pad, tag_key_pieces, tag_key)


def row_of(
    header: pb.RelayHeader, role: str, state: str, own_node: str, received: bytes | None, onward: pb.RelayRequest | None
) -> Row:
    path = list(header.path)
    at = path.index(own_node)
    return Row(
        header.transfer_id,
        header.delivery_id,
        role,
        state,
        path[0],
        path[-1],
        path[at - 1] if at else "",
        path[at + 1] if at + 1 < len(path) else "",
        Pad.SPENT if onward is not None else None,
        material_bits(header),
        header.block.block_id,
        received,
        onward.SerializeToString(deterministic=True) if onward is not None else None,
    )


def pool_link(peer_node: str) -> str:
    """Return what stands for a link in blocks that were relayed; no link has a name with a colon."""
    return f"relay:{peer_node}"


def note(db: sqlite3.Connection, header: pb.RelayHeader, event: str, **fields: str) -> None:
    """Record an event of a transfer in the audit trail: once for each key that it carries, or for its block."""
    for key_id in header.keys.key_ids or [""]:
        named: dict[str, audit.Field] = {"transfer_id": header.transfer_id, **fields}
        audit.record(db, event, key_id=key_id, value=None, **named)


def of_delivery(db: sqlite3.Connection, delivery_id: str) -> list[Row]:
    """Return the transfers of a delivery that began here."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM transfers WHERE delivery_id = ? AND role = 'source'",  # noqa: S608 a constant
        (delivery_id,),
    )
    return [Row(*row) for row in rows]


def change(db: sqlite3.Connection, transfer_id: str, state: str, now_s: float) -> None:
    """Write a transfer's state."""
    db.execute("UPDATE transfers SET state = ?, changed_s = ? WHERE transfer_id = ?", (state, now_s, transfer_id))


def change_pad(db: sqlite3.Connection, row: Row, event: PadEvent, now_s: float) -> None:
    """Take a pad where the event leads; what was spent in vain counts as voided, and what is over is not sent again."""
    if row.pad_state is None:
        return
    before = Pad(row.pad_state)
    after = pad_after(before, event)
    if after is before:
        return
    if after is Pad.BURN_PENDING:
        pools.move(db, row.next_node, "relayed", "voided", row.material_bits)
        pools.move(db, row.next_node, "tags", "voided", TAG_BITS)
    is_over = after in (Pad.SETTLED, Pad.BURNED)
    db.execute(
        "UPDATE transfers SET pad_state = ?, changed_s = ?, request = CASE WHEN ? THEN NULL ELSE request END"
        " WHERE transfer_id = ?",
        (after, now_s, is_over, row.transfer_id),
    )
