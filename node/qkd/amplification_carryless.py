"""node.qkd.amplification_carryless: the product of amplification_compiled by multiplication without carries. Pure.

Imports numba: import it where used, and only where amplification_compiled says that the processor has it: what is here
is compiled for it. The matrix is halved by the same three products, down to blocks of 16 to 31 words. There it is one
part of the product of two polynomials: with the bits of a block reversed and the window moved on by one bit, row i is
the coefficient of x^(S + i), S being the bits of the block.
"""

from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from node.qkd.amplification_compiled import add_to, write_sum
from node.qkd.bits import Bits

__all__ = ["hankel_product"]

_LEAST_WORDS: Final = 16
_WORD_BITS: Final = 64
# which halves are multiplied
_HIGH_LOW: Final = 0x01
_LOW_HIGH: Final = 0x10
_INT = ir.IntType(64)
_PAIR = ir.VectorType(_INT, 2)
_U64 = numba.uint64
_WORDS = numba.types.Array(numba.uint64, 1, "C")


@intrinsic
def _diagonal(_, window, at, bits, first, pair_count):  # type: ignore[no-untyped-def]
    """Return low and high word of the sum of window[at - c] times bits[first + c], c below 2 pair_count."""
    signature = numba.types.UniTuple(_U64, 2)(window, at, bits, first, pair_count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        window, at, bits, first, pair_count = arguments
        of_window, of_bits = (
            context.make_array(signature.args[place])(context, builder, value).data
            for place, value in ((0, window), (2, bits))
        )
        multiply = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_PAIR, [_PAIR, _PAIR, ir.IntType(8)]), "llvm.x86.pclmulqdq"
        )

        def pair(words: Any, place: Any) -> Any:
            return builder.load(builder.bitcast(builder.gep(words, [place]), _PAIR.as_pointer()), align=8)

        # two sums: one would wait for itself
        halves = _HIGH_LOW, _LOW_HIGH
        sums = [cgutils.alloca_once_value(builder, ir.Constant(_PAIR, [0, 0])) for _ in halves]
        with cgutils.for_range(builder, pair_count) as loop:
            passed = builder.shl(loop.index, ir.Constant(_INT, 1))
            left = pair(of_window, builder.sub(builder.sub(at, passed), ir.Constant(_INT, 1)))
            right = pair(of_bits, builder.add(first, passed))
            for which, total in zip(halves, sums, strict=True):
                product = builder.call(multiply, [left, right, ir.Constant(ir.IntType(8), which)])
                builder.store(builder.xor(builder.load(total), product), total)
        total = builder.xor(*(builder.load(total) for total in sums))
        words = [builder.extract_element(total, ir.Constant(ir.IntType(32), word)) for word in range(2)]
        return context.make_tuple(builder, signature.return_type, words)

    return signature, generate


# places are unsigned: a signed one might count from the end, and no loop over it would become vector code
_inner = numba.njit(cache=True, nogil=True)


@_inner
def _smallest(window, at, bits, first, result, to, size):  # type: ignore[no-untyped-def]
    """Add the product of `size` words, an even number."""
    one, pair_count = np.uint64(1), size >> np.uint64(1)
    _, carried = _diagonal(window, at + size - one, bits, first, pair_count)
    for m in range(size):
        low, high = _diagonal(window, at + size + m, bits, first, pair_count)
        result[to + m] ^= low ^ carried
        carried = high


@numba.njit(
    numba.void(_WORDS, _U64, _WORDS, _U64, _WORDS, _U64, _U64, numba.int64, _WORDS, _U64), cache=True, nogil=True
)
def _add_product(window, at, bits, first, result, to, size, level, space, free):  # type: ignore[no-untyped-def]
    """Add the product of `size` words, halved `level` times; 4 `size` words of `space` are free."""
    if level == 0:
        _smallest(window, at, bits, first, result, to, size)
        return
    half, level = size >> np.uint64(1), level - 1
    # a sum of windows, the sum of the bits, and the product of both
    bits_at = free + size
    product_at, rest = bits_at + half, bits_at + size
    write_sum(window, at, at + half, size, space, free)
    _add_product(space, free, bits, first, result, to, half, level, space, rest)
    write_sum(window, at + half, at + size, size, space, free)
    _add_product(space, free, bits, first + half, result, to + half, half, level, space, rest)
    write_sum(bits, first, first + half, half, space, bits_at)
    space[product_at : product_at + half] = 0
    _add_product(window, at + half, space, bits_at, space, product_at, half, level, space, rest)
    add_to(space, product_at, half, result, to)
    add_to(space, product_at, half, result, to + half)


@numba.njit(numba.void(_WORDS, _WORDS, _WORDS, _U64, numba.int64), cache=True, nogil=True)
def _add_all(window, bits, result, size, level):  # type: ignore[no-untyped-def]
    space = np.empty(np.uint64(4) * size, np.uint64)
    zero = np.uint64(0)
    for first in range(zero, np.uint64(len(bits)), size):
        _add_product(window, first, bits, first, result, zero, size, level, space, zero)


def hankel_product(window_bits: Bits, bits: Bits, row_count: int) -> Bits:
    """Return what amplification_compiled.hankel_product does; arguments as there."""
    row_words = -(-row_count // _WORD_BITS)
    level = max(0, (row_words // _LEAST_WORDS).bit_length() - 1)
    least = 2 * -(-row_words // (2 << level))
    size_bits, block_bits = (least << level) * _WORD_BITS, least * _WORD_BITS
    packed = np.packbits(bits, bitorder="big")
    columns = np.zeros(-(-len(bits) // size_bits) * size_bits // 8, dtype=np.uint8)
    columns[: len(packed)] = packed
    # the bits of each byte are reversed already
    reversed_bits = np.ascontiguousarray(columns.reshape(-1, block_bits // 8)[:, ::-1]).reshape(-1).view("<u8")
    packed = np.packbits(window_bits, bitorder="little")
    words = np.zeros(len(reversed_bits) + (least << level), dtype="<u8")
    words.view(np.uint8)[: len(packed)] = packed[: 8 * len(words)]
    window = words << np.uint64(1)
    window[1:] |= words[:-1] >> np.uint64(_WORD_BITS - 1)
    result = np.zeros(least << level, dtype=np.uint64)
    _add_all(window, reversed_bits, result, least << level, level)
    product: Bits = np.unpackbits(result.view(np.uint8), count=row_count, bitorder="little")
    return product
