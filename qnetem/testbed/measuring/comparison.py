"""qnetem.testbed.measuring.comparison: what was counted, beside what was to be expected, with intervals. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnetem.runtime.intervals import wilson_interval
from qnetem.testbed.measuring.expected import Expected
from qnetem.testbed.measuring.tally import GAP_BINS, Tally

__all__ = ["LIMIT_SIGMAS", "Row", "compared"]

# with a score of rows per link this far off by chance is one in 10^5 checks
LIMIT_SIGMAS: Final = 5.0
# of two clicks that jitter brings into one slot the first counts: a mean of arrivals tells nothing then
_MOST_ESCAPED: Final = 1e-3
_95: Final = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity.

    Attributes:
        quantity: Its name.
        unit: "" for a probability.
        configured: What it is to be.
        measured: What was counted.
        low, high: 95 % interval of the measurement.
        sigmas: How far they are apart, in standard deviations expected by chance.
    """

    quantity: str
    unit: str
    configured: float
    measured: float
    low: float
    high: float
    sigmas: float

    @property
    def agrees(self) -> bool:
        """Whether chance can explain the difference."""
        return bool(abs(self.sigmas) <= LIMIT_SIGMAS)


def _share(quantity: str, configured: float, hits: float, trials: float) -> Row:
    """Return the row of a probability: `hits` of `trials`."""
    measured = hits / trials
    spread = math.sqrt(max(configured * (1.0 - configured), 1.0 / trials) / trials)
    low, high = wilson_interval(round(hits), max(round(hits), round(trials)))
    return Row(quantity, "", configured, measured, low, high, (measured - configured) / spread)


def _scaled(row: Row, factor: float, unit: str, quantity: str) -> Row:
    return Row(
        quantity, unit, factor * row.configured, factor * row.measured, factor * row.low, factor * row.high, row.sigmas
    )


def _correlated(row: Row, growth: float) -> Row:
    """Return the row of a share whose trials come in groups: its spread is `growth` times as large."""
    half = growth * (row.high - row.low) / 2.0
    return Row(
        row.quantity,
        row.unit,
        row.configured,
        row.measured,
        max(0.0, row.measured - half),
        row.measured + half,
        row.sigmas / growth,
    )


def compared(tally: Tally, wanted: Expected, intensity_probs: list[float], clock_hz: float) -> Iterator[Row]:
    """Yield a row for each quantity that the counts tell something of.

    Args:
        tally: At least one click.
        wanted: What is expected.
        intensity_probs: How often each intensity is sent.
        clock_hz: Pulses per second.
    """
    clicks, pulses = tally.click_count, tally.pulse_count
    registered = clicks + tally.across_count
    # each click blanks so many slots behind it: a pulse there could not click
    live = pulses - wanted.dead_slots * registered
    # an afterpulse comes with its click: counts spread a little more than by themselves
    growth = math.sqrt(1.0 + 3.0 * wanted.afterpulse_prob)
    rate = _share("", wanted.registered_prob, registered, pulses)
    # dead time makes clicks more regular than chance
    regular = 1.0 / (
        1.0 + wanted.dead_slots * wanted.registered_prob / max(1e-12, 1.0 - wanted.dead_slots * wanted.registered_prob)
    )
    yield _correlated(_scaled(rate, clock_hz, "Hz", "clicks"), growth * max(regular, 1e-3))
    for k, prob in enumerate(intensity_probs):
        yield _correlated(
            _share(f"gain, intensity {k + 1}", wanted.gains[k], int(tally.clicks[k].sum()), live * prob), growth
        )
    for basis, name in enumerate("ZX"):
        matched = int(tally.clicks[:, basis, basis].sum())
        if matched:
            wrong = int(tally.errors[:, basis, basis].sum()) / 2.0
            yield _share(f"errors in {name}", wanted.error_probs[basis], wrong, matched)
    yield _share("double clicks", wanted.double_share, tally.double_count, clicks)
    if tally.across_count or wanted.across_share:
        yield _share("clicks across bases", wanted.across_share, tally.across_count, clicks)
    yield _share("transmitter in Z", wanted.transmitter_z_share, int(tally.clicks[:, 0].sum()), clicks)
    yield _share("receiver in Z", wanted.receiver_z_share, int(tally.clicks[:, :, 0].sum()), clicks)
    yield from _timing(tally, wanted, clock_hz)


