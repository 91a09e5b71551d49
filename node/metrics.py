"""node.metrics: a node's figures for Prometheus, read when they are asked for. Edge."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.status import POOL_SUMS
from qnetem.v1 import node_pb2

__all__ = ["NodeCollector"]

_GAUGES: Final = {
    "state": "State of the link: 1 commissioning, 2 operating, 3 degraded, 4 down.",
    "qber_prob": "Error rate in Z of the last key block.",
    "clicks_hz": "Clicks per emulated second.",
    "sifted_hz": "Sifted Z bits per emulated second.",
    "secret_gross_hz": "Secret bits per emulated second at the yield of the last block, before tags are paid for.",
    "secret_net_hz": "Secret bits per emulated second less what tags cost; below 0 tags cost more key than is made.",
    "time_to_service_s": "Emulated seconds of the last commissioning.",
    "round_trip_s": "Round trip to the peer, wall seconds.",
    "is_insecure": "1 when what the link makes is no key: its protocol is for study.",
    "qber_baseline_prob": "Error rate in X that an alignment of the polarisation leaves.",
    "qber_now_prob": "Error rate in X lately.",
    "clock_offset_ps": "By how much the receiver's clock is believed to be ahead, picoseconds.",
    "clock_skew_ppb": "By how much it is believed to run faster.",
    "is_clock_locked": "1 while arrivals bear that out.",
    "quantum_round_trip_ps": "Round trip of the quantum link by time transfer, picoseconds.",
    "gate_offset_ps": "Where the receiver's gates were put, picoseconds.",
    "intensity_trim_ratio": "Trim of the transmitter's intensities; 0 at the other end.",
    "lag_s": "How far the quantum channel is behind emulated time, seconds.",
}
_COUNTERS: Final = {
    "blocks_made": "blocks_made_count",
    "blocks_dropped": "blocks_dropped_count",
    "secret_bits": "secret_bits_total",
    "tags_bits": "tags_bits_total",
    "discarded_trains": "discarded_trains_count",
    "alignments": "alignments_count",
}


class NodeCollector(Collector):
    """Turns the node's own report into metrics: the same words, nothing counted twice."""

    def __init__(
        self,
        links: Callable[[], Sequence[node_pb2.NodeLinkStatus]],
        pools: Callable[[], Sequence[node_pb2.PoolStatus]],
    ) -> None:
        """Read the report through `links` and `pools`."""
        self._links = links
        self._pools = pools

    def collect(self) -> Iterable[Metric]:
        """Return the metrics as they are now."""
        links = self._links()
        for name, meaning in _GAUGES.items():
            gauge = GaugeMetricFamily(f"qnetem_link_{name}", meaning, labels=["link_id"])
            for link in links:
                gauge.add_metric([link.link_id], getattr(link, name))
            yield gauge
        for name, field in _COUNTERS.items():
            counter = CounterMetricFamily(f"qnetem_link_{name}", f"{field} of the link.", labels=["link_id"])
            for link in links:
                counter.add_metric([link.link_id], getattr(link, field))
            yield counter
        yield from self._monitors(links)
        pools = self._pools()
        for name in POOL_SUMS:
            gauge = GaugeMetricFamily(f"qnetem_pool_{name}", "Bits shared with a peer.", labels=["peer_node"])
            for pool in pools:
                gauge.add_metric([pool.peer_node], getattr(pool, name))
            yield gauge

    @staticmethod
    def _monitors(links: Sequence[node_pb2.NodeLinkStatus]) -> Iterable[Metric]:
        labels = ["link_id", "monitor"]
        values = GaugeMetricFamily("qnetem_link_monitor_value", "What a monitor of the link measures.", labels=labels)
        alarms = GaugeMetricFamily("qnetem_link_monitor_alarm", "1 while it sees what is not honest.", labels=labels)
        for link in links:
            for monitor in link.monitors:
                if monitor.HasField("value"):
                    values.add_metric([link.link_id, monitor.name], monitor.value)
                alarms.add_metric([link.link_id, monitor.name], monitor.is_alarmed)
        yield values
        yield alarms
