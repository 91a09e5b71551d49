"""quantum_channel.metrics: what Prometheus is told of quantum links, read when it asks. Edge."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from qnetem.runtime.clock import PS_PER_S, Clock
from quantum_channel.nature import Nature

__all__ = ["LinkCollector"]

_LABELS = ("link_id",)
_PREFIX = "qnetem_quantum_channel"
# as in quantum_channel.proto's Drift
_DRIFTS = {
    "loss_db": "Loss on top of what the link is made of.",
    "delay_ps": "Delay of the fibre against time 0.",
    "error_z_prob": "Error in Z that the polarisation makes since it was aligned.",
    "error_x_prob": "Error in X that the polarisation makes since it was aligned.",
    "clock_offset_ps": "The receiver's clock is ahead by.",
    "intensity_ratio": "Intensity of the source against what is set.",
}


class LinkCollector(Collector):
    """Reads counters of links at scrape time, so that clicks pay nothing for them."""

    def __init__(self, links: Mapping[str, Nature], clock: Clock) -> None:
        """Report `links`, as they are now by `clock`."""
        self._links = links
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of every link."""
        pulses = CounterMetricFamily(f"{_PREFIX}_pulses", "Pulses that have passed.", labels=_LABELS)
        clicks = CounterMetricFamily(f"{_PREFIX}_clicks", "Clicks of the receiver's detectors.", labels=_LABELS)
        lag = GaugeMetricFamily(f"{_PREFIX}_lag_seconds", "Behind emulated time by, emulated time.", labels=_LABELS)
        is_up = GaugeMetricFamily(f"{_PREFIX}_is_up", "1 while anything passes.", labels=_LABELS)
        ends = GaugeMetricFamily(f"{_PREFIX}_ends", "Ends that are attached, 0 .. 2.", labels=_LABELS)
        drifts = {
            name: GaugeMetricFamily(f"{_PREFIX}_drift_{name}", text, labels=_LABELS) for name, text in _DRIFTS.items()
        }
        now_ps = self._clock.now_ps()
        for link_id, nature in self._links.items():
            labels = (link_id,)
            drift = nature.link.drift(now_ps)
            for name, gauge in drifts.items():
                gauge.add_metric(labels, getattr(drift, name))
            pulses.add_metric(labels, nature.link.pulse_count)
            clicks.add_metric(labels, nature.link.click_count)
            lag.add_metric(labels, nature.lag_ps / PS_PER_S)
            is_up.add_metric(labels, nature.link.at(now_ps).is_up)
            ends.add_metric(labels, nature.transmitter.is_taken + nature.receiver.is_taken)
        yield from (pulses, clicks, lag, is_up, ends, *drifts.values())
