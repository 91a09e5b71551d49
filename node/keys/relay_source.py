"""node.keys.relay_source: transfers at the KME that began them: opened, released, given up. Edge: SQLite.

Run inside a transaction, as node.keys.ledger.
"""

import sqlite3
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from node.keys import audit, blocks, hybrid_ledger, ledger, transfers
from node.keys.hybrid import Agreed
from node.keys.ledger import Draw, Key
from node.keys.records import INSECURE, Block, BlockRole, BlockState, IssuedKey, KeyState
from node.keys.relay_frame import shares, wipe
from node.keys.relay_machine import PadEvent, Transfer, TransferEvent, is_releasable, transfer_after
from node.keys.relay_rows import (
    change,
    change_pad,
    closed,
    insert,
    key_ids_of,
    note,
    of_delivery,
    pool_link,
    row_of,
)
from qnetem.runtime.errors import ConflictError
from qnetem.v1 import key_relay_pb2 as pb

__all__ = ["Delivery", "Route", "Sent", "abandon", "open_block", "open_keys", "release"]


@dataclass(frozen=True, slots=True)
class Route:
    """Where keys go: the slaves at one target, and a path for each share."""

    target_node: str
    slave_saes: tuple[str, ...]
    paths: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """A transfer on its way from here: send `request` to the second node of `path`."""

    transfer_id: str
    path: tuple[str, ...]
    request: pb.RelayRequest


@dataclass(frozen=True, slots=True)
class Delivery:
    """Transfers that are released together, or not at all."""

    delivery_id: str
    key_ids: tuple[str, ...]
    transfers: tuple[Sent, ...]


