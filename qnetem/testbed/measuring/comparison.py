"""qnetem.testbed.measuring.comparison: what was counted, beside what was to be expected, with intervals. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnetem.runtime.intervals import wilson_interval
from qnetem.testbed.measuring.expected import Expected, ExpectedPairs
from qnetem.testbed.measuring.tally import GAP_BINS, Dark, Tally

__all__ = ["LIMIT_SIGMAS", "Row", "compared"]

# with a score of rows per link this far off by chance is one in 10^5 checks
LIMIT_SIGMAS: Final = 5.0
# of two clicks that jitter brings into one slot the first counts: a mean of arrivals tells nothing then
_MOST_ESCAPED: Final = 1e-3
# where light comes this soon anyhow, afterpulses do not show
_MOST_ALONE: Final = 0.9
# slots
_SOONEST: Final = 1e-2
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


def compared(
    tally: Tally, wanted: Expected, intensity_probs: list[float], clock_hz: float, dark: Dark | None = None
) -> Iterator[Row]:
    """Yield a row for each quantity that the counts tell something of.

    Args:
        tally: At least one click.
        wanted: What is expected.
        intensity_probs: How often each intensity is sent.
        clock_hz: Pulses per second.
        dark: Of the same link, its source off.
    """
    clicks, pulses = tally.click_count, tally.pulse_count
    registered = clicks + tally.across_count
    # each click blanks so many slots behind it: a pulse there could not click
    live = pulses - wanted.dead_slots * registered
    # an afterpulse comes with its click: counts spread a little more than by themselves
    growth = math.sqrt(1.0 + 3.0 * wanted.afterpulse_prob)
    # dead time makes clicks more regular than chance
    regular = growth * max(1e-3, 1.0 - wanted.dead_slots * wanted.registered_prob)
    yield _rate("clicks", wanted.registered_prob, registered, pulses, clock_hz, regular)
    if wanted.pairs is not None:
        yield from _of_pairs(tally, wanted, wanted.pairs, clock_hz, regular)
    else:
        for k, prob in enumerate(intensity_probs):
            yield _correlated(
                _share(f"gain, intensity {k + 1}", wanted.gains[k], int(tally.clicks[k].sum()), live * prob), growth
            )
    for basis, name in enumerate("ZX"):
        counts, errors = tally.clicks[:, basis, basis].sum(), tally.errors[:, basis, basis].sum()
        if wanted.pairs is not None:
            counts, errors = tally.coincidences[basis, basis], tally.coincidence_errors[basis, basis]
        if counts:
            yield _share(f"errors in {name}", wanted.error_probs[basis], int(errors) / 2.0, int(counts))
    yield _share("double clicks", wanted.double_share, tally.double_count, clicks)
    if tally.across_count or wanted.across_share:
        yield _share("clicks across bases", wanted.across_share, tally.across_count, clicks)
    yield _share("transmitter in Z", wanted.transmitter_z_share, int(tally.clicks[:, 0].sum()), clicks)
    yield _share("receiver in Z", wanted.receiver_z_share, int(tally.clicks[:, :, 0].sum()), clicks)
    if dark is not None:
        yield from _darks(dark, wanted, clock_hz, growth)
    yield from _timing(tally, wanted, clock_hz)


def _rate(quantity: str, prob: float, count: int, pulses: int, clock_hz: float, growth: float) -> Row:
    """Return the row of so many clicks a second."""
    return _correlated(_scaled(_share("", prob, count, pulses), clock_hz, "Hz", quantity), growth)


def _of_pairs(tally: Tally, wanted: Expected, pairs: ExpectedPairs, clock_hz: float, regular: float) -> Iterator[Row]:
    """Yield what both ends show of pairs, and each of them by itself."""
    own, own_pulses = tally.transmitter_click_count, tally.transmitter_pulse_count
    yield _rate("clicks, transmitter", pairs.transmitter_prob, own, own_pulses, clock_hz, 1.0)
    in_basis = wanted.registered_prob / (1.0 + wanted.across_share)
    for basis, name in enumerate("ZX"):
        z_shares = wanted.transmitter_z_share, wanted.receiver_z_share
        kept = math.prod(share if basis == 0 else 1.0 - share for share in z_shares) * pairs.heralded_shares[basis]
        count = int(tally.coincidences[basis, basis])
        # what is chosen of clicks by chance spreads by that, the rest as clicks do
        growth = math.sqrt(1.0 - kept + kept * regular**2)
        if kept or count:
            yield _rate(f"coincidences in {name}", in_basis * kept, count, tally.pulse_count, clock_hz, growth)
    matched = tally.clicks.sum(axis=0).diagonal()
    count, beside = int(matched.sum()), int(tally.coincidences.diagonal().sum())
    if own and beside:
        # of a click, how much likelier one at the other end is beside it than anywhere
        by_chance = own / own_pulses
        measured = beside / count / by_chance
        heralded = float(np.dot(matched, pairs.heralded_shares)) / count
        spread = measured * math.sqrt((1.0 - beside / count) / beside + (1.0 - by_chance) / own)
        configured = heralded / pairs.transmitter_prob
        low, high = measured - _95 * spread, measured + _95 * spread
        off = (measured - configured) / max(spread, 1e-300)
        yield Row("coincidence to accidental", "", configured, measured, low, high, off)
    if own:
        doubles = tally.transmitter_double_count
        yield _share("double clicks, transmitter", pairs.transmitter_double_share, doubles, own)


def _darks(dark: Dark, wanted: Expected, clock_hz: float, growth: float) -> Iterator[Row]:
    """Yield how often detectors click with the source off."""
    if dark.click_count or wanted.dark_prob:
        yield _rate("darks", wanted.dark_prob, dark.click_count, dark.pulse_count, clock_hz, growth)
    if wanted.pairs is not None and (dark.transmitter_click_count or wanted.pairs.transmitter_dark_prob):
        prob, pulses = wanted.pairs.transmitter_dark_prob, dark.transmitter_pulse_count
        yield _rate("darks, transmitter", prob, dark.transmitter_click_count, pulses, clock_hz, 1.0)


def _timing(tally: Tally, wanted: Expected, clock_hz: float) -> Iterator[Row]:
    period_ps = 1e12 / clock_hz
    count = tally.click_count
    mean, variance, fourth = tally.arrival_moments()
    if wanted.sigma_ps > 0.0 and variance > 0.0:
        yield from _arrivals(wanted, count, (mean, variance, fourth))
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


def _arrivals(wanted: Expected, count: int, moments: tuple[float, float, float]) -> Iterator[Row]:
    mean, variance, fourth = moments
    deviation = math.sqrt(variance)
    spread = math.sqrt(max(fourth - variance**2, 0.0) / count) / (2.0 * deviation)
    # what is no light of the signal comes at any time in the slot; whole picoseconds add a twelfth
    by_light, at_any_time = wanted.sigma_ps**2, wanted.open_ps**2 / 12.0
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
    if wanted.afterpulse_share:
        # they decay within a slot too
        tau = wanted.afterpulse_tau_slots
        early = tau - 1.0 / math.expm1(1.0 / tau) - 0.5 if tau > _SOONEST else -0.5
        centre += wanted.afterpulse_share * early * wanted.open_ps
    off = (mean - centre) / spread
    yield Row("arrival, mean", "ps", centre, mean, mean - _95 * spread, mean + _95 * spread, off)


def _afterpulses(tally: Tally, wanted: Expected) -> Iterator[Row]:
    """Yield how often a click begets another: more gaps end soon after the dead time than light alone makes."""
    first = wanted.dead_slots + 1
    window = max(1, math.ceil(6.0 * wanted.afterpulse_tau_slots))
    # later ones come behind clicks that did not beget them
    if first + window >= GAP_BINS - 1 or window > wanted.dead_slots:
        return
    total = int(tally.gaps.sum())
    soon = int(tally.gaps[first : first + window].sum())
    # the chance of a click by light in so many live slots, from the gaps behind the window
    later = int(tally.gaps[first + window :].sum())
    alone = -math.expm1(window * math.log1p(-wanted.direct_prob))
    if alone > _MOST_ALONE:
        return
    # of the parents alone: an afterpulse begets none
    parents = total * (1.0 - wanted.afterpulse_share)
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
