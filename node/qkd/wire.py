"""node.qkd.wire: one session's stream: ordered sending, heartbeats, and giving up on a silent peer. Edge."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

from node.keys.records import PadsExhaustedError
from node.qkd.authentication import LinkAuthentication, padded
from node.qkd.errors import PeerSilentError
from node.qkd.patience import Patience
from node.qkd.transcript import Transcript
from qnetem.runtime.clock import Clock, to_time
from qnetem.v1 import link_session_pb2

__all__ = ["GREETING_S", "HEARTBEAT_MS", "SILENCE_MS", "Wire"]

HEARTBEAT_MS: Final = 1000
SILENCE_MS: Final = 4000
# hello and settlement together, wall seconds
GREETING_S: Final = 10.0
_QUEUE_LIMIT: Final = 256
_BEATS: Final = 16

_Out = TypeVar("_Out", link_session_pb2.SessionRequest, link_session_pb2.SessionResponse)
_In = TypeVar("_In", link_session_pb2.SessionRequest, link_session_pb2.SessionResponse)


class Wire(Generic[_Out, _In]):
    """The same for both ends: what is sent is `_Out`, what arrives `_In`."""

    def __init__(
        self,
        write: Callable[[_Out], Awaitable[Any]],
        incoming: AsyncIterator[_In],
        out: type[_Out],
        clock: Clock,
        authentication: LinkAuthentication | None = None,
    ) -> None:
        """Send through `write`, receive from `incoming`; tag blocks when there is an `authentication`."""
        self._write: Callable[[_Out], Awaitable[Any]] = write
        self._incoming: AsyncIterator[_In] = incoming
        self._out: type[_Out] = out
        self._clock = clock
        self._queue: asyncio.Queue[_Out] = asyncio.Queue(_QUEUE_LIMIT)
        self._beat_number = 0
        # of the last beats; a round trip of more is none
        self._beats_sent_s: deque[tuple[int, float]] = deque(maxlen=_BEATS)
        self.round_trip_s = 0.0
        self.authentication = authentication
        self._said: Transcript | None = None
        self._heard: Transcript | None = None
        if authentication is not None:
            self._said, self._heard = authentication.transcripts()
        # what pads the tags of decisions, by block: this end's, the peer's
        self._own_pads: dict[str, bytes] = {}
        self._peer_pads: dict[str, bytes] = {}

    def name_session(self, incarnation: int, counter: int) -> None:
        """Say which session it is, as the transmitter's hello does. Before anything is tagged."""
        for transcript in (self._said, self._heard):
            if transcript is not None:
                transcript.name_session(incarnation, counter)

    async def send(self, **event: Any) -> None:
        """Queue one message (`event` names one member of the oneof); waits when the peer does not take them.

        Raises:
            PeerSilentError: It took none for the silence time.
        """
        await self._put(self._out(sent=to_time(self._clock.now_ps()), **event))

    async def send_tagged(self, block_id: str, **event: Any) -> None:
        """Send the message of a block that ends what this end says of it, with its tags.

        Raises:
            PadsExhaustedError: Nothing is left to pay for tags; nothing was sent.
            PeerSilentError: As `send`.
        """
        message = self._out(sent=to_time(self._clock.now_ps()), **event)
        if self.authentication is not None and self._said is not None:
            self._said.see(message)
            hashes = self._said.close(block_id)
            if hashes is None:
                raise RuntimeError(f"block {block_id}: was not begun on this session")
            tags, self._own_pads[block_id] = await self.authentication.tags(hashes)
            message.tags.CopyFrom(tags)
        await self._put(message)

    async def check_tags(self, block_id: str, tags: link_session_pb2.Tags) -> None:
        """Check the tags that came with the peer's last message about a block.

        Raises:
            LinkTroubleError: What was heard is not what was said.
        """
        if self.authentication is not None and self._heard is not None:
            heard = self._heard.close(block_id)
            self._peer_pads[block_id] = await self.authentication.check(block_id, heard, tags)

    async def send_decided(self, block_id: str, **event: Any) -> None:
        """Send what this end decides on a block, or confirms, with the tag that was paid with those it has sent.

        Raises:
            PeerSilentError: As `send`.
        """
        message = self._out(sent=to_time(self._clock.now_ps()), **event)
        if self._said is not None:
            message.tags.CopyFrom(padded(self._said.alone(message), self._own_pads.pop(block_id)))
        await self._put(message)

    async def check_decided(self, block_id: str, message: _In) -> None:
        """Check the tag of what the peer decides on a block, or confirms, whose other tags were checked.

        Raises:
            LinkTroubleError: It is missing or wrong.
        """
        if self.authentication is not None and self._heard is not None:
            pad = self._peer_pads.pop(block_id)
            await self.authentication.check_decision(block_id, self._heard.alone(message), pad, message.tags)

    async def settle(self, settlement: link_session_pb2.Settlement) -> None:
        """Send a settlement, with a tag when it names blocks; with nothing to pay for it, one that names none.

        Raises:
            PeerSilentError: As `send`.
        """
        message = self._out(sent=to_time(self._clock.now_ps()), settlement=settlement)
        if settlement.blocks and self.authentication is not None and self._said is not None:
            try:
                message.tags.CopyFrom(await self.authentication.settlement_tags(self._said.alone(message)))
            except PadsExhaustedError:
                message.settlement.ClearField("blocks")
        await self._put(message)

    async def settled(self, message: _In) -> list[link_session_pb2.BlockInDoubt]:
        """Return what a settlement says, once its tag verifies.

        Raises:
            LinkTroubleError: It names blocks, and the tag is missing or wrong.
        """
        blocks = list(message.settlement.blocks)
        if blocks and self.authentication is not None and self._heard is not None:
            await self.authentication.check_settlement(self._heard.alone(message), message.tags)
        return blocks

    def forget(self, block_id: str) -> None:
        """Let go of the transcript of a block that is over."""
        for transcript in (self._said, self._heard):
            if transcript is not None:
                transcript.forget(block_id)
        for pads in (self._own_pads, self._peer_pads):
            pads.pop(block_id, None)

    async def _put(self, message: _Out) -> None:
        if self._queue.full():
            try:
                async with asyncio.timeout(SILENCE_MS / 1000):
                    await self._queue.put(message)
            except TimeoutError:
                raise PeerSilentError from None
        else:
            self._queue.put_nowait(message)

    async def write_forever(self) -> None:
        """Write what is queued, and a heartbeat whenever there was nothing to say for a while."""
        last_beat_s = 0.0
        while True:
            now_s = time.monotonic()
            if now_s - last_beat_s >= HEARTBEAT_MS / 1000:
                last_beat_s = now_s
                await self._write(self._out(sent=to_time(self._clock.now_ps()), heartbeat=self._beat(now_s)))
            try:
                async with asyncio.timeout(HEARTBEAT_MS / 1000):
                    message = await self._queue.get()
            except TimeoutError:
                continue
            if self._said is not None:
                self._said.see(message)
            await self._write(message)
            self._queue.task_done()

    async def flush(self) -> None:
        """Wait until what was queued has been written."""
        await self._queue.join()

    def _beat(self, now_s: float) -> link_session_pb2.Heartbeat:
        self._beat_number += 1
        self._beats_sent_s.append((self._beat_number, now_s))
        return link_session_pb2.Heartbeat(number=self._beat_number)

    def _hear_beat(self, beat: link_session_pb2.Heartbeat) -> None:
        sent_s = next((at_s for number, at_s in self._beats_sent_s if number == beat.echo), None)
        if sent_s is not None:
            seen_s = time.monotonic() - sent_s
            # a busy end answers late: the least of the last ones is nearest the truth
            self.round_trip_s = min(self.round_trip_s * 1.1, seen_s) if self.round_trip_s else seen_s
        if beat.number and not self._queue.full():
            echo = link_session_pb2.Heartbeat(echo=beat.number)
            self._queue.put_nowait(self._out(sent=to_time(self._clock.now_ps()), heartbeat=echo))

    def hear(self, message: _In) -> None:
        """Take note of a message that was read before this wire was there."""
        if self._heard is not None:
            self._heard.see(message)

    async def receive(self) -> _In | None:
        """Return the next message that is not a heartbeat; None when the peer has ended the stream.

        Raises:
            PeerSilentError: Nothing came for the silence time.
        """
        while True:
            try:
                async with Patience(SILENCE_MS / 1000):
                    message: _In = await anext(self._incoming)
            except StopAsyncIteration:
                return None
            except TimeoutError:
                raise PeerSilentError from None
            if message.WhichOneof("event") != "heartbeat":
                self.hear(message)
                return message
            self._hear_beat(message.heartbeat)
