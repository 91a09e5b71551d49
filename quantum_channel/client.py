"""quantum_channel.client: a quantum channel as its two ends and its operators see it. Edge."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio

from qnetem.runtime import identity, rpc
from qnetem.runtime.clock import to_time
from qnetem.runtime.errors import DeadlineError, UnavailableError
from qnetem.v1 import parameters_pb2, quantum_channel_pb2, quantum_channel_pb2_grpc
from quantum_channel.wire import Clicks, PartnerClicks, clicks_from_message, partner_clicks_from_message

__all__ = [
    "Clicks",
    "PartnerClicks",
    "QuantumChannelClient",
    "QuantumLinkClient",
    "ReceiveStream",
    "TrainDone",
    "TransmitStream",
]

_TIMEOUT_S: Final = 5.0
_ENDED: Final = "the quantum channel ended the stream"


@dataclass(frozen=True, slots=True)
class TrainDone:
    """The channel is done with a train.

    Attributes:
        train_id: The train.
        is_delivered: All of its clicks were handed to the receiver's stream.
        lag_ps: How far behind emulated time that was.
        back_reflection_photons, power_ratio: What the transmitter's own monitors read over the train.
    """

    train_id: int
    is_delivered: bool
    lag_ps: int
    back_reflection_photons: float
    power_ratio: float


async def _ready(responses: AsyncIterator[Any], kind: str, timeout_s: float) -> Any:
    """Return the first message of a stream, which says that the channel is ready for us."""
    try:
        async with asyncio.timeout(timeout_s):
            response = await anext(responses)
    except TimeoutError:
        raise DeadlineError(f"the quantum channel did not answer within {timeout_s:g} s") from None
    except StopAsyncIteration:
        raise UnavailableError(_ENDED) from None
    if response.WhichOneof("event") != kind:
        raise UnavailableError(f"the quantum channel began with something else than {kind}")
    return getattr(response, kind)


class TransmitStream:
    """The transmitter's stream of one link."""

    def __init__(self, call: Any, responses: AsyncIterator[Any], *, has_receiver: bool) -> None:
        """Use an open call. `has_receiver`: somebody was listening at the other end when it was opened."""
        self._call = call
        self._responses = responses
        self.has_receiver = has_receiver

    async def send(self, first_block: int, block_count: int, start_ps: int) -> None:
        """Announce a train. Waits while the channel has enough of them.

        Args:
            first_block, block_count: Blocks of 2^20 pulses, never used before.
            start_ps: Emission of the first pulse, emulated picoseconds.

        Raises:
            QnetemError: The stream is over; says why, as `done` does.
        """
        train = quantum_channel_pb2.Train(
            train_id=first_block, first_block=first_block, block_count=block_count, start=to_time(start_ps)
        )
        try:
            await self._call.write(quantum_channel_pb2.TransmitRequest(train=train))
        except grpc.aio.AioRpcError as error:
            raise rpc.translate(error) from None
        except (asyncio.InvalidStateError, grpc.aio.BaseError):
            raise await self._end() from None

    async def _end(self) -> Exception:
        code, details = await self._call.code(), await self._call.details()
        if code is grpc.StatusCode.OK:
            return UnavailableError(_ENDED)
        nothing = grpc.aio.Metadata()
        trailing = await self._call.trailing_metadata() or nothing
        return rpc.translate(grpc.aio.AioRpcError(code, nothing, trailing, details))

    async def done(self) -> AsyncIterator[TrainDone]:
        """Iterate over the trains that the channel is done with, in order, and pass over all else.

        Raises:
            QnetemError: As `events`.
        """
        async for event in self.events():
            if isinstance(event, TrainDone):
                yield event

    async def events(self) -> AsyncIterator[TrainDone | PartnerClicks]:
        """Iterate over the trains that the channel is done with, and over the transmitter's own clicks.

        Those are there with a source of pairs: stretch after stretch of a train, before the train is done.

        Raises:
            QnetemError: The stream is over: ReplacedError when a newer one took its place, BadTrainError for a train
                that cannot be, UnavailableError when the channel is gone.
        """
        async for response in self._responses:
            if response.WhichOneof("event") == "partner_clicks":
                yield partner_clicks_from_message(response.partner_clicks)
                continue
            done = response.done
            yield TrainDone(
                done.train_id, done.is_delivered, done.lag_ps, done.back_reflection_photons, done.power_ratio
            )
        raise UnavailableError(_ENDED)


class ReceiveStream:
    """The receiver's stream of one link: an asynchronous iterator over Clicks."""

    def __init__(self, responses: AsyncIterator[Any]) -> None:
        """Use an open call."""
        self._responses = responses

    async def __aiter__(self) -> AsyncIterator[Clicks]:
        """Iterate over stretches of clicks, train after train.

        Raises:
            QnetemError: The stream is over: ReplacedError when a newer one took its place, UnavailableError when the
                channel is gone.
        """
        async for response in self._responses:
            yield clicks_from_message(response.clicks)
        raise UnavailableError(_ENDED)


