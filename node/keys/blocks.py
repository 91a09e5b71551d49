"""node.keys.blocks: the life of a key block, as operations on the database. Edge: SQLite.

Every operation may be repeated; what the block's state does not allow is a ConflictError. Run inside a transaction.
"""

import hmac
import sqlite3
from collections.abc import Iterable

from node.keys import audit, material, pools
from node.keys.records import Block, BlockRole, BlockState, Halves, PoolFullError, UnknownBlockError
from qnetem.runtime.errors import BadInputError, ConflictError

__all__ = ["abort", "commit", "confirm", "held", "in_doubt", "prepare", "quarantine", "states"]


def prepare(db: sqlite3.Connection, block: Block, secret: bytes, capacity_bits: int) -> None:
    """Hold the block PREPARED.

    Raises:
        BadInputError: `secret` is not `block.bit_count` packed bits, or those make no key.
        ConflictError: The id is known, and not as this very block PREPARED.
        PoolFullError: The pool of the peer would exceed its capacity.
    """
    halves = Halves.of(block.bit_count, block.role)
    if len(secret) != (block.bit_count + 7) // 8 or halves.own_bits + halves.peer_bits == 0:
        raise BadInputError(
            f"block {block.block_id}: {len(secret)} bytes do not hold a secret of {block.bit_count} bits"
        )
    known = _find(db, block.block_id)
    if known is not None:
        if known[1] == block and _is_held(db, known[0], halves, secret):
            return
        raise ConflictError(f"block {block.block_id}: is known already, {known[1].state}")
    if pools.pool(db, block.peer_node).held_bits + halves.own_bits + halves.peer_bits > capacity_bits:
        raise PoolFullError(f"block {block.block_id}: the pool of {block.peer_node} is full ({capacity_bits} bits)")
    row = _insert(db, block, halves)
    material.write(db, row, secret, ((halves.own_start, halves.own_end), (halves.peer_start, halves.peer_end)))


def commit(db: sqlite3.Connection, block_id: str) -> None:
    """PREPARED -> AVAILABLE. A receiver's is confirmed by that: the transmitter commits first."""
    row, block = _get(db, block_id)
    if block.state is BlockState.AVAILABLE:
        return
    _demand(block, BlockState.PREPARED)
    is_confirmed = block.role is BlockRole.RECEIVER
    db.execute("UPDATE blocks SET state = ?, is_confirmed = ? WHERE id = ?", (BlockState.AVAILABLE, is_confirmed, row))
    halves = Halves.of(block.bit_count, block.role)
    pools.make(db, block.peer_node, "available" if is_confirmed else "unconfirmed", halves.own_bits, halves.peer_bits)
    bits = halves.own_bits + halves.peer_bits
    audit.record(db, "block.available", link_id=block.link_id, block_id=block_id, bits=bits)


def confirm(db: sqlite3.Connection, block_id: str) -> None:
    """Note that the peer holds the block AVAILABLE: from now on this node gives bits of it."""
    row, block = _get(db, block_id)
    _demand(block, BlockState.AVAILABLE)
    if not block.is_confirmed:
        db.execute("UPDATE blocks SET is_confirmed = 1 WHERE id = ?", (row,))
        pools.move(db, block.peer_node, "unconfirmed", "available", Halves.of(block.bit_count, block.role).own_bits)


def abort(db: sqlite3.Connection, block_id: str) -> None:
    """PREPARED -> ABORTED. An id not seen before is remembered as aborted, so that it is never prepared."""
    known = _find(db, block_id)
    if known is None:
        _insert(db, Block(block_id, "", "", BlockRole.RECEIVER, 0, BlockState.ABORTED, False), Halves(0, 0, 0, 0))
        return
    row, held = known
    if held.state is BlockState.ABORTED:
        return
    _demand(held, BlockState.PREPARED)
    db.execute("UPDATE blocks SET state = ?, live_bits = 0 WHERE id = ?", (BlockState.ABORTED, row))
    material.forget(db, row)


