"""node.qkd.patience: a limit to waiting for a peer that does not count what this process itself overslept. Edge.

A loop that could not run, on a machine that is busy or was paused, hears what came meanwhile when it runs again, and
its timers are due in that very moment. That the peer was silent it does not know.
"""

import asyncio
from types import TracebackType
from typing import Final

__all__ = ["Patience"]

_TICK_S: Final = 0.5


class Patience:
    """As asyncio.timeout, of time in which the event loop ran."""

    def __init__(self, limit_s: float, tick_s: float = _TICK_S) -> None:
        """Wait `limit_s` seconds; a timer of `tick_s` that is late by more than itself: the loop did not run."""
        self._limit_s, self._tick_s = limit_s, tick_s

    async def __aenter__(self) -> None:
        """Begin to wait."""
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(self._limit_s)
        await self._limit.__aenter__()
        self._set_tick()

    def _set_tick(self) -> None:
        self._due_s = self._loop.time() + self._tick_s
        self._tick = self._loop.call_at(self._due_s, self._on_tick)

    def _on_tick(self) -> None:
        overslept_s, when_s = self._loop.time() - self._due_s, self._limit.when()
        if when_s is None or self._limit.expired():
            return
        if overslept_s > self._tick_s:
            # the limit's own timer, due later than this one, has not had its turn yet
            self._limit.reschedule(when_s + overslept_s)
        self._set_tick()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise TimeoutError when it was too long."""
        self._tick.cancel()
        await self._limit.__aexit__(kind, error, trace)
