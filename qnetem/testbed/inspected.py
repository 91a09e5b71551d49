"""qnetem.testbed.inspected: a testbed as JSON values, from what the supervisor and the nodes say. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf.message import Message

from qnetem.testbed.planes import plane_names
from qnetem.v1 import link_session_pb2, node_pb2, process_pb2, supervisor_pb2

__all__ = ["UNKNOWN", "inspected_values", "process_values"]

UNKNOWN: Final = "UNKNOWN"
# the first that an end is in is the link's
_WORST_FIRST: Final = (UNKNOWN, "DOWN", "COMMISSIONING", "DEGRADED", "OPERATING")
# what an end that does not know leaves at 0
_FIGURES: Final = (
    "in_state_s",
    "time_to_service_s",
    "qber_prob",
    "clicks_hz",
    "sifted_hz",
    "secret_gross_hz",
    "secret_net_hz",
    "blocks_made_count",
    "blocks_dropped_count",
    "secret_bits_total",
    "epsilon_total",
    "round_trip_s",
    "lag_s",
    "is_idle",
    "discarded_trains_count",
    "protocol",
    "is_insecure",
    "qber_baseline_prob",
    "qber_now_prob",
    "alignments_count",
    "clock_offset_ps",
    "clock_skew_ppb",
    "is_clock_locked",
    "quantum_round_trip_ps",
    "gate_offset_ps",
    "intensity_trim_ratio",
)


def _word(enum: Any, value: int, prefix: str) -> str:
    return str(enum.Name(value)).removeprefix(prefix)


def process_values(process: supervisor_pb2.ProcessStatus) -> dict[str, Any]:
    """Return a process as JSON values."""
    return {
        "name": process.name,
        "kind": _word(process_pb2.ProcessKind, process.kind, "PROCESS_KIND_").lower().replace("_", "-"),
        "state": _word(supervisor_pb2.ProcessState, process.state, "PROCESS_STATE_"),
        "pid": process.pid,
        "restart_count": process.restart_count,
        "up_s": process.up_s,
        "last_end": process.last_end,
        "listeners": {field.name: value for field, value in process.listeners.ListFields()},
        "disconnected": list(plane_names(process.disconnected)),
    }


def _scalars(message: Message, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(message, name) for name in names}


def _end_values(status: node_pb2.NodeLinkStatus | None, error: str) -> dict[str, Any]:
    if status is None:
        return {"state": UNKNOWN, "reason": error}
    return {
        "state": _word(link_session_pb2.LinkState, status.state, "LINK_STATE_"),
        "reason": status.reason,
        "role": _word(process_pb2.LinkRole, status.role, "LINK_ROLE_").lower(),
        **_scalars(status, _FIGURES),
        "steps_s": {step.name: step.duration_s for step in status.steps},
        "monitors": [
            {
                "value": monitor.value if monitor.HasField("value") else None,
                **_scalars(monitor, ("name", "low", "high", "is_alarmed")),
            }
            for monitor in status.monitors
        ],
    }


def _link_values(place: supervisor_pb2.LinkPlace, reports: dict[str, supervisor_pb2.NodeReport]) -> dict[str, Any]:
    ends: dict[str, dict[str, Any]] = {}
    for node in place.endpoints:
        report = reports.get(node)
        found = next((one for one in report.status.links if one.link_id == place.link_id), None) if report else None
        error = report.error if report and report.error else "no answer"
        ends[node] = _end_values(found, f"{node}: {error}")
    # the receiver measures; the transmitter knows what the receiver leaves open
    known = sorted((end for end in ends.values() if "role" in end), key=lambda end: end["role"] != "receiver")
    figures = {name: next((end[name] for end in known if end[name]), 0) for name in _FIGURES}
    state = min((end["state"] for end in ends.values()), key=_rank, default=UNKNOWN)
    return {
        "link_id": place.link_id,
        "endpoints": list(place.endpoints),
        "state": state,
        "reason": next((end["reason"] for end in ends.values() if end["state"] == state and end["reason"]), ""),
        **figures,
        "is_idle": bool(figures["is_idle"]),
        "protocol": figures["protocol"] or "",
        "is_insecure": bool(figures["is_insecure"]),
        "is_clock_locked": bool(figures["is_clock_locked"]),
        "steps_s": next((end["steps_s"] for end in known if end["steps_s"]), {}),
        "quantum_channel": place.quantum_channel,
        "classical_channel": place.classical_channel,
        "ends": ends,
    }


def _rank(state: str) -> int:
    return _WORST_FIRST.index(state) if state in _WORST_FIRST else 0


def _with_usage(
    values: dict[str, Any],
    now: Mapping[str, supervisor_pb2.ProcessUsage],
    before: Mapping[str, supervisor_pb2.ProcessUsage],
) -> dict[str, Any]:
    """Return a process with what it uses; the load is of the time since `before`, None where that is not known."""
    usage, earlier = now.get(values["name"]), before.get(values["name"])
    if usage is None:
        return {**values, "usage": None}
    load: float | None = None
    if earlier is not None and earlier.pid == usage.pid and usage.at_s > earlier.at_s:
        # less than before: something that it had started has ended
        load = max(0.0, usage.cpu_s - earlier.cpu_s) / (usage.at_s - earlier.at_s)
    return {**values, "usage": {"cpu_load": load, **_scalars(usage, ("cpu_s", "memory_bytes", "thread_count"))}}


def _wide(
    values: dict[str, Any], response: supervisor_pb2.InspectResponse, earlier: supervisor_pb2.InspectResponse | None
) -> dict[str, Any]:
    """Return a testbed with what its processes use and how far each is behind emulated time."""
    now = {usage.name: usage for usage in response.usages}
    before = {usage.name: usage for usage in earlier.usages} if earlier is not None else {}
    lag_s: dict[str, float] = {}
    for link in values["links"]:
        for name in (*link["endpoints"], *filter(None, [link["quantum_channel"]])):
            lag_s[name] = max(lag_s.get(name, 0.0), link["lag_s"])
    processes = [
        {**_with_usage(process, now, before), "lag_s": lag_s.get(process["name"])} for process in values["processes"]
    ]
    own = [
        _with_usage({"name": name, "pid": now[name].pid}, now, before)
        for name in ("supervisor", "zygote")
        if name in now
    ]
    return {**values, "processes": processes, "own_processes": own}


def inspected_values(
    response: supervisor_pb2.InspectResponse, earlier: supervisor_pb2.InspectResponse | None = None
) -> dict[str, Any]:
    """Return a testbed, its processes, links and pools as JSON values.

    A response with usages gives each process `usage` (`cpu_load` in cores since the `earlier` response, `cpu_s`,
    `memory_bytes` as proportional set size, `thread_count`; None for one that does not run) and `lag_s` (emulated
    seconds that the worst of its quantum links is behind; None for one without).
    """
    values = _plain_values(response)
    return _wide(values, response, earlier) if response.usages else values


def _plain_values(response: supervisor_pb2.InspectResponse) -> dict[str, Any]:
    testbed = response.testbed
    reports = {report.name: report for report in response.nodes}
    pool_fields = [field.name for field in node_pb2.PoolStatus.DESCRIPTOR.fields]
    return {
        **_scalars(
            testbed,
            (
                "name",
                "version",
                "seed",
                "is_reproducible",
                "is_held",
                "healthy_after_s",
                "supervisor_pid",
                "topology_path",
                "topology_digest",
                "state_dir",
            ),
        ),
        "scale": testbed.clock.scale,
        "processes": [process_values(process) for process in testbed.processes],
        "links": [_link_values(place, reports) for place in testbed.links],
        "pools": [
            {"node": report.name, **_scalars(pool, pool_fields)}
            for report in response.nodes
            for pool in report.status.pools
        ],
    }
