"""node.links: the links of a node: the transmitter's end dials and begins again, the receiver's end answers. Edge."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import grpc
import grpc.aio

from node.context import NodeContext
from node.devices.transmitter import Transmitter
from node.link_state import LinkRecord, LinkState
from node.qkd.emission import Emission
from node.qkd.errors import LinkTroubleError, SessionRefusedError
from node.qkd.protocols import protocol_of
from node.qkd.receiver_control import ReceiverControl
from node.qkd.session_receiver import ReceiverSession
from node.qkd.session_transmitter import TransmitterSession
from node.qkd.wire import Wire
from qnetem.runtime import rpc
from qnetem.runtime.errors import BadInputError, DeniedError, NotFoundError, QnetemError, StorageError, UnavailableError
from qnetem.runtime.tasks import apart, end_if_cancelled
from qnetem.v1 import link_session_pb2, link_session_pb2_grpc, process_pb2
from quantum_channel.client import QuantumChannelClient, TransmitStream

__all__ = ["LinkSessionServicer", "ReceiverLink", "TransmitterLink"]

_BACKOFF_S: Final = (0.05, 0.1, 0.25)
_HELLO_S: Final = 5.0
_FINISH_S: Final = 1.0


def _reason_of(error: BaseException) -> str:
    """Return the reason that a link's state carries after `error`."""
    if isinstance(error, BaseExceptionGroup):
        reasons = [_reason_of(part) for part in error.exceptions]
        return next((reason for reason in reasons if reason != "peer-unreachable"), reasons[0])
    if isinstance(error, LinkTroubleError):
        return error.why
    # what the peer sent cannot be, or is not what was agreed
    if isinstance(error, SessionRefusedError | BadInputError):
        return "session-refused"
    if isinstance(error, StorageError):
        return "storage"
    return "peer-unreachable" if isinstance(error, UnavailableError) else "session-failed"


class TransmitterLink:
    """Runs sessions, one after the other, for as long as the node lives."""

    def __init__(self, config: process_pb2.NodeLinkConfig, node: NodeContext, record: LinkRecord) -> None:
        """Take the transmitting end of the link.

        Raises:
            BadInputError: The protocol is not known, or the link's source does not fit it.
        """
        protocol_of(config)
        self._config = config
        self._node = node
        self._record = record
        self._device = Transmitter(config)
        self._counter = 0
        self._left_for = ""
        self._was_emitting = False

    async def run_forever(self) -> None:
        """Dial, run a session, begin again; trouble is in the link's reason and the log."""
        config, process = self._config, self._node.process
        log, peer, quantum = process.log, config.peer, config.quantum_channel
        attempt = 0
        async with (
            # of its own: parallel links have each their own way through the classical channel
            rpc.dial(peer.address, process.credentials, target=peer.target) as to_peer,
            rpc.dial(quantum.address, process.credentials, target=quantum.target) as to_channel,
        ):
            channel = QuantumChannelClient(to_channel)
            stub = link_session_pb2_grpc.LinkSessionServiceStub(to_peer)
            while True:
                self._was_emitting = False
                try:
                    await self._connected(to_peer)
                    await apart(self._session(stub, channel))
                except Exception as error:
                    end_if_cancelled()
                    reason = self._left_for or _reason_of(error)
                    if (LinkState.DOWN, reason) != (self._record.state, self._record.reason):
                        log.warning("session.ended", link_id=config.link_id, reason=reason, detail=_detail(error))
                    if not _is_expected(error):
                        log.exception("session.failed", link_id=config.link_id)
                    self._record.enter(LinkState.DOWN, reason)
                attempt = 0 if self._was_emitting else attempt + 1
                await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])

    async def _connected(self, to_peer: grpc.aio.Channel) -> None:
        """Wait until the peer can be reached: an attempt of the channel costs less than one of a session."""
        while (state := to_peer.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                self._record.enter(LinkState.DOWN, "peer-unreachable")
            await to_peer.wait_for_state_change(state)

    async def _session(self, stub: Any, channel: QuantumChannelClient) -> None:
        call = stub.Session()
        clock = self._node.process.clock
        authentication = self._node.authentications.get(self._config.link_id)
        wire = Wire(call.write, rpc.stream(call), link_session_pb2.SessionRequest, clock, authentication)
        # counted before the hello is out: the receiver refuses a counter that it has seen, answered or not
        self._counter += 1
        session = TransmitterSession(self._config, self._node, self._record, self._device, wire, self._counter)
        self._left_for = ""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_writing(wire))
                await session.greet()
                tasks.create_task(session.read_forever())
                try:
                    async with _transmitting(channel, self._config.link_id) as stream:
                        self._was_emitting = True
                        await Emission(session, channel, stream).run()
                except LinkTroubleError as trouble:
                    self._left_for = trouble.why
                    await _finish(call, wire)
                    raise
        finally:
            call.cancel()


@asynccontextmanager
async def _transmitting(channel: QuantumChannelClient, link_id: str) -> AsyncIterator[TransmitStream]:
    """Be the link's transmitter while the block runs.

    Raises:
        LinkTroubleError: The quantum channel does not let us, or cannot be reached.
    """
    async with AsyncExitStack() as stack:
        try:
            stream = await stack.enter_async_context(channel.transmit(link_id))
        except QnetemError as error:
            raise LinkTroubleError("quantum-channel-lost") from error
        yield stream


