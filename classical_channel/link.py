"""classical_channel.link: a live link: its conditions, its connections and what was measured. Edge.

The proxy asks it what to do with traffic; the service changes it.
"""

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from classical_channel.path import (
    Conditions,
    Transit,
    check_parameters,
    check_settings,
    default_nature_secret,
    merged_settings,
    reset_settings,
)
from qnetem.runtime.clock import PS_PER_S, Clock, to_time
from qnetem.runtime.errors import BadInputError
from qnetem.v1 import classical_channel_pb2, parameters_pb2, process_pb2

__all__ = ["Link", "links_of"]


class Closable(Protocol):
    """A connection, as its link sees it."""

    def reset(self) -> None:
        """End both sides at once, as a reset."""


class Link:
    """Both directions of a classical link."""

    def __init__(self, paths: list[process_pb2.ClassicalPathConfig], clock: Clock) -> None:
        """Start with the first path's parameters and settings.

        Args:
            paths: The link's directions of dialling, at least one, all with the same parameters and settings.
            clock: Emulated time.

        Raises:
            BadInputError: Parameters or settings are out of range, or the paths disagree.
        """
        first = paths[0]
        self.link_id: Final = first.link_id
        check_parameters(self.link_id, first.planned)
        check_settings(self.link_id, first.settings)
        if any((path.planned, path.settings) != (first.planned, first.settings) for path in paths):
            raise BadInputError(f"link {self.link_id}: its paths have different parameters")
        self.planned: Final = first.planned
        self.settings = merged_settings(parameters_pb2.ClassicalSettings(), first.settings)
        self._clock = clock
        self._connections: set[Closable] = set()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._transits: list[Transit] = []
        self.forwarded_bytes = 0
        self.opened_count = 0
        self.refused_count = 0
        self._apply()

    def _apply(self) -> None:
        self.conditions = Conditions.of(self.planned, self.settings, self._clock.scale)
        self._effective_since_ps = self._clock.now_ps()
        self._added_s = 0.0
        self._added_count = 0
        for transit in self._transits:
            transit.conditions = self.conditions
        if not self.conditions.is_up:
            for connection in tuple(self._connections):
                connection.reset()

    def transit(self, path: process_pb2.ClassicalPathConfig) -> Transit:
        """Return what befalls traffic of a path; it follows this link's conditions from now on."""
        secret = path.nature_secret or default_nature_secret(self.link_id)
        transit = Transit(self.conditions, secret, path.from_node)
        self._transits.append(transit)
        return transit

    def set(self, settings: parameters_pb2.ClassicalSettings) -> None:
        """Merge settings, in force at once.

        Raises:
            BadInputError: A setting is out of range; nothing is changed.
        """
        check_settings(self.link_id, settings)
        self.settings = merged_settings(self.settings, settings)
        self._apply()

    def reset(self, fields: Iterable[str]) -> None:
        """Forget the named settings, or all; the planned parameters hold again at once.

        Raises:
            BadInputError: A name is not a setting; nothing is changed.
        """
        self.settings = reset_settings(self.link_id, self.settings, fields)
        self._apply()

    def opened(self, connection: Closable) -> None:
        """Count a connection in."""
        self._connections.add(connection)
        self._emptied.clear()
        self.opened_count += 1

    def refused(self) -> None:
        """Count a connection that was not let in."""
        self.refused_count += 1

    def closed(self, connection: Closable) -> None:
        """Count a connection out. Idempotent."""
        self._connections.discard(connection)
        if not self._connections:
            self._emptied.set()

    def close(self) -> None:
        """End every connection."""
        for connection in tuple(self._connections):
            connection.reset()

    async def emptied(self) -> None:
        """Wait until no connection is left."""
        await self._emptied.wait()

    def forwarded(self, size_bytes: int, added_s: float) -> None:
        """Count bytes that were `added_s` wall seconds under way here."""
        self.forwarded_bytes += size_bytes
        self._added_s += added_s
        self._added_count += 1

    @property
    def connection_count(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    @property
    def achieved_delay_s(self) -> float:
        """Mean delay really added since the conditions last changed, wall seconds; 0 while nothing passed."""
        return self._added_s / self._added_count if self._added_count else 0.0

    def state(self) -> classical_channel_pb2.ClassicalPathState:
        """Return what operators are told."""
        return classical_channel_pb2.ClassicalPathState(
            link_id=self.link_id,
            effective=self.conditions.effective,
            settings=self.settings,
            is_up=self.conditions.is_up,
            effective_since=to_time(self._effective_since_ps),
            connection_count=self.connection_count,
            forwarded_bytes=self.forwarded_bytes,
            unslept_delay_ps=self.conditions.unslept_delay_ps,
            achieved_delay_ps=round(self.achieved_delay_s * self._clock.scale * PS_PER_S),
        )


def links_of(paths: Iterable[process_pb2.ClassicalPathConfig], clock: Clock) -> dict[str, Link]:
    """Return the links that `paths` make, by id.

    Raises:
        BadInputError: A path has no link id, or a link's parameters are not usable; names the link.
    """
    by_link: dict[str, list[process_pb2.ClassicalPathConfig]] = {}
    for path in paths:
        if not path.link_id:
            raise BadInputError(f"a classical path from {path.from_node!r} to {path.to_node!r} has no link_id")
        by_link.setdefault(path.link_id, []).append(path)
    return {link_id: Link(group, clock) for link_id, group in by_link.items()}
