"""node.control.alignment: when the polarisation has to be aligned again: ahead of a drift, and on errors. Pure."""

from math import ceil
from typing import Final

from node.control.drift_rate import DriftRate
from node.control.evidence import contrast_nats
from node.ranges import refuse_negative, refuse_not_positive, refuse_unless_prob

__all__ = ["AlignmentLoop", "ErrorDrift"]

# errors that are worth an alignment, on top of those that it leaves; and where the next one comes soon anyway
_MARGIN_PROB: Final = 0.005
_SOON_MARGIN_PROB: Final = 0.02
_SOON_S: Final = 10.0
# 3.5 standard deviations behind the margin: an alignment too many costs nothing but itself, one too late costs key
_DUE_NATS: Final = 6.0
_LEAST_BITS: Final = 1000
_BASELINE_BITS: Final = 4000
_WINDOW_BITS: Final = 20_000
# bits that show whether an alignment helped: as many as tell a third of the excess with 3 standard deviations, within
_SETTLED_BITS: Final = (500, 2000)
_SETTLED_SIGMAS: Final = 3.0
# mean error that drift may make from one alignment to the next: a fifth of the least that misalignment makes anyway
_DRIFT_PROB: Final = 0.002
# where the rate is not known yet, at this share of the time in which errors came to show
_PACE_SHARE: Final = 0.125
# and so much later each time, until a slope shows: bits that are all of one age have none
_PACE_GROWTH: Final = 1.05
_PACE_S: Final = (0.05, 600.0)

_Counts = tuple[int, int]


class ErrorDrift:
    """The error rate in one basis against the best that it was.

    Errors that an alignment does not cure are somebody else's (an eavesdropper, a tired detector): they become the new
    baseline, and the loop lets them be. What is better than the baseline takes its place.

    Attributes:
        margin_prob: Errors that are worth an alignment, on top of those that it leaves.
        has_helped: The last alignment did; None before that shows, and when nothing was wrong here.
    """

    def __init__(self) -> None:
        """Nothing was compared yet."""
        self._baseline: _Counts = (0, 0)
        self._window: _Counts = (0, 0)
        self._before: _Counts | None = None
        self.margin_prob = _MARGIN_PROB
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
        return contrast_nats(errors, compared, then_errors, then_compared, self.margin_prob) >= _DUE_NATS

    def aligned(self) -> None:
        """Take note of an alignment because of errors."""
        self._before = self._window if self.is_due else self._before
        self._window, self.has_helped = (0, 0), None


