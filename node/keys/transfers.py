"""node.keys.transfers: what keys go through between two KMEs: assignment and voiding. Edge: SQLite.

Run inside a transaction, as node.keys.ledger.
"""

import sqlite3
from collections.abc import Sequence

from node.keys import audit, ledger, material, pools
from node.keys.ledger import Key
from node.keys.material import Span
from node.keys.records import (
    Assignment,
    BlockPendingError,
    BlockRole,
    BlockState,
    Halves,
    KeyState,
    Piece,
    UnusableBlocksError,
)
from qnetem.runtime.errors import BadInputError, ConflictError, DeniedError

__all__ = ["assign", "confirm_voids", "given_span", "pending_peers", "pending_voids", "void", "void_assigned"]


def assign(
    db: sqlite3.Connection,
    peer_node: str,
    master_sae_id: str,
    slave_saes: Sequence[str],
    assignments: Sequence[Assignment],
    now_s: float,
    expires_s: float | None = None,
) -> None:
    """Hold keys that a master at `peer_node` gives for slaves of this KME: all or none; the same again is accepted.

    They expire at `expires_s`, emulated.

    Raises:
        BadInputError: A piece is not whole bytes of the master's half of its block.
        DeniedError: A block is not shared with `peer_node`.
        ConflictError: An id or a bit was given before.
        BlockPendingError: A block is not AVAILABLE here yet.
        UnusableBlocksError: Blocks are not held here, or quarantined.
    """
    unusable = []
    for assignment in assignments:
        known = ledger.find(db, assignment.key_id)
        if known is not None:
            _demand_same(db, known, peer_node, master_sae_id, slave_saes, assignment)
            continue
        where = []
        for piece in assignment.pieces:
            span = given_span(db, peer_node, piece)
            if span is None:
                unusable.append(piece.block_id)
                continue
            if material.is_claimed(db, span):
                raise ConflictError(f"key {assignment.key_id}: bits of block {piece.block_id} were given before")
            material.claim(db, span)
            where.append(span)
        if not unusable:
            size_bits = assignment.size_bits
            pools.move(db, peer_node, "peer_available", "assigned", size_bits)
            is_insecure = assignment.is_insecure
            key = Key(assignment.key_id, peer_node, False, master_sae_id, size_bits, KeyState.ASSIGNED, is_insecure)
            ledger.insert(db, key, slave_saes, where, now_s, expires_s)
            audit.record(
                db,
                "key.assigned",
                key_id=key.key_id,
                master=master_sae_id,
                peer_node=peer_node,
                slaves=",".join(slave_saes),
                size_bits=size_bits,
            )
    if unusable:
        names = sorted(set(unusable))
        raise UnusableBlocksError(f"blocks not held here: {', '.join(names)}", names)


def _demand_same(
    db: sqlite3.Connection,
    known: Key,
    peer_node: str,
    master_sae_id: str,
    slave_saes: Sequence[str],
    assignment: Assignment,
) -> None:
    parties = {row[0] for row in db.execute("SELECT sae_id FROM parties WHERE key_id = ?", (known.key_id,))}
    is_same = (
        not known.is_master
        and known.state in (KeyState.ASSIGNED, KeyState.CONSUMED)
        and (known.peer_node, known.master_sae_id) == (peer_node, master_sae_id)
        and parties == set(slave_saes)
        and _named_pieces(db, known.key_id) == assignment.pieces
    )
    if not is_same:
        raise ConflictError(f"key {known.key_id}: is known already, as another one or ended ({known.state})")


def given_span(db: sqlite3.Connection, peer_node: str, piece: Piece, *, is_pad: bool = False) -> Span | None:
    """Return the piece's place when the peer may give it; None when its block is not held here (any more).

    Bits that were shared beforehand, to authenticate with, are given for that alone: `is_pad`.

    Raises:
        BadInputError: The piece is not whole bytes of the peer's half, or bits shared beforehand are given as key.
        DeniedError: The block is not shared with `peer_node`.
        BlockPendingError: The block is not AVAILABLE here yet.
    """
    row = db.execute(
        "SELECT id, peer_node, role, bit_count, state, is_preshared FROM blocks WHERE block_id = ?", (piece.block_id,)
    ).fetchone()
    if row is None or row[4] in (BlockState.ABORTED, BlockState.QUARANTINED):
        return None
    if row[1] != peer_node:
        raise DeniedError(f"block {piece.block_id}: is not shared with {peer_node}")
    if row[5] and not is_pad:
        raise BadInputError(f"block {piece.block_id}: authenticates, and is given for nothing else")
    if row[4] == BlockState.PREPARED:
        raise BlockPendingError(f"block {piece.block_id}: is prepared, not available yet")
    halves = Halves.of(row[3], BlockRole(row[2]))
    is_whole = piece.offset_bits % 8 == 0 and piece.length_bits % 8 == 0 and piece.length_bits > 0
    if not is_whole or piece.offset_bits < halves.peer_start or piece.end_bits > halves.peer_end:
        raise BadInputError(
            f"block {piece.block_id}: bits {piece.offset_bits}..{piece.end_bits} are not whole bytes of the half"
            f" of {peer_node}"
        )
    return row[0], piece.offset_bits, piece.length_bits


