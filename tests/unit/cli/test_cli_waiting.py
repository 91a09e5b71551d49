"""Waiting for service when the supervisor answers late."""

import time
from typing import Any

import pytest

from qnetem.cli import bringing
from qnetem.runtime.errors import DeadlineError
from qnetem.v1 import link_session_pb2, node_pb2, supervisor_pb2


def in_service() -> supervisor_pb2.InspectResponse:
    """A testbed of one link that both ends call OPERATING."""
    link = node_pb2.NodeLinkStatus(link_id="a-b", state=link_session_pb2.LINK_STATE_OPERATING)
    return supervisor_pb2.InspectResponse(
        testbed=supervisor_pb2.GetTestbedResponse(
            name="t", links=[supervisor_pb2.LinkPlace(link_id="a-b", endpoints=["a", "b"])]
        ),
        nodes=[
            supervisor_pb2.NodeReport(name=name, status=node_pb2.GetNodeResponse(name=name, links=[link]))
            for name in ("a", "b")
        ],
    )


class Supervisor:
    def __init__(self, late_count: int) -> None:
        self.late_count = late_count

    async def inspect(self) -> supervisor_pb2.InspectResponse:
        self.late_count -= 1
        if self.late_count >= 0:
            raise DeadlineError("Deadline Exceeded")
        return in_service()


async def wait(supervisor: Supervisor, patience_s: float) -> int:
    client: Any = supervisor
    return await bringing._in_service(client, lambda _: None, time.monotonic() + patience_s)


async def test_a_late_answer_is_no_verdict() -> None:
    supervisor = Supervisor(late_count=2)
    assert await wait(supervisor, 30.0) == 0
    assert supervisor.late_count == -1


async def test_no_answer_within_the_time_is_inconclusive(capsys: pytest.CaptureFixture[str]) -> None:
    assert await wait(Supervisor(late_count=10**9), -1.0) == 2
    assert "does not answer in time" in capsys.readouterr().err
