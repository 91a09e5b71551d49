"""classical_channel.client: what operators ask of a classical channel. Edge."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import grpc.aio

from qnetem.runtime import identity, rpc
from qnetem.v1 import classical_channel_pb2, classical_channel_pb2_grpc, parameters_pb2

__all__ = ["ClassicalChannelClient"]

_TIMEOUT_S = 5.0


class ClassicalChannelClient:
    """Asks one classical channel; every call raises the server's errors, or UnavailableError, DeadlineError."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float = _TIMEOUT_S) -> None:
        """Ask over a channel that the caller owns; `timeout_s` is the deadline of each call."""
        self._stub = classical_channel_pb2_grpc.ClassicalChannelServiceStub(channel)
        self._timeout_s = timeout_s

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, address: str, credentials: rpc.Credentials, testbed: str, name: str, *, timeout_s: float = _TIMEOUT_S
    ) -> AsyncIterator["ClassicalChannelClient"]:
        """Dial the management listener of the classical channel `name`."""
        target = identity.dns_name(testbed, "classical-channel", name)
        async with rpc.dial(address, credentials, target=target) as channel:
            yield cls(channel, timeout_s)

    async def set_path(
        self,
        link_id: str,
        settings: parameters_pb2.ClassicalSettings,
        *,
        ramp_s: float = 0.0,
        duration_s: float = 0.0,
    ) -> classical_channel_pb2.ClassicalPathState:
        """Merge settings of a link, or lay them over it with a ramp, for a time (emulated s); return what holds."""
        request = classical_channel_pb2.SetPathRequest(
            link_id=link_id, settings=settings, ramp_s=ramp_s, duration_s=duration_s
        )
        return (await rpc.call(self._stub.SetPath, request, timeout_s=self._timeout_s)).state

    async def reset_path(self, link_id: str, fields: Iterable[str] = ()) -> classical_channel_pb2.ClassicalPathState:
        """Forget the named settings of a link, or all; return what holds now."""
        request = classical_channel_pb2.ResetPathRequest(link_id=link_id, fields=fields)
        return (await rpc.call(self._stub.ResetPath, request, timeout_s=self._timeout_s)).state

    async def get_path(self, link_id: str) -> classical_channel_pb2.ClassicalPathState:
        """Return what holds on a link."""
        request = classical_channel_pb2.GetPathRequest(link_id=link_id)
        return (await rpc.call(self._stub.GetPath, request, timeout_s=self._timeout_s)).state
