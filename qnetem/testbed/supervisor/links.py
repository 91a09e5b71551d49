"""qnetem.testbed.supervisor.links: what the operator wants of the links, brought into force and kept there. Edge."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from google.protobuf import json_format

from qnetem.runtime.errors import BadInputError, NotFoundError, QnetemError, StorageError
from qnetem.runtime.log import get_logger
from qnetem.runtime.process import load_config
from qnetem.testbed import desired as wishes
from qnetem.testbed.desired import PLANES, Desired, Plane, Settings
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
    """Stores settings durably, then sends them to the channels; what did not arrive is sent again."""

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
        self._desired = state.desired()
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
        wanted = self._desired.only(plan.links)
        if self._written[plan.name] != wanted:
            path = self._state.layout.config(plan.name)
            config = load_config(path)
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
        told, wanted, plane = self._told[plan.name], self._desired.only(plan.links), _PLANE_OF[plan.kind]
        if told == wanted or not self._is_serving(plan.name):
            return True  # one that does not serve pokes when it comes back
        try:
            for link_id in plan.links:
                settings = wanted.of(plane, link_id)
                if told is None or told.of(plane, link_id) != settings:
                    await self._reach.reset(plane, plan.name, link_id, ())
                    if settings.ListFields():
                        await self._reach.set(plane, plan.name, link_id, settings)
        except QnetemError as error:
            _log.warning("testbed.links.not_told", channel=plan.name, detail=str(error))
            return False
        self._told[plan.name] = wanted
        return True

    def _link(self, link_id: str) -> LinkPlan:
        if link_id not in self._plan.links:
            raise NotFoundError(f"no link is called {link_id}")
        return self._plan.links[link_id]

    async def set(self, link_id: str, settings: Mapping[Plane, Settings]) -> supervisor_pb2.LinkReport:
        """Merge settings into those of a link; they hold until reset, whatever restarts.

        Raises:
            NotFoundError: There is no such link.
            BadInputError: There is no setting, or a value cannot be; nothing has changed then.
            StorageError: They cannot be stored; nothing has changed then.
        """
        link = self._link(link_id)
        if not settings:
            raise BadInputError("no setting is given")
        async with self._changing:
            new = self._desired
            for plane, change in settings.items():
                new = new.but(plane, link_id, wishes.merged(new.of(plane, link_id), wishes.checked(change)))
            return await self._change(
                link, new, settings, lambda plane, channel: self._reach.set(plane, channel, link_id, settings[plane])
            )

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
                new = new.but(plane, link_id, wishes.without(new.of(plane, link_id), names))
            return await self._change(
                link, new, fields, lambda plane, channel: self._reach.reset(plane, channel, link_id, fields[plane])
            )

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
        new: Desired,
        planes: Mapping[Plane, object],
        tell: Callable[[Plane, str], Awaitable[ChannelState]],
    ) -> supervisor_pb2.LinkReport:
        """Store `new`, then tell the channels of `planes`; what a channel refuses is taken back."""
        old = self._desired
        self._state.write_desired(new)
        self._desired = new
        states: dict[Plane, ChannelState] = {}
        try:
            for plane in planes:
                channel = _channel(link, plane)
                if self._is_serving(channel):
                    states[plane] = await tell(plane, channel)
                    if (told := self._told[channel]) is not None:
                        self._told[channel] = told.but(plane, link.id, new.of(plane, link.id))
        except BadInputError:
            self._state.write_desired(old)
            self._desired = old
            raise
        except QnetemError as error:
            # whether it arrived is not known: `run` tells it again, and the report is without it
            _log.warning("testbed.links.not_told", link_id=link.id, detail=str(error))
            for plane in planes:
                self._told[_channel(link, plane)] = None
        finally:
            self._poked.set()
        return await self._report(link, states)

    async def _report(self, link: LinkPlan, states: Mapping[Plane, ChannelState]) -> supervisor_pb2.LinkReport:
        """Return a report; planes that are not in `states` are asked for, and absent when they do not answer."""
        report = supervisor_pb2.LinkReport(link_id=link.id)
        for plane in PLANES:
            channel = _channel(link, plane)
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
        return report


def _channel(link: LinkPlan, plane: Plane) -> str:
    return link.quantum_channel if plane == "quantum" else link.classical_channel
