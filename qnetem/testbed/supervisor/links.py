"""qnetem.testbed.supervisor.links: settings and faults of the links, brought into force and kept there. Edge."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from google.protobuf import json_format

from qnetem.runtime.clock import Clock, to_time
from qnetem.runtime.errors import BadInputError, NotFoundError, QnetemError, StorageError
from qnetem.runtime.log import get_logger
from qnetem.testbed import desired as wishes
from qnetem.testbed.desired import PLANES, Desired, Plane, Settings
from qnetem.testbed.overlay import checked_fault, overlaid, planes_of
from qnetem.testbed.plan import LinkPlan, ProcessPlan, TestbedPlan
from qnetem.testbed.state import State, write_quickly
from qnetem.testbed.supervisor.reach import ChannelState, Reach
from qnetem.v1 import process_pb2, supervisor_pb2

__all__ = ["Links"]

_log = get_logger("testbed.links")
_RETRY_S: Final = 1.0
_PLANE_OF: Final[Mapping[int, Plane]] = {
    process_pb2.PROCESS_KIND_QUANTUM_CHANNEL: "quantum",
    process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL: "classical",
}


class Links:
    """Stores settings durably, then sends what is in force to the channels; what did not arrive is sent again.

    In force are the operator's settings, what comes and goes over them, and over both faults, which last no longer than
    whoever holds them.
    """

    def __init__(self, plan: TestbedPlan, state: State, reach: Reach, is_serving: Callable[[str], bool]) -> None:
        """Start with the settings that are stored; the configurations of the channels hold them already.

        Args:
            plan: The links, and who carries them.
            state: Where settings and configurations are kept.
            reach: Calls to the channels.
            is_serving: Whether a process can be asked now.
        """
        self._plan = plan
        self._state = state
        self._reach = reach
        self._is_serving = is_serving
        self._clock = Clock(
            process_pb2.ClockConfig(
                epoch_ns=plan.epoch_ns, scale=plan.scale, source=process_pb2.ClockConfig.SOURCE_MONOTONIC
            )
        )
        self._desired = self._in_force = state.desired()
        # by fault id, the oldest first; replaced, never changed in place
        self._faults: dict[str, supervisor_pb2.LinkFault] = {}
        self._fault_numbers = itertools.count(1)
        self._planned_loss_db: dict[str, float] = {}
        self._changing = asyncio.Lock()
        self._poked = asyncio.Event()
        # by channel process: what its configuration says, and what it was told last, None when that is not known
        self._written = {one.name: self._desired.only(one.links) for one in self._channels()}
        self._told: dict[str, Desired | None] = {**self._written}

    def _channels(self) -> list[ProcessPlan]:
        return [plan for plan in self._plan.processes.values() if plan.kind in _PLANE_OF]

    def prepare(self, plan: ProcessPlan) -> None:
        """Have the settings in the configuration of a process that is about to start.

        Raises:
            QnetemError: The configuration cannot be read or written.
        """
        if plan.name not in self._written:
            return
        self._prune()
        wanted = self._in_force.only(plan.links)
        if self._written[plan.name] != wanted:
            path = self._state.layout.config(plan.name)
            config = _loaded(path)
            wishes.apply(wanted, config)
            try:
                write_quickly(path, json_format.MessageToJson(config).encode())
            except OSError as error:
                raise StorageError(f"{path}: {error.strerror}") from error
            self._written[plan.name] = wanted
        self._told[plan.name] = wanted

    def poke(self) -> None:
        """Look soon whether a channel has to be told something: one has come back."""
        self._poked.set()

    async def run(self) -> None:
        """Tell channels what they have not been told, until cancelled."""
        while True:
            await self._poked.wait()
            self._poked.clear()
            async with self._changing:
                is_told = [await self._catch_up(plan) for plan in self._channels()]
            if not all(is_told):
                await asyncio.sleep(_RETRY_S)
                self._poked.set()

    async def _catch_up(self, plan: ProcessPlan) -> bool:
        """Tell a channel the settings that differ from what it was told; False: that has to be tried again."""
        told, wanted, plane = self._told[plan.name], self._in_force.only(plan.links), _PLANE_OF[plan.kind]
        if told == wanted or not self._is_serving(plan.name):
            return True  # one that does not serve pokes when it comes back
        try:
            for link_id in plan.links:
                await self._tell(plane, plan.name, link_id, told, wanted)
        except QnetemError as error:
            _log.warning("testbed.links.not_told", channel=plan.name, detail=str(error))
            return False
        self._told[plan.name] = wanted
        return True

    def _link(self, link_id: str) -> LinkPlan:
        if link_id not in self._plan.links:
            raise NotFoundError(f"no link is called {link_id}")
        return self._plan.links[link_id]

    def _prune(self) -> None:
        """Forget the layers that have come to their end; channels have forgotten them already."""
        pruned = self._desired.pruned(self._clock.now_ps())
        if pruned is not self._desired:
            self._desired = pruned
            self._in_force = overlaid(pruned, self._faults.values(), self._planned_loss_db)

    async def set(
        self, link_id: str, settings: Mapping[Plane, Settings], *, ramp_s: float = 0.0, duration_s: float = 0.0
    ) -> supervisor_pb2.LinkReport:
        """Merge settings into those of a link; they hold until reset, whatever restarts.

        With a ramp or a duration (emulated seconds) they are laid over those of the link, and come and go.

        Raises:
            NotFoundError: There is no such link.
            BadInputError: There is no setting, or a value cannot be; nothing has changed then.
            StorageError: They cannot be stored; nothing has changed then.
        """
        link = self._link(link_id)
        if not settings:
            raise BadInputError("no setting is given")
        wishes.checked_span(ramp_s, duration_s)
        _demand_channels(link, settings)
        async with self._changing:
            self._prune()
            new = self._desired
            for plane, change in settings.items():
                wishes.checked(change)
                if ramp_s or duration_s:
                    now_ps = self._clock.now_ps()
                    new = new.laid(plane, link_id, change, start_ps=now_ps, ramp_s=ramp_s, duration_s=duration_s)
                else:
                    new = new.set(plane, link_id, change)
            return await self._change(link, new, self._faults, tuple(settings))

    async def reset(self, link_id: str, fields: Mapping[Plane, Sequence[str]]) -> supervisor_pb2.LinkReport:
        """Take settings of a link back: those that are named on each plane, all of a plane where none is named.

        Raises:
            NotFoundError: There is no such link.
            BadInputError: There is no such setting; nothing has changed then.
            StorageError: It cannot be stored; nothing has changed then.
        """
        link = self._link(link_id)
        async with self._changing:
            new = self._desired
            for plane, names in fields.items():
                new = new.reset(plane, link_id, names)
            return await self._change(link, new, self._faults, tuple(fields))

    async def begin(self, fault: supervisor_pb2.LinkFault) -> tuple[str, supervisor_pb2.LinkReport]:
        """Begin a fault; return its id. It lasts until `heal` or `drop`.

        Raises:
            NotFoundError: There is no such link.
            BadInputError: It does nothing, or a value cannot be; nothing has changed then.
        """
        link = self._link(fault.link_id)
        _demand_channels(link, planes_of(fault))
        begun = supervisor_pb2.LinkFault()
        begun.CopyFrom(checked_fault(fault))
        begun.fault_id = f"{link.id}/{next(self._fault_numbers)}"
        async with self._changing:
            if begun.added_loss_db and link.id not in self._planned_loss_db:
                config = _loaded(self._state.layout.config(link.quantum_channel)).quantum_channel
                self._planned_loss_db |= {one.link_id: one.planned.extra_loss_db for one in config.links}
            faults = {**self._faults, begun.fault_id: begun}
            try:
                report = await self._change(link, self._desired, faults, planes_of(begun))
            except BaseException:  # its holder may have gone meanwhile
                self.drop(begun.fault_id)
                raise
        return begun.fault_id, report

    async def heal(self, fault_id: str) -> supervisor_pb2.LinkReport:
        """End a fault; what remains holds when this returns.

        Raises:
            NotFoundError: It is not in force.
        """
        async with self._changing:
            fault = self._faults.get(fault_id)
            if fault is None:
                raise NotFoundError(f"no fault {fault_id} is in force")
            faults = {other: one for other, one in self._faults.items() if other != fault_id}
            return await self._change(self._link(fault.link_id), self._desired, faults, planes_of(fault))

    def drop(self, fault_id: str) -> bool:
        """End a fault whose holder has gone, soon; return whether it was in force."""
        if fault_id not in self._faults:
            return False
        self._faults = {other: one for other, one in self._faults.items() if other != fault_id}
        self._in_force = overlaid(self._desired, self._faults.values(), self._planned_loss_db)
        self._poked.set()
        return True

    async def get(self, link_id: str) -> supervisor_pb2.LinkReport:
        """Return what is in force on a link and what is wanted.

        Raises:
            NotFoundError: There is no such link.
        """
        link = self._link(link_id)
        return await self._report(link, {})

    async def _change(
        self,
        link: LinkPlan,
        desired: Desired,
        faults: dict[str, supervisor_pb2.LinkFault],
        planes: Sequence[Plane],
    ) -> supervisor_pb2.LinkReport:
        """Store what is wanted, then tell the channels of `planes`; what a channel refuses is taken back."""
        in_force = overlaid(desired, faults.values(), self._planned_loss_db)
        old = self._desired, self._faults
        if desired != self._desired:
            self._state.write_desired(desired)
        self._desired, self._faults, self._in_force = desired, faults, in_force
        states: dict[Plane, ChannelState] = {}
        planes = [plane for plane in planes if _channel(link, plane)]
        try:
            for plane in planes:
                channel, told = _channel(link, plane), self._told[_channel(link, plane)]
                if not self._is_serving(channel):
                    continue
                state = await self._tell(plane, channel, link.id, told, in_force)
                if state is not None:
                    states[plane] = state
                if told is not None:
                    wanted, layers = in_force.of(plane, link.id), in_force.layers_of(plane, link.id)
                    self._told[channel] = told.but(plane, link.id, wanted, layers)
        except BadInputError:
            if desired != old[0]:
                self._state.write_desired(old[0])
            # meanwhile a fault may have been dropped
            self._desired = old[0]
            self._faults = {fault_id: one for fault_id, one in old[1].items() if fault_id in self._faults}
            self._in_force = overlaid(self._desired, self._faults.values(), self._planned_loss_db)
            raise
        except BaseException as error:
            # whether it arrived is not known: `run` tells it again, and the report is without it
            for plane in planes:
                self._told[_channel(link, plane)] = None
            if not isinstance(error, QnetemError):
                raise
            _log.warning("testbed.links.not_told", link_id=link.id, detail=str(error))
        finally:
            self._poked.set()
        return await self._report(link, states)

    async def _tell(
        self, plane: Plane, channel: str, link_id: str, told: Desired | None, wanted: Desired
    ) -> ChannelState | None:
        """Tell a channel what a link is to have, unless it was told so last; return the state it is in then."""
        settings, layers = wanted.of(plane, link_id), wanted.layers_of(plane, link_id)
        if told is not None and (settings, layers) == (told.of(plane, link_id), told.layers_of(plane, link_id)):
            return None
        return await self._reach.replace(plane, channel, link_id, settings, layers)

    async def _report(self, link: LinkPlan, states: Mapping[Plane, ChannelState]) -> supervisor_pb2.LinkReport:
        """Return a report; planes that are not in `states` are asked for, and absent when they do not answer."""
        self._prune()
        now = to_time(self._clock.now_ps())
        report = supervisor_pb2.LinkReport(link_id=link.id, now=now, endpoints=link.endpoints)
        for plane in PLANES:
            channel = _channel(link, plane)
            if not channel:
                continue
            state = states.get(plane)
            if state is None and self._is_serving(channel):
                try:
                    state = await self._reach.get(plane, channel, link.id)
                except QnetemError as error:
                    _log.warning("testbed.links.not_asked", channel=channel, detail=str(error))
            if state is not None:
                getattr(report, plane).CopyFrom(state)
            settings = self._desired.of(plane, link.id)
            if settings.ListFields():
                getattr(report, f"desired_{plane}").CopyFrom(settings)
            getattr(report, f"{plane}_layers").extend(self._desired.layers_of(plane, link.id))
        report.faults.extend(fault for fault in self._faults.values() if fault.link_id == link.id)
        return report


def _loaded(path: Path) -> process_pb2.ProcessConfig:
    from qnetem.runtime.process import load_config  # here: it imports what only processes need

    return load_config(path)


def _demand_channels(link: LinkPlan, planes: Iterable[Plane]) -> None:
    if any(not _channel(link, plane) for plane in planes):
        raise BadInputError(f"link {link.id}: has no quantum channel, KMEs of another make give its keys")


def _channel(link: LinkPlan, plane: Plane) -> str:
    return link.quantum_channel if plane == "quantum" else link.classical_channel
