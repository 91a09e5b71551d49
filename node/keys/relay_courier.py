"""node.keys.relay_courier: asks other KMEs, neighbours or not, over any path that lives. Edge: gRPC.

For messages that may be repeated: an attempt that got no answer is made again over the next path.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc
import grpc.aio

from node.keys.relay_paths import Hop, PathBook, RelayPath
from node.keys.relay_times import RelayTimes
from qnetem.runtime import rpc
from qnetem.runtime.errors import DeadlineError, QnetemError, UnavailableError
from qnetem.v1 import key_exchange_pb2, key_exchange_pb2_grpc
from qnetem.v1 import key_relay_pb2 as pb
from qnetem.v1 import key_relay_pb2_grpc as pb_grpc

__all__ = ["Courier", "NoRouteError", "carried"]

Message = Any
# how a neighbour is asked without the detour of Carry
_DIRECT: Final[Mapping[type, Callable[[grpc.aio.Channel], Any]]] = {
    key_exchange_pb2.AssignKeysRequest: lambda one: key_exchange_pb2_grpc.KeyExchangeServiceStub(one).AssignKeys,
    key_exchange_pb2.AssignKeysBatchRequest: lambda one: (
        key_exchange_pb2_grpc.KeyExchangeServiceStub(one).AssignKeysBatch
    ),
    key_exchange_pb2.VoidKeysRequest: lambda one: key_exchange_pb2_grpc.KeyExchangeServiceStub(one).VoidKeys,
}


class NoRouteError(UnavailableError):
    """No way to a KME now; nothing was sent."""

    reason = "NO_ROUTE"
    is_definite = True


_CARRIED: Final[Mapping[str, str]] = {
    field.message_type.full_name: field.name
    for field in pb.CarryRequest.DESCRIPTOR.oneofs_by_name["message"].fields
    if field.message_type is not None
}


def carried(message: Message) -> str:
    """Return the name that a message has in CarryRequest; it is the same in CarryResponse."""
    name = _CARRIED.get(message.DESCRIPTOR.full_name)
    if name is None:
        raise TypeError(f"{message.DESCRIPTOR.name} is not carried")
    return name


class Courier:
    """Asks on behalf of one KME."""

    def __init__(
        self,
        own_node: str,
        channel: Callable[[str], grpc.aio.Channel | None],
        book: PathBook,
        times: RelayTimes = RelayTimes(),  # noqa: B008 frozen
    ) -> None:
        """Ask from `own_node`.

        Args:
            own_node: Its node.
            channel: The channel to a neighbour's peer listener; None while there is none.
            book: The paths.
            times: Deadlines.
        """
        self.own_node: Final = own_node
        self.book: Final = book
        self.times: Final = times
        self._channel = channel

    def is_sound(self, neighbour: str) -> bool:
        """Return whether a neighbour is connected now and answered when last asked."""
        channel = self._channel(neighbour)
        hop = self.book.suspects(time.monotonic()).get((self.own_node, neighbour))
        is_silent = hop is not None and not hop.is_dry
        if channel is None or is_silent:
            return False
        return channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    async def connected(self, neighbour: str, timeout_s: float | None = None) -> grpc.aio.Channel:
        """Return the channel to a neighbour, connected now.

        Raises:
            NoRouteError: It is not, and did not become so in time.
        """
        channel = self._channel(neighbour)
        if channel is None:
            raise NoRouteError(f"no route to KME {neighbour}: no connection")
        if channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return channel
        try:
            async with asyncio.timeout(self.times.connect_s if timeout_s is None else timeout_s):
                while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                    await channel.wait_for_state_change(state)
        except TimeoutError:
            raise NoRouteError(f"no route to KME {neighbour}: it cannot be reached") from None
        return channel

    async def reach(self, target: str) -> None:
        """See that a target can be asked: the first hop of a path to it is connected.

        Raises:
            NoRouteError: None is.
        """
        direct = self._channel(target)
        if direct is not None and direct.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return
        failed = NoRouteError(f"no route to KME {target}")
        for path in self.book.paths(target, time.monotonic()):
            try:
                await self.connected(path.nodes[1])
            except NoRouteError as error:
                failed = error
                continue
            return
        raise failed

    async def ask(self, target: str, message: Message, timeout_s: float | None = None) -> Message:
        """Return the target's answer to a message that may be repeated.

        Args:
            target: A KME.
            message: One of CarryRequest; or for a neighbour alone, AssignKeysBatchRequest.
            timeout_s: Of one attempt; None: times.call_s.

        Raises:
            NoRouteError: There is no path, or nothing was sent over any.
            UnavailableError, DeadlineError: No path brought an answer; whether one brought the message is not known.
            QnetemError: What the target answered.
        """
        doubt: QnetemError | None = None
        limit_s = self.times.call_s if timeout_s is None else timeout_s
        paths = self.book.paths(target, time.monotonic())
        is_carried = message.DESCRIPTOR.full_name in _CARRIED
        for index, path in enumerate(paths):
            if path.relays and not is_carried:
                continue
            # while there is another way, not longer than it takes to see that this one is dead
            is_last = index == len(paths) - 1
            try:
                answer = await self._over(path, message, limit_s if is_last else min(limit_s, self.times.attempt_s))
            except (UnavailableError, DeadlineError) as error:
                if error.is_definite and not isinstance(error, NoRouteError):
                    raise  # the target's own answer
                if not isinstance(error, NoRouteError):
                    doubt = error
                self.book.doubt_path(path.nodes, time.monotonic())
                continue
            self.book.trust_path(path)
            return answer
        raise doubt or NoRouteError(f"no route to KME {target}")

    async def _over(self, path: RelayPath, message: Message, timeout_s: float) -> Message:
        neighbour = path.nodes[1]
        try:
            channel = await self.connected(neighbour, min(timeout_s, self.times.connect_s))
        except NoRouteError:
            self.book.doubt((self.own_node, neighbour), time.monotonic())
            raise
        timeout_s += 3 * path.round_trip_s
        direct = _DIRECT.get(type(message))
        if len(path.nodes) == 2 and direct is not None:
            try:
                return await rpc.call(direct(channel), message, timeout_s=timeout_s)
            except DeadlineError:
                self.book.doubt((self.own_node, neighbour), time.monotonic())
                raise
        return await self.carry(channel, path.nodes, message, timeout_s)

    async def carry(
        self, channel: grpc.aio.Channel, nodes: tuple[str, ...], message: Message, timeout_s: float
    ) -> Message:
        """Return the answer of the last of `nodes` to a message that goes through all of them.

        Raises:
            QnetemError: As rpc.call.
        """
        name = carried(message)
        request = pb.CarryRequest(path=nodes, **{name: message})
        answer = await rpc.call(pb_grpc.KeyRelayServiceStub(channel).Carry, request, timeout_s=timeout_s)
        if answer.WhichOneof("message") != name:
            raise UnavailableError(f"KME {nodes[-1]} answered {answer.WhichOneof('message')}, not {name}")
        return getattr(answer, name)

    async def probe(self, hop: Hop, nodes: tuple[str, ...]) -> bool:
        """Return whether a hop that was silent answers: an empty void goes to its end over `nodes`."""
        is_back = await self._answers(nodes, 0.0)
        if is_back:
            self.book.trust([hop])
        return is_back

    async def ping(self, path: RelayPath) -> bool:
        """Return whether a whole path answers; it costs no bits."""
        is_back = await self._answers(path.nodes, path.round_trip_s)
        if is_back:
            self.book.trust_path(path)
        return is_back

    async def _answers(self, nodes: tuple[str, ...], round_trip_s: float) -> bool:
        try:
            channel = await self.connected(nodes[1])
            timeout_s = self.times.attempt_s + 3 * round_trip_s
            await self.carry(channel, nodes, pb.VoidTransfersRequest(), timeout_s)
        except QnetemError:
            return False
        return True
