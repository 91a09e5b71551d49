"""A dense reference of a quantum link: every pulse, photon by photon, in plain numpy; the channel has no part in it."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import qnetem.runtime.rng_compiled  # noqa: F401  # choices by the million
from qnetem.runtime.rng import BLOCK_PULSES, receiver_choices, transmitter_choices
from quantum_channel.parameters import Parameters

__all__ = ["RECEIVER", "TRANSMITTER", "Choices", "Record", "chosen", "dense_record", "losses"]

TRANSMITTER, RECEIVER = b"transmitter-----", b"receiver--------"
Ints = npt.NDArray[Any]


@dataclass(frozen=True)
class Record:
    """Registered clicks of a run of blocks. Shapes (clicks,)."""

    slots: npt.NDArray[np.int64]
    detectors: npt.NDArray[np.uint8]
    arrivals_ps: npt.NDArray[np.float64]
    partners: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Choices:
    """What both ends chose for each pulse of a run of blocks. Shapes (pulses,)."""

    intensity: npt.NDArray[np.uint8]
    bit: npt.NDArray[np.uint8]
    basis: npt.NDArray[np.uint8]
    other: npt.NDArray[np.uint8]

    @property
    def is_match(self) -> npt.NDArray[np.bool_]:
        """Bases match."""
        return self.basis == self.other


def chosen(p: Parameters, first_block: int, block_count: int) -> Choices:
    """Return the choices of a run of blocks."""
    indices = np.arange(first_block * BLOCK_PULSES, (first_block + block_count) * BLOCK_PULSES, dtype=np.uint64)
    bases, intensity, bit = transmitter_choices(TRANSMITTER, indices, p.transmitter_p_z, p.intensity_probs)
    others, _ = receiver_choices(RECEIVER, indices, p.receiver_p_z)
    return Choices(intensity, bit, bases, others)


def losses(p: Parameters) -> tuple[float, float]:
    """Return the share of photons that the fibre lets pass, and the receiver down to its detectors."""
    fibre_db = p.length_km * p.attenuation_db_per_km + p.connector_count * p.connector_loss_db + p.extra_loss_db
    return 10 ** (-fibre_db / 10), 10 ** (-p.receiver_loss_db / 10)


@cache
def _turned_probs(zeros: int, ones: int) -> npt.NDArray[np.float64]:
    """Of so many photons in the modes of one basis: probability of 0, 1, ... in the first mode of the other basis.

    Bosons at a beam splitter: the coefficients of (x + y)^zeros (x - y)^ones / 2^(n/2).
    """
    n = zeros + ones
    poly = np.poly1d([1.0, 1.0]) ** zeros * np.poly1d([1.0, -1.0]) ** ones
    coefficients = np.zeros(n + 1)
    given = np.atleast_1d(poly.coeffs)
    coefficients[n + 1 - len(given) :] = given
    weights = [math.factorial(n - i) * math.factorial(i) for i in range(n + 1)]
    probs = coefficients**2 * np.array(weights) / (math.factorial(zeros) * math.factorial(ones) * 2.0**n)
    return probs[::-1]


def _turned(rng: np.random.Generator, modes: Ints, where: npt.NDArray[np.bool_]) -> Ints:
    """Measure photons in the other basis, where so said. Shape (2, pulses)."""
    modes = modes.copy()
    at = np.flatnonzero(where & (modes.sum(axis=0) > 0))
    packed = modes[0, at] * 1000 + modes[1, at]
    for key in np.unique(packed).tolist():
        here = at[packed == key]
        zeros, ones = divmod(key, 1000)
        probs = _turned_probs(zeros, ones)
        modes[0, here] = rng.choice(len(probs), size=len(here), p=probs / probs.sum())
        modes[1, here] = zeros + ones - modes[0, here]
    return modes


def _into_bases(rng: np.random.Generator, p: Parameters, choices: Choices, modes: Ints) -> list[Ints]:
    """Send photons, counted by mode, to Z and X, as the receiver chose or each by a splitter. Shapes (2, pulses)."""
    if p.is_passive:
        in_z = rng.binomial(modes, p.receiver_p_z)
        return [in_z, modes - in_z]
    return [np.where(choices.other == basis, modes, 0) for basis in (0, 1)]


def _coherent(rng: np.random.Generator, p: Parameters, choices: Choices, free: Ints) -> list[Ints]:
    """Return photons at the detectors' doors: for Z and X, at the detector of bit 0 and 1."""
    count = len(choices.bit)
    ratio = np.ones(count)
    if p.intensity_sigma_ratio:
        ratio = rng.normal(1.0, p.intensity_sigma_ratio, count)
        while (outside := np.flatnonzero((ratio < 0) | (ratio > 2))).size:
            ratio[outside] = rng.normal(1.0, p.intensity_sigma_ratio, outside.size)
    sent = rng.poisson(np.array(p.intensities)[choices.intensity] * ratio)
    basis, bit = choices.basis, choices.bit
    fibre, receiver = losses(p)
    is_split = free & (rng.random(count) < p.eve_splitting_prob)
    is_resent = free & ~is_split & (rng.random(count) < p.eve_intercept_prob)
    is_guess = is_resent & (rng.integers(0, 2, count) != basis)
    basis = np.where(is_guess, 1 - basis, basis)
    bit = np.where(is_guess, rng.integers(0, 2, count), bit)
    arriving = np.where(is_split, np.maximum(sent - 1, 0), rng.binomial(sent, fibre))
    doors = []
    for measured, photons in enumerate(_into_bases(rng, p, choices, np.stack([arriving, np.zeros_like(arriving)]))):
        inside = rng.binomial(photons[0], receiver)
        wrong = rng.binomial(inside, np.where(basis == measured, p.misalignment_prob, 0.5))
        doors.append(np.where(bit == 0, np.stack([inside - wrong, wrong]), np.stack([wrong, inside - wrong])))
    return doors


