"""node.rates: how much of something came per emulated second, lately. Pure."""

from collections import deque
from typing import Final

from qnetem.runtime.clock import PS_PER_S

__all__ = ["BatchRate", "WindowedRate"]

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


class BatchRate:
    """The rate of what comes in few large batches: the last one over the time it took, less when the next is late."""

    def __init__(self) -> None:
        """Start without a batch."""
        self._start_ps: int | None = None
        self._last_ps = 0
        self._count = 0

    def begin(self, now_ps: int) -> None:
        """Start to fill a batch, as nothing was made before."""
        self._start_ps = self._last_ps = now_ps
        self._count = 0

    def add(self, count: int, now_ps: int) -> None:
        """Take a batch that is complete now."""
        self._start_ps, self._last_ps, self._count = self._last_ps, now_ps, count

    def per_s(self, now_ps: int) -> float:
        """Return the count per emulated second; 0 before the first batch."""
        if self._start_ps is None or self._count == 0:
            return 0.0
        took_ps = max(self._last_ps - self._start_ps, now_ps - self._last_ps, 1)
        return self._count * PS_PER_S / took_ps
