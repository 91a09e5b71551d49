"""node.qkd.reconciliation: Cascade as two state machines without I/O: the receiver asks parities and corrects. Pure.

All frames of a block go in lock step: a round's queries are one message, its answers another. Whatever the size of the
block, that makes about 100 rounds at an error rate of 2 %, and discloses 1.06 times Shannon's limit.

Source: Brassard and Salvail, Secret-key reconciliation by public discussion (1993); block sizes by powers of two, reuse
of sub-blocks and checks of random halves after Martinez-Mateo et al., Demystifying Cascade (2015).
"""

import os
from dataclasses import dataclass
from math import log2
from types import ModuleType
from typing import Final

import numpy as np
import numpy.typing as npt

from node.qkd import reconciliation_kernels
from node.qkd.bits import Bits, checked
from node.qkd.reconciliation_layout import CHECK_PASSES, ORDERED_PASSES, PASSES, Layout
from qnetem.runtime.errors import BadInputError, ConflictError

__all__ = ["CascadeReceiver", "CascadeTransmitter", "ParityQueries", "disclosure_limit"]

# the first pass has blocks of 2^k bits near 0.8 / QBER, the second four times, the third not below 2^12
_FIRST_BLOCK_ERRORS: Final = 0.8
_SECOND_LOG: Final = 2
_THIRD_LOG: Final = 4
_THIRD_LEAST_LOG: Final = 12
# an estimate from few bits may be 0; blocks of an error rate never seen in hardware cost next to nothing
_QBER_LEAST_PROB: Final = 0.005
_QBER_MOST_PROB: Final = 0.25
_SMALL_BLOCK_BITS: Final = 64
# bits in all ranges of a round that takes a tenth of a millisecond
_LIGHT_BITS: Final = 1 << 17

I64 = npt.NDArray[np.int64]


def disclosure_limit(bit_count: int) -> int:
    """Return how many parities of a block are answered at most: beyond its own bits there is no key left to make."""
    return bit_count + _SMALL_BLOCK_BITS


@dataclass(frozen=True, eq=False)
class ParityQueries:
    """The queries of one round, as ParityQuery: `passes` uint8[n], `starts` and `lengths` uint32[n]."""

    passes: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.uint32]
    lengths: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.passes)

    @property
    def is_light(self) -> bool:
        """Whether a round with them is over sooner than another thread would have begun: most rounds are."""
        return int(self.lengths.sum(dtype=np.int64)) <= _LIGHT_BITS


