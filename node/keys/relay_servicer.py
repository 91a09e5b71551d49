"""node.keys.relay_servicer: what a KME does for transfers and messages that neighbours bring. Edge: gRPC."""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Final

from node.keys.directory import Directory
from node.keys.records import PoolExhaustedError, UnusableBlocksError, is_key_id
from node.keys.relay_courier import Courier, NoRouteError
from node.keys.relay_frame import checked_path, header_of, pieces_of
from node.keys.relay_hops import Hops, Outcome, response_of
from node.keys.relay_store import RelayStore
from node.keys.relay_voids import Burn
from qnetem.runtime import rpc
from qnetem.runtime.errors import BadInputError, DeadlineError, DeniedError
from qnetem.runtime.log import get_logger
from qnetem.v1 import key_relay_pb2 as pb
from qnetem.v1 import key_relay_pb2_grpc as pb_grpc
from qnetem.v1.kem_pb2 import KemShare

__all__ = ["KeyRelayServicer", "NotARelayError"]

_MAX_PER_CALL: Final = 512
_LEAST_S: Final = 0.02
_SETTLE_COUNT: Final = 256
_log = get_logger("node.keys.relay")
# (source, master, key ids, share)
HoldAgreed = Callable[[str, str, list[str], KemShare], Awaitable[None]]
# (who asks, the message) -> the answer
Answer = Callable[[str, Any], Awaitable[Any]]


class NotARelayError(DeniedError):
    """The node relays keys of nobody else."""

    reason = "NOT_A_RELAY"


