"""qnetem.testbed.measuring.expected: what a link does if it is as it says, from the formulas of the field. Pure.

Written apart from the channel's own tables on purpose: what the channel draws from is not what it is checked against.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from qnetem.testbed.measuring.coherent import across_prob, table
from qnetem.testbed.measuring.entangled import Pairs, pairs
from qnetem.testbed.measuring.reaching import Reach, levels, reach
from qnetem.v1 import parameters_pb2, quantum_channel_pb2

__all__ = ["Expected", "ExpectedPairs", "expected"]

F64 = npt.NDArray[np.float64]

_LONGEST: Final = 200_000


@dataclass(frozen=True, slots=True)
class ExpectedPairs:
    """What a link of entangled pairs does besides.

    Attributes:
        transmitter_prob: The transmitter's own detectors click, whatever the receiver's do.
        transmitter_double_share: Both of them, of these clicks.
        transmitter_dark_prob: They click with the source off.
        heralded_shares: Of the receiver's clicks while both ends measure in Z (X), those beside one at the transmitter.
    """

    transmitter_prob: float
    transmitter_double_share: float
    transmitter_dark_prob: float
    heralded_shares: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Expected:
    """What is to be seen.

    Attributes:
        gains: Probability of a click in a live slot, by intensity; none with a source of pairs.
        error_probs: Of matched bits in Z and X; with a source of pairs, of coincidences.
        double_share: Clicks of both detectors of a basis, of all clicks.
        receiver_z_share, transmitter_z_share: Clicks in Z, of all clicks.
        escaped_share: Light that jitter carries out of its slot.
        across_share: Clicks in both bases of a passive receiver, of those in one.
        uniform_share: Darks, noise and afterpulses, of all clicks.
        registered_prob: Clicks per pulse, those across bases too.
        dark_prob: The same with the source off.
        mean_ps, sigma_ps: Mean and standard deviation of the arrivals of light in their slots.
        open_ps: Detectors are open for so long in each.
        dead_slots: Slots blanked after a click.
        direct_prob: Clicks of a live slot by light and darks.
        afterpulse_prob: A click begets another.
        afterpulse_share: Of all clicks.
        afterpulse_tau_slots: Mean delay.
        pairs: Of a source of pairs.
    """

    gains: tuple[float, ...]
    error_probs: tuple[float, float]
    double_share: float
    receiver_z_share: float
    transmitter_z_share: float
    escaped_share: float
    across_share: float
    uniform_share: float
    registered_prob: float
    dark_prob: float
    mean_ps: float
    sigma_ps: float
    open_ps: float
    dead_slots: int
    direct_prob: float
    afterpulse_prob: float
    afterpulse_share: float
    afterpulse_tau_slots: float
    pairs: ExpectedPairs | None = None


@dataclass(frozen=True, slots=True)
class _Clicks:
    """Of a live slot, by light and darks.

    Attributes:
        gains: By intensity.
        table: By bases and (right, wrong, both); with pairs all that is not both is right. Shape (2, 2, 3).
        across: In both bases of a passive receiver.
        pairs: Of a source of pairs.
    """

    gains: tuple[float, ...]
    table: F64
    across: float
    pairs: Pairs | None = None


def expected(state: quantum_channel_pb2.QuantumLinkState) -> Expected:
    """Return what a BB84 link of weak coherent pulses or a BBM92 link of pairs does; nobody eavesdrops on it.

    Args:
        state: Its effective parameters, and what has become of it on top of these.

    Source: dead time p/(1 + k p); each click begets an afterpulse, of a random detector, into whatever slot comes,
    where it counts if nothing else has blanked that. It has the slot for itself, so that of live slots it leaves
    1/(1 + p a) to light.
    """
    p, light = state.effective, reach(state)
    clicks = _entangled(p, light) if p.pair_brightness > 0.0 else _coherent(p, light)
    gain = float(clicks.table.sum())
    direct = gain + clicks.across
    tau_slots = p.afterpulse_tau_ps / light.period_ps
    born = p.afterpulse_prob * _counted_share(direct, light.dead_slots, tau_slots) if p.afterpulse_prob else 0.0
    after, left = born * direct, 1.0 / (1.0 + born * direct)
    live = direct + after
    # detectors of a passive receiver are as likely in Z as in X; an active one is in either as at any time
    after_z = after * (0.5 if p.is_passive else p.receiver_p_z)
    noise = _noise_prob(p, light)
    dark = noise * (1.0 + p.afterpulse_prob)
    escaped = light.escaped_share
    in_basis = clicks.table.sum(axis=2)
    matched = [_matched_errors(p, clicks.table, basis, escaped, (after_z, after - after_z)) for basis in (0, 1)]
    found = None
    if clicks.pairs is not None:
        found, matched = _coincidences(clicks.pairs, escaped, (after_z, after - after_z))
    return Expected(
        gains=tuple(left * (one * (1.0 - escaped) + escaped * gain + after) for one in clicks.gains),
        error_probs=(matched[0], matched[1]),
        double_share=_ratio(float(clicks.table[..., 2].sum()), gain + after),
        receiver_z_share=_ratio(float(in_basis[:, 0].sum()) + after_z, gain + after),
        transmitter_z_share=_ratio(float(in_basis[0].sum()) + after * p.transmitter_p_z, gain + after),
        escaped_share=escaped,
        across_share=_ratio(clicks.across, gain + after),
        uniform_share=_ratio(noise * _ratio(1.0 - direct, 1.0 - noise) + after, live),
        registered_prob=left * live / (1.0 + light.dead_slots * left * live),
        dark_prob=dark / (1.0 + light.dead_slots * dark),
        mean_ps=light.mean_ps,
        sigma_ps=light.sigma_ps,
        open_ps=light.open_ps,
        dead_slots=light.dead_slots,
        direct_prob=direct,
        afterpulse_prob=p.afterpulse_prob,
        afterpulse_share=_ratio(after, live),
        afterpulse_tau_slots=tau_slots,
        pairs=found,
    )


def _counted_share(direct: float, dead_slots: int, tau_slots: float) -> float:
    """Return the share of afterpulses that find their slot live, by the renewal of clicks behind that of theirs."""
    # as long as anything of an afterpulse is left, or of what the first click has done to those behind it
    count = min(_LONGEST, math.ceil(12.0 * tau_slots) + 1)
    live = np.ones(count)
    blanked = 0.0
    for slot in range(count):
        live[slot] = 1.0 - blanked
        blanked += direct * (live[slot] - (live[slot - dead_slots] if slot >= dead_slots else 0.0))
    if tau_slots == 0.0:
        return 1.0
    stays = math.exp(-1.0 / tau_slots)
    weights = (1.0 - stays) * stays ** np.arange(count)
    # later than that as at any time
    return float(weights @ live + (1.0 - weights.sum()) / (1.0 + dead_slots * direct))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else 0.0


def _noise_prob(p: parameters_pb2.LinkParameters, light: Reach) -> float:
    """Return the probability of a click without light of the source."""
    quiet = light.dark_free_prob ** (4 if p.is_passive else 2)
    return 1.0 - quiet * math.exp(-light.noise_photons * sum(light.uneven) / 2.0)


def _coherent(p: parameters_pb2.LinkParameters, light: Reach) -> _Clicks:
    sigma, ratio = p.intensity_sigma_ratio, light.intensity_ratio
    tables = [
        np.sum([weight * table(p, light, level) for level, weight in levels(mean * ratio, sigma)], axis=0)
        for mean in p.intensities
    ]
    across = sum(
        prob * weight * across_prob(p, light, level)
        for prob, mean in zip(p.intensity_probs, p.intensities, strict=True)
        for level, weight in levels(mean * ratio, sigma)
    )
    together = sum(prob * one for prob, one in zip(p.intensity_probs, tables, strict=True))
    return _Clicks(tuple(float(one.sum()) for one in tables), np.asarray(together), across)


def _entangled(p: parameters_pb2.LinkParameters, light: Reach) -> _Clicks:
    brightness = p.pair_brightness * light.intensity_ratio
    parts = [(weight, pairs(p, light, one)) for one, weight in levels(brightness, p.intensity_sigma_ratio)]

    def mean(values: list[float]) -> float:
        return sum(weight * value for (weight, _), value in zip(parts, values, strict=True))

    def both(values: list[tuple[float, float]]) -> tuple[float, float]:
        return mean([value[0] for value in values]), mean([value[1] for value in values])

    clicks = np.sum([weight * one.clicks for weight, one in parts], axis=0)
    coincident = both([one.coincidence_probs for _, one in parts])
    wrong = both(
        [
            (
                one.coincidence_probs[0] * one.coincidence_errors[0],
                one.coincidence_probs[1] * one.coincidence_errors[1],
            )
            for _, one in parts
        ]
    )
    found = Pairs(
        clicks=clicks,
        across_prob=mean([one.across_prob for _, one in parts]),
        coincidence_probs=coincident,
        coincidence_errors=(_ratio(wrong[0], coincident[0]), _ratio(wrong[1], coincident[1])),
        transmitter_prob=mean([one.transmitter_prob for _, one in parts]),
        transmitter_double_prob=mean([one.transmitter_double_prob for _, one in parts]),
        transmitter_dark_prob=parts[0][1].transmitter_dark_prob,
    )
    sent = np.array([p.transmitter_p_z, 1.0 - p.transmitter_p_z])
    shown = np.stack((clicks[:, 0], np.zeros(2), clicks[:, 1]), axis=-1)
    return _Clicks((), sent[:, None, None] * shown, found.across_prob, found)


def _matched_errors(
    p: parameters_pb2.LinkParameters, shown: F64, basis: int, escaped: float, after: tuple[float, float]
) -> float:
    """Return the share of wrong bits while both ends measure in a basis; of both detectors, half."""
    right, off, both = (float(x) for x in shown[basis, basis])
    total = right + off + both
    by_chance = after[basis] * (p.transmitter_p_z, 1.0 - p.transmitter_p_z)[basis]
    if total + by_chance <= 0.0:
        return 0.5
    wrong = (off + both / 2.0) * (1.0 - escaped) + total * escaped / 2.0
    return (wrong + by_chance / 2.0) / (total + by_chance)


def _coincidences(one: Pairs, escaped: float, after: tuple[float, float]) -> tuple[ExpectedPairs, list[float]]:
    """Return what coincides, and the errors in both bases: what is not of its slot's light coincides by chance."""
    shares, errors = [], []
    all_clicks = float(one.clicks.sum()) + one.across_prob
    # beside a slot in which the receiver's detectors see nothing
    by_chance = _ratio(one.transmitter_prob - sum(one.coincidence_probs), 1.0 - all_clicks)
    for basis in (0, 1):
        clicks, true = float(one.clicks[basis].sum()), (1.0 - escaped) * one.coincidence_probs[basis]
        false = (escaped * clicks + after[basis]) * by_chance
        shares.append(_ratio(true + false, clicks + after[basis]))
        errors.append(_ratio(true * one.coincidence_errors[basis] + false / 2.0, true + false))
    found = ExpectedPairs(
        transmitter_prob=one.transmitter_prob,
        transmitter_double_share=_ratio(one.transmitter_double_prob, one.transmitter_prob),
        transmitter_dark_prob=one.transmitter_dark_prob,
        heralded_shares=(shares[0], shares[1]),
    )
    return found, errors
