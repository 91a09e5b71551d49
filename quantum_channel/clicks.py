"""quantum_channel.clicks: how probable each way to click is, class by class, under the conditions of a block. Pure.

Whatever acts on a link meets here: source and receiver of each kind, and each eavesdropper. Shares of eavesdroppers
exclude each other: what is blinded is not split, and what is split not intercepted.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantum_channel.conditions import Conditions
from quantum_channel.detector import darkened
from quantum_channel.eve import blinded_detection_prob, forced_sets, intercepted_sets, shifted_probs
from quantum_channel.isolated_bins import bin_shares
from quantum_channel.light import coherent_sets, photon_shares, polar_shares, split_sets
from quantum_channel.pair_clicks import arm_operators, dark_partner_sets, pair_sets
from quantum_channel.parameters import Parameters
from quantum_channel.source import intensity_ratios
from quantum_channel.ways import UNIFORM, Sets, Ways, ways_to_click

__all__ = ["ClickTable", "bin_width_ps", "click_table", "landing_offsets_ps"]

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ClickTable:
    """How every class of pulse clicks.

    Attributes:
        cells: Probability of each way. Shape (intensities, 2, 2, 2, ways), float64: transmitter basis, receiver basis,
            bit; bases 0 = Z, 1 = X.
        ways: What the ways mean.
        class_probs: Of each class. Shape (intensities, 2, 2, 2), float64.
        stray_probs: Of the sets of the transmitter's detectors in a slot in which the receiver's stay dark. Shape (4,).
        partner_probs: Of the same, whatever the receiver's do. Shape (4,).
    """

    cells: F64
    ways: Ways
    class_probs: F64
    stray_probs: F64
    partner_probs: F64


def landing_offsets_ps(nature: Conditions) -> tuple[float, ...]:
    """Return the mean arrival in its slot of each landing: in time, and the late and the early of a time shift."""
    at_ps, shift_ps = nature.offset_ps, nature.attack.time_shift_ps
    return (at_ps, at_ps + shift_ps, at_ps - shift_ps) if shift_ps else (at_ps,)


def bin_width_ps(parameters: Parameters) -> float:
    """Return how wide a time bin is: unless said, as wide as they are apart."""
    return parameters.bin_width_ps or parameters.bin_separation_ps


def _bins(p: Parameters, nature: Conditions, offset_ps: float) -> F64:
    if not p.bin_separation_ps:
        return np.eye(2)
    return bin_shares(nature.sigma_ps, p.bin_separation_ps, bin_width_ps(p), offset_ps)


class _Light:
    """What reaches the detectors of one link: sets of shape (intensities, 2, 2, 2, partners, receiver's sets)."""

    def __init__(self, parameters: Parameters, nature: Conditions) -> None:
        ratios, self._weights = intensity_ratios(nature.intensity_sigma_ratio)
        ratios = ratios * nature.intensity_ratio
        self._parameters, self._nature = parameters, nature
        self._means = ratios[:, None] * np.asarray(parameters.intensities)
        self._brightness = ratios * parameters.pair_brightness
        self._splitter = parameters.receiver_p_z if parameters.is_passive else None

    def _pairs(self, probs: tuple[float, float], bins: F64, splitter: float | None, intercept_prob: float) -> F64:
        nature = self._nature
        operators = arm_operators(nature.wrong_probs, bins, probs, splitter)
        sets = pair_sets(self._brightness, self._weights, nature.transmitter_prob, operators, intercept_prob)
        own = np.swapaxes(darkened(np.swapaxes(sets, -1, -2), (nature.transmitter_dark_prob,) * 2), -1, -2)
        # neither the intensities nor the transmitter's bits have a part in it
        shape = (len(self._parameters.intensities), 2, 2, 2, *own.shape[2:])
        return np.broadcast_to(own[None, :, :, None], shape)

    def _coherent(self, probs: tuple[float, float], bins: F64, splitter: float | None) -> F64:
        shares = photon_shares(polar_shares(self._nature.wrong_probs, bins), probs, splitter)
        return coherent_sets(self._means, self._weights, shares)[..., None, :]

    def sent(self, ratios: tuple[float, float], offset_ps: float) -> F64:
        """Return the sets of pulses that detectors meet with their efficiencies at so many times the normal."""
        p, nature, attack = self._parameters, self._nature, self._nature.attack
        bins = _bins(p, nature, offset_ps)
        probs, free = (
            (given[0] * ratios[0], given[1] * ratios[1]) for given in (nature.detection_probs, nature.receiver_probs)
        )
        if p.pair_brightness:
            return self._pairs(probs, bins, self._splitter, attack.intercept_prob)
        sets = self._coherent(probs, bins, self._splitter)
        if attack.intercept_prob:
            sets = (1.0 - attack.intercept_prob) * sets + attack.intercept_prob * intercepted_sets(sets)
        if attack.splitting_prob:
            shares = photon_shares(polar_shares(nature.wrong_probs, bins), free, self._splitter)
            split = split_sets(self._means, self._weights, shares)[..., None, :]
            sets = (1.0 - attack.splitting_prob) * sets + attack.splitting_prob * split
        return sets

    def forced(self) -> F64:
        """Return the sets that an eavesdropper forces at blinded detectors."""
        p, nature = self._parameters, self._nature
        match_prob = 1.0
        if not p.is_passive:
            match_prob = p.transmitter_p_z * p.receiver_p_z + (1.0 - p.transmitter_p_z) * (1.0 - p.receiver_p_z)
        prob = blinded_detection_prob(sum(nature.detection_probs) / 2.0, match_prob)
        probs, bins = (prob, prob), np.eye(2)
        found = self._pairs(probs, bins, None, 0.0) if p.pair_brightness else self._coherent(probs, bins, None)
        # her basis is the transmitter's
        return forced_sets(found[:, [0, 1], [0, 1]], p.is_passive)


def click_table(parameters: Parameters, nature: Conditions) -> ClickTable:
    """Return how every class of pulse clicks under `nature`."""
    p, attack = parameters, nature.attack
    light = _Light(p, nature)
    offsets_ps = landing_offsets_ps(nature)
    # what is forced is in time
    sent = [(0, (1.0, 1.0))]
    if attack.time_shift_ps:
        sent = list(enumerate(shifted_probs((1.0, 1.0), p.efficiency_mismatch_ratio), 1))
    free = (1.0 - attack.blinding_prob) / len(sent)
    kinds: list[Sets] = []
    dark: F64 | float = 0.0
    for number, ratios in sent:
        sets = free * light.sent(ratios, offsets_ps[number])
        unlit = np.zeros_like(sets)
        unlit[..., 0] = sets[..., 0]
        dark = dark + unlit
        kinds.append(Sets(darkened(sets - unlit, nature.dark_probs), number))
    kinds.append(Sets(darkened(np.asarray(dark), nature.dark_probs), UNIFORM))
    if attack.blinding_prob:
        kinds.append(Sets(attack.blinding_prob * light.forced(), 0, is_forced=True))
    cells, ways = ways_to_click(kinds)
    bases = np.outer((p.transmitter_p_z, 1.0 - p.transmitter_p_z), (p.receiver_p_z, 1.0 - p.receiver_p_z))
    class_probs = np.einsum("k,ab,i->kabi", np.asarray(p.intensity_probs), bases, np.full(2, 0.5))
    every = sum(kind.probs for kind in kinds)
    stray_probs = partner_probs = np.array([1.0, 0.0, 0.0, 0.0])
    if p.pair_brightness:
        stray_probs = dark_partner_sets(np.asarray(every), class_probs)
        partner_probs = np.einsum("kabi,kabips->p", class_probs, every)
    return ClickTable(cells, ways, class_probs, stray_probs, partner_probs)
