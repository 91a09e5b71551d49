"""node.keys.storage_key: the key that seals keys at rest: what it seals, and how it is read. Edge: files.

A storage key lies in a file of its own (qnetem.runtime.storage_key_file). It never
seals a row itself: it wraps a data key that is drawn for each store, and that seals each row with AES-256-GCM under a
fresh random nonce, the row's place as associated data, so that no row can be put in another's place or store.

ROTATION. The new key lies beside the old one as `<file>.next` until every store that uses the file is sealed under it;
then it is renamed over the old one. A store opens with whichever of the two it is sealed with, so that a crash at any
moment leaves it readable.
"""

import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qnetem.runtime.errors import StorageError
from qnetem.runtime.storage_key_file import KEY_BYTES, TEXT, next_path

__all__ = ["Vault", "WrongStorageKeyError", "candidates", "unwrap", "wrap"]

_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_Readable = bytes | bytearray | memoryview


class WrongStorageKeyError(StorageError):
    """The store is sealed under another storage key."""

    reason = "WRONG_STORAGE_KEY"
    is_definite = True


class Vault:
    """Seals and opens rows of one store under its data key."""

    __slots__ = ("_aead", "_store_id")

    def __init__(self, data_key: bytes, store_id: bytes) -> None:
        """Seal under `data_key`, 32 bytes; what is sealed is bound to the store of that id."""
        self._aead = AESGCM(data_key)
        self._store_id = store_id

    def seal(self, plain: _Readable, place: bytes) -> bytes:
        """Return nonce, ciphertext and tag of `plain`, which belongs at `place`."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, self._store_id + place)

    def open(self, sealed: bytes, place: bytes) -> bytearray:
        """Return what was sealed, in a buffer that the caller wipes.

        Raises:
            StorageError: It was altered, or belongs elsewhere.
        """
        plain = bytearray(len(sealed) - _NONCE_BYTES - _TAG_BYTES)
        try:
            self._aead.decrypt_into(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._store_id + place, plain)
        except InvalidTag:
            raise StorageError("a sealed row was altered, or put in another's place") from None
        return plain

    def __repr__(self) -> str:
        return "Vault()"


def candidates(path: Path) -> list[bytes]:
    """Return the storage keys that a store may be sealed under: the file's, and its successor's when there is one.

    Raises:
        StorageError: There is none, or a file is not readable, not a key, or readable by others; names the file.
    """
    found = [key for key in (_load(path), _load(next_path(path))) if key is not None]
    if not found:
        raise StorageError(f"storage key {path}: No such file or directory")
    return found


def _load(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            text = file.read(128)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"storage key {path}: {error.strerror}") from error
    if mode & 0o077:
        raise StorageError(f"storage key {path}: mode {mode:04o} lets others read it; 0600 is due")
    if TEXT.fullmatch(text) is None:
        raise StorageError(f"storage key {path}: does not hold 64 hexadecimal digits")
    return bytes.fromhex(text.decode().strip())


def _wrapping(storage_key: bytes, store_id: bytes) -> AESGCM:
    derived = HKDF(SHA256(), KEY_BYTES, salt=store_id, info=b"qnetem storage key").derive(storage_key)
    return AESGCM(derived)


def wrap(storage_key: bytes, store_id: bytes, data_key: bytes) -> bytes:
    """Return the data key of a store, sealed under the storage key."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + _wrapping(storage_key, store_id).encrypt(nonce, data_key, b"data key")


def unwrap(storage_key: bytes, store_id: bytes, wrapped: bytes) -> bytes | None:
    """Return the data key of a store; None when it is sealed under another storage key."""
    try:
        return _wrapping(storage_key, store_id).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], b"data key")
    except InvalidTag:
        return None
