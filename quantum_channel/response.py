"""quantum_channel.response: the conditions of a block as the tables that the samplers draw from. Pure.

A pulse falls into one of CLASSES by the choices at both ends: ((intensity x 2 + transmitter basis) x 2 + receiver
basis) x 2 + bit, bases 0 = Z, 1 = X. For each class a table says how probable a click is and how it looks.
Probabilities are thresholds to compare 32-bit words with, so that both samplers decide alike to the last bit.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qnetem.runtime.rng import intensity_thresholds, prob_threshold
from quantum_channel.conditions import Conditions, conditions
from quantum_channel.detector import CELL_COUNT, click_cells, registered_prob, split_means
from quantum_channel.parameters import Parameters
from quantum_channel.source import arriving_means
from quantum_channel.timing import Landing, landing

__all__ = ["Response", "cell_probs", "respond"]

F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

# From this many candidates lost to each dead time on it pays to skip them (sampler.py). Part of the draw layout.
_SKIP_FROM = 8.0


@dataclass(frozen=True, slots=True)
class Response:
    """What samplers need to know of a block.

    Attributes:
        candidate_prob: Upper bound of the click probability over all classes.
        gap_scale: 1/log(1 - candidate_prob): a uniform's logarithm times this is a geometric gap. <= 0.
        basis_thresholds: Words below are Z: transmitter, receiver. Shape (2,), uint64.
        intensity_thresholds: Shape (intensities - 1,), uint64.
        accept: A candidate is kept when its word is below. Shape (classes,), uint64.
        accept_intensity: The largest of `accept` of each intensity. Shape (intensities,), uint64.
        cells: Cumulative thresholds of detector.CELL_DETECTORS, given a click. Shape (classes, CELL_COUNT - 1), uint64.
        landing: Where clicks land.
        slot_ps: Width of a slot, rounded.
        dead_slots: Slots blanked after a click.
        is_skipping: Candidates within a dead time are not drawn at all.
        afterpulse_threshold: A click begets an afterpulse when its word is below.
        afterpulse_tau_slots: Mean delay of afterpulses behind the dead time, slots.
        click_prob: Mean click probability of a live slot.
        registered_prob: Mean clicks registered per slot.
    """

    candidate_prob: float
    gap_scale: float
    basis_thresholds: U64
    intensity_thresholds: U64
    accept: U64
    accept_intensity: U64
    cells: U64
    landing: Landing
    slot_ps: int
    dead_slots: int
    is_skipping: bool
    afterpulse_threshold: int
    afterpulse_tau_slots: float
    click_prob: float
    registered_prob: float


def cell_probs(intensities: tuple[float, ...], nature: Conditions) -> F64:
    """Return the probability of each way to click for each class of pulse.

    Returns:
        Shape (intensities, 2, 2, 2, CELL_COUNT), float64: intensity, transmitter basis, receiver basis, bit, way.
    """
    means = arriving_means(intensities, nature.detection_probs[0])
    # in bases that differ a photon takes either detector, whatever the bit
    wrong = np.full((2, 2), 0.5)
    wrong[0, 0], wrong[1, 1] = nature.wrong_probs
    right_means, wrong_means = split_means(means[:, None, None], wrong[None, :, :])
    mean_0 = np.stack((right_means, wrong_means), axis=-1)  # bit 0 is right at detector 0
    mean_1 = np.stack((wrong_means, right_means), axis=-1)
    return click_cells(mean_0, mean_1, nature.dark_prob)


def _thresholds(probs: F64) -> U64:
    return np.round(np.clip(probs, 0.0, 1.0) * 2.0**32).astype(np.uint64)


def respond(parameters: Parameters, nature: Conditions | None = None) -> Response:
    """Return the tables for blocks of a link under `nature` (by default that of an undisturbed link)."""
    p = parameters
    nature = nature or conditions(p)
    cells = cell_probs(p.intensities, nature)
    clicks = cells.sum(axis=-1)
    bound = float(clicks.max())
    accept = _thresholds(clicks / bound if bound > 0.0 else clicks)
    given_click = np.cumsum(cells, axis=-1) / np.where(clicks > 0.0, clicks, 1.0)[..., None]
    bases = np.outer((p.transmitter_p_z, 1 - p.transmitter_p_z), (p.receiver_p_z, 1 - p.receiver_p_z))
    mean = float(np.einsum("kabi,k,ab->", clicks, np.asarray(p.intensity_probs), bases)) / 2.0
    return Response(
        candidate_prob=bound,
        gap_scale=0.0 if bound >= 1.0 else (1.0 / math.log1p(-bound) if bound > 0.0 else -math.inf),
        basis_thresholds=np.array([prob_threshold(p.transmitter_p_z), prob_threshold(p.receiver_p_z)], dtype=np.uint64),
        intensity_thresholds=intensity_thresholds(p.intensity_probs),
        accept=accept.reshape(-1),
        accept_intensity=accept.reshape(len(p.intensities), -1).max(axis=1),
        cells=_thresholds(given_click).reshape(-1, CELL_COUNT)[:, :-1].copy(),
        landing=landing(nature.sigma_ps, p.period_ps, nature.offset_ps),
        slot_ps=round(p.period_ps),
        dead_slots=nature.dead_slots,
        is_skipping=bound * nature.dead_slots >= _SKIP_FROM,
        afterpulse_threshold=prob_threshold(nature.afterpulse_prob),
        afterpulse_tau_slots=nature.afterpulse_tau_slots,
        click_prob=mean,
        registered_prob=registered_prob(min(1.0, mean * (1.0 + nature.afterpulse_prob)), nature.dead_slots),
    )
