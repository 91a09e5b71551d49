"""node.qkd.bits: bits as uint8 arrays and as packed bytes, the way the wire carries them. Pure."""

import numpy as np
import numpy.typing as npt

from qnetem.runtime.errors import BadInputError

__all__ = ["Bits", "checked", "pack", "pack_levels", "parity", "unpack", "unpack_levels"]

Bits = npt.NDArray[np.uint8]
"""Zeros and ones, shape (n,), uint8."""


def checked(bits: npt.ArrayLike, what: str, bit_count: int | None = None) -> Bits:
    """Return `bits` as a contiguous uint8 array, shape (n,).

    Raises:
        BadInputError: `bits` is not one-dimensional, holds anything but 0 and 1, or has not `bit_count` entries.
    """
    array = np.asarray(bits)
    if array.ndim != 1:
        raise BadInputError(f"{what}: expected one dimension, got {array.ndim}")
    if bit_count is not None and len(array) != bit_count:
        raise BadInputError(f"{what}: expected {bit_count} bits, got {len(array)}")
    if len(array) and not (array.dtype.kind in "bui" and array.min() >= 0 and array.max() <= 1):
        raise BadInputError(f"{what}: holds other values than 0 and 1")
    return np.ascontiguousarray(array, dtype=np.uint8)


def pack(bits: Bits) -> bytes:
    """Return bits eight to a byte, the first in the least significant bit, the last byte padded with zeros."""
    return np.packbits(bits, bitorder="little").tobytes()


def unpack(data: bytes, bit_count: int, what: str = "bits") -> Bits:
    """Return the `bit_count` bits that `data` holds, shape (bit_count,), uint8.

    Raises:
        BadInputError: `data` is longer or shorter than `bit_count` bits need, or its padding is not zero.
    """
    byte_count = (bit_count + 7) // 8
    if bit_count < 0 or len(data) != byte_count:
        raise BadInputError(f"{what}: {bit_count} bits take {byte_count} bytes, got {len(data)}")
    if bit_count % 8 and data[-1] >> bit_count % 8:
        raise BadInputError(f"{what}: padding after bit {bit_count} is not zero")
    return np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=bit_count, bitorder="little")


def pack_levels(levels: npt.NDArray[np.uint8], level_count: int) -> bytes:
    """Return numbers below `level_count` as bits: as few to each as hold any of them, the least significant first.

    Two levels take a bit each, three or four two, one takes none.
    """
    width = (level_count - 1).bit_length()
    if width == 1:
        return pack(levels)
    bits = levels.astype(np.uint8)[:, None] >> np.arange(width, dtype=np.uint8) & np.uint8(1)
    return np.packbits(bits, bitorder="little").tobytes()


def unpack_levels(data: bytes, count: int, level_count: int, what: str = "levels") -> npt.NDArray[np.uint8]:
    """Return the `count` numbers below `level_count` that `data` holds, shape (count,), uint8.

    Raises:
        BadInputError: `data` is longer or shorter than they need, or holds a number that is too large.
    """
    width = (level_count - 1).bit_length()
    bits = unpack(data, count * width, what)
    if width == 1:
        return bits
    bits = bits.reshape(count, width)
    levels: npt.NDArray[np.uint8] = (bits << np.arange(width, dtype=np.uint8)).sum(axis=1, dtype=np.uint8)
    if len(levels) and int(levels.max()) >= level_count:
        raise BadInputError(f"{what}: {int(levels.max())} is not below {level_count}")
    return levels


def parity(bits: npt.NDArray[np.uint8], axis: int = -1) -> npt.NDArray[np.uint8]:
    """Return the exclusive or of `bits` along `axis` (of no bits: 0)."""
    folded: npt.NDArray[np.uint8] = np.bitwise_xor.reduce(bits, axis=axis, dtype=np.uint8)
    return folded
