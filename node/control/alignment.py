"""node.control.alignment: when the polarisation has to be aligned again: the loop on errors. Pure."""

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
# by then an alignment has shown whether it helped
_SETTLED_BITS: Final = 2000


class ErrorDrift:
    """The error rate in one basis against the best that it was.

    Errors that an alignment does not cure are somebody else's (an eavesdropper, a tired detector): they become the new
    baseline, and the loop lets them be. What is better than the baseline takes its place.
    """

    def __init__(self) -> None:
        """Nothing was compared yet."""
        self._baseline = (0, 0)
        self._window = (0, 0)
        self._is_tried = False

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
        if self._window[0] >= _SETTLED_BITS and self._is_tried:
            self._is_tried = False
            if self._is_worse:
                self._baseline, self._window = self._window, (0, 0)
        elif self._window[0] >= _WINDOW_BITS:
            if self._window[1] * self._baseline[0] < self._baseline[1] * self._window[0]:
                self._baseline = self._window
            self._window = (0, 0)

    @property
    def is_due(self) -> bool:
        """Whether there are more errors than an alignment would leave."""
        return not self._is_tried and self._is_worse

    @property
    def _is_worse(self) -> bool:
        (compared, errors), (then_compared, then_errors) = self._window, self._baseline
        if compared < _LEAST_BITS or errors * then_compared <= then_errors * compared:
            return False
        return contrast_nats(errors, compared, then_errors, then_compared, _MARGIN_PROB) >= _DUE_NATS

    def aligned(self) -> None:
        """Take note of an alignment."""
        self._window, self._is_tried = (0, 0), self._baseline[0] >= _BASELINE_BITS


class AlignmentLoop:
    """Both bases of one link: a rotation about either's axis leaves that one's errors alone."""

    def __init__(self) -> None:
        """Nothing was compared or aligned yet."""
        self.z, self.x = ErrorDrift(), ErrorDrift()
        self.count = 0
        self._from_pulse_block = self._from_key_block = 0

    def see_train(self, pulse_block: int, z: tuple[int, int], x: tuple[int, int]) -> None:
        """Take note of what was compared in the open, in Z (test trains alone) and X: bits and errors among them.

        Args:
            pulse_block: First block of pulses that they are from; what was sent before the last alignment counts not.
            z, x: Bits and errors.
        """
        if pulse_block >= self._from_pulse_block:
            self.z.see(*z)
            self.x.see(*x)

    def see_key_block(self, number: int, bit_count: int, error_count: int) -> None:
        """Take note of the errors in Z that a key block's reconciliation found."""
        if number >= self._from_key_block:
            self.z.see(bit_count, error_count)

    @property
    def is_due(self) -> bool:
        """Whether the polarisation should be aligned now."""
        return self.z.is_due or self.x.is_due

    def aligned(self, from_pulse_block: int, from_key_block: int) -> None:
        """Take note of an alignment, and of the first block of pulses, and of key, that is wholly behind it."""
        self.count += 1
        self._from_pulse_block, self._from_key_block = from_pulse_block, from_key_block
        self.z.aligned()
        self.x.aligned()


def _rate(counts: tuple[int, int]) -> float | None:
    return counts[1] / counts[0] if counts[0] else None
