"""node.rates: how much of something came per emulated second, lately. Pure."""

from collections import deque
from typing import Final

from qnetem.runtime.clock import PS_PER_S

__all__ = ["WindowedRate"]

_SLICES: Final = 20


class WindowedRate:
    """The rate over a sliding window of emulated time, kept as a few slices, whatever the number of events."""

    def __init__(self, window_s: float) -> None:
        """Look back `window_s` emulated seconds."""
        self._window_ps = int(window_s * PS_PER_S)
        self._slices: deque[tuple[int, int]] = deque()
        self._since_ps: int | None = None

    def add(self, count: int, now_ps: int) -> None:
        """Count `count` events at emulated time `now_ps`."""
        if self._since_ps is None:
            self._since_ps = now_ps
        start = now_ps - now_ps % (self._window_ps // _SLICES)
        if self._slices and self._slices[-1][0] == start:
            self._slices[-1] = (start, self._slices[-1][1] + count)
        else:
            self._slices.append((start, count))
        self._forget(now_ps)

    def per_s(self, now_ps: int) -> float:
        """Return events per emulated second at `now_ps`; 0 before the first event."""
        if self._since_ps is None:
            return 0.0
        self._forget(now_ps)
        seen_ps = min(max(now_ps - self._since_ps, self._window_ps // _SLICES), self._window_ps)
        return sum(count for _, count in self._slices) * PS_PER_S / seen_ps

    def _forget(self, now_ps: int) -> None:
        while self._slices and self._slices[0][0] <= now_ps - self._window_ps:
            self._slices.popleft()
