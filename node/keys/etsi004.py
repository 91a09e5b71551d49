"""node.keys.etsi004: key streams as ETSI GS QKD 004 has them, without HTTP. Wiring.

A stream lives at its owner, the KME of its source. A chunk is a key that both applications collect, each once; which
key an index is, is durable before anybody is told, and known at both KMEs before the source has it.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from node.keys import audit, etsi004_ledger, ledger
from node.keys.agreement import AgreementDesk, agree
from node.keys.etsi004_ledger import Chunk, Side, Stream
from node.keys.etsi004_owner import CHUNK, OPEN, StreamOwner
from node.keys.etsi004_request import (
    MAX_INDEX,
    ChunkRequest,
    OpenRequest,
    Qos,
    QosLimits,
    Status,
    chunk_body,
    metadata_of,
    open_body,
)
from node.keys.etsi014_request import RequestError
from node.keys.group_commit import declare_step
from node.keys.key_delivery import KeyDelivery, NotAttachedError
from node.keys.records import KeysNotFoundError, NotNamedError, is_key_id
from node.keys.relay_courier import Courier
from node.keys.store import KeyStore
from qnetem.runtime.errors import (
    BadInputError,
    DeadlineError,
    DeniedError,
    NotFoundError,
    UnavailableError,
)
from qnetem.v1 import key_agreement_pb2 as pb

__all__ = ["KeyStreams"]

_CLOSE: Final = declare_step("stream.close", "a side of a stream is closed")
_COLLECT: Final = declare_step("stream.collect", "a chunk is DELIVERED to a side")
_POLL_S: Final = 0.05
# over what the peer's KME may take to answer a call that waits there
_GRACE_S: Final = 1.0


class KeyStreams:
    """The streams of the SAEs of one KME."""

    def __init__(
        self,
        store: KeyStore,
        delivery: KeyDelivery,
        courier: Courier,
        desk: AgreementDesk,
        emulated_s: Callable[[], float],
    ) -> None:
        """Serve from `store` what `delivery` makes; other KMEs are asked by `courier`, and answered at `desk`."""
        self._store = store
        self._delivery = delivery
        self._directory = delivery.directory
        self._courier = courier
        self._emulated_s = emulated_s
        self._owner = StreamOwner(store, delivery, courier, emulated_s)
        desk.add("open_stream", self._on_open)
        desk.add("close_stream", self._on_close)
        desk.add("make_chunk", self._on_make)
        desk.add("name_chunk", self._on_name)

    async def open_connect(self, caller: str, request: OpenRequest) -> dict[str, Any]:
        """Open the caller's side of a stream; the answer of OPEN_CONNECT.

        Raises:
            NotAttachedError, DeniedError: The caller is no SAE of this KME, or none of the two applications.
            RequestError: An application is not known, or both are the same.
        """
        source, destination = (self._sae_of(name) for name in (request.source, request.destination))
        if not self._directory.is_attached(caller):
            raise NotAttachedError("the caller is not an SAE of this KME")
        if caller not in (source, destination):
            raise DeniedError("the caller is neither Source nor Destination")
        if source == destination:
            raise RequestError("Source and Destination are the same")
        stream_id = request.stream_id or str(uuid.uuid4())
        wanted = Stream(stream_id, source, destination, request.qos)
        wait_s = min(request.qos.timeout_ms, QosLimits().timeout_ms) / 1000 if request.stream_id else 0.0
        if caller == source:
            status, qos = await self._owner.opened(wanted, "source", wait_s)
        else:
            status, qos = await self._opened_by_destination(wanted, wait_s)
        return open_body(stream_id, qos, status)

    async def _opened_by_destination(self, wanted: Stream, wait_s: float) -> tuple[Status, Qos]:
        owner = self._directory.places[wanted.source]
        if owner == self._directory.own_node:
            return await self._owner.opened(wanted, "destination", wait_s)
        known = await self._store.run(None, lambda db: etsi004_ledger.find(db, wanted.stream_id))
        if known is not None and known.is_destination_open:
            return Status.STREAM_IN_USE, wanted.qos
        message = pb.OpenStreamRequest(
            stream_id=wanted.stream_id,
            source_sae_id=wanted.source,
            destination_sae_id=wanted.destination,
            qos=pb.StreamQos(**asdict(wanted.qos)),
        )
        try:
            answer = await agree(self._courier, owner, "open_stream", message, wait_s + _GRACE_S)
        except DeadlineError:
            return Status.TIMEOUT, wanted.qos
        except UnavailableError:
            return Status.NO_QKD_CONNECTION, wanted.qos
        status, qos = Status(answer.status), _qos_of(answer.qos)
        if status in (Status.SUCCESSFUL, Status.PEER_NOT_CONNECTED):
            agreed = Stream(wanted.stream_id, wanted.source, wanted.destination, qos)
            if not await self._store.run(OPEN, lambda db: self._open_both(db, agreed)):
                return Status.STREAM_IN_USE, qos
        return status, qos

    def _open_both(self, db: Any, stream: Stream) -> bool:
        """Note a stream at the destination's KME, where the source counts as there until its KME says otherwise."""
        now_s = self._store.now_s()
        if etsi004_ledger.opened(db, stream, "destination", now_s) is None:
            return False
        etsi004_ledger.set_open(db, stream.stream_id, "source", True, now_s)
        return True

    async def get_key(self, caller: str, request: ChunkRequest) -> dict[str, Any]:
        """Return a chunk, once to each side; the answer of GET_KEY.

        Raises:
            DeniedError: The caller is not one of the stream's applications.
            RequestError: It has no such stream open.
        """
        stream, side = await self._own(caller, request.stream_id)
        index = stream.next_index(side) if request.index is None else request.index
        deadline_s = time.monotonic() + stream.qos.timeout_ms / 1000
        while True:
            status, chunk = Status.INSUFFICIENT_KEY, None
            if index <= MAX_INDEX:
                status, chunk = await self._waited(stream, index, deadline_s)
            if chunk is None:
                return chunk_body(status, index)
            metadata = None
            if stream.qos.metadata_mimetype and request.metadata_bytes is not None:
                known = await self._store.run(None, partial(ledger.find, key_id=chunk.key_id))
                metadata = metadata_of(index, chunk.key_id, is_insecure=known is not None and known.is_insecure)
                if request.metadata_bytes < len(metadata.encode()):
                    return chunk_body(Status.METADATA_SIZE, index, size=len(metadata.encode()))
            key = await self._collected(stream, side, index, chunk.key_id)
            if key is not None:
                return chunk_body(Status.SUCCESSFUL, index, key, metadata)
            if request.index is not None:
                return chunk_body(Status.INSUFFICIENT_KEY, index)
            index += 1  # this side has it, or it has expired

    async def _waited(self, stream: Stream, index: int, deadline_s: float) -> tuple[Status, Chunk | None]:
        """Return the key of an index; while it cannot be had, try until the deadline."""
        while True:
            status, chunk = await self._chunk(stream, index)
            left_s = deadline_s - time.monotonic()
            if chunk is not None or status is Status.PEER_NOT_YET_CONNECTED or stream.qos.timeout_ms == 0:
                return status, chunk
            if left_s <= 0:
                return Status.TIMEOUT, None
            await asyncio.sleep(min(_POLL_S, left_s))

    async def _collected(self, stream: Stream, side: Side, index: int, key_id: str) -> bytes | None:
        """Return a chunk's value to a side, once; None when there is nothing for it (any more)."""

        def collect(db: Any) -> bytes:
            now_s, emulated_s = self._store.now_s(), self._emulated_s()
            return etsi004_ledger.collect(db, stream, side, index, key_id, now_s, emulated_s).key.reveal()

        try:
            return await self._store.run(_COLLECT, collect)
        except (KeysNotFoundError, NotNamedError) as error:
            party = stream.source if side == "source" else stream.destination
            await self._store.audit.record(
                "key.refused", key_id=key_id, party=party, call="get_key", reason=error.reason
            )
            return None

    async def close(self, caller: str, stream_id: str) -> dict[str, Any]:
        """Close the caller's side; the answer of CLOSE. The other side may still have what was made.

        Raises:
            DeniedError, RequestError: As get_key.
        """
        stream, side = await self._own(caller, stream_id)
        await self._store.run(_CLOSE, lambda db: self._closed(db, stream, side))
        self._owner.forget(stream_id)
        self._owner.wake()
        other = stream.destination if side == "source" else stream.source
        if not self._directory.is_attached(other):
            try:
                node = self._directory.places[other]
                await agree(self._courier, node, "close_stream", pb.CloseStreamRequest(stream_id=stream_id))
            except (UnavailableError, DeadlineError, NotFoundError):
                pass  # its side is closed here all the same, and the owner gives nothing new to a side that is alone
        return {"Status": int(Status.SUCCESSFUL)}

    def _closed(self, db: Any, stream: Stream, side: Side) -> None:
        etsi004_ledger.set_open(db, stream.stream_id, side, False, self._store.now_s())
        audit.record(db, "stream.closed", stream_id=stream.stream_id, party=getattr(stream, side), side=side)

    async def _own(self, caller: str, stream_id: str) -> tuple[Stream, Side]:
        """Return a stream that the caller has open, and the side it is."""
        if not self._directory.is_attached(caller):
            raise NotAttachedError("the caller is not an SAE of this KME")
        stream = await self._store.run(None, lambda db: etsi004_ledger.find(db, stream_id))
        if stream is not None and caller not in (stream.source, stream.destination):
            raise DeniedError("the caller is neither Source nor Destination of the stream")
        if stream is not None:
            side: Side = "source" if caller == stream.source else "destination"
            if stream.is_open(side):
                return stream, side
        raise RequestError("the caller has no such stream open")

    async def _chunk(self, stream: Stream, index: int) -> tuple[Status, Chunk | None]:
        """Return the key of an index; make it when there is none."""
        known = await self._store.run(None, lambda db: etsi004_ledger.chunk_at(db, stream.stream_id, index))
        if self._directory.is_attached(stream.source):
            return await self._owner.chunk(stream.stream_id, index)
        if known is not None:
            return Status.SUCCESSFUL, known
        owner = self._directory.places[stream.source]
        try:
            message = pb.MakeChunkRequest(stream_id=stream.stream_id, index=index)
            answer = await agree(self._courier, owner, "make_chunk", message, stream.qos.timeout_ms / 1000 + 5.0)
        except (UnavailableError, DeadlineError, NotFoundError):
            return Status.NO_QKD_CONNECTION, None
        if Status(answer.status) is not Status.SUCCESSFUL:
            return Status(answer.status), None
        key_id = answer.key_id
        await self._store.run(CHUNK, lambda db: etsi004_ledger.note_chunk(db, stream.stream_id, index, key_id))
        return Status.SUCCESSFUL, Chunk(key_id, True)

    # what other KMEs ask

    async def _on_open(self, from_node: str, request: pb.OpenStreamRequest) -> pb.OpenStreamResponse:
        source, destination = request.source_sae_id, request.destination_sae_id
        places = self._directory.places
        if not self._directory.is_attached(source) or places.get(destination) != from_node:
            raise DeniedError(f"the stream is not of {self._directory.own_node} and {from_node}")
        qos = _qos_of(request.qos)
        wanted = Stream(_checked_id(request.stream_id), source, destination, qos)
        known = await self._store.run(None, lambda db: etsi004_ledger.find(db, wanted.stream_id))
        if known is not None and known.is_destination_open and known.destination == destination:
            # the answer was lost, and its KME asks again: it would not, had its own side been open
            status = Status.SUCCESSFUL if known.is_source_open else Status.PEER_NOT_CONNECTED
            return pb.OpenStreamResponse(status=status, qos=pb.StreamQos(**asdict(known.qos)))
        status, qos = await self._owner.opened(wanted, "destination", qos.timeout_ms / 1000)
        return pb.OpenStreamResponse(status=status, qos=pb.StreamQos(**asdict(qos)))

    async def _on_close(self, from_node: str, request: pb.CloseStreamRequest) -> pb.CloseStreamResponse:
        stream = await self._of(from_node, request.stream_id)
        side: Side = "source" if self._directory.places[stream.source] == from_node else "destination"
        await self._store.run(_CLOSE, lambda db: self._closed(db, stream, side))
        self._owner.wake()
        return pb.CloseStreamResponse()

    async def _on_make(self, from_node: str, request: pb.MakeChunkRequest) -> pb.MakeChunkResponse:
        stream = await self._of(from_node, request.stream_id)
        if not self._directory.is_attached(stream.source):
            raise BadInputError(f"stream {stream.stream_id}: is not owned by {self._directory.own_node}")
        status, chunk = await self._owner.chunk(stream.stream_id, request.index)
        return pb.MakeChunkResponse(status=status, key_id=chunk.key_id if chunk is not None else "")

    async def _on_name(self, from_node: str, request: pb.NameChunkRequest) -> pb.NameChunkResponse:
        stream = await self._of(from_node, request.stream_id)
        if self._directory.places[stream.source] != from_node:
            raise DeniedError(f"stream {stream.stream_id}: is not owned by {from_node}")
        key_id = _checked_id(request.key_id)
        await self._store.run(CHUNK, lambda db: etsi004_ledger.note_chunk(db, stream.stream_id, request.index, key_id))
        return pb.NameChunkResponse()

    async def _of(self, from_node: str, stream_id: str) -> Stream:
        stream = await self._store.run(None, lambda db: etsi004_ledger.find(db, stream_id))
        if stream is None:
            raise NotFoundError(f"stream {stream_id}: is not known here")
        places = self._directory.places
        if from_node not in (places[stream.source], places[stream.destination]):
            raise DeniedError(f"stream {stream_id}: is not of {from_node}")
        return stream

    def _sae_of(self, name: str) -> str:
        """Return the SAE that an application's URI, or its id, names."""
        sae_id = self._directory.name_of(name, "sae") or name
        if sae_id not in self._directory.places:
            raise RequestError("an application is not known", [{"application": name}])
        return sae_id


def _qos_of(message: pb.StreamQos) -> Qos:
    return Qos(**{field.name: getattr(message, field.name) for field in message.DESCRIPTOR.fields})


def _checked_id(text: str) -> str:
    if not is_key_id(text):
        raise BadInputError(f"{text!r} is not a UUID in lower case")
    return text