class KeyRelayServicer(pb_grpc.KeyRelayServiceServicer):
    """Passes transfers on, holds them, burns pads, and carries messages."""

    def __init__(
        self,
        directory: Directory,
        relays: RelayStore,
        hops: Hops,
        courier: Courier,
        answers: Mapping[str, Answer],
        hold_agreed: HoldAgreed,
        *,
        is_relay: bool,
        relay_nodes: Collection[str],
    ) -> None:
        """Serve one KME.

        Args:
            directory: Who is where.
            relays: The transfers in its store.
            hops: The hops that begin here.
            courier: Asks the next node.
            answers: Who answers carried messages that end here, by their names in CarryRequest; voids of transfers are
                answered here.
            hold_agreed: Holds what a source agrees on with this KME for hybrid keys.
            is_relay: It passes keys of others on.
            relay_nodes: The neighbours that do: from others nothing is taken that they did not begin themselves.
        """
        self._directory = directory
        self._relays = relays
        self._hops = hops
        self._courier = courier
        self._answers = {"void_transfers": self._void_transfers, **answers}
        self._hold_agreed = hold_agreed
        self._is_relay = is_relay
        self._relay_nodes = frozenset(relay_nodes)
        # went through, and not noted on the disk yet
        self._settled: list[str] = []

    async def Relay(self, request: pb.RelayRequest, context: Any) -> pb.RelayResponse:
        """Pass a transfer on, or hold it; see the .proto."""
        header = header_of(request.header)
        pieces_of(request.pad)
        next_node = self._next(header.path, context)
        own_node, previous = self._directory.own_node, self._neighbour(context)
        if next_node is None:
            self._check_saes(header)
            if header.keys.HasField("kem"):
                keys = header.keys
                await self._hold_agreed(header.path[0], keys.master_sae_id, list(keys.key_ids), keys.kem)
        else:
            try:
                await self._hops.ready(next_node)
            except NoRouteError as error:
                outcome = Outcome(False, True, error.reason, (own_node, next_node))
                is_known = await self._relays.is_known(header.transfer_id)
                return response_of(outcome, maybe_retained=is_known)
        try:
            arrival = await self._relays.arrive(request)
        except UnusableBlocksError as error:
            _log.warning("relay.pad.unusable", peer_node=previous, block_ids=list(error.block_ids))
            refused = response_of(Outcome(False, True, error.reason, (previous, own_node)), maybe_retained=False)
            refused.unusable_block_ids.extend(error.block_ids)
            return refused
        except PoolExhaustedError as error:
            return response_of(Outcome(False, True, error.reason, (own_node, next_node or "")), maybe_retained=False)
        if arrival.onward is None or next_node is None:
            return pb.RelayResponse(ack_status=pb.ACK_STATUS_RELAYED)
        left_s = max(_LEAST_S, _left_s(context) - self._courier.times.hop_s)
        outcome = await self._hops.attempt(next_node, arrival.onward, left_s, is_first=arrival.is_new)
        if outcome.is_acknowledged:
            self._settled.append(header.transfer_id)
            if len(self._settled) >= _SETTLE_COUNT:
                await self.settle()
            return pb.RelayResponse(ack_status=pb.ACK_STATUS_RELAYED)
        _log.warning("relay.failed", reason=outcome.reason, next_node=next_node, is_refused=outcome.is_refused)
        if outcome.is_refused:
            await self._relays.give_up_pad(header.transfer_id)
            await self._hops.to_burn([next_node])
        return response_of(outcome, maybe_retained=not outcome.is_refused)

    async def settle(self) -> None:
        """Note on the disk what went through. What a crash forgets of it is burned once more, which changes nothing."""
        done, self._settled = self._settled, []
        if done:
            await self._relays.settle(done)

    async def BurnPads(self, request: pb.BurnPadsRequest, context: Any) -> pb.BurnPadsResponse:
        """Burn pads that the caller gave up; see the .proto."""
        previous = self._neighbour(context)
        if not 1 <= len(request.pads) <= _MAX_PER_CALL:
            raise BadInputError(f"{len(request.pads)} pads, not 1 to {_MAX_PER_CALL}")
        burns = [
            Burn(_checked_id(one.transfer_id), pieces_of(one.pad), pieces_of(one.tag_key, 0)) for one in request.pads
        ]
        further = await self._relays.burn(previous, burns)
        if further:
            await self._hops.to_burn(sorted(further))
        _log.info("relay.pads.burned", peer_node=previous, pads_count=len(burns))
        return pb.BurnPadsResponse()

    async def Carry(self, request: pb.CarryRequest, context: Any) -> pb.CarryResponse:
        """Send a message on, or answer it; see the .proto."""
        name = request.WhichOneof("message")
        if name is None:
            raise BadInputError("nothing is carried")
        next_node = self._next(request.path, context)
        if next_node is None:
            if name not in self._answers:
                raise BadInputError(f"{name} is not answered here")
            answer = await self._answers[name](request.path[0], getattr(request, name))
            return pb.CarryResponse(**{name: answer})
        left_s = max(_LEAST_S, _left_s(context) - self._courier.times.hop_s)
        try:
            channel = await self._courier.connected(next_node, min(left_s, self._courier.times.connect_s))
        except NoRouteError:
            self._courier.book.doubt((self._directory.own_node, next_node), time.monotonic())
            raise
        try:
            return await rpc.call(pb_grpc.KeyRelayServiceStub(channel).Carry, request, timeout_s=left_s)
        except DeadlineError:
            self._courier.book.doubt((self._directory.own_node, next_node), time.monotonic())
            raise

    async def _void_transfers(self, source: str, request: pb.VoidTransfersRequest) -> pb.VoidTransfersResponse:
        if len(request.transfer_ids) > _MAX_PER_CALL:
            raise BadInputError(f"{len(request.transfer_ids)} transfers, not up to {_MAX_PER_CALL}")
        ids = [_checked_id(transfer_id) for transfer_id in request.transfer_ids]
        if not ids:  # a probe
            return pb.VoidTransfersResponse()
        statuses = await self._relays.void(source, ids)
        _log.info("relay.voided", source=source, transfers_count=len(ids))
        return pb.VoidTransfersResponse(ack_statuses=statuses)

    def _next(self, path: Any, context: Any) -> str | None:
        """Return the node behind this one on a path; None for the last."""
        nodes = checked_path(path)
        own_node = self._directory.own_node
        at = nodes.index(own_node) if own_node in nodes else 0
        if at == 0 or nodes[at - 1] != self._neighbour(context):
            raise DeniedError(f"the caller is not before {own_node} on the path")
        if at > 1 and nodes[at - 1] not in self._relay_nodes:
            raise NotARelayError(f"{nodes[at - 1]} relays for nobody")
        if at + 1 == len(nodes):
            return None
        if not self._is_relay:
            raise NotARelayError(f"{own_node} relays for nobody")
        if nodes[at + 1] not in self._directory.neighbours:
            raise NoRouteError(f"{nodes[at + 1]} is no neighbour of {own_node}")
        return nodes[at + 1]

    def _neighbour(self, context: Any) -> str:
        return self._directory.neighbour_of(rpc.caller_uri(context))

    def _check_saes(self, header: pb.RelayHeader) -> None:
        if header.WhichOneof("what") != "keys":
            return
        source, master = header.path[0], header.keys.master_sae_id
        if self._directory.places.get(master) != source:
            raise DeniedError(f"SAE {master!r} is not attached to {source}")
        slaves = list(header.keys.slave_sae_ids)
        if not slaves or len(set(slaves)) != len(slaves):
            raise BadInputError("slave_sae_ids is empty or names an SAE twice")
        for slave in slaves:
            if not self._directory.is_attached(slave):
                raise BadInputError(f"SAE {slave!r} is not attached to {self._directory.own_node}")


def _checked_id(transfer_id: str) -> str:
    if not is_key_id(transfer_id):
        raise BadInputError("a transfer_id is not a UUID in lower case")
    return transfer_id


def _left_s(context: Any) -> float:
    left = context.time_remaining()
    return 1.0 if left is None else float(left)
