"""node.keys.pads: bits that authenticate, as operations on the database: installed, taken, claimed. Edge: SQLite.

Run inside a transaction. A pad is named as a key is, by pieces of blocks, and is spent durably before it is used; who
authenticates takes it from its own half, who verifies claims it from the peer's. It comes from the key pool as long as
that holds more than is kept back, then from what was shared beforehand on the link, then from what is kept back.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from node.keys import audit, ledger, material, pools
from node.keys.material import Span
from node.keys.records import BlockRole, BlockState, Halves, PadsExhaustedError, Piece, UnusableBlocksError
from node.keys.transfers import given_span
from qnetem.runtime.errors import BadInputError, ConflictError

__all__ = ["Pad", "claim", "confirm", "install", "left_bits", "preshared_id", "take"]

_LEAST_BITS: Final = 512


@dataclass(frozen=True, slots=True, repr=False)
class Pad:
    """Bits to authenticate with, and their names. Nothing shows them."""

    pieces: tuple[Piece, ...]
    value: bytes

    def __repr__(self) -> str:
        return f"Pad({8 * len(self.value)} bits)"


def preshared_id(link_id: str, generation: int) -> str:
    """Return the id of the block that was shared beforehand on a link."""
    return f"{link_id}/preshared/{generation}"


def install(
    db: sqlite3.Connection,
    link_id: str,
    peer_node: str,
    role: BlockRole,
    generation: int,
    secret: bytes,
    *,
    is_shared: bool,
) -> bool:
    """Hold bits that were shared beforehand on a link. An id that is known, spent or not, is never filled again.

    Unless `is_shared`, the peer may not hold them yet: pads are claimed of them, and not taken before `confirm`.

    Returns:
        Whether they are new.

    Raises:
        BadInputError: They are too few.
    """
    bit_count = 8 * len(secret)
    if bit_count < _LEAST_BITS:
        raise BadInputError(f"link {link_id}: {bit_count} pre-shared bits are fewer than {_LEAST_BITS}")
    halves = Halves.of(bit_count, role)
    row = db.execute(
        "INSERT INTO blocks (block_id, link_id, peer_node, role, bit_count, state, is_confirmed, own_next_bits,"
        " own_end_bits, peer_start_bits, peer_end_bits, peer_left_bits, live_bits, is_preshared)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO NOTHING RETURNING id",
        (
            preshared_id(link_id, generation),
            link_id,
            peer_node,
            role,
            bit_count,
            BlockState.AVAILABLE,
            is_shared,
            halves.own_start,
            halves.own_end,
            halves.peer_start,
            halves.peer_end,
            halves.peer_bits,
            halves.own_bits + halves.peer_bits,
        ),
    ).fetchall()
    if not row:
        return False
    material.write(db, row[0][0], secret, ((halves.own_start, halves.own_end), (halves.peer_start, halves.peer_end)))
    audit.record(db, "pads.provisioned", link_id=link_id, generation=generation, bits=bit_count)
    return True


def confirm(db: sqlite3.Connection, link_id: str, generation: int) -> bool:
    """Note that the peer holds them too: from now on pads are taken of them. False: they are not held here."""
    rows = db.execute(
        "UPDATE blocks SET is_confirmed = 1 WHERE block_id = ? AND is_preshared = 1",
        (preshared_id(link_id, generation),),
    )
    return rows.rowcount == 1


def take(db: sqlite3.Connection, peer_node: str, bits: int, link_id: str) -> Pad:
    """Spend `bits` of the own half of what is shared with `peer_node` and return them.

    Raises:
        BadInputError: `bits` is not a multiple of 8 above 0.
        PadsExhaustedError: Too few are left; nothing was taken.
    """
    if bits < 8 or bits % 8:
        raise BadInputError(f"a pad of {bits} bits cannot be taken")
    pool = pools.pool(db, peer_node)
    if pool.available_bits >= bits:
        pieces = _from_pool(db, peer_node, bits, "available")
    else:
        pieces = _from_preshared(db, link_id, bits)
        if not pieces and pool.kept_bits >= bits:
            pieces = _from_pool(db, peer_node, bits, "kept")
    if not pieces:
        raise PadsExhaustedError(f"link {link_id}: no {bits} bits are left to authenticate with {peer_node}")
    spans = [span for _, span in pieces]
    value = bytes(material.read(db, spans))
    material.destroy(db, spans)
    audit.record(db, "pads.spent", link_id=link_id, peer_node=peer_node, bits=bits)
    return Pad(tuple(Piece(name, span[1], span[2]) for name, span in pieces), value)


def _from_pool(db: sqlite3.Connection, peer_node: str, bits: int, column: pools.Column) -> list[tuple[str, Span]]:
    [pieces] = ledger.cut(db, peer_node, 1, bits)
    pools.move(db, peer_node, column, "tags", bits)
    return pieces


def _from_preshared(db: sqlite3.Connection, link_id: str, bits: int) -> list[tuple[str, Span]]:
    row = db.execute(
        "UPDATE blocks SET own_next_bits = own_next_bits + ?1 WHERE id = (SELECT id FROM blocks WHERE link_id = ?2"
        " AND is_preshared = 1 AND is_confirmed = 1 AND own_next_bits + ?1 <= own_end_bits ORDER BY id LIMIT 1)"
        " RETURNING id, block_id, own_next_bits",
        (bits, link_id),
    ).fetchall()
    return [(name, (block, next_bits - bits, bits)) for block, name, next_bits in row]


def claim(db: sqlite3.Connection, peer_node: str, pieces: Sequence[Piece], bits: int, link_id: str) -> bytes:
    """Spend the bits that the peer authenticates with, and return them. They are spent whether tags hold or not.

    Raises:
        BadInputError: They are not `bits` bits, or a piece is not whole bytes of the peer's half.
        DeniedError: A block is not shared with `peer_node`.
        ConflictError: A bit was given before.
        BlockPendingError: A block is not AVAILABLE here yet.
        UnusableBlocksError: A block is not held here.
    """
    if sum(piece.length_bits for piece in pieces) != bits:
        raise BadInputError(f"link {link_id}: the pad is not of {bits} bits")
    value = bytearray()
    for piece in pieces:
        span = given_span(db, peer_node, piece, is_pad=True)
        if span is None:
            raise UnusableBlocksError(f"block {piece.block_id}: is not held here", [piece.block_id])
        if material.is_claimed(db, span):
            raise ConflictError(f"link {link_id}: bits of block {piece.block_id} were given before")
        material.claim(db, span)
        value += material.read(db, [span])
        material.destroy(db, [span])
        (is_preshared,) = db.execute("SELECT is_preshared FROM blocks WHERE id = ?", (span[0],)).fetchone()
        if not is_preshared:
            pools.move(db, peer_node, "peer_available", "tags", piece.length_bits)
    audit.record(db, "pads.taken", link_id=link_id, peer_node=peer_node, bits=bits)
    return bytes(value)


def left_bits(db: sqlite3.Connection, link_id: str) -> tuple[int, int]:
    """Return what is left of the bits shared beforehand on a link: of the own half, of the peer's."""
    own, peer = db.execute(
        "SELECT sum(own_end_bits - own_next_bits), sum(peer_left_bits) FROM blocks"
        " WHERE link_id = ? AND is_preshared = 1",
        (link_id,),
    ).fetchone()
    return own or 0, peer or 0
