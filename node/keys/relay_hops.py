"""node.keys.relay_hops: one hop of a transfer, from the node that spends the pad. Edge: gRPC.

Source and middle nodes alike: see that the next node is there before a bit is spent, send, and make of what comes back,
or does not, one of three outcomes. What was given up is burned at the next node before anything new is spent towards
it: an outage burns what was under way, and nothing more.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from node.keys.records import BlockPendingError, PoolExhaustedError, UnusableBlocksError
from node.keys.relay_courier import Courier, NoRouteError
from node.keys.relay_frame import BadTagError, UnknownTagKeyError, pieces_of, wire_pieces
from node.keys.relay_paths import Hop
from node.keys.relay_store import RelayStore
from node.keys.store import KeyStore
from qnetem.runtime import rpc
from qnetem.runtime.errors import ConflictError, DeadlineError, QnetemError, StorageError, UnavailableError
from qnetem.runtime.log import get_logger
from qnetem.v1 import key_relay_pb2 as pb
from qnetem.v1 import key_relay_pb2_grpc as pb_grpc

__all__ = ["Hops", "Outcome", "response_of"]

_BURNS_PER_CALL: Final = 512
# other bits may do: the hop itself is sound
_OTHER_BITS: Final = frozenset(
    (UnusableBlocksError.reason, ConflictError.reason, BlockPendingError.reason, UnknownTagKeyError.reason)
)
# no more tags under that hash key: it is lost there, or somebody tries to forge under it
_OTHER_TAG_KEY: Final = frozenset((UnknownTagKeyError.reason, BadTagError.reason))
_SILENT: Final = frozenset((NoRouteError.reason, UnavailableError.reason, DeadlineError.reason))
_log = get_logger("node.keys.relay")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt.

    Attributes:
        is_acknowledged: The target holds it.
        is_refused: Nobody behind the node that sent retained anything.
        reason: Of the failure, one word.
        hop: Where it failed.
    """

    is_acknowledged: bool
    is_refused: bool = False
    reason: str = ""
    hop: Hop = ("", "")

    @property
    def is_dry(self) -> bool:
        """Whether the hop has no key bits."""
        return self.reason == PoolExhaustedError.reason

    @property
    def wants_other_bits(self) -> bool:
        """Whether the same over the same hop may succeed with other bits of the pool."""
        return self.reason in _OTHER_BITS

    @property
    def is_silent(self) -> bool:
        """Whether the hop's far end did not answer."""
        return self.reason in _SILENT


class Hops:
    """The hops that begin at one KME."""

    def __init__(self, store: KeyStore, relays: RelayStore, courier: Courier) -> None:
        """Spend from `store`; `relays` are the transfers in it."""
        self._store = store
        self._relays = relays
        self._courier = courier
        # neighbours with unconfirmed burns, None before the store was asked; and how often there was a new one
        self._unconfirmed: set[str] | None = None
        self._burns_count = 0
        self.wake: Final = asyncio.Event()

    async def ready(self, next_node: str) -> None:
        """See that a neighbour is there and has burned what it was told to, before a bit is spent.

        Raises:
            NoRouteError: It cannot be reached or does not answer.
        """
        try:
            await self._courier.connected(next_node)
            if next_node in await self.with_unconfirmed():
                await self.flush(next_node, self._courier.times.attempt_s)
        except StorageError:
            raise
        except QnetemError as error:
            if isinstance(error, NoRouteError):
                raise
            raise NoRouteError(f"no route to KME {next_node}: it does not answer ({error.reason})") from error

    async def attempt(self, next_node: str, request: pb.RelayRequest, timeout_s: float, *, is_first: bool) -> Outcome:
        """Send a transfer to the next node, once.

        Args:
            next_node: A neighbour.
            request: The same bytes each time.
            timeout_s: Until the target has to hold it, wall seconds.
            is_first: It was never sent before: a refusal means that nobody has it.
        """
        here = (self._courier.own_node, next_node)
        try:
            channel = await self._courier.connected(next_node, min(timeout_s, self._courier.times.connect_s))
            response = await rpc.call(pb_grpc.KeyRelayServiceStub(channel).Relay, request, timeout_s=timeout_s)
        except (UnavailableError, DeadlineError, StorageError) as error:
            is_refused = is_first and error.is_definite and not isinstance(error, BlockPendingError)
            return Outcome(False, is_refused, error.reason, here)
        except QnetemError as error:
            if error.reason in _OTHER_TAG_KEY:
                await self._relays.forget_tag_key(next_node, pieces_of(request.tag_key))
            return Outcome(False, is_first and error.is_definite, error.reason, here)
        if response.ack_status == pb.ACK_STATUS_RELAYED:
            return Outcome(True)
        if response.unusable_block_ids:
            named = {piece.block_id for piece in request.pad}
            for block_id in sorted(named.intersection(response.unusable_block_ids)):
                _log.error("keys.block.quarantined", peer_node=next_node, block_id=block_id)
                await self._store.quarantine(block_id)
        is_refused = is_first and not response.maybe_retained
        return Outcome(False, is_refused, response.reason, (response.from_node, response.to_node))

    # burns

    async def with_unconfirmed(self) -> set[str]:
        """Return the neighbours that have not confirmed a burn."""
        if self._unconfirmed is None:
            found = await self._relays.peers_to_burn()
            self._unconfirmed = found | (self._unconfirmed or set())  # another may have asked meanwhile
        return self._unconfirmed

    async def to_burn(self, neighbours: Sequence[str]) -> None:
        """Note that pads towards neighbours were given up."""
        (await self.with_unconfirmed()).update(neighbours)
        self._burns_count += 1
        self.wake.set()

    async def flush(self, neighbour: str, timeout_s: float) -> None:
        """Bring every burn to a neighbour and note that it was confirmed.

        Raises:
            QnetemError: It could not be reached, or did not answer.
        """
        channel = await self._courier.connected(neighbour)
        stub = pb_grpc.KeyRelayServiceStub(channel)
        while True:
            seen_count = self._burns_count
            burns = await self._relays.pending_burns(neighbour, _BURNS_PER_CALL)
            if not burns:
                if seen_count == self._burns_count:  # else one was added while the store answered
                    (await self.with_unconfirmed()).discard(neighbour)
                return
            pads = [
                pb.PadBurn(transfer_id=one.transfer_id, pad=wire_pieces(one.pieces), tag_key=wire_pieces(one.tag_key))
                for one in burns
            ]
            await rpc.call(stub.BurnPads, pb.BurnPadsRequest(pads=pads), timeout_s=timeout_s)
            await self._relays.confirm_burns([one.transfer_id for one in burns])

    def learn(self, outcome: Outcome, asked_bits: int) -> None:
        """Remember a hop that failed for so many bits, so that paths over it are taken last."""
        if not outcome.is_acknowledged and outcome.hop[0] and not outcome.wants_other_bits:
            self._courier.book.doubt(outcome.hop, time.monotonic(), is_dry=outcome.is_dry, asked_bits=asked_bits)


def response_of(outcome: Outcome, *, maybe_retained: bool) -> pb.RelayResponse:
    """Return what a node answers whose own attempt ended so."""
    if outcome.is_acknowledged:
        return pb.RelayResponse(ack_status=pb.ACK_STATUS_RELAYED)
    return pb.RelayResponse(
        ack_status=pb.ACK_STATUS_FAILED,
        maybe_retained=maybe_retained,
        reason=outcome.reason,
        from_node=outcome.hop[0],
        to_node=outcome.hop[1],
    )
