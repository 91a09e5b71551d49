"""What `inspect` tells of the whole, and `inspect --wide` of each process."""

from typing import Any

from qnetem.cli.figures import load_text, memory_text
from qnetem.cli.monitors import loop_rows, monitor_rows
from qnetem.cli.report import summary, usage_rows
from qnetem.testbed.inspected import inspected_values
from qnetem.v1 import node_pb2, process_pb2
from qnetem.v1 import supervisor_pb2 as wire

MIB = 2**20


def values() -> dict[str, Any]:
    link = wire.LinkPlace(
        link_id="alice-bob", endpoints=["alice", "bob"], quantum_channel="qc-alice-bob", classical_channel="cc"
    )
    healthy = wire.PROCESS_STATE_HEALTHY
    processes = [
        wire.ProcessStatus(name="cc", kind=process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL, state=healthy, pid=2),
        wire.ProcessStatus(name="qc-alice-bob", kind=process_pb2.PROCESS_KIND_QUANTUM_CHANNEL, state=healthy, pid=3),
        wire.ProcessStatus(name="alice", kind=process_pb2.PROCESS_KIND_NODE, state=wire.PROCESS_STATE_FAILED),
    ]
    ends = [node_pb2.NodeLinkStatus(link_id="alice-bob", role=process_pb2.LINK_ROLE_RECEIVER, lag_s=1.25)]
    nodes = [wire.NodeReport(name="bob", status=node_pb2.GetNodeResponse(name="bob", links=ends))]

    def answer(at_s: float) -> wire.InspectResponse:
        usages = [
            wire.ProcessUsage(name="cc", pid=2, cpu_s=at_s / 2, at_s=at_s, memory_bytes=3 * MIB, thread_count=2),
            wire.ProcessUsage(name="qc-alice-bob", pid=3, cpu_s=at_s, at_s=at_s, memory_bytes=4 * MIB, thread_count=3),
            wire.ProcessUsage(name="supervisor", pid=9, cpu_s=0, at_s=at_s, memory_bytes=MIB, thread_count=1),
        ]
        testbed = wire.GetTestbedResponse(name="pair", processes=processes, links=[link])
        return wire.InspectResponse(testbed=testbed, nodes=nodes, usages=usages)

    return inspected_values(answer(12), answer(10))


def test_each_process_the_testbeds_own_and_all_together() -> None:
    header, rows = usage_rows(values())
    told = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    columns = ("CPU", "MEMORY", "THREADS", "LAG")
    assert {name: tuple(row[column] for column in columns) for name, row in told.items()} == {
        "cc": ("50 %", "3.0 MiB", "2", "-"),
        "qc-alice-bob": ("100 %", "4.0 MiB", "3", "1.25 s"),
        "alice": ("-", "-", "-", "1.25 s"),
        "supervisor": ("0 %", "1.0 MiB", "1", "-"),
        "all": ("150 %", "8.0 MiB", "6", "-"),
    }
    assert told["alice"]["STATE"] == "FAILED"


def test_loops_and_monitors_of_a_link() -> None:
    receiver = node_pb2.NodeLinkStatus(
        link_id="alice-bob",
        role=process_pb2.LINK_ROLE_RECEIVER,
        qber_now_prob=0.012,
        qber_baseline_prob=0.01,
        alignments_count=3,
        clock_offset_ps=50_000_250.0,
        clock_skew_ppb=-0.5,
        is_clock_locked=True,
        quantum_round_trip_ps=244_869_402.0,
        steps=[node_pb2.CommissioningStep(name="clock", duration_s=0.25)],
        monitors=[
            node_pb2.MonitorStatus(name="dark-counts", low=10, high=40),
            node_pb2.MonitorStatus(name="detector-blinding", value=4.0, low=0.95, high=1.05, is_alarmed=True),
        ],
    )
    transmitter = node_pb2.NodeLinkStatus(
        link_id="alice-bob", role=process_pb2.LINK_ROLE_TRANSMITTER, intensity_trim_ratio=0.98
    )
    nodes = [
        wire.NodeReport(name=name, status=node_pb2.GetNodeResponse(name=name, links=[end]))
        for name, end in (("alice", transmitter), ("bob", receiver))
    ]
    place = wire.LinkPlace(link_id="alice-bob", endpoints=["alice", "bob"])
    links = inspected_values(wire.InspectResponse(testbed=wire.GetTestbedResponse(links=[place]), nodes=nodes))["links"]
    header, rows = loop_rows(links)
    assert dict(zip(header, rows[0], strict=True)) == {
        "LINK": "alice-bob",
        "ERRORS": "1.20 %",
        "AT BEST": "1.00 %",
        "ALIGNED": "3",
        "CLOCK": "50000.250 ns",
        "SKEW": "-0.500 ppb",
        "WAY AND BACK": "244.8694 us",
        "GATE": "-",
        "TRIM": "0.980",
        "SET UP IN": "clock 0.25 s",
    }
    assert monitor_rows(links)[1] == [
        ("alice-bob", "bob", "dark-counts", "-", "-", "-", "quiet"),
        ("alice-bob", "bob", "detector-blinding", "4", "0.95", "1.05", "ALARM"),
    ]


def test_the_whole_in_one_line() -> None:
    assert summary(values()) == "3 processes: 2 HEALTHY, 1 FAILED; 1 link: 1 UNKNOWN"
    assert summary({"processes": [], "links": []}) == "0 processes; 0 links"


def test_loads_and_memory_as_people_read_them() -> None:
    assert [load_text(load) for load in (None, 0.0, 0.124, 1.4)] == ["-", "0 %", "12 %", "140 %"]
    assert [memory_text(size) for size in (0, 5 * MIB, 1023 * MIB, 1229 * MIB)] == [
        "0.0 MiB",
        "5.0 MiB",
        "1023.0 MiB",
        "1.2 GiB",
    ]
