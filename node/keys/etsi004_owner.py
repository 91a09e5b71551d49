"""node.keys.etsi004_owner: key streams at the KME of their source: opened, and their chunks made. Wiring."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from node.keys import audit, etsi004_ledger
from node.keys.agreement import agree
from node.keys.etsi004_ledger import Chunk, Side, Stream, stream_bucket
from node.keys.etsi004_request import Qos, QosLimits, Status, negotiated
from node.keys.group_commit import declare_step
from node.keys.key_delivery import KeyDelivery
from node.keys.policy_gate import OverBurstError, RateExceededError
from node.keys.rates import Rates
from node.keys.records import PoolExhaustedError
from node.keys.relay_courier import Courier
from node.keys.store import KeyStore
from node.keys.token_bucket import TokenBucket
from qnetem.runtime.errors import DeadlineError, NotFoundError, QnetemError, UnavailableError
from qnetem.v1 import key_agreement_pb2 as pb

__all__ = ["CHUNK", "OPEN", "StreamOwner"]

OPEN: Final = declare_step("stream.open", "a side of a stream is open")
CHUNK: Final = declare_step("stream.chunk", "the key of an index is noted")


class StreamOwner:
    """The streams whose source is attached to this KME."""

    def __init__(
        self, store: KeyStore, delivery: KeyDelivery, courier: Courier, emulated_s: Callable[[], float]
    ) -> None:
        """Keep them in `store`; `delivery` makes their keys; rates go by emulated time, seconds."""
        self._store = store
        self._delivery = delivery
        self._directory = delivery.directory
        self._courier = courier
        self._emulated_s = emulated_s
        self._making: dict[tuple[str, int], asyncio.Event] = {}
        self._rates = Rates(store)
        self._buckets: dict[str, TokenBucket] = {}
        self._changed = asyncio.Event()

    async def opened(self, wanted: Stream, side: Side, wait_s: float) -> tuple[Status, Qos]:
        """Open a side, and wait so long for the other; return what came of it, and the QoS that holds or can be had."""
        known = await self._store.run(None, lambda db: etsi004_ledger.find(db, wanted.stream_id))
        if known is None:
            qos, is_met = negotiated(wanted.qos, self._limits(wanted.source, wanted.destination))
        else:
            # what holds for the other side holds for this one: what it asks for beyond is not met
            qos, is_met = known.qos, negotiated(wanted.qos, _limits_of(known.qos))[1]
        if not is_met:
            return Status.QOS_NOT_MET, qos
        stream = Stream(wanted.stream_id, wanted.source, wanted.destination, qos)
        opened = await self._store.run(OPEN, lambda db: etsi004_ledger.opened(db, stream, side, self._store.now_s()))
        if opened is None:
            return Status.STREAM_IN_USE, qos
        self.wake()
        other: Side = "destination" if side == "source" else "source"
        is_connected = await self._until_open(opened.stream_id, other, wait_s)
        return Status.SUCCESSFUL if is_connected else Status.PEER_NOT_CONNECTED, opened.qos

    async def _until_open(self, stream_id: str, side: Side, wait_s: float) -> bool:
        deadline_s = time.monotonic() + wait_s
        while True:
            changed = self._changed
            stream = await self._store.run(None, lambda db: etsi004_ledger.find(db, stream_id))
            if stream is not None and stream.is_open(side):
                return True
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await changed.wait()

    async def chunk(self, stream_id: str, index: int) -> tuple[Status, Chunk | None]:
        """Return the key of an index, which the destination's KME knows by then; make it when there is none.

        Raises:
            NotFoundError: The stream is not known here.
        """
        place = (stream_id, index)
        # one at a time makes it: the others find it made, or try in their turn
        while (busy := self._making.get(place)) is not None:
            await busy.wait()
        done = self._making[place] = asyncio.Event()
        try:
            return await self._make(stream_id, index)
        finally:
            del self._making[place]
            done.set()

    async def _make(self, stream_id: str, index: int) -> tuple[Status, Chunk | None]:
        stream = await self._store.run(None, lambda db: etsi004_ledger.find(db, stream_id))
        if stream is None:
            raise NotFoundError(f"stream {stream_id}: is not known here")
        chunk = await self._store.run(None, lambda db: etsi004_ledger.chunk_at(db, stream_id, index))
        if chunk is None:
            if not (stream.is_source_open and stream.is_destination_open):
                return Status.PEER_NOT_YET_CONNECTED, None
            status, key_id = await self._new_key(stream)
            if not key_id:
                return status, None
            await self._store.run(CHUNK, lambda db: self._noted(db, stream_id, index, key_id))
            chunk = Chunk(key_id, False)
        return await self._told(stream, index, chunk)

    def _noted(self, db: Any, stream_id: str, index: int, key_id: str) -> None:
        etsi004_ledger.note_chunk(db, stream_id, index, key_id)
        audit.record(db, "stream.chunk", key_id=key_id, stream_id=stream_id, index=index)

    async def _told(self, stream: Stream, index: int, chunk: Chunk) -> tuple[Status, Chunk | None]:
        """See that the destination's KME knows which key an index is."""
        stream_id, node = stream.stream_id, self._directory.places[stream.destination]
        if chunk.is_told or node == self._directory.own_node:
            return Status.SUCCESSFUL, chunk
        try:
            message = pb.NameChunkRequest(stream_id=stream_id, index=index, key_id=chunk.key_id)
            await agree(self._courier, node, "name_chunk", message)
        except (UnavailableError, DeadlineError):
            return Status.NO_QKD_CONNECTION, None
        await self._store.run(CHUNK, lambda db: etsi004_ledger.note_told(db, stream_id, index))
        return Status.SUCCESSFUL, Chunk(chunk.key_id, True)

    async def _new_key(self, stream: Stream) -> tuple[Status, str]:
        bits = 8 * stream.qos.key_chunk_size_bytes
        try:
            async with self._charged(stream, bits) as is_granted:
                if not is_granted:
                    return Status.INSUFFICIENT_KEY, ""
                lifetime_s = float(stream.qos.ttl_s)
                key_id = await self._delivery.held_key(stream.source, stream.destination, bits, lifetime_s)
        except (PoolExhaustedError, RateExceededError, OverBurstError):
            return Status.INSUFFICIENT_KEY, ""
        except (UnavailableError, DeadlineError):
            return Status.NO_QKD_CONNECTION, ""
        return Status.SUCCESSFUL, key_id

    @asynccontextmanager
    async def _charged(self, stream: Stream, bits: int) -> AsyncIterator[bool]:
        """Count a chunk against the stream's rate while the block runs, for good when that does not fail.

        What it takes is durable when the block begins. Yields whether the rate grants it now.
        """
        qos, name = stream.qos, stream_bucket(stream.stream_id)
        if qos.max_bps == 0:
            yield True
            return
        if name not in self._buckets:
            noted = (await self._rates.known()).get(name)
            # in any second at most Max_bps and the jitter
            burst_bits = max(qos.jitter_bps or qos.max_bps, bits)
            self._buckets.setdefault(name, TokenBucket(qos.max_bps, burst_bits, self._emulated_s(), noted))
        bucket, now_s = self._buckets[name], self._emulated_s()
        if bucket.level_bits(now_s) < bits:
            yield False
            return
        bucket.take(bits, now_s)
        try:
            await self._rates.note({name: bucket})
            yield True
        except QnetemError:
            bucket.give_back(bits)
            raise

    def _limits(self, source: str, destination: str) -> QosLimits:
        policy = self._delivery.policy(source, destination)
        lifetime_s = policy.key_lifetime_s or self._store.limits.key_lifetime_s
        return QosLimits(
            max_bps=int(policy.max_secret_hz),
            min_bps=int(policy.min_secret_hz),
            priority=policy.priority,
            ttl_s=max(1, int(lifetime_s)),
        )

    def wake(self) -> None:
        """Let those look again who wait for a side to open."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def forget(self, stream_id: str) -> None:
        """Drop what is kept in memory for a stream."""
        self._buckets.pop(stream_bucket(stream_id), None)


def _limits_of(qos: Qos) -> QosLimits:
    """Return the limits within which a second side is met by what the first agreed on."""
    size = qos.key_chunk_size_bytes
    jitter_bps = qos.jitter_bps or None
    return QosLimits((size, size), size, qos.max_bps, qos.min_bps, jitter_bps, qos.priority, qos.timeout_ms, qos.ttl_s)
