"""node.keys.hybrid: keys derived of QKD bits and an ML-KEM-768 secret, or of the latter alone. Pure.

Source: proto/qnetem/v1/kem.proto; HKDF of RFC 5869 with SHA-256, of concatenated secrets as in NIST SP 800-56C.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qnetem.v1.kem_pb2 import KemShare

__all__ = ["SECRET_BYTES", "Agreed", "agreed_secret", "hybrid_key", "pqc_key", "wrapped"]

SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Agreed:
    """A secret that this KME shares with others as soon as each has its share: what to send, by node."""

    secret: bytes = field(repr=False)
    shares: Mapping[str, KemShare] = field(repr=False)


def agreed_secret(kem_secret: bytes, kem_id: str, ciphertext: bytes) -> bytes:
    """Return the 32 bytes that two KMEs agree on by one encapsulation, bound to its key and ciphertext."""
    context = b"qnetem kem v1\0" + kem_id.encode() + hashlib.sha256(ciphertext).digest()
    return _hkdf(kem_secret, context, SECRET_BYTES)


def hybrid_key(bits: bytes | bytearray, secret: bytes | bytearray, key_id: str) -> bytearray:
    """Return the hybrid key: as long as its QKD bits, secret while these or the agreed secret are."""
    both = bytearray(bits) + secret
    key = bytearray(_hkdf(both, b"qnetem hybrid v1\0" + key_id.encode(), len(bits)))
    both[:] = bytes(len(both))
    return key


def pqc_key(secret: bytes | bytearray, key_id: str, size_bytes: int) -> bytearray:
    """Return a key of the agreed secret alone."""
    return bytearray(_hkdf(secret, b"qnetem pqc v1\0" + key_id.encode(), size_bytes))


def wrapped(secret: bytes | bytearray, own_secret: bytes) -> bytes:
    """Return `secret` under another agreed secret; the same again unwraps it."""
    mask = _hkdf(own_secret, b"qnetem kem wrap v1", SECRET_BYTES)
    return bytes(one ^ other for one, other in zip(secret, mask, strict=True))


def _hkdf(material: bytes | bytearray, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, None, info).derive(material)
