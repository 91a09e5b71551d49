"""node.control.evidence: how sure counts make us that something is not as it should be. Pure.

Evidence is in nats: something that is as it should be gives E nats or more with probability e^-E at most, at any one
look and any number of counts (Chernoff). A tolerance says how far "as it should be" reaches, so that what a model of a
link leaves out is no alarm, however many counts there are.
"""

from dataclasses import dataclass
from math import inf, log, sqrt
from typing import Final

from node.ranges import refuse_negative, refuse_unless_prob

__all__ = ["ALARM_NATS", "YOUNG_SHARE", "CountWatch", "Interval", "contrast_nats", "poisson_nats", "share_nats"]

# e^-25 = 1.4e-11 a look. An hour of the fastest profile is 1.1e5 trains of less than 20 looks: 3e-5 alarms an hour
ALARM_NATS: Final = 25.0
# by then a window speaks for itself, if what the one before it saw goes on
YOUNG_SHARE: Final = 0.125


@dataclass(frozen=True, slots=True)
class Interval:
    """What is as it should be, both ends included."""

    low: float
    high: float

    def nearest(self, value: float) -> float:
        """Return the point of the interval that is nearest to `value`."""
        return min(max(value, self.low), self.high)


def share_nats(count: int, trials: int, honest: Interval) -> float:
    """Return the evidence of `count` out of `trials` against every share within `honest`; below it negative.

    Raises:
        BadInputError: The interval is not within 0 .. 1, or the counts cannot be.

    Source: trials x Kullback-Leibler divergence bounds the tail of the binomial.
    """
    refuse_unless_prob(low=honest.low, high=honest.high)
    refuse_negative(count=count, others_count=trials - count)
    if trials == 0:
        return 0.0
    share = count / trials
    near = honest.nearest(share)
    if share == near:
        return 0.0
    nats = trials * (_term(share, near) + _term(1.0 - share, 1.0 - near))
    return nats if share > near else -nats


def poisson_nats(count: int, honest: Interval) -> float:
    """Return the evidence of `count` events against every mean within `honest`; below it negative.

    Raises:
        BadInputError: A mean or the count is negative.

    Source: k ln(k/m) - k + m bounds the tail of the Poisson distribution.
    """
    refuse_negative(low=honest.low, high=honest.high, count=count)
    mean = honest.nearest(count)
    if count == mean:
        return 0.0
    nats = _term(count, mean) - count + mean
    return nats if count > mean else -nats


def _term(value: float, expected: float) -> float:
    if value == 0.0:
        return 0.0
    return value * log(value / expected) if expected > 0.0 else inf


def contrast_nats(count_a: int, trials_a: int, count_b: int, trials_b: int, tolerance: float) -> float:
    """Return the evidence that two shares differ by more than `tolerance`; 0 while they need not.

    Raises:
        BadInputError: The counts cannot be, or the tolerance is not in 0 .. 1.

    Source: z^2/2 of the difference of two proportions, pooled.
    """
    refuse_unless_prob(tolerance=tolerance)
    refuse_negative(
        count_a=count_a, count_b=count_b, others_a_count=trials_a - count_a, others_b_count=trials_b - count_b
    )
    if not (trials_a and trials_b):
        return 0.0
    apart = abs(count_a / trials_a - count_b / trials_b) - tolerance
    pooled = (count_a + count_b) / (trials_a + trials_b)
    if apart <= 0.0 or pooled in (0.0, 1.0):
        return 0.0
    z = apart / sqrt(pooled * (1.0 - pooled) * (1.0 / trials_a + 1.0 / trials_b))
    return z * z / 2.0


@dataclass
class CountWatch:
    """Counts over tumbling windows, against what is expected of them.

    A window is looked at whenever something was added, and closes when it is full: counts of an attack are not drowned
    by those of a long honest time before it.

    Attributes:
        full_at: Trials (or events expected at least) that fill a window.
        shown: Share, or events, of the last full window, and what would be honest; of the first while it fills.
        nats: Evidence of the last look; above 0: too many.
    """

    full_at: float
    shown: tuple[float, Interval] | None = None
    nats: float = 0.0
    _closed_nats: float = 0.0
    _has_closed: bool = False
    _count: int = 0
    _trials: float = 0.0
    _low: float = 0.0
    _high: float = 0.0

    def add_share(self, count: int, trials: int, honest: Interval) -> None:
        """Add `count` out of `trials`, and look at the window."""
        self._add(count, trials, 0.0, 0.0)
        share = self._count / self._trials if self._trials else 0.0
        self._look(share_nats(self._count, int(self._trials), honest), share, honest)

    def add_events(self, count: int, honest: Interval) -> None:
        """Add `count` events where `honest.low` to `honest.high` were expected, and look at the window.

        `honest.low` is what fills it.
        """
        self._add(count, honest.low, honest.low, honest.high)
        honest = Interval(self._low, self._high)
        self._look(poisson_nats(self._count, honest), self._count, honest)

    def _add(self, count: int, trials: float, low: float, high: float) -> None:
        self._count += count
        self._trials += trials
        self._low += low
        self._high += high

    def _look(self, nats: float, value: float, honest: Interval) -> None:
        self.nats = nats
        if not self._has_closed or self._trials >= self.full_at:
            self.shown = (value, honest)
        if self._trials >= self.full_at:
            self._has_closed, self._closed_nats = True, nats
            self._count, self._trials, self._low, self._high = 0, 0.0, 0.0, 0.0

    @property
    def is_high(self) -> bool:
        """Whether there are too many."""
        return max(self.nats, self._before) >= ALARM_NATS

    @property
    def is_low(self) -> bool:
        """Whether there are too few."""
        return min(self.nats, self._before) <= -ALARM_NATS

    @property
    def _before(self) -> float:
        """Evidence of the window before this one, as long as this one is too young to have its own."""
        return self._closed_nats if self._trials < self.full_at * YOUNG_SHARE else 0.0
