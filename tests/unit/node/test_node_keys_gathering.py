"""Assignments due in one turn of the loop share a call, and each has its own end."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from node.keys.exchange_gathering import Gathering
from node.keys.records import BlockPendingError
from qnetem.runtime.errors import ConflictError, DeadlineError, QnetemError, UnavailableError
from qnetem.v1 import key_exchange_pb2 as pb


class _Courier:
    """Records what is asked; answers as the test says."""

    def __init__(self, answer: Callable[[Any], Awaitable[Any]]) -> None:
        self.asked: list[Any] = []
        self._answer = answer

    async def ask(self, target: str, message: Any, timeout_s: float) -> Any:
        assert (target, timeout_s) == ("bob", 1.0)
        self.asked.append(message)
        return await self._answer(message)


def _request() -> pb.AssignKeysRequest:
    return pb.AssignKeysRequest(master_sae_id="app-1", keys=[pb.KeyAssignment(key_id=str(uuid.uuid4()))])


def _named(request: pb.AssignKeysRequest) -> pb.AssignKeysResponse:
    """Return an answer that tells whose it is."""
    return pb.AssignKeysResponse(unusable_block_ids=[request.keys[0].key_id])


async def _served(message: Any) -> Any:
    if isinstance(message, pb.AssignKeysRequest):
        return _named(message)
    return pb.AssignKeysBatchResponse(
        outcomes=[pb.AssignmentOutcome(response=_named(one)) for one in message.assignments]
    )


def _gathering(answer: Callable[[Any], Awaitable[Any]]) -> tuple[Gathering, _Courier]:
    courier = _Courier(answer)
    return Gathering(courier), courier  # type: ignore[arg-type]


async def _all(gathering: Gathering, requests: list[pb.AssignKeysRequest]) -> list[Any]:
    return await asyncio.gather(*(gathering.assign("bob", one, 1.0) for one in requests), return_exceptions=True)


async def test_what_is_due_together_shares_calls_and_each_gets_its_own_answer() -> None:
    gathering, courier = _gathering(_served)
    requests = [_request() for _ in range(130)]
    assert await _all(gathering, requests) == [_named(one) for one in requests]
    assert [len(one.assignments) for one in courier.asked] == [64, 64, 2]


async def test_one_alone_goes_as_it_is() -> None:
    gathering, courier = _gathering(_served)
    for _ in range(2):
        request = _request()
        assert await gathering.assign("bob", request, 1.0) == _named(request)
        assert courier.asked.pop() == request


async def test_a_refusal_is_that_of_its_own_assignment() -> None:
    async def refused(message: Any) -> Any:
        answer = await _served(message)
        for index, error in ((0, ConflictError("was given before")), (2, BlockPendingError("is prepared"))):
            refusal = pb.AssignmentRefusal(status=error.status, reason=error.reason, detail=str(error))
            answer.outcomes[index].CopyFrom(pb.AssignmentOutcome(refusal=refusal))
        answer.outcomes[3].CopyFrom(pb.AssignmentOutcome())
        return answer

    gathering, _ = _gathering(refused)
    requests = [_request() for _ in range(4)]
    first, second, third, fourth = await _all(gathering, requests)
    assert isinstance(first, ConflictError)
    assert str(first) == "was given before"
    assert second == _named(requests[1])
    assert isinstance(third, BlockPendingError)
    assert third.is_definite
    # no answer: nobody knows, and the bits burn
    assert type(fourth) is UnavailableError
    assert not fourth.is_definite


@pytest.mark.parametrize("fault", ["deadline", "short answer"])
async def test_without_an_answer_all_are_in_doubt(fault: str) -> None:
    async def failed(message: Any) -> Any:
        if fault == "deadline":
            raise DeadlineError("no answer")
        return pb.AssignKeysBatchResponse(outcomes=[pb.AssignmentOutcome(response=pb.AssignKeysResponse())])

    gathering, _ = _gathering(failed)
    ended = await _all(gathering, [_request() for _ in range(3)])
    assert all(isinstance(one, QnetemError) and not one.is_definite for one in ended)


async def test_whoever_goes_away_leaves_the_others_an_end() -> None:
    is_asked, is_free = asyncio.Event(), asyncio.Event()

    async def held(message: Any) -> Any:
        is_asked.set()
        await is_free.wait()
        return await _served(message)

    requests = [_request() for _ in range(3)]
    for leaver in range(3):
        gathering, _ = _gathering(held)
        is_asked.clear()
        is_free.clear()
        tasks = [asyncio.ensure_future(gathering.assign("bob", one, 1.0)) for one in requests]
        await is_asked.wait()
        tasks[leaver].cancel()
        await asyncio.wait([tasks[leaver]])
        is_free.set()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(ended.pop(leaver), asyncio.CancelledError)
        if leaver == 0:  # it was the one that asked for all
            assert all(isinstance(one, UnavailableError) and not one.is_definite for one in ended)
        else:
            assert ended == [_named(one) for index, one in enumerate(requests) if index != leaver]
        request = _request()
        assert await gathering.assign("bob", request, 1.0) == _named(request)
