"""qnetem.testbed.api.processes: one process of a testbed: what can be done to it, and what it says. Edge."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc.aio

from node.client import NodeClient
from qnetem.testbed.api.connection import Connection
from qnetem.testbed.api.evidence import log_lines
from qnetem.testbed.api.views import ProcessView
from qnetem.testbed.api.waiting import eventually
from qnetem.testbed.inspected import process_values
from qnetem.testbed.planes import Plane, plane_values
from qnetem.v1 import supervisor_pb2

__all__ = ["NodeHandle", "ProcessHandle"]

_ACTIONS = supervisor_pb2.ProcessAction


class ProcessHandle:
    """A process: a node, a channel, the broker. Returns when what was asked for has been seen to happen."""

    def __init__(self, connected: Callable[[], Connection], name: str) -> None:
        """Name a process of the testbed that `connected` gives; see `Testbed.process`.

        Raises:
            NotFoundError: There is no such process; suggests the nearest.
        """
        self.name = name
        self._connected = connected
        connected().process(name)

    async def _act(self, action: supervisor_pb2.ProcessAction.ValueType) -> ProcessView:
        (status,) = await self._connected().client.act(action, [self.name])
        return ProcessView.of(process_values(status))

    async def kill(self) -> ProcessView:
        """Kill it (SIGKILL); the supervisor starts it again."""
        return await self._act(_ACTIONS.PROCESS_ACTION_KILL)

    async def pause(self) -> ProcessView:
        """Freeze it (SIGSTOP): its connections stay open, and nothing answers."""
        return await self._act(_ACTIONS.PROCESS_ACTION_PAUSE)

    async def resume(self) -> ProcessView:
        """Let it go on after a pause."""
        return await self._act(_ACTIONS.PROCESS_ACTION_RESUME)

    async def stop(self) -> ProcessView:
        """Stop it; it stays away until it is started."""
        return await self._act(_ACTIONS.PROCESS_ACTION_STOP)

    async def start(self) -> ProcessView:
        """Start it, when it does not run."""
        return await self._act(_ACTIONS.PROCESS_ACTION_START)

    async def restart(self) -> ProcessView:
        """Stop it and start it again."""
        return await self._act(_ACTIONS.PROCESS_ACTION_RESTART)

    async def disconnect(self, plane: Plane | None = None) -> ProcessView:
        """Take it off a plane, off all of its planes where none is named, until `connect`; whatever restarts.

        Raises:
            BadInputError: It is not on that plane, or the runtime cannot take it off.
        """
        (status,) = await self._connected().client.disconnect([self.name], _planes(plane))
        return ProcessView.of(process_values(status))

    async def connect(self, plane: Plane | None = None) -> ProcessView:
        """Join it to a plane again, to all of its planes where none is named."""
        (status,) = await self._connected().client.connect([self.name], _planes(plane))
        return ProcessView.of(process_values(status))

    @asynccontextmanager
    async def disconnected(self, plane: Plane | None = None) -> AsyncIterator[None]:
        """Have it off a plane while the block runs."""
        await self.disconnect(plane)
        try:
            yield
        finally:
            await self.connect(plane)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Freeze it while the block runs."""
        await self.pause()
        try:
            yield
        finally:
            await self.resume()

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Keep it away while the block runs; it serves again after it."""
        await self.stop()
        try:
            yield
        finally:
            await self.start()
            await self.wait_healthy()

    async def status(self) -> ProcessView:
        """Return what the supervisor knows of it."""
        testbed = await self._connected().client.get()
        return ProcessView.of(process_values(next(one for one in testbed.processes if one.name == self.name)))

    async def wait_healthy(self, within: str = "30s") -> ProcessView:
        """Wait until it serves.

        Raises:
            NotInTimeError: It did not in time.
        """
        return await eventually(
            self._connected(),
            self.status,
            holds=lambda status: status.is_healthy,
            within=within,
            what=f"{self.name} healthy",
            process=self.name,
        )

    def logs(self, count: int = 50) -> list[str]:
        """Return the last lines of its log, as `qnetem logs` shows them."""
        return log_lines(self._connected().layout, count, self.name)

    async def channel(self) -> grpc.aio.Channel:
        """Return a gRPC channel to its management listener, as an operator; it closes with the testbed."""
        return await self._connected().channel(self.name)


def _planes(plane: Plane | None) -> list[supervisor_pb2.Plane.ValueType]:
    return plane_values([plane] if plane is not None else [])


class NodeHandle(ProcessHandle):
    """A network node."""

    def __init__(self, connected: Callable[[], Connection], name: str) -> None:
        """Name a node; see `Testbed.node`.

        Raises:
            NotFoundError: There is no such node; suggests the nearest.
        """
        connected().node(name)
        super().__init__(connected, name)

    async def client(self) -> NodeClient:
        """Return a client of its NodeService."""
        return NodeClient(await self.channel())
