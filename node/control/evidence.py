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
class _Window:
    """One tumbling window: counts, and what is honest of them."""

    full_at: float
    nats: float = 0.0
    shown: tuple[float, Interval] | None = None
    has_closed: bool = False
    _closed_nats: float = 0.0
    _count: int = 0
    _trials: float = 0.0
    _low: float = 0.0
    _high: float = 0.0

    def add(self, count: int, trials: float, honest: Interval, *, is_share: bool) -> None:
        """Add counts of which `honest` were expected, and look at the window."""
        self._count += count
        self._trials += trials
        self._low += honest.low
        self._high += honest.high
        if is_share:
            # rounding may carry a mean of probabilities beyond 1
            low, high = (min(each / self._trials, 1.0) if self._trials else 0.0 for each in (self._low, self._high))
            value, mean = (self._count / self._trials if self._trials else 0.0), Interval(low, high)
            self.nats = share_nats(self._count, int(self._trials), mean)
        else:
            value, mean = float(self._count), Interval(self._low, self._high)
            self.nats = poisson_nats(self._count, mean)
        is_full = self._trials >= self.full_at
        if is_full or not self.has_closed:
            self.shown = (value, mean)
        if is_full:
            self.has_closed, self._closed_nats = True, self.nats
            self._count, self._trials, self._low, self._high = 0, 0.0, 0.0, 0.0

    @property
    def before(self) -> float:
        """Evidence of the window before this one, as long as this one is too young to have its own."""
        return self._closed_nats if self._trials < self.full_at * YOUNG_SHARE else 0.0

    @property
    def strongest(self) -> float:
        """The evidence of either side that counts now, nats."""
        return max(abs(self.nats), abs(self.before))


class CountWatch:
    """Counts over tumbling windows, against what is expected of them.

    A window is looked at whenever something was added, and closes when it is full: counts of an attack are not drowned
    by those of a long honest time before it. A short window sees much at once, a long one little in time. What a short
    one sees stays out of the longer ones: it is forgotten as fast as it was seen.
    """

    def __init__(self, full_at: float, tenfolds: int = 0) -> None:
        """Fill a window with so many trials, or events expected at least; others with 10, 100, ... times as many."""
        self._windows = [_Window(full_at * 10**power) for power in range(tenfolds + 1)]

    def add_share(self, count: int, trials: int, honest: Interval) -> None:
        """Add `count` out of `trials`, of which an `honest` share was expected, and look."""
        self._add(count, trials, Interval(honest.low * trials, honest.high * trials), is_share=True)

    def add_events(self, count: int, honest: Interval) -> None:
        """Add `count` events where `honest.low` to `honest.high` were expected, and look.

        `honest.low` is what fills a window.
        """
        self._add(count, honest.low, honest, is_share=False)

    def _add(self, count: int, trials: float, expected: Interval, *, is_share: bool) -> None:
        is_seen = False
        for place, window in enumerate(self._windows):
            if is_seen:
                self._windows[place] = _Window(window.full_at)
                continue
            window.add(count, trials, expected, is_share=is_share)
            is_seen = window.strongest >= ALARM_NATS

    @property
    def shown(self) -> tuple[float, Interval] | None:
        """Share, or events, of the last full window, and what would be honest; of the first while it fills.

        Of the shortest window that sees something, or else of the longest that was full.
        """
        seeing = [window for window in self._windows if window.strongest >= ALARM_NATS]
        full = [window for window in self._windows if window.has_closed]
        return seeing[0].shown if seeing else (full or self._windows[:1])[-1].shown

    @property
    def nats(self) -> float:
        """The strongest evidence of the last look; above 0: too many."""
        return max((window.nats for window in self._windows), key=abs)

    @property
    def is_high(self) -> bool:
        """Whether there are too many."""
        return any(max(window.nats, window.before) >= ALARM_NATS for window in self._windows)

    @property
    def is_low(self) -> bool:
        """Whether there are too few."""
        return any(min(window.nats, window.before) <= -ALARM_NATS for window in self._windows)