def void(db: sqlite3.Connection, key_ids: Sequence[str], now_s: float) -> None:
    """Give reserved keys up: their bits are burned; VOID_PENDING until the peer has confirmed.

    Raises:
        ConflictError: One was delivered or has ended otherwise.
    """
    for key_id in key_ids:
        key = ledger.find(db, key_id)
        if key is not None and key.state in (KeyState.VOID_PENDING, KeyState.VOIDED):
            continue
        if key is None or key.state is not KeyState.RESERVED:
            raise ConflictError(f"key {key_id}: is not reserved any more")
        ledger.end(db, key, KeyState.VOID_PENDING if key.peer_node else KeyState.VOIDED, now_s)


def pending_peers(db: sqlite3.Connection) -> list[str]:
    """Return the peers that have not confirmed a void."""
    return [row[0] for row in db.execute("SELECT DISTINCT peer_node FROM keys WHERE state = 'void_pending'")]


def pending_voids(db: sqlite3.Connection, peer_node: str, limit: int) -> list[Assignment]:
    """Return keys whose void the peer has not confirmed, the oldest first."""
    rows = db.execute(
        "SELECT key_id FROM keys WHERE state = 'void_pending' AND peer_node = ? ORDER BY changed_s LIMIT ?",
        (peer_node, limit),
    )
    return [Assignment(row[0], _named_pieces(db, row[0])) for row in rows.fetchall()]


def _named_pieces(db: sqlite3.Connection, key_id: str) -> tuple[Piece, ...]:
    rows = db.execute(
        "SELECT b.block_id, p.offset_bits, p.length_bits FROM pieces p JOIN blocks b ON b.id = p.block"
        " WHERE p.key_id = ? ORDER BY p.position",
        (key_id,),
    )
    return tuple(Piece(*row) for row in rows)


def confirm_voids(db: sqlite3.Connection, key_ids: Sequence[str], now_s: float) -> None:
    """VOID_PENDING -> VOIDED."""
    db.executemany(
        "UPDATE keys SET state = 'voided', changed_s = ? WHERE key_id = ? AND state = 'void_pending'",
        [(now_s, key_id) for key_id in key_ids],
    )
    for key_id in key_ids:
        audit.record(db, "key.void.confirmed", key_id=key_id)


def void_assigned(db: sqlite3.Connection, peer_node: str, assignments: Sequence[Assignment], now_s: float) -> None:
    """Void keys that a master at `peer_node` gave up, known here or not; may be repeated.

    A late assignment under these ids is refused from now on, and their bits are burned here too.

    Raises:
        DeniedError: A key is not one that `peer_node` gave.
    """
    for assignment in assignments:
        known = ledger.find(db, assignment.key_id)
        if known is not None:
            if known.is_master or known.peer_node != peer_node:
                raise DeniedError(f"key {assignment.key_id}: was not given by {peer_node}")
            if known.state is KeyState.ASSIGNED:
                ledger.end(db, known, KeyState.VOIDED, now_s)
            continue
        ledger.insert(db, Key(assignment.key_id, peer_node, False, "", 0, KeyState.VOIDED), (), (), now_s)
        audit.record(db, "key.voided", key_id=assignment.key_id, peer_node=peer_node, size_bits=assignment.size_bits)
        for piece in assignment.pieces:
            span = given_span(db, peer_node, piece)
            if span is not None and not material.is_claimed(db, span):
                material.claim(db, span)
                material.destroy(db, [span])
                pools.move(db, peer_node, "peer_available", "voided", piece.length_bits)
