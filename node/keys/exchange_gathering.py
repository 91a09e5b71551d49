"""node.keys.exchange_gathering: assignments due in the same moment go to a neighbour in one call. Edge: gRPC.

Reservations that one commit made durable are assigned in the same turn of the event loop: those share a call, and at
the other end a commit. Nobody waits for more to come, and each is held or refused by itself.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from node.keys.relay_courier import Courier
from qnetem.runtime.errors import QnetemError, UnavailableError, error_class
from qnetem.v1 import key_exchange_pb2 as pb

__all__ = ["Gathering"]

_MAX_ASSIGNMENTS: Final = 64


@dataclass
class _Batch:
    """Assignments that share a call: the first one's caller makes it, the others wait."""

    requests: list[pb.AssignKeysRequest]
    waiting: "list[asyncio.Future[pb.AssignKeysResponse]]" = field(default_factory=list)

    def settle(self, outcomes: Sequence[pb.AssignKeysResponse | QnetemError]) -> None:
        for future, outcome in zip(self.waiting, outcomes, strict=True):
            if future.done():  # its caller was cancelled
                continue
            if isinstance(outcome, QnetemError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)


class Gathering:
    """Asks the neighbours of one KME to hold keys."""

    def __init__(self, courier: Courier) -> None:
        """Ask through `courier`."""
        self._courier = courier
        self._open: dict[str, _Batch] = {}

    async def assign(self, peer_node: str, request: pb.AssignKeysRequest, timeout_s: float) -> pb.AssignKeysResponse:
        """Return a neighbour's answer to an assignment, as Courier.ask does; the deadline is the first one's.

        Raises:
            QnetemError: As Courier.ask. UnavailableError too when the caller that sends for all is cancelled.
        """
        batch = self._open.get(peer_node)
        if batch is not None and len(batch.requests) < _MAX_ASSIGNMENTS:
            batch.requests.append(request)
            batch.waiting.append(asyncio.get_running_loop().create_future())
            return await batch.waiting[-1]
        batch = self._open[peer_node] = _Batch([request])
        try:
            await asyncio.sleep(0)  # whose turn it is in this moment joins
            self._close(peer_node, batch)
            first, *others = await self._sent(peer_node, batch.requests, timeout_s)
        except BaseException as error:
            self._close(peer_node, batch)
            known = error if isinstance(error, QnetemError) else UnavailableError("the call was given up")
            batch.settle([known] * len(batch.waiting))
            raise
        batch.settle(others)
        if isinstance(first, QnetemError):
            raise first
        return first

    def _close(self, peer_node: str, batch: _Batch) -> None:
        if self._open.get(peer_node) is batch:
            del self._open[peer_node]

    async def _sent(
        self, peer_node: str, requests: list[pb.AssignKeysRequest], timeout_s: float
    ) -> list[pb.AssignKeysResponse | QnetemError]:
        if len(requests) == 1:
            return [await self._courier.ask(peer_node, requests[0], timeout_s)]
        together = pb.AssignKeysBatchRequest(assignments=requests)
        answer: pb.AssignKeysBatchResponse = await self._courier.ask(peer_node, together, timeout_s)
        if len(answer.outcomes) != len(requests):
            raise UnavailableError(f"KME {peer_node} answered {len(answer.outcomes)} of {len(requests)} assignments")
        return [_outcome(one) for one in answer.outcomes]


def _outcome(outcome: pb.AssignmentOutcome) -> pb.AssignKeysResponse | QnetemError:
    match outcome.WhichOneof("outcome"):
        case "response":
            return outcome.response
        case "refusal":
            refusal = outcome.refusal
            return error_class(refusal.status, refusal.reason)(refusal.detail or refusal.status)
    return UnavailableError("an assignment was not answered")
