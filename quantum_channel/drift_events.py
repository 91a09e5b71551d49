"""quantum_channel.drift_events: events that come at random and pass, as a bent patch cord or rain. Pure.

Events begin as a Poisson process and last an exponential time each. Time is cut into windows that draw their events
by themselves, so that those going on at any time are found from a few windows.
"""

import math
from bisect import bisect_right
from itertools import accumulate
from typing import Final

from quantum_channel.drift_chance import Chance, Process

__all__ = ["Events"]

_LENGTHS_PER_WINDOW: Final = 8.0
# an event that lasts longer, 1 in 10^17, ends here
_LONGEST: Final = 40.0
_REMEMBERED: Final = 64
# words of one window do not run into those of the next
_DRAWS: Final = 1 << 20


class Events:
    """The events of one link at one rate."""

    def __init__(self, chance: Chance, rate_hz: float, mean_s: float) -> None:
        """Begin `rate_hz` events a second, of `mean_s` in the mean; both above 0, their product 1000 at most."""
        self._chance = chance
        self._rate_hz, self._mean_s = rate_hz, mean_s
        self._level = max(0, math.ceil(math.log2(_LENGTHS_PER_WINDOW * mean_s)))
        self._span_s = math.ldexp(1.0, self._level)
        self._back = math.ceil(_LONGEST * mean_s / self._span_s)
        self._windows: dict[int, tuple[list[float], list[float]]] = {}

    def count(self, time_s: float) -> int:
        """Return how many events go on at a time: Poisson with mean rate x length."""
        now = math.floor(time_s / self._span_s)
        count = 0
        for number in range(max(0, now - self._back), now + 1):
            begins, ends = self._window(number)
            count += bisect_right(begins, time_s) - bisect_right(ends, time_s)
        return count

    def _window(self, number: int) -> tuple[list[float], list[float]]:
        """Return when the events of a window begin, and when they end, ascending each."""
        known = self._windows.get(number)
        if known is None:
            if len(self._windows) >= _REMEMBERED:
                self._windows.clear()
            known = self._windows[number] = self._drawn(number)
        return known

    def _drawn(self, number: int) -> tuple[list[float], list[float]]:
        gaps: list[float] = []
        left_s, draw = self._span_s, number * _DRAWS
        while True:
            gap_s = self._chance.exponential(Process.LOSS_EVENT_GAPS, draw + len(gaps), self._level) / self._rate_hz
            left_s -= gap_s
            if left_s <= 0.0:
                break
            gaps.append(gap_s)
        begins = [number * self._span_s + into_s for into_s in accumulate(gaps)]
        lengths = (
            min(_LONGEST, self._chance.exponential(Process.LOSS_EVENT_LENGTHS, draw + n, self._level)) * self._mean_s
            for n in range(len(gaps))
        )
        return begins, sorted(begin + length for begin, length in zip(begins, lengths, strict=True))
