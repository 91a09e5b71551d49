"""qnetem.testbed.supervisor.reach: asking the processes of the testbed, over mutual TLS as an operator. Edge."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import grpc.aio

from qnetem.runtime import identity, rpc
from qnetem.runtime.errors import QnetemError
from qnetem.testbed.desired import Layer, Plane, Settings
from qnetem.testbed.plan import KINDS, ProcessPlan
from qnetem.v1 import (
    classical_channel_pb2,
    classical_channel_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    quantum_channel_pb2,
    quantum_channel_pb2_grpc,
    supervisor_pb2,
)

__all__ = ["ChannelState", "Reach", "reaching"]

ChannelState = quantum_channel_pb2.QuantumLinkState | classical_channel_pb2.ClassicalPathState
_TIMEOUT_S: Final = 2.0


class Reach:
    """Calls to the management listeners. A channel to each is opened when it is first needed, and kept."""

    def __init__(
        self, testbed: str, plans: Mapping[str, ProcessPlan], credentials: rpc.Credentials, stack: AsyncExitStack
    ) -> None:
        """Reach the processes of `plans`; channels live as long as `stack`."""
        self._testbed = testbed
        self._plans = plans
        self._credentials = credentials
        self._stack = stack
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def _channel(self, name: str) -> grpc.aio.Channel:
        if name not in self._channels:
            plan = self._plans[name]
            target = identity.dns_name(self._testbed, KINDS[plan.kind], name)
            opening = rpc.dial(plan.listeners["management"], self._credentials, target=target)
            self._channels[name] = await self._stack.enter_async_context(opening)
        return self._channels[name]

    async def nodes(self, names: Iterable[str]) -> list[supervisor_pb2.NodeReport]:
        """Return what each node says of itself, or why it does not, asking all at the same time."""
        return list(await asyncio.gather(*(self._node(name) for name in names)))

    async def _node(self, name: str) -> supervisor_pb2.NodeReport:
        stub: Any = node_pb2_grpc.NodeServiceStub(await self._channel(name))
        try:
            status = await rpc.call(stub.GetNode, node_pb2.GetNodeRequest(), timeout_s=_TIMEOUT_S)
        except QnetemError as error:
            return supervisor_pb2.NodeReport(name=name, error=str(error))
        return supervisor_pb2.NodeReport(name=name, status=status)

    async def get(self, plane: Plane, channel: str, link_id: str) -> ChannelState:
        """Return the state of a link on one plane. Raises QnetemError, as does `replace`."""
        if plane == "quantum":
            return await self._call(plane, channel, "GetLink", quantum_channel_pb2.GetLinkRequest(link_id=link_id))
        return await self._call(plane, channel, "GetPath", classical_channel_pb2.GetPathRequest(link_id=link_id))

    async def replace(
        self, plane: Plane, channel: str, link_id: str, settings: Settings, layers: Iterable[Layer]
    ) -> ChannelState:
        """Have settings and layers of a link in the place of all there are; return its state."""
        values: Any = {"link_id": link_id, "settings": settings, "layers": layers}
        if plane == "quantum":
            return await self._call(plane, channel, "ReplaceLink", quantum_channel_pb2.ReplaceLinkRequest(**values))
        return await self._call(plane, channel, "ReplacePath", classical_channel_pb2.ReplacePathRequest(**values))

    async def _call(self, plane: Plane, channel: str, method: str, request: Any) -> ChannelState:
        opened = await self._channel(channel)
        stub: Any
        if plane == "quantum":
            stub = quantum_channel_pb2_grpc.QuantumLinkServiceStub(opened)
        else:
            stub = classical_channel_pb2_grpc.ClassicalChannelServiceStub(opened)
        # who is asked serves: a connection that failed on a busy host is tried again until the deadline
        response: Any = await rpc.call(getattr(stub, method), request, timeout_s=_TIMEOUT_S, wait_for_ready=True)
        state: ChannelState = response.state
        return state


@asynccontextmanager
async def reaching(
    testbed: str, plans: Mapping[str, ProcessPlan], credentials: rpc.Credentials
) -> AsyncIterator[Reach]:
    """Reach the processes while the block runs."""
    async with AsyncExitStack() as stack:
        yield Reach(testbed, plans, credentials, stack)
