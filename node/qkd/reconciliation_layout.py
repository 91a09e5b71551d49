"""node.qkd.reconciliation_layout: in which order each pass of Cascade reads the sifted bits. Pure.

This is the part of reconciliation that both ends must agree on; proto/qnetem/v1/link_session.proto states it, and
tests/contract/post-processing-vectors.json has vectors. What is asked, and when, is the receiver's own affair.

n bits lie in M frames of L rows: bit j is row j div M of frame j mod M, so that a burst is spread over all frames.
Position m L + o of a pass stands for the row order[o] of frame m; the order is the same in every frame. Ordered
passes permute, the first of them too, for errors that come in bursts; check passes put a random half of the rows first.
"""

from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from node.qkd.bits import Bits, parity
from qnetem.runtime.compiled import loaded
from qnetem.runtime.errors import BadInputError
from qnetem.runtime.rng import philox4x32

__all__ = ["CHECK_PASSES", "FRAME_BITS", "MAX_BITS", "ORDERED_PASSES", "PASSES", "Layout"]

FRAME_BITS: Final = 1 << 16
MAX_BITS: Final = 1 << 31
ORDERED_PASSES: Final = 3
CHECK_PASSES: Final = 16
PASSES: Final = ORDERED_PASSES + CHECK_PASSES
STREAM: Final = 4

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]


class Layout:
    """Frames and orders for one block.

    Attributes:
        bit_count, frame_count, row_count: n, M, L.
        orders: int32[ORDERED_PASSES, L]: the row at each offset.
        masks: uint8[CHECK_PASSES, L]: 1 for the rows that a check pass puts first. `first_counts`: how many, int64.
    """

    def __init__(self, bit_count: int, permutation_seed: int) -> None:
        """Raises BadInputError: `bit_count` is not in 1 .. MAX_BITS or the seed not in 0 .. 2^64-1."""
        if not 1 <= bit_count <= MAX_BITS:
            raise BadInputError(f"a block of {bit_count} bits: must be 1 .. {MAX_BITS}")
        if not 0 <= permutation_seed < 1 << 64:
            raise BadInputError(f"permutation seed {permutation_seed} is not in 0 .. 2^64-1")
        self.bit_count = bit_count
        self.frame_count = max(1, (bit_count + FRAME_BITS // 2) // FRAME_BITS)
        self.row_count = -(-bit_count // self.frame_count)
        key = (permutation_seed & 0xFFFFFFFF, permutation_seed >> 32)
        rows = np.arange(self.row_count, dtype=np.uint64)
        words = _words(range(ORDERED_PASSES), self.row_count, key).astype(np.uint64) << np.uint64(32) | rows
        words.sort(axis=1)
        # the lower halves
        self.orders = words.astype(np.uint32).view(np.int32)
        words = _words(range(ORDERED_PASSES, PASSES), -(-self.row_count // 32), key).astype("<u4")
        self.masks = np.unpackbits(words.view(np.uint8), axis=1, count=self.row_count, bitorder="little")
        self.first_counts = np.array([np.count_nonzero(mask) for mask in self.masks.view(np.bool_)], dtype=np.int64)

    @cached_property
    def ranks(self) -> I32:
        """Return the offset of each row, int32[ORDERED_PASSES, L]; only the receiver asks."""
        ranks = np.empty_like(self.orders)
        offsets = np.arange(self.row_count, dtype=np.int32)
        for order, rank in zip(self.orders, ranks, strict=True):
            rank[order] = offsets
        return ranks

    @property
    def position_count(self) -> int:
        """Return M L: n and less than M positions that hold no bit."""
        return self.frame_count * self.row_count

    def rows(self, bits: Bits) -> Bits:
        """Return the bits by frame, uint8[M, L], contiguous; rows without a bit hold 0."""
        padded = np.zeros(self.position_count, dtype=np.uint8)
        padded[: self.bit_count] = bits
        return np.ascontiguousarray(padded.reshape(self.row_count, self.frame_count).T)

    def bits(self, rows: Bits) -> Bits:
        """Return uint8[n] from uint8[M, L]: what `rows` undoes."""
        return np.ascontiguousarray(rows.T).reshape(-1)[: self.bit_count]

    def ordered_pass(self, rows: Bits, number: int) -> Bits:
        """Return the bits in the order of an ordered pass, uint8[M L]."""
        # rows are in range; "raise" would take them into a buffer first
        taken: Bits = np.take(rows, self.orders[number], axis=1, mode="clip")
        return taken.reshape(-1)

    def ordered(self, rows: Bits) -> Bits:
        """Return the bits in the order of each ordered pass, uint8[ORDERED_PASSES, M L]."""
        result = np.empty((ORDERED_PASSES, self.frame_count, self.row_count), dtype=np.uint8)
        for number in range(ORDERED_PASSES):
            np.take(rows, self.orders[number], axis=1, out=result[number], mode="clip")
        return result.reshape(ORDERED_PASSES, -1)

    def check_order(self, check: int) -> I64:
        """Return the rows in the order of a check pass, int64[L]."""
        mask = self.masks[check]
        return np.concatenate([np.flatnonzero(mask), np.flatnonzero(mask == 0)])

    def check_parities(self, rows: Bits, passes: Bits, starts: I64, lengths: I64) -> Bits:
        """Return the parities of ranges of check passes, uint8[k].

        Args:
            rows: uint8[M, L].
            passes: Numbers of check passes, >= ORDERED_PASSES. uint8[k].
            starts, lengths: int64[k]; each range lies in one frame.
        """
        result = np.empty(len(passes), dtype=np.uint8)
        frames, offsets = np.divmod(starts, self.row_count)
        checks = passes.astype(np.int64) - ORDERED_PASSES
        is_half = (offsets == 0) & (lengths == self.first_counts[checks])
        for check in np.unique(checks[is_half]):  # the usual case, a whole half in many frames, needs no gather
            chosen = np.flatnonzero(is_half & (checks == check))
            result[chosen] = parity(rows[frames[chosen]] & self.masks[check], axis=1)
        for index in np.flatnonzero(~is_half):
            span = slice(offsets[index], offsets[index] + lengths[index])
            result[index] = parity(rows[frames[index], self.check_order(checks[index])[span]])
        return result


def _words(passes: range, count: int, key: tuple[int, int]) -> U32:
    """Return the first `count` Philox words of each pass, uint32[passes, count]."""
    counter_count = -(-count // 4)
    # the same words from compiled code where this process has loaded it
    if compiled := loaded("node.qkd.reconciliation_compiled"):
        words = np.empty((len(passes), counter_count, 4), dtype=np.uint32)
        compiled.pass_words(passes.start, STREAM, *key, words)
    else:
        counters, numbers = np.arange(counter_count, dtype=np.uint64), np.array(passes)
        words = np.stack(philox4x32(counters, numbers[:, None], 0, STREAM, *key), axis=-1)
    return np.ascontiguousarray(words.reshape(len(passes), -1)[:, :count])
