"""classical_channel.service: the process: forwards every path, and lets operators change links. Wiring."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc.aio

from classical_channel.link import Link, links_of
from classical_channel.metrics import LinkCollector
from classical_channel.proxy import forwarding
from qnetem.runtime import rpc
from qnetem.runtime.clock import PS_PER_S
from qnetem.runtime.errors import BadInputError, NotFoundError
from qnetem.runtime.process import Process
from qnetem.v1 import classical_channel_pb2, classical_channel_pb2_grpc

__all__ = ["ClassicalChannelServicer", "serve"]

_SERVICE: Final = "qnetem.v1.ClassicalChannelService"
_Context = grpc.aio.ServicerContext[Any, Any]


class ClassicalChannelServicer(classical_channel_pb2_grpc.ClassicalChannelServiceServicer):
    """Settings and state of links, for operators."""

    def __init__(self, links: Mapping[str, Link], process: Process) -> None:
        """Serve `links`; changes go to the process's journal and telemetry."""
        self._links = links
        self._process = process

    def _link(self, link_id: str) -> Link:
        link = self._links.get(link_id)
        if link is None:
            raise NotFoundError(f"no classical link {link_id!r} here")
        return link

    def _changed(self, link: Link, how: str, caller: str) -> classical_channel_pb2.ClassicalPathState:
        state = link.state()
        fields: dict[str, str | int | bool] = {
            "link_id": link.link_id,
            "is_up": state.is_up,
            "delay_ps": state.effective.delay_ps,
            "unslept_delay_ps": state.unslept_delay_ps,
        }
        self._process.journal.write(f"classical.link.{how}", **fields, by=caller)
        self._process.telemetry.publish(f"classical/{link.link_id}", fields)
        return state

    async def SetPath(
        self, request: classical_channel_pb2.SetPathRequest, context: _Context
    ) -> classical_channel_pb2.SetPathResponse:
        """Merge settings of a link, in force at once, or lay them over it for a time."""
        link = self._link(request.link_id)
        link.set(request.settings, ramp_s=request.ramp_s, duration_s=request.duration_s)
        return classical_channel_pb2.SetPathResponse(state=self._changed(link, "set", rpc.caller_uri(context)))

    async def ResetPath(
        self, request: classical_channel_pb2.ResetPathRequest, context: _Context
    ) -> classical_channel_pb2.ResetPathResponse:
        """Forget settings of a link; what was planned holds at once."""
        link = self._link(request.link_id)
        link.reset(request.fields)
        return classical_channel_pb2.ResetPathResponse(state=self._changed(link, "reset", rpc.caller_uri(context)))

    async def ReplacePath(
        self, request: classical_channel_pb2.ReplacePathRequest, context: _Context
    ) -> classical_channel_pb2.ReplacePathResponse:
        """Have settings and layers in the place of all that are in force."""
        link = self._link(request.link_id)
        link.replace(request.settings, request.layers)
        return classical_channel_pb2.ReplacePathResponse(state=self._changed(link, "replaced", rpc.caller_uri(context)))

    async def GetPath(
        self, request: classical_channel_pb2.GetPathRequest, context: _Context
    ) -> classical_channel_pb2.GetPathResponse:
        """Return the state of a link."""
        return classical_channel_pb2.GetPathResponse(state=self._link(request.link_id).state())


@asynccontextmanager
async def serve(process: Process) -> AsyncIterator[None]:
    """Forward the configured paths and serve operators while the block runs.

    Raises:
        BadInputError: The configuration is not a classical channel's, or not usable; names the link and field.
        StartError: An address cannot be bound; names it.
    """
    config = process.config
    if not config.HasField("classical_channel"):
        raise BadInputError(f"{process.name}: not the configuration of a classical channel")
    if not config.listeners.management:
        raise BadInputError(f"{process.name}: listeners.management is missing")
    paths = config.classical_channel.paths
    links = links_of(paths, process.clock)
    process.metrics.register(LinkCollector(links))
    registration = rpc.Registration(
        classical_channel_pb2_grpc.add_ClassicalChannelServiceServicer_to_server,
        ClassicalChannelServicer(links, process),
        _SERVICE,
        {"*": process.operators},
    )
    registrations = [registration, *process.health.registrations((_SERVICE,), process.operators)]
    async with (
        forwarding(paths, links),
        rpc.serve(config.listeners.management, process.credentials, registrations),
    ):
        await process.health.set_links(True)
        for link in links.values():
            delay_s = link.conditions.effective.delay_ps / PS_PER_S
            process.log.info("classical.link.ready", link_id=link.link_id, delay_s=delay_s, is_up=link.conditions.is_up)
        yield
