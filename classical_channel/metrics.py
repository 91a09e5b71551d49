"""classical_channel.metrics: what Prometheus is told of classical links, read when it asks. Edge."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from classical_channel.link import Link
from qnetem.runtime.clock import PS_PER_S

__all__ = ["LinkCollector"]

_LABELS = ("link_id",)


class LinkCollector(Collector):
    """Reads counters of links at scrape time, so that traffic pays nothing for them."""

    def __init__(self, links: Mapping[str, Link]) -> None:
        """Report `links`."""
        self._links = links

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of every link."""
        prefix = "qnetem_classical"
        forwarded = CounterMetricFamily(f"{prefix}_forwarded_bytes", "Bytes passed on.", labels=_LABELS)
        opened = CounterMetricFamily(f"{prefix}_connections_opened", "Connections let in.", labels=_LABELS)
        refused = CounterMetricFamily(f"{prefix}_connections_refused", "Connections refused.", labels=_LABELS)
        current = GaugeMetricFamily(f"{prefix}_connections", "Connections open now.", labels=_LABELS)
        is_up = GaugeMetricFamily(f"{prefix}_is_up", "1 while anything passes.", labels=_LABELS)
        delay = GaugeMetricFamily(f"{prefix}_delay_seconds", "Delay forth asked for, emulated time.", labels=_LABELS)
        unslept = GaugeMetricFamily(
            f"{prefix}_unslept_delay_seconds", "Part that is told, not made, emulated time.", labels=_LABELS
        )
        achieved = GaugeMetricFamily(
            f"{prefix}_achieved_delay_seconds", "Mean delay really added forth, wall time.", labels=_LABELS
        )
        lost = CounterMetricFamily(f"{prefix}_lost_chunks", "Chunks of bytes that were sent again.", labels=_LABELS)
        for link_id, link in self._links.items():
            labels = (link_id,)
            forwarded.add_metric(labels, link.forwarded_bytes)
            lost.add_metric(labels, sum(way.lost_count for way in link.ways))
            opened.add_metric(labels, link.opened_count)
            refused.add_metric(labels, link.refused_count)
            current.add_metric(labels, link.connection_count)
            is_up.add_metric(labels, link.conditions.is_up)
            delay.add_metric(labels, link.conditions.effective.delay_ps / PS_PER_S)
            unslept.add_metric(labels, link.conditions.unslept_delay_ps / PS_PER_S)
            achieved.add_metric(labels, link.forth.achieved_delay_s)
        yield from (forwarded, lost, opened, refused, current, is_up, delay, unslept, achieved)
