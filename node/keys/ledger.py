"""node.keys.ledger: the life of a key, as operations on the database. Edge: SQLite.

Run inside a transaction: what raises leaves nothing behind. A key's bits are its pieces of link blocks, or, when master
and slaves are all attached to this KME, `material` drawn here.
"""

import sqlite3
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.keys import audit, hybrid_ledger, material, pools
from node.keys.connection import of
from node.keys.material import Span
from node.keys.policy import KeyMode
from node.keys.records import (
    Assignment,
    IssuedKey,
    KeysNotFoundError,
    KeyState,
    NotNamedError,
    Piece,
    PoolExhaustedError,
)
from node.keys.secret import SecretBytes
from qnetem.runtime.errors import ConflictError

__all__ = [
    "Key",
    "collect",
    "cut",
    "deliver",
    "drawn_value",
    "end",
    "find",
    "insert",
    "replace_drawn",
    "reserve",
    "spans",
    "take",
]

Draw = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Key:
    """A row of the ledger. peer_node: the KME that the bits are shared with, "" for none; is_insecure: IssuedKey's."""

    key_id: str
    peer_node: str
    is_master: bool
    master_sae_id: str
    size_bits: int
    state: KeyState
    is_insecure: bool = False


def find(db: sqlite3.Connection, key_id: str) -> Key | None:
    """Return the key of that id."""
    row = db.execute(
        "SELECT key_id, peer_node, is_master, master_sae_id, size_bits, state, is_insecure FROM keys WHERE key_id = ?",
        (key_id,),
    ).fetchone()
    return None if row is None else Key(row[0], row[1], row[2] == 1, row[3], row[4], KeyState(row[5]), row[6] == 1)


def insert(
    db: sqlite3.Connection,
    key: Key,
    saes: Sequence[str],
    where: Sequence[Span],
    now_s: float,
    expires_s: float | None = None,
    value: bytes | bytearray | None = None,
) -> None:
    """Add a key; `saes` are the slaves attached to this KME, who may collect it until `expires_s`, emulated."""
    sealed = None if value is None else of(db).vault.seal(value, _place(key.key_id))
    row = (key.key_id, key.peer_node, key.is_master, key.master_sae_id, key.size_bits, key.state)
    values = (*row, now_s, expires_s, sealed, key.is_insecure)
    db.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    for sae in saes:
        db.execute("INSERT INTO parties VALUES (?, ?, 0)", (key.key_id, sae))
    for position, span in enumerate(where):
        db.execute("INSERT INTO pieces VALUES (?, ?, ?, ?, ?)", (key.key_id, position, *span))


