"""A dense reference of a BB84 link: every pulse, photon by photon, in plain numpy; and how far two counts are apart."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

import qnetem.runtime.rng_compiled  # noqa: F401  # choices by the million
from qnetem.runtime.rng import BLOCK_PULSES, receiver_choices, transmitter_choices
from quantum_channel.parameters import Parameters
from quantum_channel.sampler import Sample

TRANSMITTER, RECEIVER, NATURE = b"transmitter-----", b"receiver--------", b"nature----------"


@dataclass(frozen=True)
class Record:
    """Registered clicks of a run of blocks. Shapes (clicks,)."""

    slots: npt.NDArray[np.int64]
    detectors: npt.NDArray[np.uint8]
    arrivals_ps: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Choices:
    """What both ends chose for each pulse of a run of blocks. Shapes (pulses,)."""

    intensity: npt.NDArray[np.uint8]
    bit: npt.NDArray[np.uint8]
    is_match: npt.NDArray[np.bool_]


def _choices(p: Parameters, first_block: int, block_count: int) -> Choices:
    indices = np.arange(first_block * BLOCK_PULSES, (first_block + block_count) * BLOCK_PULSES, dtype=np.uint64)
    bases, intensity, bit = transmitter_choices(TRANSMITTER, indices, p.transmitter_p_z, p.intensity_probs)
    others, _ = receiver_choices(RECEIVER, indices, p.receiver_p_z)
    return Choices(intensity, bit, bases == others)


def _dense(p: Parameters, choices: Choices, seed: int) -> Record:
    """Photons of every pulse one by one, darks in every gate, then the electronics in the order of light."""
    rng = np.random.default_rng(seed)
    count = len(choices.bit)
    period_ps = 1e12 / p.clock_hz
    loss_db = p.length_km * p.attenuation_db_per_km + p.connector_count * p.connector_loss_db + p.extra_loss_db
    eta = p.efficiency * 10 ** (-(loss_db + p.receiver_loss_db) / 10)
    photons = rng.binomial(rng.poisson(np.array(p.intensities)[choices.intensity]), eta)
    wrong = np.where(choices.is_match, p.misalignment_prob, 0.5)
    at_wrong = rng.binomial(photons, wrong)
    by_bit = (photons - at_wrong, at_wrong)
    light = [np.where(choices.bit == d, by_bit[0], by_bit[1]) > 0 for d in (0, 1)]
    dark = [rng.random(count) < -math.expm1(-p.dark_count_hz / p.clock_hz) for _ in range(2)]
    detectors = (light[0] | dark[0]) + 2 * (light[1] | dark[1])
    slots = np.flatnonzero(detectors)
    is_light = (light[0] | light[1])[slots]
    fwhms = np.array([p.source_jitter_fwhm_ps, p.detector_jitter_fwhm_ps, p.link_jitter_fwhm_ps])
    jitter = rng.normal(0.0, 1.0, (3, len(slots))) * (fwhms / 2.3548200450309493)[:, None]
    uniform = np.floor(rng.uniform(-period_ps / 2, period_ps / 2, len(slots)))
    # time tags are whole picoseconds
    arrivals = np.where(is_light, np.rint(jitter.sum(axis=0)), uniform)
    landing = slots + np.floor(arrivals / period_ps + 0.5).astype(np.int64)
    arrivals = arrivals - (landing - slots) * period_ps
    dead = int(p.dead_time_ps / period_ps + 1e-6)

    blanked, due = -1, []  # due: (slot, detector, arrival), a handful
    registered: list[tuple[int, int, float]] = []
    light_slots, masks = slots.tolist(), detectors[slots].tolist()
    for slot, land, mask, arrival in zip(light_slots, landing.tolist(), masks, arrivals.tolist(), strict=True):
        while due and due[0][0] <= slot:
            daughter = due.pop(0)
            if daughter[0] > blanked:
                registered.append(daughter)
                blanked = daughter[0] + dead
        if land <= blanked:
            continue
        registered.append((land, mask, arrival))
        blanked = land + dead
        if rng.random() < p.afterpulse_prob:
            wait = rng.exponential(p.afterpulse_tau_ps / period_ps)
            place = blanked + 1 + int(wait)
            due.append((place, int(rng.integers(1, 3)), math.floor((wait % 1.0 - 0.5) * period_ps)))
            due.sort(key=lambda entry: entry[0])
    table = np.array(registered, dtype=np.float64).reshape(-1, 3)
    inside = table[:, 0] < count
    return Record(table[inside, 0].astype(np.int64), table[inside, 1].astype(np.uint8), table[inside, 2])


@pytest.fixture(scope="session")
def choices() -> Callable[[Parameters, int, int], Choices]:
    """Choices of both ends: choices(parameters, first_block, block_count)."""
    return _choices


@pytest.fixture(scope="session")
def dense() -> Callable[[Parameters, Choices, int], Record]:
    """The dense reference: dense(parameters, choices, seed)."""
    return _dense


@pytest.fixture(scope="session")
def record() -> Callable[[Sample], Record]:
    """Slots of a sample counted from the first pulse of the first block; those outside the run are left out."""

    def flatten(sample: Sample) -> Record:
        blocks = np.arange(len(sample.block_counts), dtype=np.int64) * BLOCK_PULSES
        slots = np.repeat(blocks, sample.block_counts) + sample.offsets
        inside = (slots >= 0) & (slots < len(sample.block_counts) * BLOCK_PULSES)
        return Record(slots[inside], sample.detectors[inside], sample.arrivals_ps[inside].astype(np.float64))

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
