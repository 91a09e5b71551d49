"""node.keys.exchange_servicer: what a KME does for the KMEs of neighbouring nodes. Edge: gRPC."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from node.keys.directory import Directory
from node.keys.kem import Kem
from node.keys.records import Assignment, Piece, UnusableBlocksError, is_key_id
from node.keys.store import KeyStore
from qnetem.runtime import rpc
from qnetem.runtime.errors import BadInputError, DeniedError, QnetemError, first_known
from qnetem.runtime.log import get_logger
from qnetem.v1 import key_exchange_pb2 as pb
from qnetem.v1 import key_exchange_pb2_grpc as pb_grpc
from qnetem.v1.kem_pb2 import KemShare

__all__ = ["KeyExchangeServicer", "assignments_of", "key_assignments", "lifetime_of"]

_MAX_KEYS: Final = 1024
_MAX_PIECES: Final = 1024
_MAX_ASSIGNMENTS: Final = 64
_log = get_logger("node.keys")


class KeyExchangeServicer(pb_grpc.KeyExchangeServiceServicer):
    """Holds and voids keys that masters at neighbouring nodes give."""

    def __init__(self, store: KeyStore, directory: Directory, kem: Kem | None = None) -> None:
        """Serve from `store`; without a `kem` no hybrid keys."""
        self._store = store
        self._directory = directory
        self._kem = kem

    async def AssignKeys(self, request: pb.AssignKeysRequest, context: Any) -> pb.AssignKeysResponse:
        """Hold the keys of the request durably, all or none; see the .proto."""
        return await self.assign(self._peer(context), request)

    async def AssignKeysBatch(self, request: pb.AssignKeysBatchRequest, context: Any) -> pb.AssignKeysBatchResponse:
        """Hold the keys of each assignment durably, or refuse them; see the .proto."""
        peer_node = self._peer(context)
        if not 1 <= len(request.assignments) <= _MAX_ASSIGNMENTS:
            raise BadInputError(f"{len(request.assignments)} assignments, not 1 to {_MAX_ASSIGNMENTS}")
        outcomes = await asyncio.gather(*(self._outcome(peer_node, one) for one in request.assignments))
        return pb.AssignKeysBatchResponse(outcomes=outcomes)

    async def _outcome(self, peer_node: str, request: pb.AssignKeysRequest) -> pb.AssignmentOutcome:
        try:
            return pb.AssignmentOutcome(response=await self.assign(peer_node, request))
        except Exception as error:
            known = first_known(error)
            if known is None:  # its text may hold anything: it stays in the log
                _log.exception("keys.assignment.broken", peer_node=peer_node)
                known = QnetemError("internal error; see the log of the process")
            refusal = pb.AssignmentRefusal(status=known.status, reason=known.reason, detail=str(known))
            return pb.AssignmentOutcome(refusal=refusal)

    async def assign(self, peer_node: str, request: pb.AssignKeysRequest) -> pb.AssignKeysResponse:
        """Hold keys of a master at `peer_node`, which the message came from, itself or over relays."""
        master, slaves = request.master_sae_id, list(request.slave_sae_ids)
        if self._directory.places.get(master) != peer_node:
            raise DeniedError(f"SAE {master!r} is not attached to {peer_node}")
        if not slaves or len(set(slaves)) != len(slaves):
            raise BadInputError("slave_sae_ids is empty or names an SAE twice")
        for slave in slaves:
            if not self._directory.is_attached(slave):
                raise BadInputError(f"SAE {slave!r} is not attached to {self._directory.own_node}")
        assignments = assignments_of(request.keys)
        if request.HasField("kem"):
            await self.hold_agreed(peer_node, master, [one.key_id for one in assignments], request.kem)
        try:
            await self._store.assign(peer_node, master, slaves, assignments, lifetime_of(request.lifetime_s))
        except UnusableBlocksError as error:
            _log.warning("keys.assignment.unusable", peer_node=peer_node, block_ids=list(error.block_ids))
            return pb.AssignKeysResponse(unusable_block_ids=error.block_ids)
        return pb.AssignKeysResponse()

    async def hold_agreed(self, from_node: str, master_sae_id: str, key_ids: Sequence[str], share: KemShare) -> None:
        """Hold what a master's KME agrees on with this one for hybrid keys, before the keys are held.

        Raises:
            KemUnknownError: The share is for a key pair that is not there.
            DeniedError: It is not signed by that KME.
            BadInputError: It is malformed, or hybrid keys are not held here.
            ConflictError: Another secret was agreed on for one of the keys.
        """
        if self._kem is None:
            raise BadInputError(f"{self._directory.own_node} holds no hybrid keys")
        await self._store.hold_agreed(key_ids, self._kem.opened(share, from_node, master_sae_id))

    async def VoidKeys(self, request: pb.VoidKeysRequest, context: Any) -> pb.VoidKeysResponse:
        """Void the keys of the request durably, known or not; see the .proto."""
        return await self.void(self._peer(context), request)

    async def void(self, peer_node: str, request: pb.VoidKeysRequest) -> pb.VoidKeysResponse:
        """Void keys that a master at `peer_node` gave up, which the message came from, itself or over relays."""
        await self._store.void_assigned(peer_node, assignments_of(request.keys))
        _log.info("keys.assignment.voided", peer_node=peer_node, keys_count=len(request.keys))
        return pb.VoidKeysResponse()

    def _peer(self, context: Any) -> str:
        return self._directory.neighbour_of(rpc.caller_uri(context))


def lifetime_of(lifetime_s: float) -> float | None:
    """Return the lifetime of keys from the wire, emulated seconds; None: as this KME's own rule says.

    Raises:
        BadInputError: It is below 0, or no number.
    """
    if not 0 <= lifetime_s < float("inf"):
        raise BadInputError(f"a lifetime of {lifetime_s} s is not at least 0")
    return lifetime_s or None


def assignments_of(keys: Iterable[pb.KeyAssignment]) -> list[Assignment]:
    """Return assignments from the wire.

    Raises:
        BadInputError: None, too many, a malformed id, no pieces or too many.
    """
    assignments = [
        Assignment(key.key_id, tuple(Piece(p.block_id, p.offset_bits, p.length_bits) for p in key.pieces))
        for key in keys
    ]
    if not 1 <= len(assignments) <= _MAX_KEYS:
        raise BadInputError(f"{len(assignments)} keys, not 1 to {_MAX_KEYS}")
    for assignment in assignments:
        if not is_key_id(assignment.key_id):
            raise BadInputError("a key_id is not a UUID in lower case")
        if not 1 <= len(assignment.pieces) <= _MAX_PIECES:
            raise BadInputError(f"key {assignment.key_id}: {len(assignment.pieces)} pieces, not 1 to {_MAX_PIECES}")
    return assignments


def key_assignments(assignments: Iterable[Assignment]) -> list[pb.KeyAssignment]:
    """Return assignments for the wire."""
    return [
        pb.KeyAssignment(
            key_id=assignment.key_id,
            pieces=[
                pb.KeyPiece(block_id=p.block_id, offset_bits=p.offset_bits, length_bits=p.length_bits)
                for p in assignment.pieces
            ],
        )
        for assignment in assignments
    ]
