"""node.keys.relay_voids: what becomes of failed transfers, at their ends and between. Edge: SQLite.

Run inside a transaction, as node.keys.ledger. Two things are told and told again until they are confirmed: the target,
that a transfer is void; the next node of a hop, that its pad is burned.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from node.keys import blocks, ledger, material, pools, relay_tag_keys, transfers
from node.keys.records import KeyState, Piece, StoreLimits
from node.keys.relay_frame import pieces_of
from node.keys.relay_machine import (
    Pad,
    PadEvent,
    Receipt,
    ReceiptEvent,
    Transfer,
    TransferEvent,
    receipt_after,
    transfer_after,
)
from node.keys.relay_rows import Row, change, change_pad, find, forget, insert, key_ids_of
from node.keys.relay_source import abandon
from qnetem.runtime.errors import ConflictError, DeniedError
from qnetem.v1 import key_relay_pb2 as pb

__all__ = [
    "Burn",
    "Outcome",
    "RelaySweep",
    "burn",
    "confirm_burns",
    "confirm_voids",
    "in_flight",
    "peers_to_burn",
    "pending_burns",
    "pending_voids",
    "sweep",
    "targets_to_void",
    "void",
]

_SWEEP_ROWS: Final = 1000
Outcome: TypeAlias = pb.AckStatus.ValueType


@dataclass(frozen=True, slots=True)
class Burn:
    """A pad that its giver has given up."""

    transfer_id: str
    pieces: tuple[Piece, ...]
    # the hash key that it was tagged under; none before there were any
    tag_key: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class RelaySweep:
    """What one sweep did."""

    abandoned_count: int = 0
    given_up_count: int = 0
    forgotten_count: int = 0


# at the node that gave a pad


def in_flight(db: sqlite3.Connection) -> int:
    """Return how many pads were spent on transfers whose end is not known here."""
    return int(db.execute("SELECT count(*) FROM transfers WHERE pad_state = 'spent'").fetchone()[0])


def peers_to_burn(db: sqlite3.Connection) -> set[str]:
    """Return the neighbours that have not confirmed a burn."""
    return {row[0] for row in db.execute("SELECT DISTINCT next_node FROM transfers WHERE pad_state = 'burn_pending'")}


def pending_burns(db: sqlite3.Connection, peer_node: str, limit: int) -> list[Burn]:
    """Return pads that the neighbour has not confirmed to have burned, the oldest first."""
    rows = db.execute(
        "SELECT transfer_id, request FROM transfers WHERE pad_state = 'burn_pending' AND next_node = ?"
        " ORDER BY changed_s LIMIT ?",
        (peer_node, limit),
    )
    requests = [(row[0], pb.RelayRequest.FromString(row[1])) for row in rows.fetchall()]
    return [Burn(name, pieces_of(request.pad), pieces_of(request.tag_key, 0)) for name, request in requests]


def confirm_burns(db: sqlite3.Connection, transfer_ids: Iterable[str], now_s: float) -> None:
    """Note that the neighbour has burned the pads too."""
    for transfer_id in transfer_ids:
        row = find(db, transfer_id)
        if row is not None:
            change_pad(db, row, PadEvent.BURN_CONFIRMED, now_s)


# at the node that was to take it


def burn(db: sqlite3.Connection, previous_node: str, burns: Sequence[Burn], now_s: float) -> set[str]:
    """Burn pads that the neighbour gave up, came the transfers or not; may be repeated.

    A transfer that came and was sent on, and of which nothing was heard since, is given up here too: nobody will send
    it again.

    Returns:
        The next nodes that now have pads to burn themselves.

    Raises:
        DeniedError: A transfer is known, and not from this neighbour.
    """
    further: set[str] = set()
    for one in burns:
        row = find(db, one.transfer_id)
        if row is not None and (row.role == "source" or row.previous_node not in ("", previous_node)):
            raise DeniedError(f"transfer {one.transfer_id}: did not come from {previous_node}")
        state = receipt_after(row.receipt if row is not None else None, ReceiptEvent.BURN)
        if row is None:
            insert(db, _tombstone(one.transfer_id, state, previous_node=previous_node), (), now_s)
        elif row.pad_state == Pad.SPENT:
            change_pad(db, row, PadEvent.GIVEN_UP, now_s)
            further.add(row.next_node)
        if one.tag_key:
            relay_tag_keys.learn(db, previous_node, one.tag_key)
        for piece in one.pieces:
            span = transfers.given_span(db, previous_node, piece)
            if span is not None and not material.is_claimed(db, span):
                material.claim(db, span)
                material.destroy(db, [span])
                pools.move(db, previous_node, "peer_available", "voided", piece.length_bits)
    return further


def _tombstone(transfer_id: str, state: Receipt, *, source_node: str = "", previous_node: str = "") -> Row:
    return Row(transfer_id, "", "tombstone", state, source_node, "", previous_node, "", None, 0, "", None, None)


# at the source


def targets_to_void(db: sqlite3.Connection) -> set[str]:
    """Return the targets that have not confirmed a void."""
    return {row[0] for row in db.execute("SELECT DISTINCT target_node FROM transfers WHERE state = 'void_pending'")}


def pending_voids(db: sqlite3.Connection, target_node: str, limit: int) -> list[str]:
    """Return transfers that the target has not confirmed to be void, the oldest first."""
    rows = db.execute(
        "SELECT transfer_id FROM transfers WHERE state = 'void_pending' AND target_node = ? ORDER BY changed_s LIMIT ?",
        (target_node, limit),
    )
    return [row[0] for row in rows]


def confirm_voids(db: sqlite3.Connection, transfer_ids: Iterable[str], now_s: float) -> None:
    """Note that the target has voided the transfers."""
    for transfer_id in transfer_ids:
        row = find(db, transfer_id)
        if row is not None:
            after = transfer_after(Transfer(row.state), TransferEvent.VOID_CONFIRMED)
            change(db, transfer_id, after, now_s)


# at the target


def void(db: sqlite3.Connection, source_node: str, transfer_ids: Sequence[str], now_s: float) -> list[Outcome]:
    """Void transfers of a source, known here or not; may be repeated. A late one under these ids is refused.

    Raises:
        DeniedError: A transfer is known, and not of this source.
        ConflictError: It only passes through here.
    """
    return [_void(db, source_node, transfer_id, now_s) for transfer_id in transfer_ids]


def _void(db: sqlite3.Connection, source_node: str, transfer_id: str, now_s: float) -> Outcome:
    row = find(db, transfer_id)
    if row is None:
        state = receipt_after(None, ReceiptEvent.VOID)
        insert(db, _tombstone(transfer_id, state, source_node=source_node), (), now_s)
        return pb.ACK_STATUS_KEY_NOT_PRESENT
    if row.source_node not in ("", source_node):
        raise DeniedError(f"transfer {transfer_id}: is not of {source_node}")
    try:
        after = receipt_after(row.receipt, ReceiptEvent.VOID)
    except ConflictError as error:
        raise ConflictError(f"transfer {transfer_id}: {error}") from None
    if row.receipt is Receipt.HELD:
        key_ids = key_ids_of(db, transfer_id)
        if any(_is_collected(db, key_id) for key_id in key_ids):
            return pb.ACK_STATUS_FAILED_TO_VOID
        for key_id in key_ids:
            key = ledger.find(db, key_id)
            if key is not None and key.state in (KeyState.ASSIGNED, KeyState.RESERVED):
                ledger.end(db, key, KeyState.VOIDED, now_s)
        if row.block_id:
            blocks.quarantine(db, row.block_id)
    change(db, transfer_id, after, now_s)
    return pb.ACK_STATUS_VOIDED if row.received is not None else pb.ACK_STATUS_KEY_NOT_PRESENT


def _is_collected(db: sqlite3.Connection, key_id: str) -> bool:
    row = db.execute("SELECT 1 FROM parties WHERE key_id = ? AND is_collected = 1 LIMIT 1", (key_id,)).fetchone()
    return row is not None


# time


def sweep(
    db: sqlite3.Connection, limits: StoreLimits, in_flight_s: float, now_s: float, *, is_restart: bool = False
) -> RelaySweep:
    """Give up deliveries not finished (after a restart: all) and pads in flight for long; forget what is over.

    Args:
        db: The store.
        limits: Of the store.
        in_flight_s: A middle node that heard nothing of a transfer for so long burns its pad.
        now_s: Wall clock.
        is_restart: The process has just started: nobody was told of what is open.
    """
    stale = db.execute(
        "SELECT DISTINCT delivery_id FROM transfers WHERE role = 'source' AND state IN ('open', 'held')"
        " AND (? OR changed_s <= ?)",
        (is_restart, now_s - limits.reserve_limit_s),
    ).fetchall()
    for (delivery_id,) in stale:
        abandon(db, delivery_id, now_s, "restart" if is_restart else "too-late")
    old = db.execute(
        "SELECT transfer_id FROM transfers WHERE pad_state = 'spent' AND role = 'middle' AND changed_s <= ?"
        " ORDER BY changed_s LIMIT ?",
        (now_s - in_flight_s, _SWEEP_ROWS),
    ).fetchall()
    for (transfer_id,) in old:
        row = find(db, transfer_id)
        if row is not None:
            change_pad(db, row, PadEvent.GIVEN_UP, now_s)
    return RelaySweep(len(stale), len(old), forget(db, now_s - limits.tombstone_s, _SWEEP_ROWS))
