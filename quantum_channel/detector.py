"""quantum_channel.detector: what threshold detectors do with the light of one gate. Pure.

An active receiver has two detectors: detector 0 stands for bit 0 of the basis that it chose, detector 1 for bit 1. A
passive one has four: 0 and 1 in Z, 2 and 3 in X, behind a splitter. A detector clicks when a photon is detected or by
a dark count. After any click all of them are blanked.

Which detectors are lit, or click, is a *set*: bit d of its number is detector d, as in `Clicks.detectors`.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from quantum_channel.parameters import BadLinkError

__all__ = ["click_prob", "dark_prob", "darkened", "dead_slots", "lit_sets", "photon_sets", "registered_prob"]

F64 = npt.NDArray[np.float64]


def dark_prob(dark_count_hz: float, clock_hz: float) -> float:
    """Return the probability of a dark count per gate and detector; gates are contiguous, one per clock period.

    Raises:
        BadLinkError: The rate is negative or the clock not above 0.
    """
    if not (dark_count_hz >= 0.0 and clock_hz > 0.0):
        raise BadLinkError(f"dark counts {dark_count_hz:g} Hz at a clock of {clock_hz:g} Hz")
    return -math.expm1(-dark_count_hz / clock_hz)


def click_prob(mean_detected: float, dark_prob: float) -> float:
    """Return the probability that a detector clicks, `mean_detected` being the mean number of photons it detects.

    Source: 1 - (1 - p_d) e^(-m).
    """
    return -math.expm1(-mean_detected + math.log1p(-dark_prob)) if dark_prob < 1.0 else 1.0


def lit_sets(means: F64) -> F64:
    """Return the probability of each set of lit detectors, given the mean detected photons at each: independent ones.

    Args:
        means: Shape (..., detectors), float64.

    Returns:
        Shape (..., 2^detectors), float64. They add up to 1; each is a product, so that small ones keep their digits.

    Source: a Poisson number of photons, split by chance, is independently Poisson at every outlet.
    """
    sets = np.ones((*means.shape[:-1], 1))
    for d in range(means.shape[-1]):
        quiet = np.exp(-means[..., d, None])
        sets = np.concatenate((sets * quiet, sets * -np.expm1(-means[..., d, None])), axis=-1)
    return sets


def photon_sets(shares: F64, most: int) -> F64:
    """Return the probability of each set of lit detectors, given how many photons there are.

    Args:
        shares: Probability that a photon is detected at each detector. Shape (..., detectors), float64.
        most: Largest number of photons.

    Returns:
        Shape (most + 1, ..., 2^detectors), float64: of 0, 1, ... photons. Each number adds positive terms alone.
    """
    count = shares.shape[-1]
    step = np.zeros((*shares.shape[:-1], 1 << count, 1 << count))
    for lit in range(1 << count):
        new = [d for d in range(count) if not lit >> d & 1]
        step[..., lit, lit] = 1.0 - shares[..., new].sum(axis=-1)
        for d in new:
            step[..., lit, lit | 1 << d] = shares[..., d]
    sets = np.zeros((most + 1, *shares.shape[:-1], 1, 1 << count))
    sets[0, ..., 0] = 1.0
    for n in range(most):
        sets[n + 1] = sets[n] @ step
    return sets[..., 0, :]


def darkened(sets: F64, dark_probs: Sequence[float]) -> F64:
    """Return the probability of each set of clicking detectors from that of lit ones: others click in the dark.

    Args:
        sets: Shape (..., 2^detectors), float64.
        dark_probs: Per gate, of each detector.
    """
    sets, size = sets.copy(), sets.shape[-1]
    for d, dark_prob in zip(range(size.bit_length() - 1), dark_probs, strict=True):
        pairs = sets.reshape(*sets.shape[:-1], size >> (d + 1), 2, 1 << d)
        pairs[..., 1, :] += dark_prob * pairs[..., 0, :]
        pairs[..., 0, :] *= 1.0 - dark_prob
    return sets


def dead_slots(dead_time_ps: int, clock_hz: float) -> int:
    """Return how many slots after that of a click are blanked: those whose centre comes within the dead time.

    A slot exactly at its end is blanked, so that k = dead time x clock for whole numbers.
    """
    return math.floor(dead_time_ps * clock_hz / 1e12 + 1e-6)


def registered_prob(click_prob: float, dead_slots: int) -> float:
    """Return the clicks registered per slot, k slots being blanked after each.

    Source: renewal, p/(1 + k p); the gated form of the non-paralysable R Q/(1 + R Q tau).
    """
    return click_prob / (1.0 + dead_slots * click_prob)