def _pairs(rng: np.random.Generator, p: Parameters, choices: Choices, free: Ints) -> tuple[list[Ints], Ints]:
    """Return the same for the receiver's arm, and the transmitter's photons by bit in its own basis."""
    count = len(choices.bit)
    share = p.pair_brightness / (1.0 + p.pair_brightness)
    modes = rng.geometric(1.0 - share, (2, count)) - 1
    fibre, receiver = losses(p)
    # she measures in the other basis than the transmitter, and sends on as many photons in each mode
    is_turned = free & (rng.random(count) < p.eve_intercept_prob / 2.0)
    arm, basis = _turned(rng, modes, is_turned), np.where(is_turned, 1 - choices.basis, choices.basis)
    doors = []
    for measured, photons in enumerate(_into_bases(rng, p, choices, arm)):
        read = _turned(rng, photons, basis != measured)
        flipped = rng.random(count) < p.misalignment_prob
        doors.append(rng.binomial(np.where(flipped, read[::-1], read), fibre * receiver))
    return doors, modes


def _forced(
    rng: np.random.Generator, p: Parameters, choices: Choices, efficiency: float, modes: Ints | None
) -> tuple[npt.NDArray[np.bool_], Ints, Ints]:
    """Return (where an eavesdropper forces a click, the basis, the bit)."""
    count = len(choices.bit)
    match = 1.0
    if not p.is_passive:
        match = p.transmitter_p_z * p.receiver_p_z + (1 - p.transmitter_p_z) * (1 - p.receiver_p_z)
    hers = min(1.0, 2.0 * efficiency / match)
    if modes is None:
        photons = rng.poisson(np.array(p.intensities)[choices.intensity])
        wrong = rng.binomial(photons, p.misalignment_prob)
        modes = np.where(choices.bit == 0, np.stack([photons - wrong, wrong]), np.stack([wrong, photons - wrong]))
    else:
        modes = np.where(rng.random(count) < p.misalignment_prob, modes[::-1], modes)
    seen = rng.binomial(modes, hers) > 0
    is_hers = rng.integers(0, 2, count) == choices.basis
    is_click = is_hers & seen.any(axis=0) & (np.bool_(p.is_passive) | choices.is_match)
    return is_click, choices.basis, np.where(seen.all(axis=0), rng.integers(0, 2, count), seen[1])