class AlignmentLoop:
    """Both bases of one link: a rotation about either's axis leaves that one's errors alone.

    The loop goes ahead of the drift: it aligns as often as keeps the mean error of a drift small, at the rate that was
    planned or that bits of different age show. Errors that show all the same ask for an alignment at once.

    Attributes:
        count: Alignments so far.
        behind_count: How many of them the last part seen was sent behind.
    """

    def __init__(self, block_s: float, planned_tau_s: float = 0.0) -> None:
        """Nothing was compared or aligned yet.

        Args:
            block_s: What a block of pulses takes.
            planned_tau_s: Time constant of the drift; 0: none is planned.

        Raises:
            BadInputError: `block_s` is not above 0, or the time constant negative.
        """
        refuse_not_positive(block_s=block_s)
        refuse_negative(planned_tau_s=planned_tau_s)
        self.z, self.x = ErrorDrift(), ErrorDrift()
        self.count = self.behind_count = 0
        self._block_s = block_s
        # the mean error after t is (1 - e^(-t/tau))/2
        self._rate = DriftRate(0.5 / planned_tau_s if planned_tau_s else 0.0)
        self._pace_s: float | None = None
        self._set_pace(self._wanted_s)
        self._marks: list[int] = []
        self._from_pulse_block = self._from_key_block = 0
        self._now_block = self._told_block = 0
        self._part_s = self._shown_s = 0.0

    @property
    def pace_s(self) -> float | None:
        """Seconds from one alignment to the next; None: only when errors show."""
        return self._pace_s

    def see_part(self, blocks: range, z: _Counts, x: _Counts) -> None:
        """Take note of what was compared in the open, in Z (test trains alone) and X: bits and errors among them.

        Args:
            blocks: The blocks of pulses that they are from.
            z, x: Bits and errors.
        """
        self._now_block, self._part_s = blocks.stop, len(blocks) * self._block_s
        while len(self._marks) > 1 and self._marks[1] <= blocks.start:
            del self._marks[0]
        if self._marks and self._marks[0] <= blocks.start:
            self.behind_count = self.count - len(self._marks) + 1
            self._rate.see(((blocks.start + blocks.stop) / 2 - self._marks[0]) * self._block_s, *x)
        if blocks.start < self._from_pulse_block:
            return
        self.z.see(*z)
        self.x.see(*x)
        self._judge()

    def see_key_block(self, number: int, bit_count: int, error_count: int) -> None:
        """Take note of the errors in Z that a key block's reconciliation found."""
        if number >= self._from_key_block:
            self.z.see(bit_count, error_count)
            self._judge()

    def _judge(self) -> None:
        """Follow what the last alignment that errors asked for has brought."""
        helped = (self.z.has_helped, self.x.has_helped)
        if self._shown_s and True in helped:
            sooner_s = self._shown_s * _PACE_SHARE if self._pace_s is None else self._pace_s / 2.0
            self._set_pace(max(sooner_s, _PACE_S[0]))
            self._rate.forget()
            self._shown_s = 0.0
        elif False in helped:
            self._shown_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the polarisation should be aligned now."""
        since_s = (self._now_block - self._told_block) * self._block_s
        # the nearest whole part
        is_ahead = self._pace_s is not None and since_s + self._part_s / 2.0 >= self._pace_s
        return is_ahead or self.has_errors

    def is_stale_after(self, pause_s: float) -> bool:
        """Whether so long a pause, in which nothing could be seen, calls for an alignment."""
        return self._pace_s is not None and pause_s >= self._pace_s

    @property
    def has_errors(self) -> bool:
        """Whether errors show that it should."""
        return self.z.is_due or self.x.is_due

    def aligned(self, from_pulse_block: int, from_key_block: int, *, is_anew: bool = False) -> None:
        """Take note of an alignment.

        Args:
            from_pulse_block, from_key_block: The first block of pulses, and of key, that is wholly behind it.
            is_anew: What errors are usual was not known before it, or is no more.
        """
        has_errors = self.has_errors
        if is_anew:
            self.z, self.x, self._shown_s = ErrorDrift(), ErrorDrift(), 0.0
        elif has_errors:
            self._shown_s = max(self._now_block - (self._marks[-1] if self._marks else 0), 1) * self._block_s
            self.z.aligned()
            self.x.aligned()
        if is_anew or has_errors:
            self._from_pulse_block, self._from_key_block = from_pulse_block, from_key_block
        self.count += 1
        self._told_block = max(self._now_block, self._told_block)
        self._marks.append(from_pulse_block)
        self._rate.aligned()
        self._keep_pace()

    def _keep_pace(self) -> None:
        wanted_s = self._wanted_s
        if self._pace_s is not None:
            grown_s = self._pace_s * _PACE_GROWTH
            wanted_s = grown_s if wanted_s is None else min(wanted_s, grown_s)
        self._set_pace(wanted_s)

    def _set_pace(self, wanted_s: float | None) -> None:
        self._pace_s = None if wanted_s is None or wanted_s > _PACE_S[1] else wanted_s
        is_soon = self._pace_s is not None and self._pace_s <= _SOON_S
        self.z.margin_prob = self.x.margin_prob = _SOON_MARGIN_PROB if is_soon else _MARGIN_PROB

    @property
    def _wanted_s(self) -> float | None:
        """The pace that the rate asks for."""
        per_s = self._rate.per_s
        return max(2.0 * _DRIFT_PROB / per_s, _PACE_S[0]) if per_s > 0.0 else None


def _rate(counts: _Counts) -> float | None:
    return counts[1] / counts[0] if counts[0] else None
