"""node.planning.expected_clicks: what a running link will count in the mean. Pure.

The same tables that nature samples from (quantum_channel.clicks), under the link's conditions at rest: drifts at their
mean, polarisation aligned. Where the samplers draw, means stand here:

Dead time and afterpulses are a renewal process. Let a live slot click with probability p, k slots be blanked after each
click, and an afterpulse come floor(e) + 1 slots behind those, e exponential with mean tau. It registers when its slot
is live: with q = e^(-1/tau), with probability s = (1-q)/(1 - (1-p) q - p q^(k+1)), the geometric mean of the renewal
sequence L_(n+1) = (1-p) L_n + p L_(n-k) (exact to first order in the afterpulses). With a = p_ap s, the clicks other
than afterpulses come at p/(1 + p (k (1+a) + a)) per slot, the afterpulses at a times that.
Afterpulses, and clicks that jitter carries into a neighbour's slot, meet whatever was sent then: they are spread over
intensities and bases as pulses are, and half of them are errors.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from quantum_channel.clicks import ClickTable, click_table, landing_offsets_ps
from quantum_channel.conditions import Conditions, conditions
from quantum_channel.parameters import Parameters
from quantum_channel.ways import AFTERPULSE_CODES, UNIFORM

__all__ = ["ExpectedClicks", "expected_clicks"]

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

# of a set of two detectors: none, 0, 1, both, which is a random bit
_IS_ONE: Final = np.array([0.0, 0.0, 1.0, 0.5])
_IS_ZERO: Final = np.array([0.0, 1.0, 0.0, 0.5])


@dataclass(frozen=True, slots=True)
class ExpectedClicks:
    """Counts per emulated second.

    Attributes:
        clicks_hz: Registered by the receiver.
        z_hz, z_errors_hz, x_hz, x_errors_hz: Sifted bits and errors, per intensity; with pairs one entry.
    """

    clicks_hz: float
    z_hz: tuple[float, ...]
    z_errors_hz: tuple[float, ...]
    x_hz: tuple[float, ...]
    x_errors_hz: tuple[float, ...]


def expected_clicks(parameters: Parameters) -> ExpectedClicks:
    """Return what a link will count."""
    p, nature = parameters, conditions(parameters)
    table = click_table(p, nature)
    moved_probs = _moved_probs(table, p, nature)
    joint = table.cells * table.class_probs[..., None]
    click = float(joint.sum())
    live, after = _registered(nature, click)
    # clicks that tell nothing of what was sent in their slot, per slot
    strays = live * float((joint * moved_probs).sum()) + after
    if p.pair_brightness > 0:
        strays *= 1.0 - float(table.stray_probs[0])
    sifted, wrong = _sifted(table, joint * (1.0 - moved_probs), p)
    levels = 1 if p.pair_brightness > 0 else len(p.intensities)
    met = np.outer((1.0,) if p.pair_brightness > 0 else p.intensity_probs, _both_bases(p))
    counts, errors = (
        p.clock_hz * (live * part[:levels] + strays * met * half) for part, half in ((sifted, 1), (wrong, 0.5))
    )
    z, x, z_errors, x_errors = (tuple(column.tolist()) for column in (*counts.T, *errors.T))
    return ExpectedClicks(p.clock_hz * (live * click + after), z, z_errors, x, x_errors)


def _both_bases(p: Parameters) -> tuple[float, float]:
    return p.transmitter_p_z * p.receiver_p_z, (1 - p.transmitter_p_z) * (1 - p.receiver_p_z)


def _sifted(table: ClickTable, joint: F64, p: Parameters) -> tuple[F64, F64]:
    """Return sifted bits and errors per slot. Shapes (intensities, 2): Z, X; with pairs all in the first row."""
    masks: U8 = table.ways.detectors[AFTERPULSE_CODES : AFTERPULSE_CODES + joint.shape[-1]]
    own = table.ways.partners[AFTERPULSE_CODES : AFTERPULSE_CODES + joint.shape[-1]]
    sifted, wrong = np.zeros((2, len(p.intensities), 2))
    for basis in (0, 1):
        found = joint[:, basis].sum(axis=1) if p.is_passive else joint[:, basis, basis]
        # shape (intensities, bit sent, ways)
        z_mask, x_mask = (masks & 3, masks >> 2) if p.is_passive else (masks, masks * 0)
        mask, other = (x_mask, z_mask) if p.is_passive and basis else (z_mask, x_mask)
        # of clicks in both bases a passive receiver takes what it would have chosen, were it active
        share = (mask > 0) * np.where(other > 0, 1 - p.receiver_p_z if basis else p.receiver_p_z, 1.0)
        if p.pair_brightness > 0:
            is_zero, is_one = _IS_ZERO[own], _IS_ONE[own]
            found = found.sum(axis=(0, 1), keepdims=True).repeat(2, axis=1)
            sent = np.stack((is_zero, is_one))
        else:
            sent = np.ones((2, len(masks)))
        found = found * sent * share
        differs = np.stack((_IS_ONE[mask], _IS_ZERO[mask]))
        sifted[: len(found), basis] = found.sum(axis=(1, 2))
        wrong[: len(found), basis] = (found * differs).sum(axis=(1, 2))
    return sifted, wrong


def _moved_probs(table: ClickTable, p: Parameters, nature: Conditions) -> F64:
    """Return the probability that a click is registered in another slot than its own. Shape (ways,)."""
    offsets = [_moved_prob(nature.sigma_ps, p.period_ps, offset_ps) for offset_ps in landing_offsets_ps(nature)]
    by_landing = np.zeros(UNIFORM + 1)
    by_landing[: len(offsets)] = offsets
    landings = table.ways.landings[AFTERPULSE_CODES : AFTERPULSE_CODES + table.cells.shape[-1]]
    return np.asarray(by_landing[landings])


def _moved_prob(sigma_ps: float, period_ps: float, offset_ps: float) -> float:
    if not sigma_ps > 0:
        return 0.0 if abs(offset_ps) < period_ps / 2 else 1.0
    early, late = ((period_ps / 2 + sign * offset_ps) / (sigma_ps * math.sqrt(2)) for sign in (1, -1))
    return 0.5 * (math.erfc(early) + math.erfc(late))


def _registered(nature: Conditions, click_prob: float) -> tuple[float, float]:
    """Return the probability that a slot is live for a click, and the afterpulses registered per slot."""
    k, after = nature.dead_slots, 0.0
    if nature.afterpulse_prob > 0 and nature.afterpulse_tau_slots > 0:
        q = math.exp(-1 / nature.afterpulse_tau_slots)
        after = nature.afterpulse_prob * (1 - q) / (1 - (1 - click_prob) * q - click_prob * q ** (k + 1))
    live = 1 / (1 + click_prob * (k * (1 + after) + after))
    return live, live * click_prob * after
