"""qnetem.testbed.api.events: what happens in a testbed, as it happens, from the journals of all processes. Edge."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from qnetem.testbed.api.connection import Connection
from qnetem.testbed.api.patience import EVERY_S
from qnetem.testbed.api.views import Event, event_of
from qnetem.testbed.api.waiting import eventually
from qnetem.testbed.lines import Line, merged
from qnetem.testbed.tail import Tail

__all__ = ["EventStream"]

_SUFFIX = ".jsonl"


class EventStream(AsyncIterator[Event]):
    """Every event from the moment this was made, in order of time as far as processes write at the same time."""

    def __init__(self, connection: Connection) -> None:
        """Begin now: what was written before is not told."""
        self._connection = connection
        self._tails: dict[str, Tail] = {}
        self._ready: list[Event] = []
        self._joined(0)

    def _joined(self, count: int | None) -> list[list[Line]]:
        """Return the ends of journals that have come since."""
        paths = {path.name.removesuffix(_SUFFIX): path for path in self._connection.layout.journals.glob(f"*{_SUFFIX}")}
        new = {name: Tail(path, name) for name, path in sorted(paths.items()) if name not in self._tails}
        self._tails |= new
        return [tail.last(count) for tail in new.values()]

    def _read(self) -> None:
        lines = merged([*(tail.more() for tail in self._tails.values()), *self._joined(None)])
        self._ready += [event for line in lines if (event := event_of(line)) is not None]

    def __aiter__(self) -> AsyncIterator[Event]:
        """Iterate without an end."""
        return self

    async def __anext__(self) -> Event:
        """Return the next event, waiting for it."""
        while not self._ready:
            self._read()
            if not self._ready:
                await asyncio.sleep(EVERY_S)
        return self._ready.pop(0)

    async def until(self, name: str, *, within: str = "30s", **fields: Any) -> Event:
        """Return the next event of a name that has these fields: `until("link.state.changed", state="DOWN")`.

        Raises:
            NotInTimeError: There was none in time.
        """
        others: list[str] = []

        async def found() -> Event:
            self._read()
            while self._ready:
                event = self._ready.pop(0)
                if event.is_like(name, fields):
                    return event
                others.append(str(event))
            raise AssertionError("; ".join(others[-3:]) or "no event at all")

        what = " ".join([f"event {name}", *(f"{key}={value}" for key, value in fields.items())])
        return await eventually(self._connection, found, within=within, what=what)
