"""quantum_channel.seat: a place that one stream holds at a time; a newer one puts the older out. Edge."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from qnetem.runtime.errors import ConflictError

__all__ = ["ReplacedError", "Seat"]


class ReplacedError(ConflictError):
    """A newer stream of the same party took the place of this one."""

    reason = "REPLACED"


class _Holder:
    def __init__(self) -> None:
        self.is_replaced = asyncio.Event()
        self.has_left = asyncio.Event()


class Seat:
    """One end of a link."""

    def __init__(self, name: str) -> None:
        """Call the place `name` in errors."""
        self._name = name
        self._holder: _Holder | None = None

    @property
    def is_taken(self) -> bool:
        """Whether a stream holds it."""
        return self._holder is not None

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Hold the place while the block runs, once whoever held it before has left.

        Raises:
            ReplacedError: A newer one came; in a group, as from a task group.
        """
        mine = _Holder()
        while (older := self._holder) is not None:
            older.is_replaced.set()
            await older.has_left.wait()
        self._holder = mine
        try:
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(self._watch(mine))
                yield
                watch.cancel()
        finally:
            self._holder = None
            mine.has_left.set()

    async def _watch(self, mine: _Holder) -> None:
        await mine.is_replaced.wait()
        raise ReplacedError(f"replaced: a newer stream is the {self._name}")