def dense_record(p: Parameters, choices: Choices, seed: int) -> Record:
    """Photons of every pulse one by one, darks in every gate, then the electronics in the order of light."""
    rng = np.random.default_rng(seed)
    count = len(choices.bit)
    period_ps = 1e12 / p.clock_hz
    is_blinded = rng.random(count) < p.eve_blinding_prob
    own: Ints | None = None
    partners = np.zeros(count, dtype=np.uint8)
    if p.pair_brightness:
        doors, own = _pairs(rng, p, choices, ~is_blinded)
        for d in (0, 1):
            dark = rng.random(count) < -math.expm1(-p.transmitter_dark_count_hz / p.clock_hz)
            partners |= ((rng.binomial(own[d], p.transmitter_efficiency) > 0) | dark).astype(np.uint8) << d
    else:
        doors = _coherent(rng, p, choices, ~is_blinded)
    if not p.is_passive:
        doors = [doors[0] + doors[1]]

    # late light finds detectors of bit 1 worse than they are, early light those of bit 0
    is_late = rng.integers(0, 2, count).astype(bool)
    ratios = np.ones((2, count))
    if p.eve_time_shift_ps:
        ratios[1, is_late] = ratios[0, ~is_late] = 1.0 - p.efficiency_mismatch_ratio
    efficiencies = p.efficiency * ratios * np.array([[1.0], [1.0 - p.efficiency_mismatch_ratio]])
    lit = [rng.binomial(door[bit], efficiencies[bit]) > 0 for door in doors for bit in (0, 1)]
    dark_prob = -math.expm1(-p.dark_count_hz / p.clock_hz)
    detectors = np.zeros(count, dtype=np.uint8)
    for d, light in enumerate(lit):
        detectors |= (light | (rng.random(count) < dark_prob)).astype(np.uint8) << d
    is_light = np.logical_or.reduce(lit)
    if p.eve_blinding_prob:
        fibre, receiver = losses(p)
        efficiency = fibre * receiver * p.efficiency * (1.0 - p.efficiency_mismatch_ratio / 2.0)
        is_click, basis, bit = _forced(rng, p, choices, efficiency, own)
        mask = (1 << (bit + (2 * basis if p.is_passive else 0))).astype(np.uint8)
        detectors = np.where(is_blinded, np.where(is_click, mask, 0), detectors)
        is_light |= is_blinded

    slots = np.flatnonzero(detectors)
    fwhms = np.array([p.source_jitter_fwhm_ps, p.detector_jitter_fwhm_ps, p.link_jitter_fwhm_ps])
    jitter = (rng.normal(0.0, 1.0, (3, len(slots))) * (fwhms / 2.3548200450309493)[:, None]).sum(axis=0)
    shift = np.where(is_blinded, 0.0, np.where(is_late, p.eve_time_shift_ps, -p.eve_time_shift_ps))[slots]
    uniform = np.floor(rng.uniform(-period_ps / 2, period_ps / 2, len(slots)))
    # time tags are whole picoseconds
    arrivals = np.where(is_light[slots], np.rint(jitter + shift), uniform)
    landing = slots + np.floor(arrivals / period_ps + 0.5).astype(np.int64)
    arrivals = arrivals - (landing - slots) * period_ps
    registered = _registered(rng, p, slots, landing, detectors[slots], arrivals, is_blinded[slots])
    table = np.array(registered, dtype=np.float64).reshape(-1, 3)
    table = table[(table[:, 0] < count)]
    at = table[:, 0].astype(np.int64)
    return Record(at, table[:, 1].astype(np.uint8), table[:, 2], partners[at])


def _registered(
    rng: np.random.Generator,
    p: Parameters,
    slots: Ints,
    landing: Ints,
    masks: Ints,
    arrivals: npt.NDArray[np.float64],
    is_forced: Ints,
) -> list[tuple[int, int, float]]:
    period_ps = 1e12 / p.clock_hz
    dead, outlets = int(p.dead_time_ps / period_ps + 1e-6), 4 if p.is_passive else 2
    blanked, due = -1, []  # due: (slot, detector, arrival), a handful
    registered: list[tuple[int, int, float]] = []
    columns = (column.tolist() for column in (slots, landing, masks, arrivals, is_forced))
    for slot, land, mask, arrival, is_barren in zip(*columns, strict=True):
        while due and due[0][0] <= slot:
            daughter = due.pop(0)
            if daughter[0] > blanked:
                registered.append(daughter)
                blanked = daughter[0] + dead
        if land <= blanked:
            continue
        registered.append((land, mask, arrival))
        blanked = land + dead
        if p.afterpulse_prob and not is_barren and rng.random() < p.afterpulse_prob:
            wait = rng.exponential(p.afterpulse_tau_ps / period_ps)
            place = blanked + 1 + int(wait)
            due.append((place, 1 << int(rng.integers(0, outlets)), math.floor((wait % 1.0 - 0.5) * period_ps)))
            due.sort(key=lambda entry: entry[0])
    return registered
