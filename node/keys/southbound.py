"""node.keys.southbound: a link whose keys come from KMEs of another make, one at each end (ETSI GS QKD 014). Wiring.

The transmitter's node is master at the KME at its end, the receiver's slave at its own. A block is some keys in a row.
Both hold it durably PREPARED before either makes it AVAILABLE; the transmitter coordinates, as on a quantum link.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from node.context import NodeContext
from node.keys.agreement import AgreementDesk, agree
from node.keys.records import BlockRole, BlockState, is_key_id
from node.keys.relay_courier import Courier
from node.keys.southbound_client import (
    ExternalAnswerError,
    ExternalDryError,
    ExternalKme,
    ExternalRefusedError,
    ExternalUnreachableError,
    TakenKey,
    open_external_kme,
)
from node.link_state import LinkRecord, LinkState
from qnetem.runtime.errors import BadInputError, DeniedError, QnetemError, StorageError
from qnetem.v1 import key_agreement_pb2 as pb
from qnetem.v1 import link_session_pb2, process_pb2

__all__ = ["ExternalReceiver", "ExternalTransmitter", "external_links"]

_POLL_S: Final = 1.0
_SILENCE_S: Final = 5.0
_FILL_S: Final = 10.0
_MAX_KEYS: Final = 1024
_LONGEST_ID: Final = 200
_REASONS: Final[Mapping[type[QnetemError], str]] = {
    ExternalUnreachableError: "external-kme-unreachable",
    ExternalDryError: "external-kme-dry",
    ExternalRefusedError: "external-kme-refused",
    ExternalAnswerError: "external-kme-answer",
}


class _End:
    """What both ends of such a link have in common."""

    def __init__(self, config: process_pb2.NodeLinkConfig, node: NodeContext, record: LinkRecord) -> None:
        self.config = config
        self._node = node
        self._store = node.store
        self._record = record

    async def _hold(self, block_id: str, keys: list[TakenKey], role: BlockRole) -> None:
        secret = bytearray(b"".join(key.value.reveal() for key in keys))
        try:
            config = self.config
            await self._store.prepare(block_id, config.link_id, config.peer_node, bytes(secret), 8 * len(secret), role)
        finally:
            secret[:] = bytes(len(secret))
            for key in keys:
                key.value.wipe()

    def _made(self, block_id: str, bits: int) -> None:
        self._record.sifted.add(bits, self._record.now_ps())
        self._record.count_block(bits, bits, 0.0, 0.0)
        self._node.process.journal.write(
            "key.block.available", link_id=self.config.link_id, block_id=block_id, bits=bits
        )


class ExternalTransmitter(_End):
    """The master's end: takes keys, names them to the peer, and coordinates."""

    def __init__(
        self, config: process_pb2.NodeLinkConfig, node: NodeContext, record: LinkRecord, courier: Courier
    ) -> None:
        """Ask the peer by `courier`."""
        super().__init__(config, node, record)
        self._courier = courier
        self._blocks_count = 0

    async def run_forever(self) -> None:
        """Fill the pool up to its high water mark, for as long as the node lives; trouble is in the link's reason."""
        self._record.enter(LinkState.COMMISSIONING)
        async with open_external_kme(self.config.external_kme) as kme:
            while True:
                made = False
                try:
                    await self._settle()
                    if await self._has_room():
                        made = await self._fill(kme)
                    self._record.enter(LinkState.OPERATING)
                except ExternalDryError as error:
                    self._enter(LinkState.DEGRADED, error)
                except QnetemError as error:
                    self._enter(LinkState.DOWN, error)
                if not made:
                    await asyncio.sleep(_POLL_S)

    def _enter(self, state: LinkState, error: QnetemError) -> None:
        reason = _REASONS.get(type(error), "storage" if isinstance(error, StorageError) else "peer-unreachable")
        if (state, reason) != (self._record.state, self._record.reason):
            self._node.process.log.warning(
                "link.external.failed", link_id=self.config.link_id, reason=reason, detail=str(error)
            )
        self._record.enter(state, reason)

    async def _has_room(self) -> bool:
        pool = await self._store.pool(self.config.peer_node)
        self._record.is_idle = pool.available_bits >= self.config.protocol.pool_high_water_bits
        return not self._record.is_idle

    async def _fill(self, kme: ExternalKme) -> bool:
        """Take one block; return whether both ends hold it AVAILABLE."""
        config = self.config
        keys = await kme.enc_keys()
        self._blocks_count += 1
        block_id = f"{config.link_id}/{self._node.incarnation}.0.{self._blocks_count}"
        request = pb.FillBlockRequest(
            link_id=config.link_id,
            block_id=block_id,
            key_ids=[key.key_id for key in keys],
            key_size_bits=config.external_kme.key_size_bits,
        )
        await self._hold(block_id, keys, BlockRole.TRANSMITTER)
        answer = await agree(self._courier, config.peer_node, "fill_block", request, _FILL_S)
        if not answer.is_prepared:
            await self._store.abort(block_id)
            self._record.count_block(len(request.key_ids) * request.key_size_bits, 0, 0.0, 0.0)
            raise ExternalRefusedError(
                f"block {block_id}: {config.peer_node} could not take its keys ({answer.reason})"
            )
        await self._store.commit(block_id)
        self._made(block_id, len(request.key_ids) * request.key_size_bits)
        await self._settle()
        return True

    async def _settle(self) -> None:
        """Tell the peer what is decided: what is not AVAILABLE here never will be."""
        link_id = self.config.link_id
        available = []
        for block in await self._store.blocks_in_doubt(link_id):
            if block.state is BlockState.PREPARED:
                await self._store.abort(block.block_id)
            else:
                available.append(block.block_id)
        request = pb.SettleBlocksRequest(
            link_id=link_id,
            available_block_ids=available,
            state=link_session_pb2.LinkState.ValueType(self._record.state),
            reason=self._record.reason,
        )
        answer = await agree(self._courier, self.config.peer_node, "settle_blocks", request)
        for block_id in available:
            if block_id in answer.available_block_ids:
                await self._store.confirm(block_id)
            else:
                await self._store.quarantine(block_id)