class QuantumChannelClient:
    """What a node at an end of a quantum link asks of the channel, over a connection to its peer listener."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float = _TIMEOUT_S) -> None:
        """Use a connection that the caller owns; `timeout_s` is the wall-clock limit for the channel to be ready."""
        self._stub = quantum_channel_pb2_grpc.QuantumChannelServiceStub(channel)
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def transmit(self, link_id: str) -> AsyncIterator[TransmitStream]:
        """Be the transmitter of a link while the block runs; a transmitter that was there before is put out.

        Raises:
            QnetemError: DeniedError, NotFoundError, UnavailableError, DeadlineError.
        """
        call = self._stub.Transmit()
        try:
            hello = quantum_channel_pb2.TransmitHello(link_id=link_id)
            # reading says why
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(quantum_channel_pb2.TransmitRequest(hello=hello))
            responses = rpc.stream(call)
            ready = await _ready(responses, "ready", self._timeout_s)
            yield TransmitStream(call, responses, has_receiver=ready.has_receiver)
        finally:
            call.cancel()

    @asynccontextmanager
    async def receive(self, link_id: str) -> AsyncIterator[ReceiveStream]:
        """Be the receiver of a link while the block runs; every train that starts within it is delivered.

        Raises:
            QnetemError: DeniedError, NotFoundError, UnavailableError, DeadlineError.
        """
        call = self._stub.Receive(quantum_channel_pb2.ReceiveRequest(link_id=link_id))
        try:
            responses = rpc.stream(call)
            await _ready(responses, "ready", self._timeout_s)
            yield ReceiveStream(responses)
        finally:
            call.cancel()

    async def align(self, link_id: str) -> int:
        """As the receiver, turn the polarisation back to where it was aligned; return the first block it is for."""
        request = quantum_channel_pb2.AlignRequest(link_id=link_id)
        return (await rpc.call(self._stub.Align, request, timeout_s=self._timeout_s)).effective_from_block

    async def tune(
        self, link_id: str, *, gate_offset_ps: float | None = None, intensity_trim_ratio: float | None = None
    ) -> int:
        """Trim what is this end's own; return the first block that it is for."""
        request = quantum_channel_pb2.TuneRequest(
            link_id=link_id, gate_offset_ps=gate_offset_ps, intensity_trim_ratio=intensity_trim_ratio
        )
        return (await rpc.call(self._stub.Tune, request, timeout_s=self._timeout_s)).effective_from_block

    async def transfer_time(self, link_id: str) -> quantum_channel_pb2.TransferTimeResponse:
        """Exchange one signal each way with the other end; return the four time stamps."""
        request = quantum_channel_pb2.TransferTimeRequest(link_id=link_id)
        return await rpc.call(self._stub.TransferTime, request, timeout_s=self._timeout_s)


class QuantumLinkClient:
    """What operators ask of a quantum channel; calls raise the server's errors, or UnavailableError, DeadlineError."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float = _TIMEOUT_S) -> None:
        """Use a connection that the caller owns; `timeout_s` is the deadline of each call."""
        self._stub = quantum_channel_pb2_grpc.QuantumLinkServiceStub(channel)
        self._timeout_s = timeout_s

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, address: str, credentials: rpc.Credentials, testbed: str, name: str, *, timeout_s: float = _TIMEOUT_S
    ) -> AsyncIterator["QuantumLinkClient"]:
        """Dial the management listener of the quantum channel `name`."""
        target = identity.dns_name(testbed, "quantum-channel", name)
        async with rpc.dial(address, credentials, target=target) as channel:
            yield cls(channel, timeout_s)

    async def set_link(
        self, link_id: str, settings: parameters_pb2.LinkSettings, *, ramp_s: float = 0.0, duration_s: float = 0.0
    ) -> quantum_channel_pb2.QuantumLinkState:
        """Merge settings over those in force; return what holds, and from which block and time on.

        With a ramp or a duration, emulated seconds, they are a layer over all instead.
        """
        request = quantum_channel_pb2.SetLinkRequest(
            link_id=link_id, settings=settings, ramp_s=ramp_s, duration_s=duration_s
        )
        return (await rpc.call(self._stub.SetLink, request, timeout_s=self._timeout_s)).state

    async def replace_link(
        self, link_id: str, settings: parameters_pb2.LinkSettings, layers: Iterable[parameters_pb2.SettingsLayer] = ()
    ) -> quantum_channel_pb2.QuantumLinkState:
        """Have settings and layers in the place of those in force; return what holds, as `set_link` does."""
        request = quantum_channel_pb2.ReplaceLinkRequest(link_id=link_id, settings=settings, layers=layers)
        return (await rpc.call(self._stub.ReplaceLink, request, timeout_s=self._timeout_s)).state

    async def reset_link(self, link_id: str, fields: Iterable[str] = ()) -> quantum_channel_pb2.QuantumLinkState:
        """Forget the named settings, or all; return what holds, and from which block and time on."""
        request = quantum_channel_pb2.ResetLinkRequest(link_id=link_id, fields=fields)
        return (await rpc.call(self._stub.ResetLink, request, timeout_s=self._timeout_s)).state

    async def get_link(self, link_id: str) -> quantum_channel_pb2.QuantumLinkState:
        """Return the state of a link."""
        request = quantum_channel_pb2.GetLinkRequest(link_id=link_id)
        return (await rpc.call(self._stub.GetLink, request, timeout_s=self._timeout_s)).state

    async def probe_link(
        self, link_id: str, click_count: int, *, is_dark: bool = False
    ) -> AsyncIterator[quantum_channel_pb2.ProbeLinkResponse]:
        """Yield the state of a link, then stretches of about so many clicks of it with the choices of both ends.

        `is_dark`: with its source off.
        """
        request = quantum_channel_pb2.ProbeLinkRequest(link_id=link_id, click_count=click_count, is_dark=is_dark)
        async for part in rpc.stream(self._stub.ProbeLink(request)):
            yield part
