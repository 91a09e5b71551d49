"""node.keys.hybrid_ledger: which keys are derived of agreed secrets, and the secrets. Edge: SQLite.

Run inside a transaction, as node.keys.ledger. A hybrid key's row is there before its KME says that it holds the key;
the secret is sealed as bits are, and destroyed with them.
"""

import hmac
import sqlite3
from collections.abc import Iterable

from node.keys.connection import of
from node.keys.hybrid import hybrid_key
from node.keys.policy import KeyMode
from qnetem.runtime.errors import ConflictError

__all__ = ["destroy", "finished", "forget", "hold", "mark_pqc"]


def hold(db: sqlite3.Connection, key_ids: Iterable[str], secret: bytes, now_s: float) -> None:
    """Note the agreed secret of hybrid keys; the same again is accepted.

    Raises:
        ConflictError: One has another, or has ended.
    """
    vault = of(db).vault
    for key_id in key_ids:
        row = db.execute("SELECT mode, sealed FROM agreed WHERE key_id = ?", (key_id,)).fetchone()
        if row is None:
            sealed = vault.seal(secret, _place(key_id))
            db.execute("INSERT INTO agreed VALUES (?, ?, ?, ?)", (key_id, KeyMode.HYBRID, sealed, now_s))
        elif row[0] != KeyMode.HYBRID or row[1] is None or not _is_same(vault.open(row[1], _place(key_id)), secret):
            raise ConflictError(f"key {key_id}: another secret was agreed on, or it has ended")


def mark_pqc(db: sqlite3.Connection, key_id: str, now_s: float) -> None:
    """Note that a key has no QKD bits in it."""
    db.execute("INSERT INTO agreed VALUES (?, ?, NULL, ?)", (key_id, KeyMode.PQC, now_s))


def finished(db: sqlite3.Connection, key_id: str, bits: bytearray) -> tuple[bytearray, KeyMode]:
    """Return the value that a key of these bits has for its SAEs, and what it is made of; the bits may be wiped."""
    row = db.execute("SELECT mode, sealed FROM agreed WHERE key_id = ?", (key_id,)).fetchone()
    if row is None:
        return bits, KeyMode.QKD
    mode = KeyMode(row[0])
    if mode is KeyMode.PQC:
        return bits, mode
    if row[1] is None:
        raise ConflictError(f"key {key_id}: its agreed secret is gone")
    secret = of(db).vault.open(row[1], _place(key_id))
    value = hybrid_key(bits, secret, key_id)
    for spent in (bits, secret):
        spent[:] = bytes(len(spent))
    return value, mode


def destroy(db: sqlite3.Connection, key_id: str) -> None:
    """Destroy the agreed secret of a key that has ended."""
    db.execute("UPDATE agreed SET sealed = NULL WHERE key_id = ? AND sealed IS NOT NULL", (key_id,))


def forget(db: sqlite3.Connection, before_s: float) -> None:
    """Forget rows noted before `before_s`, wall seconds, of keys that are not (any more) known."""
    db.execute(
        "DELETE FROM agreed WHERE noted_s <= ? AND NOT EXISTS (SELECT 1 FROM keys k WHERE k.key_id = agreed.key_id)",
        (before_s,),
    )


def _is_same(one: bytes | bytearray, other: bytes | bytearray) -> bool:
    return hmac.compare_digest(one, other)


def _place(key_id: str) -> bytes:
    return b"agreed " + key_id.encode()
