"""classical_channel.link: a live link: its conditions, its connections and what was measured. Edge.

The proxy asks it what to do with traffic; the service changes it.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from classical_channel.path import Conditions, Transit, default_nature_secret
from classical_channel.settings import (
    Direction,
    check_layer,
    check_parameters,
    check_settings,
    effective,
    is_gone,
    merged_settings,
    reset_settings,
)
from qnetem.runtime.clock import PS_PER_S, Clock, to_time
from qnetem.runtime.errors import BadInputError
from qnetem.v1 import classical_channel_pb2, parameters_pb2, process_pb2

__all__ = ["Link", "Way", "links_of"]

# how often conditions that move are looked at, wall time
_FRESH_S: Final = 1e-3


class Closable(Protocol):
    """A connection, as its link sees it."""

    def reset(self) -> None:
        """End both sides at once, as a reset."""


class Way:
    """One way of a link: what holds there now, and what passed."""

    def __init__(self, link: "Link", direction: Direction, from_node: str, to_node: str) -> None:
        """Follow what holds in a direction of `link`."""
        self._link = link
        self.direction: Final = direction
        self.from_node: Final = from_node
        self.to_node: Final = to_node
        self.transits: list[Transit] = []
        self.forwarded_bytes = 0
        self._added_s = 0.0
        self._added_count = 0

    @property
    def conditions(self) -> Conditions:
        """What holds now."""
        return self._link.conditions_of(self.direction)

    def changed(self) -> None:
        """Measure anew what is added."""
        self._added_s, self._added_count = 0.0, 0

    def forwarded(self, size_bytes: int, added_s: float) -> None:
        """Count bytes that were `added_s` wall seconds under way here."""
        self.forwarded_bytes += size_bytes
        self._added_s += added_s
        self._added_count += 1

    @property
    def lost_count(self) -> int:
        """Chunks that were sent again."""
        return sum(transit.lost_count for transit in self.transits)

    @property
    def achieved_delay_s(self) -> float:
        """Mean delay really added since the conditions last changed, wall seconds; 0 while nothing passed."""
        return self._added_s / self._added_count if self._added_count else 0.0

    def state(self, scale: float) -> classical_channel_pb2.ClassicalWay:
        """Return what operators are told."""
        return classical_channel_pb2.ClassicalWay(
            from_node=self.from_node,
            to_node=self.to_node,
            effective=self.conditions.effective,
            forwarded_bytes=self.forwarded_bytes,
            unslept_delay_ps=self.conditions.unslept_delay_ps,
            achieved_delay_ps=round(self.achieved_delay_s * scale * PS_PER_S),
            lost_count=self.lost_count,
        )


class Link:
    """Both directions of a classical link."""

    def __init__(self, paths: Sequence[process_pb2.ClassicalPathConfig], clock: Clock) -> None:
        """Start with the first path's parameters, settings and layers.

        Args:
            paths: The link's directions of dialling, at least one, all with the same parameters, settings and layers.
            clock: Emulated time.

        Raises:
            BadInputError: Parameters or settings are out of range, or the paths disagree.
        """
        first = paths[0]
        self.link_id: Final = first.link_id
        check_parameters(self.link_id, first.planned)
        if any((path.planned, path.settings) != (first.planned, first.settings) for path in paths):
            raise BadInputError(f"link {self.link_id}: its paths have different parameters")
        if any(list(path.layers) != list(first.layers) for path in paths):
            raise BadInputError(f"link {self.link_id}: its paths have different layers")
        self.planned: Final = first.planned
        self._clock = clock
        self._connections: set[Closable] = set()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.opened_count = 0
        self.refused_count = 0
        self.forth: Final = Way(self, "forth", first.from_node, first.to_node)
        self.back: Final = Way(self, "back", first.to_node, first.from_node)
        self.settings = parameters_pb2.ClassicalSettings()
        self._layers: tuple[parameters_pb2.ClassicalLayer, ...] = ()
        self._conditions: dict[Direction, Conditions] = {}
        self._looked_ps = 0
        self.replace(first.settings, first.layers)

    @property
    def ways(self) -> tuple[Way, Way]:
        """Forth, then back."""
        return self.forth, self.back

    @property
    def conditions(self) -> Conditions:
        """What holds forth now."""
        return self.forth.conditions

    @property
    def layers(self) -> tuple[parameters_pb2.ClassicalLayer, ...]:
        """What comes and goes over the settings, and has not gone yet."""
        self._look(self._clock.now_ps())
        return self._layers

    def conditions_of(self, direction: Direction) -> Conditions:
        """Return what holds in a direction now."""
        if self._layers and self._clock.wall_s((now_ps := self._clock.now_ps()) - self._looked_ps) >= _FRESH_S:
            self._look(now_ps)
        return self._conditions[direction]

    def _look(self, now_ps: int) -> None:
        self._looked_ps = now_ps
        self._layers = tuple(layer for layer in self._layers if not is_gone(layer, now_ps))
        for way in self.ways:
            values, is_up = effective(self.planned, self.settings, self._layers, way.direction, now_ps)
            self._conditions[way.direction] = Conditions(values, is_up, self._clock.scale)

    def _apply(
        self, settings: parameters_pb2.ClassicalSettings, layers: Iterable[parameters_pb2.ClassicalLayer]
    ) -> None:
        self.settings, self._layers = settings, tuple(layers)
        self._effective_since_ps = self._clock.now_ps()
        self._look(self._effective_since_ps)
        for way in self.ways:
            way.changed()
        if not self.conditions.is_up:
            for connection in tuple(self._connections):
                connection.reset()

    def transits(self, path: process_pb2.ClassicalPathConfig) -> tuple[Transit, Transit]:
        """Return what befalls traffic of a path: from who dials, and back to him. They follow this link from now on."""
        secret = path.nature_secret or default_nature_secret(self.link_id)
        there, back = self.ways if path.from_node == self.forth.from_node else self.ways[::-1]
        made = Transit(there, secret, path.from_node), Transit(back, secret, f"{path.from_node}<")
        there.transits.append(made[0])
        back.transits.append(made[1])
        return made

    def set(self, settings: parameters_pb2.ClassicalSettings, *, ramp_s: float = 0.0, duration_s: float = 0.0) -> None:
        """Merge settings, in force at once; with a ramp or a duration they are a layer that comes and goes.

        Raises:
            BadInputError: A setting is out of range; nothing is changed.
        """
        if not ramp_s and not duration_s:
            check_settings(self.link_id, settings)
            self._apply(merged_settings(self.settings, settings), self.layers)
            return
        layer = parameters_pb2.ClassicalLayer(
            settings=settings, start=to_time(self._clock.now_ps()), ramp_s=ramp_s, duration_s=duration_s
        )
        check_layer(self.link_id, layer)
        self._apply(self.settings, (*self.layers, layer))

    def reset(self, fields: Iterable[str]) -> None:
        """Forget the named settings, or all, in layers too; the planned parameters hold again at once.

        Raises:
            BadInputError: A name is not a setting; nothing is changed.
        """
        names = tuple(fields)
        settings = reset_settings(self.link_id, self.settings, names)
        layers = []
        for layer in self.layers:
            rest = parameters_pb2.ClassicalLayer()
            rest.CopyFrom(layer)
            rest.settings.CopyFrom(reset_settings(self.link_id, layer.settings, names))
            layers += [rest] if rest.settings.ListFields() else []
        self._apply(settings, layers)

    def replace(
        self, settings: parameters_pb2.ClassicalSettings, layers: Iterable[parameters_pb2.ClassicalLayer]
    ) -> None:
        """Have settings and layers in the place of all there are, in force at once.

        Raises:
            BadInputError: A value is out of range; nothing is changed.
        """
        check_settings(self.link_id, settings)
        started = []
        for layer in layers:
            check_layer(self.link_id, layer)
            started.append(parameters_pb2.ClassicalLayer())
            started[-1].CopyFrom(layer)
            if not layer.HasField("start"):
                started[-1].start.CopyFrom(to_time(self._clock.now_ps()))
        self._apply(merged_settings(parameters_pb2.ClassicalSettings(), settings), started)

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

    @property
    def forwarded_bytes(self) -> int:
        """Bytes passed on, both ways."""
        return self.forth.forwarded_bytes + self.back.forwarded_bytes

    @property
    def connection_count(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def state(self) -> classical_channel_pb2.ClassicalPathState:
        """Return what operators are told."""
        forth, back = (way.state(self._clock.scale) for way in self.ways)
        return classical_channel_pb2.ClassicalPathState(
            link_id=self.link_id,
            effective=forth.effective,
            settings=self.settings,
            is_up=self.conditions.is_up,
            effective_since=to_time(self._effective_since_ps),
            connection_count=self.connection_count,
            forwarded_bytes=self.forwarded_bytes,
            unslept_delay_ps=forth.unslept_delay_ps,
            achieved_delay_ps=forth.achieved_delay_ps,
            layers=self.layers,
            ways=(forth, back),
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
