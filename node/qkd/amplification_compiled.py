"""node.qkd.amplification_compiled: a Hankel matrix times bits over GF(2), compiled. Pure.

Imports numba: import it where used. Bits lie eight to a byte. Row i of the matrix is
window[i : i + columns]. A square one is four of half the
size, (A B; B C), and three products do: with P = B (x0 + x1) the result is ((A + B) x0 + P, (B + C) x1 + P).

Source: Fan and Hasan, A new approach to subquadratic space complexity parallel multipliers (2007), for the three
products; the smallest ones go by tables of the sums of four neighbouring diagonals (Arlazarov et al. 1970).
"""

import platform

import llvmlite.binding
import numba
import numpy as np

from node.qkd.bits import Bits

__all__ = ["add_to", "hankel_product", "is_carryless", "write_sum"]

_LEAST_BYTES = 512
# what a loop does at a time
_VECTOR_BYTES = 128
_U8 = numba.types.Array(numba.uint8, 1, "C")


# places are unsigned: a signed one might count from the end, and no loop over it would become vector code
_U64 = numba.uint64
_inner = numba.njit(cache=True, nogil=True)


@_inner
def _shifted(window, at, count, shift, tables, to):  # type: ignore[no-untyped-def]
    left, right, one = np.uint8(8 - shift), np.uint8(shift), np.uint64(1)
    for m in range(count):
        tables[to + m] = np.uint8(window[at + m] >> right) | np.uint8(window[at + m + one] << left)


@_inner
def _clear(count, target, to):  # type: ignore[no-untyped-def]
    for m in range(count):
        target[to + m] = 0


@_inner
def add_to(source, at, count, target, to):  # type: ignore[no-untyped-def]
    """Add a stretch to another, bit by bit; for amplification_carryless too."""
    for m in range(count):
        target[to + m] ^= source[at + m]


@_inner
def write_sum(source, a, b, count, target, to):  # type: ignore[no-untyped-def]
    """Write the sum of two stretches, bit by bit; for amplification_carryless too."""
    for m in range(count):
        target[to + m] = source[a + m] ^ source[b + m]


@_inner
def _add_eight(tables, p, q, r, s, t, u, v, w, count, result, to):  # type: ignore[no-untyped-def]
    for m in range(count):
        result[to + m] ^= (
            tables[p + m] ^ tables[q + m] ^ tables[r + m] ^ tables[s + m]
            ^ tables[t + m] ^ tables[u + m] ^ tables[v + m] ^ tables[w + m]
        )  # fmt: skip


@_inner
def _place(byte, row, upper, g):  # type: ignore[no-untyped-def]
    """Return where the sums of the diagonals of a byte of bits begin: of its lower half, of its upper half."""
    byte = np.uint64(byte)
    return (byte & np.uint64(15)) * row + g, upper + (byte >> np.uint64(4)) * row + g


@_inner
def _smallest(window, at, bits, first, result, to, size, tables):  # type: ignore[no-untyped-def]
    """Add the product of `size` bytes, a multiple of 4, by tables: [16][2 size] for lower, then for upper halves."""
    one, sixteen = np.uint64(1), np.uint64(16)
    row = size + size
    for half in range(2):
        base = np.uint64(half) * sixteen * row
        _clear(row, tables, base)
        for bit in range(4):
            here = base + (row << np.uint64(bit))
            _shifted(window, at, row, 4 * half + bit, tables, here)
            for other in range(1, 1 << bit):
                write_sum(tables, base + np.uint64(other) * row, here, row, tables, here + np.uint64(other) * row)
    upper = sixteen * row
    for g in range(np.uint64(0), size, np.uint64(4)):
        g1, g2, g3 = g + one, g + np.uint64(2), g + np.uint64(3)
        p, q = _place(bits[first + g], row, upper, g)
        r, s = _place(bits[first + g1], row, upper, g1)
        t, u = _place(bits[first + g2], row, upper, g2)
        v, w = _place(bits[first + g3], row, upper, g3)
        _add_eight(tables, p, q, r, s, t, u, v, w, size, result, to)


@numba.njit(numba.void(_U8, _U64, _U8, _U64, _U8, _U64, _U64, numba.int64, _U8, _U64, _U8), cache=True, nogil=True)
def _add_product(window, at, bits, first, result, to, size, level, space, free, tables):  # type: ignore[no-untyped-def]
    """Add the product of `size` bytes, halved `level` times; 4 `size` bytes of `space` are free."""
    if level == 0:
        _smallest(window, at, bits, first, result, to, size, tables)
        return
    half, level = size >> np.uint64(1), level - 1
    # a sum of windows, the sum of the bits, and the product of both
    bits_at = free + size
    product_at, rest = bits_at + half, bits_at + size
    write_sum(window, at, at + half, size, space, free)
    _add_product(space, free, bits, first, result, to, half, level, space, rest, tables)
    write_sum(window, at + half, at + size, size, space, free)
    _add_product(space, free, bits, first + half, result, to + half, half, level, space, rest, tables)
    write_sum(bits, first, first + half, half, space, bits_at)
    _clear(half, space, product_at)
    _add_product(window, at + half, space, bits_at, space, product_at, half, level, space, rest, tables)
    add_to(space, product_at, half, result, to)
    add_to(space, product_at, half, result, to + half)


@numba.njit(numba.void(_U8, _U8, _U8, _U64, numba.int64), cache=True, nogil=True)
def _add_all(window, bits, result, size, level):  # type: ignore[no-untyped-def]
    space, tables = (
        np.empty(np.uint64(4) * size + np.uint64(1), np.uint8),
        np.empty(np.uint64(64) * (size >> np.uint64(level)), np.uint8),
    )
    zero = np.uint64(0)
    for first in range(zero, np.uint64(len(bits)), size):
        _add_product(window, first, bits, first, result, zero, size, level, space, zero, tables)


def is_carryless() -> bool:
    """Return whether this processor multiplies without carries, and code is compiled for it and no other."""
    is_own = numba.config.CPU_NAME is None and numba.config.CPU_FEATURES is None
    is_known = platform.machine().lower() in ("x86_64", "amd64")
    return is_own and is_known and bool(llvmlite.binding.get_host_cpu_features().get("pclmul"))


def hankel_product(window_bits: Bits, bits: Bits, row_count: int) -> Bits:
    """Return the parities of window[i : i + n] AND bits for i below `row_count`, uint8[row_count].

    Args:
        window_bits: uint8[n + row_count - 1].
        bits: uint8[n].
    """
    row_bytes = -(-row_count // 8)
    level = max(0, (row_bytes // _LEAST_BYTES).bit_length() - 1)
    size = -(-row_bytes // (_VECTOR_BYTES << level)) * (_VECTOR_BYTES << level)
    packed = np.packbits(bits, bitorder="little")
    columns = np.zeros(-(-len(packed) // size) * size, dtype=np.uint8)
    columns[: len(packed)] = packed
    packed = np.packbits(window_bits, bitorder="little")
    window = np.zeros(len(columns) + size + 1, dtype=np.uint8)
    window[: len(packed)] = packed[: len(window)]
    result = np.zeros(size, dtype=np.uint8)
    _add_all(window, columns, result, size, level)
    product: Bits = np.unpackbits(result, count=row_count, bitorder="little")
    return product
