"""node.keys.relay_arrival: transfers at the KMEs they come to: passed on, or held. Edge: SQLite.

Run inside a transaction, as node.keys.ledger: what raises left nothing behind.
"""

import hashlib
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from node.keys import blocks, ledger, material, pools, relay_tag_keys, transfers
from node.keys.ledger import Key
from node.keys.material import Span
from node.keys.records import Block, BlockRole, BlockState, KeyState, UnusableBlocksError
from node.keys.relay_frame import TAG_BITS, header_of, material_bits, opened, pieces_of, wipe, xor_into
from node.keys.relay_machine import Pad, PadEvent, ReceiptEvent, receipt_after
from node.keys.relay_rows import change_pad, closed, find, insert, note, pool_link, row_of
from qnetem.runtime.errors import ConflictError
from qnetem.v1 import key_relay_pb2 as pb

__all__ = ["Arrival", "arrive", "give_up_pad", "settle"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a request has become here.

    Attributes:
        header: What it says.
        onward: To be sent to the next node; None when this is the target, or the target is known to hold it.
        is_new: It had not come before.
    """

    header: pb.RelayHeader
    onward: pb.RelayRequest | None
    is_new: bool


def arrive(
    db: sqlite3.Connection,
    own_node: str,
    request: pb.RelayRequest,
    capacity_bits: int,
    now_s: float,
    default_expires_s: float,
) -> Arrival:
    """Take a request in and, at a middle node, close it for the next; at the target, hold what it carries.

    The same again is answered as before. The caller, the path and the SAEs were checked.

    Raises:
        ConflictError: It is known otherwise, was voided or burned, or given up here.
        UnusableBlocksError: Blocks of the pad are not held here; nothing was retained.
        BlockPendingError: A block of the pad is not AVAILABLE here yet.
        BadTagError: It was not made by the neighbour; nothing was retained.
        UnknownTagKeyError: It is tagged under a hash key that is not held here; nothing was retained.
        PoolExhaustedError: There is not enough pad to the next node; nothing was retained.
    """
    header = header_of(request.header)
    path = list(header.path)
    at = path.index(own_node)
    is_home = at == len(path) - 1
    row = find(db, header.transfer_id)
    event = ReceiptEvent.CAME_HOME if is_home else ReceiptEvent.CAME_THROUGH
    try:
        state = receipt_after(row.receipt if row is not None else None, event)
    except ConflictError as error:
        raise ConflictError(f"transfer {header.transfer_id}: {error}") from None
    digest = hashlib.sha256(request.SerializeToString(deterministic=True)).digest()
    if row is not None:
        if row.received != digest or row.pad_state in (Pad.BURN_PENDING, Pad.BURNED):
            raise ConflictError(f"transfer {header.transfer_id}: is known otherwise, or was given up here")
        onward = pb.RelayRequest.FromString(row.request) if row.request is not None else None
        return Arrival(header, onward, False)
    value = _unpadded(db, path[at - 1], request)
    onward = None
    if is_home:
        _hold(db, header, path[at - 1], value, capacity_bits, now_s, default_expires_s)
    else:
        onward = closed(db, path[at + 1], request.header, value)
        note(db, header, "relay.forwarded", from_hop=path[at - 1], next_hop=path[at + 1])
    wipe(value)
    held = header.keys.key_ids if is_home else ()
    insert(db, row_of(header, "target" if is_home else "middle", state, own_node, digest, onward), held, now_s)
    return Arrival(header, onward, True)


def _unpadded(db: sqlite3.Connection, previous_node: str, request: pb.RelayRequest) -> bytearray:
    """Spend the pad of a request and return what it carries."""
    pieces = pieces_of(request.pad)
    found = [(piece, transfers.given_span(db, previous_node, piece)) for piece in pieces]
    missing = sorted({piece.block_id for piece, span in found if span is None})
    if missing:
        raise UnusableBlocksError(f"blocks not held here: {', '.join(missing)}", missing)
    spans: list[Span] = [span for _, span in found if span is not None]
    for span in spans:
        if material.is_claimed(db, span):
            raise ConflictError("bits of the pad were given before")
        material.claim(db, span)
    tag_key = relay_tag_keys.of_peer(db, previous_node, pieces_of(request.tag_key))
    value = opened(request, material.read(db, spans), tag_key)
    material.destroy(db, spans)
    pools.move(db, previous_node, "peer_available", "relayed", 8 * len(value))
    pools.move(db, previous_node, "peer_available", "tags", TAG_BITS)
    return value


def _hold(
    db: sqlite3.Connection,
    header: pb.RelayHeader,
    previous_node: str,
    value: bytearray,
    capacity_bits: int,
    now_s: float,
    default_expires_s: float,
) -> None:
    source, size_bits = header.path[0], header.size_bits
    if 8 * len(value) != material_bits(header):
        raise ConflictError(f"transfer {header.transfer_id}: {8 * len(value)} bits, not {material_bits(header)}")
    if header.WhichOneof("what") == "block":
        block_id = header.block.block_id
        block = Block(block_id, pool_link(source), source, BlockRole.RECEIVER, size_bits, BlockState.PREPARED, False)
        blocks.prepare(db, block, bytes(value), capacity_bits)
        blocks.commit(db, block_id)
    else:
        others = db.execute(
            "SELECT count(*) FROM transfers WHERE delivery_id = ? AND role = 'target' AND state = 'held'",
            (header.delivery_id,),
        ).fetchone()[0]
        state = KeyState.ASSIGNED if others + 1 == header.share_count else KeyState.RESERVED
        for index, key_id in enumerate(header.keys.key_ids):
            part = value[index * size_bits // 8 : (index + 1) * size_bits // 8]
            _hold_key(db, header, key_id, part, state, now_s, default_expires_s)
            wipe(part)
    note(db, header, "relay.held", from_hop=previous_node, source=source)


def _hold_key(
    db: sqlite3.Connection,
    header: pb.RelayHeader,
    key_id: str,
    part: bytearray,
    state: KeyState,
    now_s: float,
    default_expires_s: float,
) -> None:
    """Hold a key, or one more share of it: it is RESERVED until the last has come, ASSIGNED then."""
    keys = header.keys
    known = ledger.find(db, key_id)
    if known is None:
        key = Key(key_id, "", False, keys.master_sae_id, header.size_bits, state, keys.is_insecure)
        ledger.insert(db, key, keys.slave_sae_ids, (), now_s, keys.expires_s or default_expires_s, part)
        return
    is_ours = not known.is_master and known.state is KeyState.RESERVED and header.share_count > 1
    if not is_ours or (known.master_sae_id, known.size_bits) != (keys.master_sae_id, header.size_bits):
        raise ConflictError(f"key {key_id}: is known already, as another one or ended ({known.state})")
    whole = ledger.drawn_value(db, key_id)
    xor_into(whole, part)
    ledger.replace_drawn(db, key_id, whole, state, now_s)
    wipe(whole)


def settle(db: sqlite3.Connection, transfer_ids: Iterable[str], now_s: float) -> None:
    """Note, at a middle node, that transfers reached their target."""
    for transfer_id in transfer_ids:
        row = find(db, transfer_id)
        if row is not None:
            change_pad(db, row, PadEvent.ACKNOWLEDGED, now_s)


def give_up_pad(db: sqlite3.Connection, transfer_id: str, now_s: float) -> None:
    """Note, at a middle node, that a transfer failed behind it: its pad is burned, and it is not sent on any more."""
    row = find(db, transfer_id)
    if row is not None:
        change_pad(db, row, PadEvent.GIVEN_UP, now_s)
