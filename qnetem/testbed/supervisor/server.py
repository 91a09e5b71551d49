"""qnetem.testbed.supervisor.server: the supervisor as a gRPC service on its local socket. Edge."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from qnetem.testbed.desired import Plane, Settings
from qnetem.testbed.overlay import planes_of
from qnetem.testbed.planes import plane_names
from qnetem.testbed.supervisor.children import Children
from qnetem.testbed.supervisor.events import Events
from qnetem.testbed.supervisor.links import Links
from qnetem.testbed.supervisor.reach import Reach
from qnetem.testbed.supervisor.usage import read_usages
from qnetem.testbed.supervisor.wiring import Planes
from qnetem.v1 import process_pb2, supervisor_pb2, supervisor_pb2_grpc

__all__ = ["SupervisorServicer"]


class SupervisorServicer(supervisor_pb2_grpc.SupervisorServiceServicer):
    """Answers the command line and the Python API."""

    def __init__(
        self,
        children: Children,
        planes: Planes,
        links: Links,
        reach: Reach,
        events: Events,
        *,
        describe: Callable[[], supervisor_pb2.GetTestbedResponse],
        zygote_pid: Callable[[], int],
        take_down: Callable[[], None],
        is_down: asyncio.Event,
    ) -> None:
        """Serve.

        Args:
            children: The processes.
            planes: Who is off which.
            links: The settings of the links.
            reach: Calls to the processes.
            events: What happens.
            describe: Returns the testbed as it is, without `is_held`.
            zygote_pid: Returns the pid of the zygote.
            take_down: Begins to take everything down.
            is_down: Set when all processes have ended.
        """
        self._children = children
        self._planes = planes
        self._links = links
        self._reach = reach
        self._events = events
        self._describe = describe
        self._zygote_pid = zygote_pid
        self._take_down = take_down
        self._is_down = is_down
        self._hold_count = 0

    def _testbed(self) -> supervisor_pb2.GetTestbedResponse:
        testbed = self._describe()
        testbed.is_held = testbed.is_held or self._hold_count > 0
        return testbed

    async def GetTestbed(
        self, request: supervisor_pb2.GetTestbedRequest, context: Any
    ) -> supervisor_pb2.GetTestbedResponse:
        """Return the testbed as the supervisor knows it."""
        return self._testbed()

    async def Inspect(self, request: supervisor_pb2.InspectRequest, context: Any) -> supervisor_pb2.InspectResponse:
        """Ask every node."""
        nodes = [child for child in self._children if child.plan.kind == process_pb2.PROCESS_KIND_NODE]
        asked = await self._reach.nodes(child.plan.name for child in nodes if "management" not in child.off)
        # one that is off would let everybody wait for the deadline
        reports = {child.plan.name: _off_report(child.plan.name) for child in nodes if "management" in child.off}
        reports |= {report.name: report for report in asked}
        usages = await asyncio.to_thread(read_usages, self._pids()) if request.has_usage else []
        told = [reports[child.plan.name] for child in nodes]
        return supervisor_pb2.InspectResponse(testbed=self._testbed(), nodes=told, usages=usages)

    def _pids(self) -> dict[str, int]:
        pids = {child.plan.name: child.pid for child in self._children if child.pid}
        return pids | {"supervisor": os.getpid(), "zygote": self._zygote_pid()}

    async def Act(self, request: supervisor_pb2.ActRequest, context: Any) -> supervisor_pb2.ActResponse:
        """Start, stop, kill, restart, pause or resume processes."""
        chosen = await self._children.act(request.action, request.names)
        return supervisor_pb2.ActResponse(processes=[child.status() for child in chosen])

    async def Disconnect(
        self, request: supervisor_pb2.DisconnectRequest, context: Any
    ) -> supervisor_pb2.DisconnectResponse:
        """Take processes off planes."""
        chosen = await self._planes.disconnect(request.names, plane_names(request.planes))
        return supervisor_pb2.DisconnectResponse(processes=[child.status() for child in chosen])

    async def Connect(self, request: supervisor_pb2.ConnectRequest, context: Any) -> supervisor_pb2.ConnectResponse:
        """Join processes to planes again."""
        chosen = await self._planes.connect(request.names, plane_names(request.planes))
        return supervisor_pb2.ConnectResponse(processes=[child.status() for child in chosen])

    async def SetLink(
        self, request: supervisor_pb2.SupervisorServiceSetLinkRequest, context: Any
    ) -> supervisor_pb2.SupervisorServiceSetLinkResponse:
        """Change settings of a link until they are reset, or for a time."""
        settings: dict[Plane, Settings] = {}
        if request.HasField("quantum"):
            settings["quantum"] = request.quantum
        if request.HasField("classical"):
            settings["classical"] = request.classical
        spans = {"ramp_s": request.ramp_s, "duration_s": request.duration_s}
        report = await self._links.set(request.link_id, settings, **spans)
        fields = _written(settings.values()) | {name: value for name, value in spans.items() if value}
        self._events.tell("link.set", link_id=request.link_id, **fields)
        return supervisor_pb2.SupervisorServiceSetLinkResponse(link=report)

    async def ResetLink(
        self, request: supervisor_pb2.SupervisorServiceResetLinkRequest, context: Any
    ) -> supervisor_pb2.SupervisorServiceResetLinkResponse:
        """Take settings of a link back."""
        fields: dict[Plane, Sequence[str]] = {"quantum": request.quantum_fields, "classical": request.classical_fields}
        if request.is_all:
            fields = {"quantum": (), "classical": ()}
        else:
            fields = {plane: names for plane, names in fields.items() if names}
        report = await self._links.reset(request.link_id, fields)
        names = [*request.quantum_fields, *request.classical_fields]
        self._events.tell("link.reset", link_id=request.link_id, fields=names)
        return supervisor_pb2.SupervisorServiceResetLinkResponse(link=report)

    async def GetLink(
        self, request: supervisor_pb2.SupervisorServiceGetLinkRequest, context: Any
    ) -> supervisor_pb2.SupervisorServiceGetLinkResponse:
        """Return what is in force on a link and what is wanted."""
        return supervisor_pb2.SupervisorServiceGetLinkResponse(link=await self._links.get(request.link_id))

    async def HoldFault(
        self, request: supervisor_pb2.HoldFaultRequest, context: Any
    ) -> AsyncIterator[supervisor_pb2.HoldFaultResponse]:
        """Begin a fault; however the call ends, the fault ends."""
        fault_id, report = await self._links.begin(request.fault)
        # a callback and not `finally`: the call can end while nobody runs this
        context.add_done_callback(lambda _: self._drop(fault_id, request.fault.link_id))
        changes = (getattr(request.fault, plane) for plane in planes_of(request.fault) if request.fault.HasField(plane))
        fields = {**_written(changes), "added_loss_db": request.fault.added_loss_db}
        self._events.tell("link.fault.begun", link_id=request.fault.link_id, fault_id=fault_id, **fields)
        yield supervisor_pb2.HoldFaultResponse(fault_id=fault_id, link=report)
        await self._is_down.wait()

    def _drop(self, fault_id: str, link_id: str) -> None:
        if self._links.drop(fault_id):
            self._events.tell("link.fault.healed", link_id=link_id, fault_id=fault_id)

    async def HealFault(
        self, request: supervisor_pb2.HealFaultRequest, context: Any
    ) -> supervisor_pb2.HealFaultResponse:
        """End a fault."""
        report = await self._links.heal(request.fault_id)
        self._events.tell("link.fault.healed", link_id=report.link_id, fault_id=request.fault_id)
        return supervisor_pb2.HealFaultResponse(link=report)

    async def Down(self, request: supervisor_pb2.DownRequest, context: Any) -> supervisor_pb2.DownResponse:
        """Take everything down; answered when all processes have ended."""
        self._take_down()
        await self._is_down.wait()
        return supervisor_pb2.DownResponse()

    async def Hold(
        self, request: supervisor_pb2.HoldRequest, context: Any
    ) -> AsyncIterator[supervisor_pb2.HoldResponse]:
        """Hold the testbed: however the call ends, everything is taken down."""
        self._hold_count += 1
        # a callback and not `finally`: the call can end while nobody runs this
        context.add_done_callback(lambda _: self._take_down())
        yield supervisor_pb2.HoldResponse(is_held=True)
        await self._is_down.wait()

    async def WatchEvents(
        self, request: supervisor_pb2.WatchEventsRequest, context: Any
    ) -> AsyncIterator[supervisor_pb2.WatchEventsResponse]:
        """Tell the state of everything, then every event."""
        watcher = self._events.watch()
        context.add_done_callback(lambda _: self._events.forget(watcher))
        yield supervisor_pb2.WatchEventsResponse(testbed=self._testbed())
        async for event in watcher.events():
            yield supervisor_pb2.WatchEventsResponse(event=event)


def _off_report(node: str) -> supervisor_pb2.NodeReport:
    return supervisor_pb2.NodeReport(name=node, error="is disconnected from the management plane")


def _written(settings: Any) -> dict[str, Any]:
    return {field.name: value for one in settings for field, value in one.ListFields()}
