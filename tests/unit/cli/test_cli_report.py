"""What `inspect` tells, from what two ends of a link say."""

from typing import Any

import pytest

from qnetem.cli.report import link_rows, pool_rows, process_rows
from qnetem.testbed.inspected import inspected_values
from qnetem.v1 import link_session_pb2 as session
from qnetem.v1 import node_pb2, process_pb2
from qnetem.v1 import supervisor_pb2 as wire

OPERATING, DOWN = session.LINK_STATE_OPERATING, session.LINK_STATE_DOWN


def status(role: int, state: int = OPERATING, **fields: Any) -> node_pb2.NodeLinkStatus:
    return node_pb2.NodeLinkStatus(link_id="alice-bob", role=role, state=state, **fields)  # type: ignore[arg-type]


def answer(
    transmitter: node_pb2.NodeLinkStatus | None, receiver: node_pb2.NodeLinkStatus | None
) -> wire.InspectResponse:
    nodes = []
    for name, link in (("alice", transmitter), ("bob", receiver)):
        if link is None:
            nodes.append(wire.NodeReport(name=name, error="deadline exceeded"))
        else:
            pools = [node_pb2.PoolStatus(peer_node="x", available_bits=512)]
            nodes.append(
                wire.NodeReport(name=name, status=node_pb2.GetNodeResponse(name=name, links=[link], pools=pools))
            )
    testbed = wire.GetTestbedResponse(
        name="metro",
        seed=42,
        clock=process_pb2.ClockConfig(scale=2),
        links=[
            wire.LinkPlace(
                link_id="alice-bob", endpoints=["alice", "bob"], quantum_channel="qc", classical_channel="cc"
            )
        ],
        processes=[
            wire.ProcessStatus(
                name="alice",
                kind=process_pb2.PROCESS_KIND_NODE,
                state=wire.PROCESS_STATE_HEALTHY,
                pid=7,
                up_s=61,
                listeners=process_pb2.Listeners(https="127.0.0.1:1"),
            ),
            wire.ProcessStatus(name="qc", kind=process_pb2.PROCESS_KIND_QUANTUM_CHANNEL, last_end="exit 4: x"),
        ],
    )
    return wire.InspectResponse(testbed=testbed, nodes=nodes)


def link(*ends: node_pb2.NodeLinkStatus | None) -> dict[str, Any]:
    values: dict[str, Any] = inspected_values(answer(*ends))["links"][0]
    return values


TRANSMITTER, RECEIVER = process_pb2.LINK_ROLE_TRANSMITTER, process_pb2.LINK_ROLE_RECEIVER


def test_figures_are_the_receivers_where_it_knows_them() -> None:
    merged = link(
        status(TRANSMITTER, clicks_hz=10, qber_prob=0.5, discarded_trains_count=3),
        status(RECEIVER, clicks_hz=12, qber_prob=0, sifted_hz=7),
    )
    assert (merged["clicks_hz"], merged["qber_prob"], merged["sifted_hz"], merged["discarded_trains_count"]) == (
        12,
        0.5,
        7,
        3,
    )
    assert merged["state"] == "OPERATING"
    assert merged["ends"]["bob"]["clicks_hz"] == 12


def test_a_link_is_in_the_worse_state_of_its_ends() -> None:
    merged = link(status(TRANSMITTER), status(RECEIVER, DOWN, reason="no-light"))
    assert (merged["state"], merged["reason"]) == ("DOWN", "no-light")


@pytest.mark.parametrize("silent", ["alice", "bob"])
def test_a_link_with_an_end_that_does_not_answer_is_not_called_operating(silent: str) -> None:
    ends = {"alice": status(TRANSMITTER), "bob": status(RECEIVER)}
    merged = link(*(None if name == silent else one for name, one in ends.items()))
    assert (merged["state"], merged["reason"]) == ("UNKNOWN", f"{silent}: deadline exceeded")


def test_processes_are_told_in_plain_words() -> None:
    processes = inspected_values(answer(None, None))["processes"]
    assert processes[0] == {
        "name": "alice",
        "kind": "node",
        "state": "HEALTHY",
        "pid": 7,
        "restart_count": 0,
        "up_s": 61,
        "last_end": "",
        "listeners": {"https": "127.0.0.1:1"},
        "disconnected": [],
    }
    _, rows = process_rows(processes)
    assert rows == [
        ("alice", "node", "HEALTHY", "7", "1 min 1 s", "0", "-"),
        ("qc", "quantum-channel", "UNSPECIFIED", "-", "-", "0", "exit 4: x"),
    ]


def test_tables_have_a_cell_for_each_column() -> None:
    values = inspected_values(answer(status(TRANSMITTER, is_idle=True), status(RECEIVER)))
    for header, rows in (link_rows(values["links"]), pool_rows(values["pools"]), process_rows(values["processes"])):
        assert rows
        assert {len(row) for row in rows} == {len(header)}
    assert link_rows(values["links"])[1][0][1] == "OPERATING (idle)"
    assert values["pools"][0]["available_bits"] == 512
    assert values["scale"] == 2