def quarantine(db: sqlite3.Connection, block_id: str) -> None:
    """AVAILABLE -> QUARANTINED: nothing of it is given any more, and what was not given is destroyed.

    Keys given before stay: their masters have them.
    """
    row, block = _get(db, block_id)
    if block.state is BlockState.QUARANTINED:
        return
    _demand(block, BlockState.AVAILABLE)
    own_next, own_end, peer_start, peer_end = db.execute(
        "SELECT own_next_bits, own_end_bits, peer_start_bits, peer_end_bits FROM blocks WHERE id = ?", (row,)
    ).fetchone()
    peer_spans = material.unclaimed(db, row, peer_start, peer_end)
    if block.is_confirmed:
        pools.move_own(db, block.peer_node, "quarantined", own_end - own_next)
    else:
        pools.move(db, block.peer_node, "unconfirmed", "quarantined", own_end - own_next)
    pools.move(db, block.peer_node, "peer_available", "quarantined", sum(length for _, _, length in peer_spans))
    material.destroy(db, [(row, own_next, own_end - own_next), *peer_spans])
    db.execute(
        "UPDATE blocks SET state = ?, own_next_bits = own_end_bits, peer_left_bits = 0 WHERE id = ?",
        (BlockState.QUARANTINED, row),
    )
    bits = own_end - own_next + sum(length for _, _, length in peer_spans)
    audit.record(db, "block.quarantined", link_id=block.link_id, block_id=block_id, bits=bits)


def in_doubt(db: sqlite3.Connection, link_id: str) -> list[Block]:
    """Return the blocks of a link that a settlement decides: PREPARED ones, and AVAILABLE unconfirmed ones."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM blocks WHERE link_id = ?"  # noqa: S608 a constant
        " AND (state = 'prepared' OR (state = 'available' AND is_confirmed = 0)) AND is_preshared = 0 ORDER BY id",
        (link_id,),
    )
    return [_block(row) for row in rows]


def held(db: sqlite3.Connection, suffix: str) -> list[Block]:
    """Return the PREPARED and AVAILABLE blocks whose ids end with `suffix`."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM blocks WHERE substr(block_id, -length(?1)) = ?1"  # noqa: S608 a constant
        " AND state IN ('prepared', 'available') ORDER BY id",
        (suffix,),
    )
    return [_block(row) for row in rows]


def states(db: sqlite3.Connection, block_ids: Iterable[str]) -> dict[str, BlockState]:
    """Return the state of those of the blocks that are known."""
    found = ((block_id, _find(db, block_id)) for block_id in block_ids)
    return {block_id: known[1].state for block_id, known in found if known is not None}


_COLUMNS = "id, block_id, link_id, peer_node, role, bit_count, state, is_confirmed"


def _block(row: tuple[int, str, str, str, str, int, str, int]) -> Block:
    _, block_id, link_id, peer_node, role, bit_count, state, is_confirmed = row
    return Block(block_id, link_id, peer_node, BlockRole(role), bit_count, BlockState(state), is_confirmed == 1)


def _find(db: sqlite3.Connection, block_id: str) -> tuple[int, Block] | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM blocks WHERE block_id = ?", (block_id,)).fetchone()  # noqa: S608
    return None if row is None else (row[0], _block(row))


def _get(db: sqlite3.Connection, block_id: str) -> tuple[int, Block]:
    known = _find(db, block_id)
    if known is None:
        raise UnknownBlockError(f"block {block_id}: is not known")
    return known


def _demand(block: Block, state: BlockState) -> None:
    if block.state is not state:
        raise ConflictError(f"block {block.block_id}: is {block.state}, not {state}")


def _is_held(db: sqlite3.Connection, row: int, halves: Halves, secret: bytes) -> bool:
    for start, end in ((halves.own_start, halves.own_end), (halves.peer_start, halves.peer_end)):
        held = material.read(db, [(row, start, end - start)])
        if not hmac.compare_digest(held, secret[start // 8 : end // 8]):
            return False
    return True


def _insert(db: sqlite3.Connection, block: Block, halves: Halves) -> int:
    cursor = db.execute(
        "INSERT INTO blocks (block_id, link_id, peer_node, role, bit_count, state, own_next_bits, own_end_bits,"
        " peer_start_bits, peer_end_bits, peer_left_bits, live_bits) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            block.block_id,
            block.link_id,
            block.peer_node,
            block.role,
            block.bit_count,
            block.state,
            halves.own_start,
            halves.own_end,
            halves.peer_start,
            halves.peer_end,
            halves.peer_bits,
            halves.own_bits + halves.peer_bits,
        ),
    )
    row = cursor.lastrowid
    if row is None:
        raise sqlite3.InternalError("no row was inserted")
    return row