def reserve(
    db: sqlite3.Connection,
    master_sae_id: str,
    local_saes: Sequence[str],
    peer_node: str,
    number: int,
    size_bits: int,
    now_s: float,
    draw: Draw,
    expires_s: float | None = None,
) -> list[Assignment]:
    """Take `number` keys out of the own half of the pool shared with `peer_node` ("": draw them), under new ids.

    What slaves attached here have not collected by `expires_s`, emulated, they will not.

    Raises:
        PoolExhaustedError: Less is there than asked for; names both.
    """
    reserved = []
    taken: Sequence[Sequence[tuple[str, Span]]] = [()] * number
    if peer_node:
        taken = take(db, peer_node, number, size_bits)
        pools.move(db, peer_node, "available", "reserved", number * size_bits)
    for pieces in taken:
        key_id = str(uuid.UUID(bytes=draw(16), version=4))
        assignment = Assignment(key_id, tuple(Piece(name, span[1], span[2]) for name, span in pieces))
        is_insecure = assignment.is_insecure
        key = Key(key_id, peer_node, True, master_sae_id, size_bits, KeyState.RESERVED, is_insecure)
        value = None if peer_node else draw(size_bits // 8)
        insert(db, key, local_saes, [span for _, span in pieces], now_s, expires_s, value)
        audit.record(db, "key.reserved", key_id=key_id, master=master_sae_id, peer_node=peer_node, size_bits=size_bits)
        reserved.append(assignment)
    return reserved


def take(db: sqlite3.Connection, peer_node: str, number: int, size_bits: int) -> list[list[tuple[str, Span]]]:
    """Take bits for `number` keys out of the own half of the pool shared with `peer_node`; who takes them moves them.

    Returns:
        For each key its pieces, in order: the block's id and the span.

    Raises:
        PoolExhaustedError: Less is there than asked for; names both.
    """
    stored = pools.pool(db, peer_node).available_bits
    if stored < number * size_bits:
        raise PoolExhaustedError(
            f"not enough key material shared with KME {peer_node}:"
            f" stored {stored // size_bits} keys of {size_bits} bits, asked {number}"
        )
    return cut(db, peer_node, number, size_bits)


def cut(db: sqlite3.Connection, peer_node: str, number: int, size_bits: int) -> list[list[tuple[str, Span]]]:
    """Take bits that are known to be there; see `take`."""
    keys: list[list[tuple[str, Span]]] = []
    pieces: list[tuple[str, Span]] = []
    missing = size_bits
    nexts: list[tuple[int, int]] = []
    cursor = db.execute(
        "SELECT id, block_id, own_next_bits, own_end_bits FROM blocks WHERE peer_node = ?"
        " AND state = 'available' AND is_confirmed = 1 AND own_next_bits < own_end_bits AND is_preshared = 0"
        " ORDER BY id",
        (peer_node,),
    )
    for row, block_id, next_bits, end_bits in cursor:
        while next_bits < end_bits and len(keys) < number:
            length = min(missing, end_bits - next_bits)
            pieces.append((block_id, (row, next_bits, length)))
            next_bits += length
            missing -= length
            if missing == 0:
                keys.append(pieces)
                pieces, missing = [], size_bits
        nexts.append((next_bits, row))
        if len(keys) == number:
            break
    cursor.close()
    db.executemany("UPDATE blocks SET own_next_bits = ? WHERE id = ?", nexts)
    return keys


def deliver(db: sqlite3.Connection, key_ids: Sequence[str], now_s: float, *, is_held: bool = False) -> list[IssuedKey]:
    """Hand reserved keys to their master: RESERVED -> ASSIGNED, or CONSUMED when no slave of this KME is to collect.

    With `is_held` the master is one of the slaves: the keys become ASSIGNED, and are returned without their values.

    Raises:
        ConflictError: One is not RESERVED.
    """
    issued = []
    for key_id in key_ids:
        key = find(db, key_id)
        if key is None or key.state is not KeyState.RESERVED:
            raise ConflictError(f"key {key_id}: is not reserved any more")
        is_last = _is_collected(db, key_id)
        if not is_held:
            issued.append(_issue(db, key, key.master_sae_id, "master", now_s, is_last=is_last))
        else:
            issued.append(IssuedKey(key_id, SecretBytes(b"")))
            if is_last:
                end(db, key, KeyState.CONSUMED, now_s)
        if is_last:
            continue
        pools.move(db, key.peer_node, "reserved", "assigned", key.size_bits)
        db.execute("UPDATE keys SET state = ?, changed_s = ? WHERE key_id = ?", (KeyState.ASSIGNED, now_s, key_id))
    return issued


def collect(
    db: sqlite3.Connection,
    sae_id: str,
    master_sae_id: str,
    key_ids: Sequence[str],
    now_s: float,
    emulated_s: float = float("-inf"),
) -> list[IssuedKey]:
    """Hand keys to one of their slaves, all or none; each slave gets each once, before it expires.

    Raises:
        NotNamedError: The SAE was not named for one of them.
        KeysNotFoundError: One is unknown, not of this master, not ASSIGNED, expired, or this slave has it.
    """
    keys: list[Key] = []
    is_missing = False
    for key_id in key_ids:
        key = find(db, key_id)
        if key is None:
            is_missing = True
            continue
        party = db.execute(
            "SELECT is_collected, (SELECT expires_s FROM keys k WHERE k.key_id = p.key_id) FROM parties p"
            " WHERE key_id = ? AND sae_id = ?",
            (key_id, sae_id),
        ).fetchone()
        is_named = party is not None or sae_id == key.master_sae_id
        if not is_named and not (key.state is KeyState.VOIDED and key.size_bits == 0):
            raise NotNamedError("the caller was not named when the key was issued")
        is_there = party is not None and party[0] == 0 and key.state is KeyState.ASSIGNED
        is_expired = party is not None and party[1] is not None and party[1] <= emulated_s
        is_missing = is_missing or not is_there or is_expired or key.master_sae_id != master_sae_id
        keys.append(key)
    if is_missing:
        raise KeysNotFoundError("one or more keys specified are not found on KME")
    issued = []
    for key in keys:
        db.execute("UPDATE parties SET is_collected = 1 WHERE key_id = ? AND sae_id = ?", (key.key_id, sae_id))
        is_last = _is_collected(db, key.key_id)
        issued.append(_issue(db, key, sae_id, "slave", now_s, is_last=is_last))
    return issued


def end(db: sqlite3.Connection, key: Key, state: KeyState, now_s: float) -> None:
    """End a key that has a value (RESERVED or ASSIGNED) in one of the other states; its value is destroyed."""
    material.destroy(db, spans(db, key.key_id))
    hybrid_ledger.destroy(db, key.key_id)
    _ended(db, key, state, now_s)
    if state is not KeyState.CONSUMED:
        event = "key.expired" if state is KeyState.EXPIRED else "key.voided"
        audit.record(db, event, key_id=key.key_id, peer_node=key.peer_node, size_bits=key.size_bits)


def _ended(db: sqlite3.Connection, key: Key, state: KeyState, now_s: float) -> None:
    source: pools.Column = "reserved" if key.state is KeyState.RESERVED else "assigned"
    target: pools.Column = "voided"
    if state is KeyState.CONSUMED:
        target = "delivered"
    elif state is KeyState.EXPIRED:
        target = "expired"
    pools.move(db, key.peer_node, source, target, key.size_bits)
    db.execute("UPDATE keys SET state = ?, changed_s = ?, sealed = NULL WHERE key_id = ?", (state, now_s, key.key_id))


def spans(db: sqlite3.Connection, key_id: str) -> list[Span]:
    """Return where the key's bits lie."""
    return list(
        db.execute("SELECT block, offset_bits, length_bits FROM pieces WHERE key_id = ? ORDER BY position", (key_id,))
    )


def _place(key_id: str) -> bytes:
    return b"key " + key_id.encode()


def drawn_value(db: sqlite3.Connection, key_id: str) -> bytearray:
    """Return the value of a key that is no part of a link's pool, in a buffer that the caller wipes."""
    (sealed,) = db.execute("SELECT sealed FROM keys WHERE key_id = ?", (key_id,)).fetchone()
    return of(db).vault.open(sealed, _place(key_id))


def replace_drawn(db: sqlite3.Connection, key_id: str, value: bytes | bytearray, state: KeyState, now_s: float) -> None:
    """Give such a key another value and state."""
    sealed = of(db).vault.seal(value, _place(key_id))
    db.execute("UPDATE keys SET sealed = ?, state = ?, changed_s = ? WHERE key_id = ?", (sealed, state, now_s, key_id))


def _issue(db: sqlite3.Connection, key: Key, party: str, role: str, now_s: float, *, is_last: bool) -> IssuedKey:
    """Return the key for one of its parties; after the last one it is CONSUMED, and its value destroyed."""
    if key.peer_node:
        where = spans(db, key.key_id)
        value = material.spend(db, where) if is_last else material.read(db, where)
    else:
        value = drawn_value(db, key.key_id)
    value, mode = hybrid_ledger.finished(db, key.key_id, value)
    marks: dict[str, audit.Field] = {"mode": mode, **({"is_insecure": True} if key.is_insecure else {})}
    audit.record(db, "key.delivered", key_id=key.key_id, value=value, party=party, role=role, **marks)
    if is_last:
        if mode is KeyMode.HYBRID:
            hybrid_ledger.destroy(db, key.key_id)
        _ended(db, key, KeyState.CONSUMED, now_s)
    return IssuedKey(key.key_id, SecretBytes(value), mode, key.is_insecure)


def _is_collected(db: sqlite3.Connection, key_id: str) -> bool:
    """Return whether no slave attached here is still to collect the key."""
    left = db.execute("SELECT 1 FROM parties WHERE key_id = ? AND is_collected = 0 LIMIT 1", (key_id,)).fetchone()
    return left is None
