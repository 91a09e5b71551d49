"""A dense reference of a quantum link (tests/support/dense_link.py), and how far two counts are apart."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from dense_link import Record, losses

from qnetem.runtime.rng import BLOCK_PULSES
from quantum_channel.conditions import Attack, Conditions
from quantum_channel.parameters import Parameters
from quantum_channel.sampler import Sample


@pytest.fixture(scope="session")
def plain_nature() -> Callable[[Parameters], Conditions]:
    """Conditions of a link on which nothing drifts, worked out here."""

    def work_out(p: Parameters) -> Conditions:
        fibre, receiver = losses(p)
        free = tuple(p.efficiency * receiver * ratio for ratio in (1.0, 1.0 - p.efficiency_mismatch_ratio))
        fwhms = np.array([p.source_jitter_fwhm_ps, p.detector_jitter_fwhm_ps, p.link_jitter_fwhm_ps])
        return Conditions(
            detection_probs=(fibre * free[0], fibre * free[1]),
            receiver_probs=(free[0], free[1]),
            wrong_probs=(p.misalignment_prob, p.misalignment_prob),
            dark_probs=(-math.expm1(-p.dark_count_hz / p.clock_hz),) * (4 if p.is_passive else 2),
            sigma_ps=float(np.sqrt(((fwhms / 2.3548200450309493) ** 2).sum())),
            offset_ps=0.0,
            dead_slots=int(p.dead_time_ps * p.clock_hz / 1e12 + 1e-6),
            afterpulse_prob=p.afterpulse_prob,
            afterpulse_tau_slots=p.afterpulse_tau_ps * p.clock_hz / 1e12,
            intensity_sigma_ratio=p.intensity_sigma_ratio,
            transmitter_prob=p.transmitter_efficiency,
            transmitter_dark_prob=-math.expm1(-p.transmitter_dark_count_hz / p.clock_hz),
            attack=Attack(
                intercept_prob=p.eve_intercept_prob,
                splitting_prob=p.eve_splitting_prob,
                beam_splitting_prob=p.eve_beam_splitting_prob,
                blinding_prob=p.eve_blinding_prob,
                time_shift_ps=p.eve_time_shift_ps,
            ),
        )

    return work_out


@pytest.fixture(scope="session")
def record() -> Callable[[Sample], Record]:
    """Slots of a sample counted from the first pulse of the first block; those outside the run are left out."""

    def flatten(sample: Sample) -> Record:
        blocks = np.arange(len(sample.block_counts), dtype=np.int64) * BLOCK_PULSES
        slots = np.repeat(blocks, sample.block_counts) + sample.offsets
        inside = (slots >= 0) & (slots < len(sample.block_counts) * BLOCK_PULSES)
        return Record(
            slots[inside],
            sample.detectors[inside],
            sample.arrivals_ps[inside].astype(np.float64),
            sample.partners[inside],
        )

    return flatten


def chi_square_sigmas(statistic: float, freedom: int) -> float:
    """Return a chi-square statistic as standard deviations of a normal (Wilson and Hilferty 1931)."""
    k = float(freedom)
    return ((statistic / k) ** (1 / 3) - (1 - 2 / (9 * k))) / math.sqrt(2 / (9 * k))


@pytest.fixture(scope="session")
def sigmas_apart() -> Callable[[npt.ArrayLike, npt.ArrayLike], float]:
    """Two histograms of the same number of trials: how far apart, in sigma of the homogeneity test."""

    def compare(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
        left, right = np.ravel(np.asarray(a, dtype=np.float64)), np.ravel(np.asarray(b, dtype=np.float64))
        used = left + right >= 10
        assert used.any()
        statistic = ((left - right)[used] ** 2 / (left + right)[used]).sum()
        return chi_square_sigmas(float(statistic), int(used.sum()))

    return compare


@pytest.fixture(scope="session")
def sigmas_off() -> Callable[[npt.ArrayLike, npt.ArrayLike], float]:
    """Counts against their exact expectation: how far off, in sigma of the chi-square test."""

    def compare(counts: npt.ArrayLike, expected: npt.ArrayLike) -> float:
        seen, mean = np.ravel(np.asarray(counts, dtype=np.float64)), np.ravel(np.asarray(expected, dtype=np.float64))
        used = mean >= 5
        assert used.any()
        statistic = ((seen - mean)[used] ** 2 / mean[used]).sum()
        return chi_square_sigmas(float(statistic), int(used.sum()))

    return compare