def _timing(tally: Tally, wanted: Expected, clock_hz: float) -> Iterator[Row]:
    period_ps = 1e12 / clock_hz
    count = tally.click_count
    mean, variance, fourth = tally.arrival_moments()
    if wanted.sigma_ps > 0.0 and variance > 0.0:
        yield from _arrivals(wanted, count, period_ps, (mean, variance, fourth))
    seen = np.flatnonzero(tally.gaps[: GAP_BINS - 1])
    if len(seen) and wanted.dead_slots:
        shortest_ps, configured_ps = float(seen[0]) * period_ps, (wanted.dead_slots + 1) * period_ps
        # sooner is impossible; so many slots later is possible by chance
        chance = tally.gaps.sum() * wanted.registered_prob
        late = (shortest_ps - configured_ps) / period_ps
        sigmas = -math.inf if late < 0 else late * chance / 4.0
        yield Row("shortest gap", "ps", configured_ps, shortest_ps, shortest_ps, shortest_ps, sigmas)
    if wanted.afterpulse_prob > 0.0:
        yield from _afterpulses(tally, wanted)


def _arrivals(wanted: Expected, count: int, period_ps: float, moments: tuple[float, float, float]) -> Iterator[Row]:
    mean, variance, fourth = moments
    deviation = math.sqrt(variance)
    spread = math.sqrt(max(fourth - variance**2, 0.0) / count) / (2.0 * deviation)
    # what is no light of the signal comes at any time in the slot; whole picoseconds add a twelfth
    by_light, at_any_time = wanted.sigma_ps**2, period_ps**2 / 12.0
    configured = math.sqrt(by_light + wanted.uniform_share * (at_any_time - by_light) + 1.0 / 12.0)
    yield Row(
        "arrival, deviation",
        "ps",
        configured,
        deviation,
        deviation - _95 * spread,
        deviation + _95 * spread,
        (deviation - configured) / max(spread, 1e-9),
    )
    spread = deviation / math.sqrt(count)
    if wanted.escaped_share > _MOST_ESCAPED:
        return
    centre = (1.0 - wanted.uniform_share) * wanted.mean_ps
    off = (mean - centre) / spread
    yield Row("arrival, mean", "ps", centre, mean, mean - _95 * spread, mean + _95 * spread, off)


def _afterpulses(tally: Tally, wanted: Expected) -> Iterator[Row]:
    """Yield how often a click begets another: more gaps end soon after the dead time than light alone makes."""
    first = wanted.dead_slots + 1
    window = max(1, math.ceil(6.0 * wanted.afterpulse_tau_slots))
    if first + window >= GAP_BINS - 1:
        return
    total = int(tally.gaps.sum())
    soon = int(tally.gaps[first : first + window].sum())
    # the chance of a click by light in so many live slots, from the gaps behind the window
    later = int(tally.gaps[first + window :].sum())
    by_light = (
        wanted.registered_prob / (1.0 - wanted.dead_slots * wanted.registered_prob) / (1.0 + wanted.afterpulse_prob)
    )
    alone = -math.expm1(window * math.log1p(-by_light))
    # of the parents alone: an afterpulse begets none
    parents = total / (1.0 + wanted.afterpulse_prob)
    caught = -math.expm1(-window / max(wanted.afterpulse_tau_slots, 1e-9))
    share = (soon - total * alone) / parents / caught / (1.0 - alone)
    spread = math.sqrt(max(soon, 1)) / parents / caught / (1.0 - alone)
    if later:
        yield Row(
            "afterpulses",
            "",
            wanted.afterpulse_prob,
            share,
            share - _95 * spread,
            share + _95 * spread,
            (share - wanted.afterpulse_prob) / spread,
        )