class ExternalReceiver(_End):
    """The slave's end: takes the keys it is told, and follows."""

    def __init__(self, config: process_pb2.NodeLinkConfig, node: NodeContext, record: LinkRecord) -> None:
        """Answer nothing before `run_forever` runs."""
        super().__init__(config, node, record)
        self._kme: ExternalKme | None = None
        self._heard_s = time.monotonic()

    async def run_forever(self) -> None:
        """Keep the KME at hand; without a word of the transmitter the link is DOWN."""
        async with open_external_kme(self.config.external_kme) as kme:
            self._kme = kme
            while True:
                if time.monotonic() - self._heard_s > _SILENCE_S:
                    self._record.enter(LinkState.DOWN, "peer-unreachable")
                await asyncio.sleep(_POLL_S)

    async def fill(self, request: pb.FillBlockRequest) -> pb.FillBlockResponse:
        """Take the keys of a block and hold it PREPARED."""
        block_id, key_ids = request.block_id, list(request.key_ids)
        is_own = block_id.startswith(f"{self.config.link_id}/") and len(block_id) <= _LONGEST_ID
        if not is_own or not 1 <= len(key_ids) <= _MAX_KEYS or not all(map(is_key_id, key_ids)):
            raise BadInputError(
                f"link {self.config.link_id}: the block is not of it, or its keys are no 1 to {_MAX_KEYS}"
            )
        held = (await self._store.block_states([block_id])).get(block_id)
        if held is not None:
            return pb.FillBlockResponse(is_prepared=held is BlockState.PREPARED, reason=str(held))
        if self._kme is None:
            return pb.FillBlockResponse(reason="starting")
        if request.key_size_bits != self.config.external_kme.key_size_bits:
            return pb.FillBlockResponse(reason="key-size")
        try:
            keys = await self._kme.dec_keys(key_ids)
            await self._hold(block_id, keys, BlockRole.RECEIVER)
        except QnetemError as error:
            self._node.process.log.warning(
                "link.external.failed", link_id=self.config.link_id, reason=error.reason, detail=str(error)
            )
            return pb.FillBlockResponse(reason=error.reason.lower().replace("_", "-"))
        return pb.FillBlockResponse(is_prepared=True)

    async def settle(self, request: pb.SettleBlocksRequest) -> pb.SettleBlocksResponse:
        """Commit what the transmitter holds AVAILABLE, abort all else, and follow its state."""
        wanted = list(request.available_block_ids)
        for block in await self._store.blocks_in_doubt(self.config.link_id):
            if block.block_id in wanted:
                await self._store.commit(block.block_id)
                self._made(block.block_id, block.bit_count)
            else:
                await self._store.abort(block.block_id)
        states = await self._store.block_states(wanted)
        for block_id in wanted:
            if block_id not in states:
                await self._store.abort(block_id)  # a fill that comes late is refused
        self._heard_s = time.monotonic()
        state = next((one for one in LinkState if one.value == request.state), None)
        if state is not None:
            self._record.enter(state, request.reason[:64])
        held = [block_id for block_id, state in states.items() if state is BlockState.AVAILABLE]
        return pb.SettleBlocksResponse(available_block_ids=held)


def external_links(
    links: Iterable[process_pb2.NodeLinkConfig],
    node: NodeContext,
    records: Mapping[str, LinkRecord],
    courier: Courier,
    desk: AgreementDesk,
) -> list[ExternalTransmitter | ExternalReceiver]:
    """Return the ends here of links with KMEs of another make, to be run; their peers are answered at `desk`."""
    own = [link for link in links if link.HasField("external_kme")]
    transmitters = [
        ExternalTransmitter(link, node, records[link.link_id], courier)
        for link in own
        if link.role == process_pb2.LINK_ROLE_TRANSMITTER
    ]
    receivers = {
        link.link_id: ExternalReceiver(link, node, records[link.link_id])
        for link in own
        if link.role == process_pb2.LINK_ROLE_RECEIVER
    }

    def receiver_of(from_node: str, link_id: str) -> ExternalReceiver:
        receiver = receivers.get(link_id)
        if receiver is None:
            raise BadInputError(f"link {link_id}: is not answered here")
        if receiver.config.peer_node != from_node:
            raise DeniedError(f"link {link_id}: does not come from {from_node}")
        return receiver

    async def fill(from_node: str, request: Any) -> Any:
        return await receiver_of(from_node, request.link_id).fill(request)

    async def settle(from_node: str, request: Any) -> Any:
        return await receiver_of(from_node, request.link_id).settle(request)

    desk.add("fill_block", fill)
    desk.add("settle_blocks", settle)
    return [*transmitters, *receivers.values()]
