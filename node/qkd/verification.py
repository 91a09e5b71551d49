"""node.qkd.verification: a hash that tells whether two ends hold the same bits: a polynomial over GF(2^128). Pure.

The bits, packed and padded with zeros to whole blocks of 16 bytes m_1 .. m_l, are the coefficients; the hash is
m_1 k^l + m_2 k^(l-1) + ... + m_l k. A block is the polynomial whose coefficient of x^i is its bit i (bit 0 the least
significant of the first byte); products are reduced by x^128 + x^7 + x^2 + x + 1. Stated for other implementations in
proto/qnetem/v1/link_session.proto, with vectors in tests/contract/post-processing-vectors.json.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from node.qkd.bits import Bits, checked, pack
from qnetem.runtime.errors import BadInputError

__all__ = ["HASH_BITS", "collision_prob", "polynomial_hash"]

HASH_BITS: Final = 128
_HASH_BYTES: Final = HASH_BITS // 8
_REDUCTION: Final = 0b10000111
_MASK: Final = (1 << HASH_BITS) - 1

Blocks = npt.NDArray[np.uint64]
"""Elements of the field, shape (l, 2): low word, high word."""


def collision_prob(bit_count: int, hash_bits: int = HASH_BITS) -> float:
    """Return ceil(n/t) 2^-t: the most that two different strings of n bits have of the same hash under a random key.

    Source: a difference of two strings is a polynomial of degree ceil(n/t) at most, with no more roots than that.
    """
    return float(-(-bit_count // hash_bits)) * 2.0**-hash_bits


def polynomial_hash(bits: Bits, key: bytes) -> bytes:
    """Return the 16-byte hash of `bits` under the 16-byte `key`.

    Raises:
        BadInputError: The key is not 16 bytes, `bits` are no bits, or there are none.
    """
    if len(key) != _HASH_BYTES:
        raise BadInputError(f"a hash key has {_HASH_BYTES} bytes, this one {len(key)}")
    if not len(bits):
        raise BadInputError("there are no bits to hash")
    packed = pack(checked(bits, "bits to hash"))
    block_count = -(-len(packed) // _HASH_BYTES)
    blocks = np.frombuffer(packed.ljust(block_count * _HASH_BYTES, b"\0"), dtype="<u8").reshape(-1, 2)
    point = np.frombuffer(key, dtype="<u8").reshape(1, 2)
    power = point
    while len(blocks) > 1:
        # neighbours fold into one polynomial of half as many coefficients, at the square of the point
        if len(blocks) % 2:
            blocks = np.concatenate([np.zeros((1, 2), dtype=np.uint64), blocks])
        blocks = _product(blocks[0::2], power) ^ blocks[1::2]
        power = _product(power, power)
    return _product(blocks, point).astype("<u8").tobytes()


def _product(blocks: Blocks, factor: Blocks) -> Blocks:
    """Return the products of `blocks`, shape (l, 2), with one `factor`, shape (1, 2)."""
    table = _byte_products(int(factor[0, 0]) | int(factor[0, 1]) << 64)
    octets = np.ascontiguousarray(blocks.astype("<u8", copy=False)).view(np.uint8).reshape(len(blocks), _HASH_BYTES)
    result = np.zeros((len(blocks), 2), dtype=np.uint64)
    for place in range(_HASH_BYTES):
        result ^= table[place].take(octets[:, place], axis=0)
    return result


def _byte_products(factor: int) -> Blocks:
    """Return the product of `factor` with each value of each byte, shape (16, 256, 2)."""
    powers = []
    for _ in range(HASH_BITS):
        powers.append((factor & 0xFFFFFFFFFFFFFFFF, factor >> 64))
        factor = (factor << 1) & _MASK ^ (_REDUCTION if factor >> (HASH_BITS - 1) else 0)
    shifted = np.array(powers, dtype=np.uint64).reshape(_HASH_BYTES, 8, 2)
    table = np.zeros((_HASH_BYTES, 256, 2), dtype=np.uint64)
    for bit in range(8):
        table[:, 1 << bit : 2 << bit] = table[:, : 1 << bit] ^ shifted[:, bit, None]
    return table
