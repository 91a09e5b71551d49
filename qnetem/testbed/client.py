"""qnetem.testbed.client: the supervisor of a running testbed, as the command line and the Python API call it. Edge."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final

import grpc.aio

from qnetem.runtime import rpc
from qnetem.runtime.errors import ConflictError, DeadlineError, NotFoundError, StartError, UnavailableError
from qnetem.testbed.progress import Progress
from qnetem.testbed.state import State
from qnetem.v1 import parameters_pb2, supervisor_pb2, supervisor_pb2_grpc

__all__ = ["NotRunningError", "TestbedClient", "connect"]

_TIMEOUT_S: Final = 10.0
# stopping has a grace period, and killing what did not use it takes a moment
_ACT_TIMEOUT_S: Final = 30.0
_Statuses = dict[str, supervisor_pb2.ProcessStatus]


class NotRunningError(ConflictError):
    """The testbed is not running."""

    reason: ClassVar[str] = "NOT_RUNNING"


class TestbedClient:
    """Calls the supervisor. Every method raises the QnetemError that the supervisor raised."""

    __test__ = False  # pytest takes any Test* for a test

    def __init__(self, stub: Any) -> None:
        """Call `stub`; see `connect`."""
        self._stub = stub

    async def get(self) -> supervisor_pb2.GetTestbedResponse:
        """Return the testbed as the supervisor knows it."""
        return await rpc.call(self._stub.GetTestbed, supervisor_pb2.GetTestbedRequest(), timeout_s=_TIMEOUT_S)

    async def inspect(self, *, has_usage: bool = False) -> supervisor_pb2.InspectResponse:
        """Return the testbed with what each node says of itself, and with what each process uses of the machine."""
        request = supervisor_pb2.InspectRequest(has_usage=has_usage)
        return await rpc.call(self._stub.Inspect, request, timeout_s=_TIMEOUT_S)

    async def act(
        self, action: supervisor_pb2.ProcessAction.ValueType, names: Sequence[str]
    ) -> list[supervisor_pb2.ProcessStatus]:
        """Start, stop, kill, restart, pause or resume processes; return what they are after it.

        Raises:
            NotFoundError: There is no such process; nothing has happened to the others then.
            ConflictError: A process that does not run cannot be paused.
        """
        request = supervisor_pb2.ActRequest(action=action, names=names)
        response = await rpc.call(self._stub.Act, request, timeout_s=_ACT_TIMEOUT_S)
        return list(response.processes)

    async def disconnect(
        self, names: Sequence[str], planes: Sequence[supervisor_pb2.Plane.ValueType] = ()
    ) -> list[supervisor_pb2.ProcessStatus]:
        """Take processes off planes, off all of theirs where none is named, until `connect`; return what they are then.

        Raises:
            NotFoundError: There is no such process; nothing has happened then.
            BadInputError: One is not on a plane, or cannot be taken off it; nothing has happened then.
            UnavailableError: The engine does not do it.
        """
        request = supervisor_pb2.DisconnectRequest(names=names, planes=planes)
        response = await rpc.call(self._stub.Disconnect, request, timeout_s=_ACT_TIMEOUT_S)
        return list(response.processes)

    async def connect(
        self, names: Sequence[str], planes: Sequence[supervisor_pb2.Plane.ValueType] = ()
    ) -> list[supervisor_pb2.ProcessStatus]:
        """Join processes to planes again, to all of theirs where none is named. Raises as `disconnect`."""
        request = supervisor_pb2.ConnectRequest(names=names, planes=planes)
        response = await rpc.call(self._stub.Connect, request, timeout_s=_ACT_TIMEOUT_S)
        return list(response.processes)

    async def set_link(
        self,
        link_id: str,
        quantum: parameters_pb2.LinkSettings | None = None,
        classical: parameters_pb2.ClassicalSettings | None = None,
        *,
        ramp_s: float = 0.0,
        duration_s: float = 0.0,
    ) -> supervisor_pb2.LinkReport:
        """Merge settings into those of a link; they hold until reset, whatever restarts.

        With a ramp or a duration (emulated seconds) they come and go over those of the link.

        Raises:
            NotFoundError: There is no such link.
            BadInputError: There is no setting, or a value cannot be; nothing has changed then.
        """
        request = supervisor_pb2.SupervisorServiceSetLinkRequest(
            link_id=link_id, quantum=quantum, classical=classical, ramp_s=ramp_s, duration_s=duration_s
        )
        response: supervisor_pb2.SupervisorServiceSetLinkResponse
        response = await rpc.call(self._stub.SetLink, request, timeout_s=_TIMEOUT_S)
        return response.link

    async def reset_link(
        self,
        link_id: str,
        quantum_fields: Sequence[str] = (),
        classical_fields: Sequence[str] = (),
        *,
        is_all: bool = False,
    ) -> supervisor_pb2.LinkReport:
        """Take settings of a link back: those that are named, or all.

        Raises:
            NotFoundError: There is no such link.
            BadInputError: There is no such setting; nothing has changed then.
        """
        request = supervisor_pb2.SupervisorServiceResetLinkRequest(
            link_id=link_id, quantum_fields=quantum_fields, classical_fields=classical_fields, is_all=is_all
        )
        response: supervisor_pb2.SupervisorServiceResetLinkResponse
        response = await rpc.call(self._stub.ResetLink, request, timeout_s=_TIMEOUT_S)
        return response.link

    async def get_link(self, link_id: str) -> supervisor_pb2.LinkReport:
        """Return what is in force on a link and what is wanted.

        Raises:
            NotFoundError: There is no such link.
        """
        request = supervisor_pb2.SupervisorServiceGetLinkRequest(link_id=link_id)
        response: supervisor_pb2.SupervisorServiceGetLinkResponse
        response = await rpc.call(self._stub.GetLink, request, timeout_s=_TIMEOUT_S)
        return response.link

    @asynccontextmanager
    async def fault(self, fault: supervisor_pb2.LinkFault) -> AsyncIterator[supervisor_pb2.LinkReport]:
        """Have a fault in force while the block runs; it has healed after it, or when this process dies.

        Raises:
            NotFoundError: There is no such link.
            BadInputError: It does nothing, or a value cannot be.
        """
        call = self._stub.HoldFault(supervisor_pb2.HoldFaultRequest(fault=fault))
        try:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    begun: supervisor_pb2.HoldFaultResponse = await anext(rpc.stream(call))
            except TimeoutError:
                raise DeadlineError(f"link {fault.link_id}: no fault within {_TIMEOUT_S:g} s") from None
            try:
                yield begun.link
            finally:
                request = supervisor_pb2.HealFaultRequest(fault_id=begun.fault_id)
                # a testbed that has gone down, or up anew, has no faults; a closed channel has ended the stream
                with contextlib.suppress(NotFoundError, UnavailableError, grpc.aio.UsageError):
                    await rpc.call(self._stub.HealFault, request, timeout_s=_TIMEOUT_S)
        finally:
            call.cancel()

    async def watch(self) -> AsyncGenerator[supervisor_pb2.WatchEventsResponse, None]:
        """Yield the state of everything, then every event until the testbed is down."""
        call = self._stub.WatchEvents(supervisor_pb2.WatchEventsRequest())
        is_down = False
        try:
            async for response in rpc.stream(call):
                is_down = response.event.event == "testbed.down"
                yield response
        except UnavailableError:
            if not is_down:  # else the supervisor has ended before the stream's own end was read
                raise
        finally:
            call.cancel()

    async def wait(
        self,
        reached: Callable[[_Statuses], bool],
        timeout_s: float,
    ) -> _Statuses:
        """Wait until the processes, by name, are as they should be; return them.

        Raises:
            DeadlineError: They were not within `timeout_s`.
            UnavailableError: The testbed went down.
        """
        statuses: _Statuses = {}
        watching = self.watch()
        try:
            async with asyncio.timeout(timeout_s):
                async for response in watching:
                    if response.HasField("testbed"):
                        statuses = {one.name: one for one in response.testbed.processes}
                    elif response.event.HasField("process"):
                        statuses[response.event.process.name] = response.event.process
                    if reached(statuses):
                        return statuses
        except TimeoutError:
            raise DeadlineError(f"not within {timeout_s:g} s") from None
        finally:
            await watching.aclose()
        raise UnavailableError("the testbed went down")

    async def wait_for(
        self,
        names: Collection[str],
        states: Collection[supervisor_pb2.ProcessState.ValueType],
        timeout_s: float,
    ) -> _Statuses:
        """Wait until each of some processes is in one of some states; return all processes by name.

        Raises:
            DeadlineError: They were not within `timeout_s`.
            UnavailableError: The testbed went down.
        """
        return await self.wait(lambda all_: all(all_[name].state in states for name in names), timeout_s)

    async def wait_until_healthy(
        self, timeout_s: float, on_progress: Callable[[Progress], None] | None = None
    ) -> Progress:
        """Wait until every process serves, but those that the operator has stopped or paused.

        Args:
            timeout_s: How long.
            on_progress: Called with each step.

        Raises:
            StartError: A process failed, or some did not serve in time; a line for each, with how it ended last.
            UnavailableError: The testbed went down.
        """
        last = Progress(0, 0, (), (), ())

        def is_decided(statuses: _Statuses) -> bool:
            nonlocal last
            progress = Progress.of(statuses.values())
            if progress != last and on_progress is not None:
                on_progress(progress)
            last = progress
            return progress.is_healthy or bool(progress.failed)

        try:
            await self.wait(is_decided, timeout_s)
        except DeadlineError:
            lines = [f"{name}: not healthy after {timeout_s:g} s" for name in last.waiting]
            lines += [f"{name}: {end}" for name, end in last.troubled]
            raise StartError("\n".join(lines) or f"no answer within {timeout_s:g} s") from None
        if last.failed:
            raise StartError("\n".join(f"{name}: {end}" for name, end in last.failed))
        return last

    async def down(self) -> None:
        """Take everything down; return when all processes have ended."""
        await rpc.call(self._stub.Down, supervisor_pb2.DownRequest(), timeout_s=_ACT_TIMEOUT_S)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold the testbed while the block runs: it goes down at the end, or when this process dies."""
        call = self._stub.Hold(supervisor_pb2.HoldRequest())
        responses = rpc.stream(call)
        try:
            await anext(responses)
            yield
        finally:
            call.cancel()


@asynccontextmanager
async def connect(state: State) -> AsyncIterator[TestbedClient]:
    """Connect to the supervisor of a testbed.

    Raises:
        NotRunningError: The testbed is not running.
    """
    launch = state.launch()
    if launch is None or not launch.is_running:
        raise NotRunningError(f"testbed {state.layout.root.name} is not running")
    async with rpc.dial(f"unix:{launch.socket}", None) as channel:
        yield TestbedClient(supervisor_pb2_grpc.SupervisorServiceStub(channel))
