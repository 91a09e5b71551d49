"""node.keys.connection: a connection to the store that can open its rows and remembers what to record. Edge: SQLite."""

import os
import secrets
import sqlite3
from pathlib import Path
from typing import Final

from node.keys.audit import Trail
from node.keys.storage_key import Vault, WrongStorageKeyError, candidates, unwrap, wrap
from qnetem.runtime.errors import StorageError
from qnetem.runtime.storage_key_file import KEY_BYTES, make_storage_key

__all__ = ["StoreConnection", "adopt", "default_key_path", "of", "rotate", "unlock"]

_STORE_ID_BYTES: Final = 16
_AUDIT_PLACE: Final = b"audit secret"


class StoreConnection(sqlite3.Connection):
    """What operations on the store are given. `of` narrows to it.

    Attributes:
        key_path: The file of the storage key.
        vault: Seals and opens rows.
        trail: What the transaction under way records.
    """

    key_path: Path
    vault: Vault
    trail: Trail


def of(db: sqlite3.Connection) -> StoreConnection:
    """Return the store's own kind of connection."""
    if not isinstance(db, StoreConnection):
        raise TypeError("not a connection of the key store")
    return db


def default_key_path(path: Path) -> Path:
    """Return where the storage key of the store at `path` lies when nobody names a file."""
    return path.with_name(path.name + ".key")


def adopt(db: StoreConnection, path: Path, key_path: Path | None) -> None:
    """Give a new store its id, its data key and the secret of its audit trail.

    Raises:
        StorageError: The file of the storage key is not usable; names it. Without `key_path` it is made.
    """
    if key_path is None:
        make_storage_key(default_key_path(path))
    # a successor that waits is the key to come: what is new is sealed under that
    storage_key = candidates(key_path or default_key_path(path))[-1]
    store_id, data_key = os.urandom(_STORE_ID_BYTES), secrets.token_bytes(KEY_BYTES)
    sealed = Vault(data_key, store_id).seal(secrets.token_bytes(KEY_BYTES), _AUDIT_PLACE)
    db.execute("INSERT INTO vault VALUES (1, ?, ?, ?)", (store_id, wrap(storage_key, store_id, data_key), sealed))


def unlock(db: StoreConnection, path: Path, key_path: Path | None) -> None:
    """Open the store's data key with its storage key.

    Raises:
        WrongStorageKeyError: It is sealed under another one.
        StorageError: The file is not usable; names it.
    """
    db.key_path = key_path or default_key_path(path)
    row = db.execute("SELECT store_id, data_key, audit_secret FROM vault").fetchone()
    if row is None:
        raise StorageError(f"key store {path}: is without its sealed data key")
    store_id, wrapped, sealed = row
    for storage_key in candidates(db.key_path):
        data_key = unwrap(storage_key, store_id, wrapped)
        if data_key is not None:
            db.vault = Vault(data_key, store_id)
            db.trail = Trail(bytes(db.vault.open(sealed, _AUDIT_PLACE)))
            return
    raise WrongStorageKeyError(f"key store {path}: is not sealed under the storage key in {db.key_path}")


def rotate(db: StoreConnection) -> bool:
    """Seal the whole store anew, under a new data key and the last of the storage keys there are; may be repeated.

    Returns:
        Whether there was anything to do: the store is not sealed under that key already.

    Raises:
        StorageError: A file of the storage key is not usable, or a row was altered.
    """
    storage_key = candidates(db.key_path)[-1]
    store_id, wrapped, audit_secret = db.execute("SELECT store_id, data_key, audit_secret FROM vault").fetchone()
    if unwrap(storage_key, store_id, wrapped) is not None:
        return False
    data_key = secrets.token_bytes(KEY_BYTES)
    old, new = db.vault, Vault(data_key, store_id)
    # those of hops that begin here are drawn anew
    db.execute("DELETE FROM tag_keys WHERE is_own = 1")
    for table, column, prefix in (
        ("secrets", "id", b"secret "),
        ("keys", "key_id", b"key "),
        ("agreed", "key_id", b"agreed "),
        ("tag_keys", "name", b"tag key "),
    ):
        rows = db.execute(f"SELECT {column}, sealed FROM {table} WHERE sealed IS NOT NULL").fetchall()  # noqa: S608
        for row_id, sealed in rows:
            place = prefix + str(row_id).encode()
            plain = old.open(sealed, place)
            db.execute(
                f"UPDATE {table} SET sealed = ? WHERE {column} = ?",  # noqa: S608 of the literals above
                (new.seal(plain, place), row_id),
            )
            plain[:] = bytes(len(plain))
    db.execute(
        "UPDATE vault SET data_key = ?, audit_secret = ?",
        (wrap(storage_key, store_id, data_key), new.seal(old.open(audit_secret, _AUDIT_PLACE), _AUDIT_PLACE)),
    )
    db.vault = new
    return True