class CascadeTransmitter:
    """Answers the parities that the receiver asks.

    Attributes:
        disclosed_count: Parities answered.
    """

    def __init__(self, bits: Bits, permutation_seed: int, *, is_compiled: bool | None = None) -> None:
        """Answer for `bits`, uint8[n]; arguments and errors as of CascadeReceiver."""
        self._layout = Layout(len(bits), permutation_seed)
        self._rows = self._layout.rows(checked(bits, "bits to reconcile"))
        # parity of the first i bits of each pass: a range is the difference of two
        self._prefixes = np.zeros((ORDERED_PASSES, self._layout.position_count + 1), dtype=np.uint8)
        accumulate = _kernels(is_compiled).prefix_parities
        for number, prefixes in enumerate(self._prefixes):
            accumulate(self._layout.ordered_pass(self._rows, number), prefixes[1:])
        self.disclosed_count = 0

    def answer(self, queries: ParityQueries) -> Bits:
        """Return the parity of each range, uint8[n].

        Raises:
            BadInputError: A range is empty, leaves its frame or names no pass, the arrays differ in length, or the
                receiver asks for more parities than the block has bits.
        """
        passes = queries.passes
        starts, lengths = queries.starts.astype(np.int64), queries.lengths.astype(np.int64)
        if not len(passes) == len(starts) == len(lengths):
            raise BadInputError(f"a parity query of {len(passes)} passes, {len(starts)} starts, {len(lengths)} lengths")
        if self.disclosed_count + len(passes) > disclosure_limit(self._layout.bit_count):
            raise BadInputError(f"{self.disclosed_count + len(passes)} parities asked of {self._layout.bit_count} bits")
        ends = starts + lengths
        # unsigned: the twin divides whole vectors
        frame_ends = (queries.starts // np.uint32(self._layout.row_count) + 1).astype(np.int64) * self._layout.row_count
        is_bad = (passes >= PASSES) | (lengths < 1) | (ends > frame_ends) | (ends > self._layout.position_count)
        if is_bad.any():
            index = int(np.argmax(is_bad))
            raise BadInputError(f"parity query: pass {passes[index]}, start {starts[index]}, length {lengths[index]}")
        self.disclosed_count += len(passes)
        is_check = passes >= ORDERED_PASSES
        if not is_check.any():
            return self._ordered_parities(passes, starts, ends)
        parities = np.empty(len(passes), dtype=np.uint8)
        parities[~is_check] = self._ordered_parities(passes[~is_check], starts[~is_check], ends[~is_check])
        parities[is_check] = self._layout.check_parities(
            self._rows, passes[is_check], starts[is_check], lengths[is_check]
        )
        return parities

    def _ordered_parities(self, passes: npt.NDArray[np.uint8], starts: I64, ends: I64) -> Bits:
        origins = passes.astype(np.int64) * self._prefixes.shape[1]
        prefixes = self._prefixes.reshape(-1)
        parities: Bits = prefixes.take(origins + starts) ^ prefixes.take(origins + ends)
        return parities


class CascadeReceiver:
    """Corrects the receiver's bits: `next_queries`, `take_answers`, and so on until there are no queries.

    Attributes:
        disclosed_count: Parities asked: what the block has leaked.
        round_count: Rounds so far.
        has_given_up: It stopped, since it would have to ask for more parities than the block has bits.
    """

    def __init__(
        self,
        bits: Bits,
        permutation_seed: int,
        qber_estimate_prob: float,
        *,
        is_compiled: bool | None = None,
    ) -> None:
        """Start on `bits`, uint8[n].

        Args:
            bits: The receiver's sifted bits.
            permutation_seed: From BlockStart.
            qber_estimate_prob: Fixes the block sizes; a bad estimate costs parities and rounds, not correctness.
            is_compiled: Whether the inner loops are numba's or plain numpy's, which give the same. None: numba's unless
                the environment has QNETEM_PURE_NUMPY=1.

        Raises:
            BadInputError: `bits` are no bits or none, the seed is not in 0 .. 2^64-1, the estimate not in 0 .. 1.
        """
        if not 0 <= qber_estimate_prob <= 1:
            raise BadInputError(f"QBER estimate {qber_estimate_prob} is not in 0 .. 1")
        self._layout = layout = Layout(len(bits), permutation_seed)
        self._kernels = _kernels(is_compiled)
        self._rows = layout.rows(checked(bits, "bits to reconcile"))
        self._ordered = layout.ordered(self._rows)
        self._top_logs = _top_logs(layout.row_count, qber_estimate_prob)
        frames = layout.frame_count
        self._tree = np.full((ORDERED_PASSES, layout.position_count), reconciliation_kernels.NO_NODE, dtype=np.uint8)
        self._begun = np.zeros(frames, dtype=np.int64)
        self._check_odd = np.zeros((frames, CHECK_PASSES), dtype=np.uint8)
        self._search = np.full((frames, 3), -1, dtype=np.int64)
        self._open_passes = np.empty(0, dtype=np.uint8)
        self._open_starts = np.empty(0, dtype=np.int64)
        self._open_count = 0
        self._found: list[I64] = []
        self._pending: tuple[npt.NDArray[np.uint8], I64, I64] | None = None
        self._is_done = False
        self.disclosed_count = 0
        self.round_count = 0
        self.has_given_up = False

    def next_queries(self) -> ParityQueries | None:
        """Return the queries of the next round; None when there are none. The same again until they are answered."""
        if self._pending is None and not self._is_done:
            queries = self._ask()
            limit = disclosure_limit(self._layout.bit_count)
            self.has_given_up = self.disclosed_count + len(queries[0]) > limit
            self._is_done = self.has_given_up or not len(queries[0])
            self._pending = None if self._is_done else queries
        if self._pending is None:
            return None
        passes, starts, lengths = self._pending
        return ParityQueries(passes, starts.astype(np.uint32), lengths.astype(np.uint32))

    def take_answers(self, parities: Bits) -> None:
        """Take the transmitter's parities for the queries, uint8[n].

        Raises:
            ConflictError: Nothing was asked.
            BadInputError: They are not n bits, or no bits of a transmitter have such parities.
        """
        if self._pending is None:
            raise ConflictError("no parities were asked")
        passes, starts, lengths = self._pending
        differs = checked(parities, "parity answer", len(passes)) ^ self._parities(passes, starts, lengths)
        count, frames = len(passes), self._layout.frame_count
        open_limit = 2 * count + ORDERED_PASSES * (count + frames)
        self._open_passes = np.empty(open_limit, dtype=np.uint8)
        self._open_starts = np.empty(open_limit, dtype=np.int64)
        found = np.empty(count + frames, dtype=np.int64)
        self._open_count, found_count = self._kernels.absorb(
            self._layout.bit_count,
            self._layout.orders,
            self._layout.ranks,
            self._layout.masks,
            self._rows,
            self._ordered,
            self._tree,
            self._begun,
            self._check_odd,
            self._search,
            passes,
            starts,
            lengths,
            differs,
            self._open_passes,
            self._open_starts,
            found,
        )
        if found_count == reconciliation_kernels.CONTRADICTION:
            self._pending, self._is_done = None, True
            raise BadInputError("the parities of the answers contradict each other")
        if found_count:
            self._found.append(found[:found_count].copy())
        self._pending = None
        self.disclosed_count += count
        self.round_count += 1

    @property
    def bits(self) -> Bits:
        """Return the bits as corrected so far, uint8[n]."""
        return self._layout.bits(self._rows)

    @property
    def error_positions(self) -> I64:
        """Return the indices of the bits corrected so far, ascending, int64[errors]."""
        found = np.concatenate([np.empty(0, dtype=np.int64), *self._found])
        frames, rows = np.divmod(found, self._layout.row_count)
        return np.sort(rows * self._layout.frame_count + frames)

    def _ask(self) -> tuple[npt.NDArray[np.uint8], I64, I64]:
        layout = self._layout
        begin_limit = max((layout.row_count >> int(self._top_logs.min())) + 1, CHECK_PASSES)
        limit = self._open_count + layout.frame_count * begin_limit
        passes, starts, lengths = np.empty(limit, np.uint8), np.empty(limit, np.int64), np.empty(limit, np.int64)
        count = self._kernels.ask(
            layout.first_counts,
            self._top_logs,
            layout.row_count,
            self._tree,
            self._begun,
            self._check_odd,
            self._search,
            self._open_passes,
            self._open_starts,
            self._open_count,
            passes,
            starts,
            lengths,
        )
        return passes[:count], starts[:count], lengths[:count]

    def _parities(self, passes: npt.NDArray[np.uint8], starts: I64, lengths: I64) -> Bits:
        """Return this end's own parities, uint8[n]."""
        parities = np.empty(len(passes), dtype=np.uint8)
        is_check = passes >= ORDERED_PASSES
        if not is_check.any():
            self._kernels.range_parities(self._ordered, passes, starts, lengths, parities)
            return parities
        own = np.empty(int((~is_check).sum()), dtype=np.uint8)
        self._kernels.range_parities(self._ordered, passes[~is_check], starts[~is_check], lengths[~is_check], own)
        parities[~is_check] = own
        parities[is_check] = self._layout.check_parities(
            self._rows, passes[is_check], starts[is_check], lengths[is_check]
        )
        return parities


def _top_logs(row_count: int, qber_estimate_prob: float) -> I64:
    """Return the logs of the block sizes of the ordered passes, int64[T]; none larger than the frame needs."""
    qber = min(max(qber_estimate_prob, _QBER_LEAST_PROB), _QBER_MOST_PROB)
    first = round(log2(_FIRST_BLOCK_ERRORS / qber))
    logs = (first, first + _SECOND_LOG, max(first + _THIRD_LOG, _THIRD_LEAST_LOG))
    return np.minimum(np.array(logs, dtype=np.int64), (row_count - 1).bit_length())


def _kernels(is_compiled: bool | None) -> ModuleType:
    if is_compiled is None:
        is_compiled = os.environ.get("QNETEM_PURE_NUMPY") != "1"
    if not is_compiled:
        return reconciliation_kernels
    from node.qkd import reconciliation_compiled

    return reconciliation_compiled
