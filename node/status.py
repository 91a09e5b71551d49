"""node.status: a link's and a pool's figures in the form they are told in. Pure."""

from typing import Final

from node.control.reading import Reading
from node.keys.records import Pool
from node.link_state import LinkRecord
from node.qkd.protocols import protocol_of
from qnetem.runtime.clock import PS_PER_S
from qnetem.v1 import link_session_pb2, node_pb2, process_pb2

__all__ = ["POOL_SUMS", "link_status", "pool_status", "telemetry_of"]

POOL_SUMS: Final = tuple(f.name for f in node_pb2.PoolStatus.DESCRIPTOR.fields if f.name.endswith("_bits"))
_TELEMETRY: Final = (
    "qber_prob",
    "clicks_hz",
    "sifted_hz",
    "secret_gross_hz",
    "secret_net_hz",
    "tags_bits_total",
    "blocks_made_count",
    "blocks_dropped_count",
    "secret_bits_total",
    "epsilon_total",
    "round_trip_s",
    "lag_s",
    "is_idle",
    "discarded_trains_count",
    "time_to_service_s",
    "protocol",
    "is_insecure",
)


# of node.control.figures
_LOOPS: Final = (
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


def link_status(config: process_pb2.NodeLinkConfig, record: LinkRecord) -> node_pb2.NodeLinkStatus:
    """Return what this end says of the link now."""
    now_ps = record.now_ps()
    return node_pb2.NodeLinkStatus(
        link_id=record.link_id,
        role=config.role,
        peer_node=config.peer_node,
        state=link_session_pb2.LinkState.ValueType(record.state),
        reason=record.reason,
        in_state_s=(now_ps - record.since_ps) / PS_PER_S,
        time_to_service_s=record.time_to_service_s,
        qber_prob=record.qber_prob,
        clicks_hz=record.clicks.per_s(now_ps),
        sifted_hz=record.sifted.per_s(now_ps),
        secret_gross_hz=record.secret_gross_hz(now_ps),
        secret_net_hz=record.secret_net_hz(now_ps),
        tags_bits_total=record.tags_bits_total,
        blocks_made_count=record.blocks_made_count,
        blocks_dropped_count=record.blocks_dropped_count,
        secret_bits_total=record.secret_bits_total,
        epsilon_total=record.epsilon_total,
        round_trip_s=record.round_trip_s,
        lag_s=record.lag_s,
        is_idle=record.is_idle,
        discarded_trains_count=record.discarded_trains_count,
        protocol=config.protocol.protocol,
        is_insecure=not (config.HasField("external_kme") or protocol_of(config).is_secure),
        monitors=[_monitor_status(reading) for reading in record.loops.readings],
        steps=[node_pb2.CommissioningStep(name=name, duration_s=s) for name, s in record.loops.steps_s.items()],
        **{name: getattr(record.loops, name) for name in _LOOPS},
    )


def _monitor_status(reading: Reading) -> node_pb2.MonitorStatus:
    return node_pb2.MonitorStatus(
        name=reading.name, value=reading.value, low=reading.low, high=reading.high, is_alarmed=reading.is_alarmed
    )


def pool_status(pool: Pool) -> node_pb2.PoolStatus:
    """Return the sums of a pool."""
    return node_pb2.PoolStatus(peer_node=pool.peer_node, **{name: getattr(pool, name) for name in POOL_SUMS})


def telemetry_of(status: node_pb2.NodeLinkStatus) -> dict[str, str | int | float | bool | None]:
    """Return the figures of a link for MQTT, by the names they have everywhere."""
    named: dict[str, str | int | float | bool | None] = {name: getattr(status, name) for name in (*_TELEMETRY, *_LOOPS)}
    state = link_session_pb2.LinkState.Name(status.state).removeprefix("LINK_STATE_")
    alarms = " ".join(monitor.name for monitor in status.monitors if monitor.is_alarmed)
    return {"state": state, "reason": status.reason, **named, "alarms": alarms}
