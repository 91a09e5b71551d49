"""qnetem.testbed.supervisor.events: what happens in a testbed, to its journal and to who watches. Edge."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import ClassVar, Final

from qnetem.runtime.clock import Clock, to_time
from qnetem.runtime.errors import UnavailableError
from qnetem.runtime.journal import Journal
from qnetem.runtime.log import Field
from qnetem.v1 import supervisor_pb2

__all__ = ["Events", "SlowWatcherError", "Watcher"]

_QUEUE_LIMIT: Final = 10_000


class SlowWatcherError(UnavailableError):
    """A watcher did not take its events and has been cut off; it has to watch anew."""

    reason: ClassVar[str] = "SLOW_WATCHER"


class Watcher:
    """The events since it was made, in order."""

    def __init__(self) -> None:
        """Start with none."""
        self._queue: asyncio.Queue[supervisor_pb2.TestbedEvent | None] = asyncio.Queue(_QUEUE_LIMIT)
        self._is_cut_off = False

    def offer(self, event: supervisor_pb2.TestbedEvent | None) -> None:
        """Hand over an event; None: there will be no more."""
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._is_cut_off = True

    async def events(self) -> AsyncIterator[supervisor_pb2.TestbedEvent]:
        """Yield every event until there are no more.

        Raises:
            SlowWatcherError: Some were dropped.
        """
        while not self._is_cut_off:
            event = await self._queue.get()
            if event is None:
                return
            yield event
        raise SlowWatcherError("events came faster than they were taken")


class Events:
    """Everything that happens goes through here."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        """Write to `journal`, with the time of `clock`."""
        self._journal = journal
        self._clock = clock
        self._watchers: set[Watcher] = set()

    def watch(self) -> Watcher:
        """Return a watcher that misses nothing from now on."""
        watcher = Watcher()
        self._watchers.add(watcher)
        return watcher

    def forget(self, watcher: Watcher) -> None:
        """Let a watcher finish."""
        self._watchers.discard(watcher)
        watcher.offer(None)

    def tell(
        self,
        event: str,
        process: supervisor_pb2.ProcessStatus | None = None,
        link_id: str = "",
        **fields: Field,
    ) -> None:
        """Tell an event; `fields` go to the journal alone."""
        if process is not None:
            fields = {"name": process.name, "pid": process.pid, "last_end": process.last_end, **fields}
        if link_id:
            fields = {"link_id": link_id, **fields}
        self._journal.write(event, **fields)
        message = supervisor_pb2.TestbedEvent(
            event=event,
            at=to_time(self._clock.now_ps()),
            wall=datetime.now(UTC).isoformat(timespec="milliseconds"),
            process=process,
            link_id=link_id,
        )
        for watcher in self._watchers:
            watcher.offer(message)

    def end(self) -> None:
        """Let the watchers finish: nothing will happen any more."""
        for watcher in self._watchers:
            watcher.offer(None)