async def _finish(call: Any, wire: Wire[Any, Any]) -> None:
    """Let the receiver take what was said to the end: a cancelled stream may drop it."""
    with contextlib.suppress(TimeoutError, grpc.aio.AioRpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
        async with asyncio.timeout(_FINISH_S):
            await wire.flush()
            await call.done_writing()
            await call.code()


async def _writing(wire: Wire[Any, Any]) -> None:
    try:
        await wire.write_forever()
    except grpc.aio.AioRpcError as error:
        # one of the core's own is no status of the peer: the write met a call that had just ended, and hides why
        if error.details() != rpc.CORE_FAILED:
            raise rpc.translate(error) from None
    except (asyncio.InvalidStateError, grpc.aio.BaseError):
        pass
    # the call is over; the reader says why
    await asyncio.Event().wait()


def _is_expected(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_expected(part) for part in error.exceptions)
    return isinstance(error, QnetemError)


def _detail(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_detail(part) for part in error.exceptions)
    return str(error) if isinstance(error, QnetemError) else type(error).__name__


class ReceiverLink:
    """Answers the transmitter's sessions, one at a time: a newer one ends the older."""

    def __init__(self, config: process_pb2.NodeLinkConfig, node: NodeContext, record: LinkRecord) -> None:
        """Take the receiving end of the link.

        Raises:
            BadInputError: As at the transmitting end.
        """
        protocol_of(config)
        self.config = config
        self._node = node
        self._record = record
        self._control = ReceiverControl(config, node, record)
        self._last = (0, 0)
        self._replaced: asyncio.Event | None = None
        self._is_free = asyncio.Event()
        self._is_free.set()

    async def serve(self, first: link_session_pb2.SessionRequest, requests: AsyncIterator[Any], context: Any) -> None:
        """Serve one session, which `first` opens: its hello.

        Raises:
            SessionRefusedError: The hello is older than the last one, or the two ends do not agree; names what differs.
        """
        hello = first.hello
        self._check(hello)
        async with self._only() as replaced:
            clock = self._node.process.clock
            authentication = self._node.authentications.get(self.config.link_id)
            wire = Wire(context.write, requests, link_session_pb2.SessionResponse, clock, authentication)
            wire.hear(first)
            session = ReceiverSession(self.config, self._node, self._record, self._control, wire, hello)
            quantum = self.config.quantum_channel
            try:
                async with (
                    rpc.dial(quantum.address, self._node.process.credentials, target=quantum.target) as channel,
                    asyncio.TaskGroup() as tasks,
                ):
                    tasks.create_task(_writing(wire))
                    tasks.create_task(_until(replaced))
                    await session.run(QuantumChannelClient(channel))
            except BaseException as error:
                reason = "peer-closed" if isinstance(error, asyncio.CancelledError) else _reason_of(error)
                # the transmitter may have said why before it left
                self._record.enter(LinkState.DOWN, session.said_down_for or reason)
                if reason == "storage":
                    # where our disk is full is not the peer's business
                    self._node.process.log.error("session.failed", link_id=self.config.link_id, detail=_detail(error))
                    raise LinkTroubleError("storage") from error
                raise

    def _check(self, hello: link_session_pb2.SessionHello) -> None:
        link_id = self.config.link_id
        if (hello.incarnation, hello.session_counter) <= self._last:
            raise SessionRefusedError(f"link {link_id}: session {hello.session_counter} is older than the last one")
        for field in hello.protocol.DESCRIPTOR.fields:
            here, there = getattr(self.config.protocol, field.name), getattr(hello.protocol, field.name)
            if here != there:
                raise SessionRefusedError(f"link {link_id}: {field.name} is {there} there, {here} here")
        self._last = (hello.incarnation, hello.session_counter)

    @asynccontextmanager
    async def _only(self) -> AsyncIterator[asyncio.Event]:
        """End the session before this one and wait until it has let go of the link; yield what will end this one."""
        while self._replaced is not None:
            self._replaced.set()
            await self._is_free.wait()
        self._replaced = asyncio.Event()
        self._is_free.clear()
        try:
            yield self._replaced
        finally:
            self._replaced = None
            self._is_free.set()


async def _until(replaced: asyncio.Event) -> None:
    await replaced.wait()
    raise LinkTroubleError("replaced")


class LinkSessionServicer(link_session_pb2_grpc.LinkSessionServiceServicer):
    """Brings each session to its link."""

    def __init__(self, links: Mapping[str, ReceiverLink]) -> None:
        """Serve the receiving ends, by link id."""
        self._links = links

    # gRPC takes a handler that writes; the stubs know only one that yields
    async def Session(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        """Serve a session of the transmitter of one link."""
        requests = aiter(request_iterator)
        try:
            async with asyncio.timeout(_HELLO_S):
                while (first := await anext(requests)).WhichOneof("event") == "heartbeat":
                    pass
        except (StopAsyncIteration, TimeoutError):
            raise SessionRefusedError("a session without a hello") from None
        if first.WhichOneof("event") != "hello":
            raise SessionRefusedError("a session begins with a hello")
        link = self._links.get(first.hello.link_id)
        if link is None:
            raise NotFoundError(f"link {first.hello.link_id}: this node is not its receiver")
        if rpc.caller_uri(context) != link.config.peer.uri:
            raise DeniedError(f"{rpc.caller_uri(context)} is not the transmitter of link {link.config.link_id}")
        await link.serve(first, requests, context)
