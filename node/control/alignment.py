"""node.control.alignment: when the polarisation has to be aligned again: the loop on errors. Pure."""

from math import ceil
from typing import Final

from node.control.evidence import contrast_nats
from node.ranges import refuse_unless_prob

__all__ = ["AlignmentLoop", "ErrorDrift"]

# errors that are worth an alignment, on top of those that it leaves
_MARGIN_PROB: Final = 0.005
# 3.5 standard deviations behind the margin: an alignment too many costs nothing but itself, one too late costs key
_DUE_NATS: Final = 6.0
_LEAST_BITS: Final = 1000
_BASELINE_BITS: Final = 4000
_WINDOW_BITS: Final = 20_000
# bits that show whether an alignment helped: as many as tell a third of the excess with 3 standard deviations, within
_SETTLED_BITS: Final = (500, 2000)
_SETTLED_SIGMAS: Final = 3.0
# drift that is seen so often is met halfway: alignments at this share of the bits that it took to show
_PACE_SHARE: Final = 0.125
_PACE_GROWTH: Final = 1.05
_PACE_LIMIT_BITS: Final = 1 << 18

_Counts = tuple[int, int]


class ErrorDrift:
    """The error rate in one basis against the best that it was.

    Errors that an alignment does not cure are somebody else's (an eavesdropper, a tired detector): they become the new
    baseline, and the loop lets them be. What is better than the baseline takes its place.

    Attributes:
        has_helped: The last alignment did; None before that shows, and when nothing was wrong here.
    """

    def __init__(self) -> None:
        """Nothing was compared yet."""
        self._baseline: _Counts = (0, 0)
        self._window: _Counts = (0, 0)
        self._before: _Counts | None = None
        self.has_helped: bool | None = None

    @property
    def baseline_prob(self) -> float | None:
        """Error rate that an alignment leaves; None before a bit was compared."""
        return _rate(self._baseline)

    @property
    def now_prob(self) -> float | None:
        """Error rate lately; None before a bit was compared."""
        return _rate(self._window) if self._window[0] else self.baseline_prob

    def see(self, compared_count: int, error_count: int) -> None:
        """Take note of bits that were compared.

        Raises:
            BadInputError: There are more errors than bits, or less than none.
        """
        if compared_count == 0:
            return
        refuse_unless_prob(error_prob=error_count / compared_count)
        if self._baseline[0] < _BASELINE_BITS:
            self._baseline = (self._baseline[0] + compared_count, self._baseline[1] + error_count)
            return
        self._window = (self._window[0] + compared_count, self._window[1] + error_count)
        if self._before is not None:
            self._settle(self._before)
        elif self._window[0] >= _WINDOW_BITS:
            if self._window[1] * self._baseline[0] < self._baseline[1] * self._window[0]:
                self._baseline = self._window
            self._window = (0, 0)

    def _settle(self, before: _Counts) -> None:
        """Judge the last alignment, once there are bits enough."""
        was, best = before[1] / before[0], self._baseline[1] / self._baseline[0]
        # a drift goes on meanwhile: a third of the excess has to be gone
        limit = was - (was - best) / 3.0
        needed = _SETTLED_SIGMAS**2 * limit / (was - limit) ** 2
        if self._window[0] < min(max(ceil(needed), _SETTLED_BITS[0]), _SETTLED_BITS[1]):
            return
        self._before = None
        self.has_helped = self._window[1] <= limit * self._window[0]
        if not self.has_helped:
            self._baseline, self._window = before, (0, 0)

    @property
    def is_due(self) -> bool:
        """Whether there are more errors than an alignment would leave."""
        # while an alignment has not shown yet that it helped, only what is worse still
        (compared, errors), (then_compared, then_errors) = self._window, self._before or self._baseline
        if compared < _LEAST_BITS or errors * then_compared <= then_errors * compared:
            return False
        return contrast_nats(errors, compared, then_errors, then_compared, _MARGIN_PROB) >= _DUE_NATS

    def aligned(self) -> None:
        """Take note of an alignment."""
        self._before = self._window if self.is_due else self._before
        self._window, self.has_helped = (0, 0), None


class AlignmentLoop:
    """Both bases of one link: a rotation about either's axis leaves that one's errors alone.

    Once alignments have helped, the loop goes ahead of the drift: it aligns before errors can show, ever less often
    until they do.
    """

    def __init__(self) -> None:
        """Nothing was compared or aligned yet."""
        self.z, self.x = ErrorDrift(), ErrorDrift()
        self.count = 0
        self._from_pulse_block = self._from_key_block = 0
        self._bits = self._shown_bits = 0
        self._pace_bits: float | None = None

    def see_train(self, pulse_block: int, z: _Counts, x: _Counts) -> None:
        """Take note of what was compared in the open, in Z (test trains alone) and X: bits and errors among them.

        Args:
            pulse_block: First block of pulses that they are from; what was sent before the last alignment counts not.
            z, x: Bits and errors.
        """
        if pulse_block < self._from_pulse_block:
            return
        self._bits += x[0]
        self.z.see(*z)
        self.x.see(*x)
        self._keep_pace()

    def see_key_block(self, number: int, bit_count: int, error_count: int) -> None:
        """Take note of the errors in Z that a key block's reconciliation found."""
        if number >= self._from_key_block:
            self.z.see(bit_count, error_count)
            self._keep_pace()

    def _keep_pace(self) -> None:
        """Follow what the last alignment that errors asked for has brought."""
        if not self._shown_bits:
            return
        helped = [basis.has_helped for basis in (self.z, self.x)]
        if True in helped:
            pace = max(self._shown_bits * _PACE_SHARE, 1.0)
            self._pace_bits = pace if self._pace_bits is None else min(self._pace_bits, pace)
            self._shown_bits = 0
        elif False in helped:
            self._pace_bits, self._shown_bits = None, 0

    @property
    def is_due(self) -> bool:
        """Whether the polarisation should be aligned now."""
        is_ahead = self._pace_bits is not None and not self._shown_bits and self._bits >= self._pace_bits
        return is_ahead or self.has_errors

    @property
    def has_errors(self) -> bool:
        """Whether errors show that it should."""
        return self.z.is_due or self.x.is_due

    def aligned(self, from_pulse_block: int, from_key_block: int) -> None:
        """Take note of an alignment, and of the first block of pulses, and of key, that is wholly behind it."""
        if self.has_errors:
            self._shown_bits = max(self._bits, 1)
        elif self._pace_bits is not None:
            grown = self._pace_bits * _PACE_GROWTH
            self._pace_bits = grown if grown < _PACE_LIMIT_BITS else None
        self.count += 1
        self._from_pulse_block, self._from_key_block = from_pulse_block, from_key_block
        self._bits = 0
        self.z.aligned()
        self.x.aligned()


def _rate(counts: _Counts) -> float | None:
    return counts[1] / counts[0] if counts[0] else None