def open_keys(
    db: sqlite3.Connection,
    own_node: str,
    master_sae_id: str,
    local_saes: Sequence[str],
    routes: Sequence[Route],
    number: int,
    size_bits: int,
    now_s: float,
    expires_s: float,
    draw: Draw,
    agreed: Agreed | None = None,
    *,
    is_insecure: bool = False,
) -> Delivery:
    """Make fresh keys under new ids, RESERVED here, and close them for the first hop of every path of every route.

    With `agreed` they are hybrid: what is relayed is not yet the key. `is_insecure`: they are marked at all ends.

    Raises:
        PoolExhaustedError: A first hop has less pad than it takes; names both.
    """
    key_ids = [str(uuid.UUID(bytes=draw(16), version=4)) for _ in range(number)]
    whole = bytearray()
    for key_id in key_ids:
        value = bytearray(draw(size_bits // 8))
        key = Key(key_id, "", True, master_sae_id, size_bits, KeyState.RESERVED, is_insecure)
        ledger.insert(db, key, local_saes, (), now_s, expires_s, value)
        audit.record(db, "key.reserved", key_id=key_id, master=master_sae_id, peer_node="", size_bits=size_bits)
        whole += value
        wipe(value)
    if agreed is not None:
        hybrid_ledger.hold(db, key_ids, agreed.secret, now_s)
    delivery_id = str(uuid.UUID(bytes=draw(16), version=4))
    sent = []
    for route in routes:
        parts = shares(whole, [draw(len(whole)) for _ in route.paths[1:]])
        for index, (path, part) in enumerate(zip(route.paths, parts, strict=True)):
            keys = pb.RelayedKeys(
                master_sae_id=master_sae_id,
                slave_sae_ids=route.slave_saes,
                key_ids=key_ids,
                expires_s=expires_s,
                kem=None if agreed is None else agreed.shares[route.target_node],
                is_insecure=is_insecure,
            )
            header = pb.RelayHeader(
                transfer_id=str(uuid.UUID(bytes=draw(16), version=4)),
                delivery_id=delivery_id,
                path=path,
                size_bits=size_bits,
                share_index=index,
                share_count=len(route.paths),
                keys=keys,
            )
            sent.append(_opened(db, own_node, header, part, now_s))
    wipe(whole)
    return Delivery(delivery_id, tuple(key_ids), tuple(sent))


def open_block(
    db: sqlite3.Connection,
    own_node: str,
    path: tuple[str, ...],
    size_bits: int,
    capacity_bits: int,
    now_s: float,
    draw: Draw,
    *,
    is_insecure: bool = False,
) -> Delivery:
    """Make a fresh block for the pool shared with the end of `path`, PREPARED here, and close it for the first hop.

    Raises:
        PoolExhaustedError: The first hop has less pad than it takes.
        PoolFullError: The pool would exceed its capacity.
    """
    transfer_id = str(uuid.UUID(bytes=draw(16), version=4))
    block_id = f"relay/{transfer_id}{INSECURE if is_insecure else ''}"
    value = bytearray(draw(size_bits // 8))
    block = Block(block_id, pool_link(path[-1]), path[-1], BlockRole.TRANSMITTER, size_bits, BlockState.PREPARED, False)
    blocks.prepare(db, block, bytes(value), capacity_bits)
    header = pb.RelayHeader(
        transfer_id=transfer_id,
        delivery_id=str(uuid.UUID(bytes=draw(16), version=4)),
        path=path,
        size_bits=size_bits,
        share_count=1,
        block=pb.RelayedBlock(block_id=block_id),
    )
    return Delivery(header.delivery_id, (), (_opened(db, own_node, header, value, now_s),))


def _opened(db: sqlite3.Connection, own_node: str, header: pb.RelayHeader, value: bytearray, now_s: float) -> Sent:
    data = header.SerializeToString(deterministic=True)
    path = tuple(header.path)
    request = closed(db, path[1], data, value)
    row = row_of(header, "source", Transfer.OPEN, own_node, None, request)
    insert(db, row, header.keys.key_ids, now_s)
    note(db, header, "relay.sent", next_hop=path[1], target=path[-1], path="/".join(path))
    return Sent(header.transfer_id, path, request)


def release(
    db: sqlite3.Connection, delivery_id: str, acknowledged: Iterable[str], now_s: float, *, is_held: bool = False
) -> list[IssuedKey]:
    """Hand a delivery's keys to their master, or make its block AVAILABLE: every target holds it.

    Args:
        db: The store.
        delivery_id: Which.
        acknowledged: The transfers of it that their targets hold.
        now_s: Wall clock.
        is_held: As of ledger.deliver.

    Raises:
        ConflictError: A transfer is not acknowledged, or was given up; its keys are not RESERVED any more.
    """
    held = set(acknowledged)
    found = of_delivery(db, delivery_id)
    states = []
    for row in found:
        state = Transfer(row.state)
        states.append(transfer_after(state, TransferEvent.ACKNOWLEDGED) if row.transfer_id in held else state)
    if not is_releasable(states):
        raise ConflictError(f"delivery {delivery_id}: not every target holds it, or it was given up")
    for row, state in zip(found, states, strict=True):
        change(db, row.transfer_id, transfer_after(state, TransferEvent.RELEASED), now_s)
        change_pad(db, row, PadEvent.ACKNOWLEDGED, now_s)
        for key_id in key_ids_of(db, row.transfer_id) or [""]:
            audit.record(
                db, "relay.acknowledged", key_id=key_id, transfer_id=row.transfer_id, target=row.target_node,
                ack_status="relayed",
            )  # fmt: skip
        if row.block_id:
            blocks.commit(db, row.block_id)
            blocks.confirm(db, row.block_id)
    key_ids = key_ids_of(db, found[0].transfer_id)
    return ledger.deliver(db, key_ids, now_s, is_held=is_held) if key_ids else []


def abandon(
    db: sqlite3.Connection,
    delivery_id: str,
    now_s: float,
    reason: str,
    acknowledged: Collection[str] = (),
    refused: Collection[str] = (),
) -> None:
    """Give a delivery up: its keys or its block are gone here at once, and void at the targets before long.

    Args:
        db: The store.
        delivery_id: Which.
        now_s: Wall clock.
        reason: One word, for the audit trail.
        acknowledged: Transfers of it that their targets hold.
        refused: Transfers of it that nobody but this node retained anything of: no target has to be told.

    Raises:
        ConflictError: It was released.
    """
    for row in of_delivery(db, delivery_id):
        state = Transfer(row.state)
        if row.transfer_id in acknowledged:
            state = transfer_after(state, TransferEvent.ACKNOWLEDGED)
            change_pad(db, row, PadEvent.ACKNOWLEDGED, now_s)
        else:
            change_pad(db, row, PadEvent.GIVEN_UP, now_s)
        event = TransferEvent.REFUSED if row.transfer_id in refused else TransferEvent.ABANDONED
        after = transfer_after(state, event)
        if after is state:
            continue
        change(db, row.transfer_id, after, now_s)
        key_ids = key_ids_of(db, row.transfer_id)
        for key_id in key_ids or [""]:
            audit.record(db, "relay.voided", key_id=key_id, transfer_id=row.transfer_id, reason=reason)
        transfers.void(db, key_ids, now_s)
        if row.block_id:
            blocks.abort(db, row.block_id)
