"""qnetem.testbed.measuring.reaching: what of the light reaches a receiver's detectors, and when. Pure.

Written apart from the channel's own code on purpose: what the channel draws from is not what it is checked against.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from qnetem.v1 import parameters_pb2, quantum_channel_pb2

__all__ = ["Reach", "levels", "reach"]

F64 = npt.NDArray[np.float64]

_FWHM_PER_SIGMA: Final = 2.0 * math.sqrt(2.0 * math.log(2.0))
_PLANCK_TIMES_C: Final = 6.62607015e-34 * 299_792_458.0  # J m
_NEPERS_PER_DB: Final = math.log(10.0) / 10.0
_LIGHT_NM_PER_PS: Final = 299_792.458
_GRID: Final = 20_001
# of pulses that differ
_LEVELS: Final = 81
_LEVEL_SIGMAS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Reach:
    """A link between its source and what its detectors show.

    Attributes:
        etas: A photon that was sent is detected, if it goes to the detector of bit 0, of bit 1.
        uneven: Efficiency of the two, relative.
        read: Bit that a photon's is read as; the unit matrix without time bins. Shape (2, 2).
        wrong_probs: The other bit though bases match, in Z and in X.
        dark_free_prob: A detector stays dark in a slot if no light comes.
        noise_photons: Detected in a slot of light that is not the source's, all detectors together.
        intensity_ratio: Sent against planned.
        period_ps: From slot to slot.
        open_ps: Of it detectors are open for so long.
        mean_ps, sigma_ps: Mean and standard deviation of the arrivals of light in their slots.
        escaped_share: Light that jitter carries out of its slot.
        dead_slots: Slots blanked after a click.
    """

    etas: tuple[float, float]
    uneven: tuple[float, float]
    read: F64
    wrong_probs: tuple[float, float]
    dark_free_prob: float
    noise_photons: float
    intensity_ratio: float
    period_ps: float
    open_ps: float
    mean_ps: float
    sigma_ps: float
    escaped_share: float
    dead_slots: int


def reach(state: quantum_channel_pb2.QuantumLinkState) -> Reach:
    """Return what becomes of light on a link that is as its state says; an eavesdropper is not expected."""
    p, drift = state.effective, state.drift
    period_ps = 1e12 / p.clock_hz
    is_gated = 0.0 < p.gate_width_ps < period_ps
    open_ps = p.gate_width_ps if is_gated else period_ps
    light = _Arrival(1.0, 0.0, _sigma_ps(p))
    escaped, read = 0.0, np.eye(2)
    if is_gated:
        # nothing leaves a slot through a gate
        light = _gated(state, light.sigma_ps, period_ps)
    share = light.share
    if p.bin_separation_ps > 0.0:
        read = _read(light, p.bin_separation_ps, p.bin_width_ps or p.bin_separation_ps)
        light = _binned(light, p.bin_separation_ps, p.bin_width_ps or p.bin_separation_ps)
    elif not is_gated and light.sigma_ps > 0.0:
        escaped = math.erfc(period_ps / 2.0 / (light.sigma_ps * math.sqrt(2.0)))
        light = _Arrival(1.0, 0.0, _folded_sigma_ps(light.sigma_ps, period_ps))
    entered = p.efficiency * 10.0 ** (-p.receiver_loss_db / 10.0)
    ratio = (drift.intensity_ratio or 1.0) * (state.intensity_trim_ratio or 1.0)
    eta = entered * share * _transmission(p, drift.loss_db)
    eta *= _unsaturated(p, eta, ratio)
    uneven = (1.0, 1.0 - p.efficiency_mismatch_ratio)
    return Reach(
        etas=(eta * uneven[0], eta * uneven[1]),
        uneven=uneven,
        read=read,
        wrong_probs=(
            _either(p.misalignment_prob, drift.error_z_prob),
            _either(p.misalignment_prob, drift.error_x_prob),
        ),
        dark_free_prob=math.exp(-p.dark_count_hz * open_ps * 1e-12),
        noise_photons=_noise_photons(p) * entered * open_ps / period_ps,
        intensity_ratio=ratio,
        period_ps=period_ps,
        open_ps=open_ps,
        mean_ps=light.mean_ps,
        sigma_ps=light.sigma_ps,
        escaped_share=escaped,
        dead_slots=math.floor(p.dead_time_ps / period_ps + 1e-6),
    )


def levels(mean: float, sigma_ratio: float) -> Iterator[tuple[float, float]]:
    """Yield (mean, weight): pulses differ by a normal of that relative width, cut at nothing and at twice the mean."""
    if sigma_ratio == 0.0:
        yield mean, 1.0
        return
    half = min(_LEVEL_SIGMAS, 1.0 / sigma_ratio)
    normals = np.linspace(-half, half, _LEVELS)
    weights = np.exp(-0.5 * normals**2)
    weights[[0, -1]] /= 2.0
    for normal, weight in zip(normals.tolist(), (weights / weights.sum()).tolist(), strict=True):
        yield mean * (1.0 + sigma_ratio * normal), weight


def _transmission(p: parameters_pb2.LinkParameters, drift_db: float) -> float:
    """Return the share of photons that reach the receiver."""
    own_db = p.connector_count * p.connector_loss_db + p.extra_loss_db
    if p.divergence_rad > 0.0:
        width_m = p.divergence_rad * p.length_km * 1e3
        wander_m = p.pointing_sigma_rad * p.length_km * 1e3
        caught = -math.expm1(-2.0 * (p.aperture_m / width_m) ** 2) * width_m**2 / (width_m**2 + 4.0 * wander_m**2)
        elevation = p.elevation_rad or math.pi / 2.0
        return float(caught * 10.0 ** (-(max(0.0, own_db + drift_db) + p.zenith_loss_db / math.sin(elevation)) / 10.0))
    return float(10.0 ** (-max(0.0, p.length_km * p.attenuation_db_per_km + own_db + drift_db) / 10.0))


def _unsaturated(p: parameters_pb2.LinkParameters, eta: float, ratio: float) -> float:
    """Return the efficiency that is left: f = 1/(1 + f r), r being the rate at all of it against that of half."""
    if p.saturation_hz <= 0.0:
        return 1.0
    sent = sum(prob * mean for prob, mean in zip(p.intensity_probs, p.intensities, strict=True))
    if p.pair_brightness > 0.0:
        sent = 2.0 * p.pair_brightness
    r = p.clock_hz * sent * ratio * eta / p.saturation_hz
    return (math.sqrt(1.0 + 4.0 * r) - 1.0) / (2.0 * r) if r > 0.0 else 1.0


def _noise_photons(p: parameters_pb2.LinkParameters) -> float:
    """Return Raman photons per slot at the receiver's entrance; no classical light shares the air."""
    if p.divergence_rad > 0.0:
        return 0.0
    a = p.attenuation_db_per_km * _NEPERS_PER_DB
    width = (p.raman_per_km_nm or 3e-9) * (p.filter_nm or 0.1)
    forward_w = p.coexisting_forward_mw * 1e-3 * p.length_km * math.exp(-a * p.length_km) * width
    reach_km = -math.expm1(-2.0 * a * p.length_km) / (2.0 * a) if a > 0.0 else p.length_km
    backward_w = p.coexisting_backward_mw * 1e-3 * reach_km * width
    return (forward_w + backward_w) / p.clock_hz * (p.wavelength_nm or 1550.0) * 1e-9 / _PLANCK_TIMES_C


def _sigma_ps(p: parameters_pb2.LinkParameters) -> float:
    # air does not disperse
    dispersion = 0.0 if p.divergence_rad > 0.0 else p.dispersion_ps_per_nm_km
    squares = [
        (fwhm / _FWHM_PER_SIGMA) ** 2
        for fwhm in (p.source_jitter_fwhm_ps, p.detector_jitter_fwhm_ps, p.link_jitter_fwhm_ps)
    ]
    squares.append((dispersion * p.length_km * p.linewidth_nm) ** 2)
    if p.pulse_fwhm_ps > 0.0:
        t0 = p.pulse_fwhm_ps / (2.0 * math.sqrt(math.log(2.0)))
        beta2 = dispersion * (p.wavelength_nm or 1550.0) ** 2 / (2.0 * math.pi * _LIGHT_NM_PER_PS)
        widened = p.pulse_fwhm_ps * math.hypot(1.0, beta2 * p.length_km / t0**2)
        squares.append((widened / _FWHM_PER_SIGMA) ** 2)
    return math.sqrt(sum(squares))


def _either(first: float, second: float) -> float:
    """Return the probability that exactly one of two flips happens."""
    return first * (1.0 - second) + second * (1.0 - first)


@dataclass(frozen=True, slots=True)
class _Arrival:
    """Light in its slot: how much of it is let in, and when that comes."""

    share: float
    mean_ps: float
    sigma_ps: float


def _gated(state: quantum_channel_pb2.QuantumLinkState, sigma_ps: float, period_ps: float) -> _Arrival:
    """Return what a gate lets in: a normal distribution between two edges."""
    p, drift = state.effective, state.drift
    late_ps = drift.delay_ps + drift.clock_offset_ps + p.eve_delay_ps - p.gate_offset_ps - state.tuned_gate_offset_ps
    # from the nearest gate, in whole picoseconds
    centre_ps = round((late_ps + period_ps / 2.0) % period_ps - period_ps / 2.0)
    half_ps = p.gate_width_ps / 2.0
    if sigma_ps == 0.0:
        return _Arrival(float(abs(centre_ps) <= half_ps), 0.0, 0.0)
    grid = np.linspace(-half_ps, half_ps, _GRID)
    density = np.exp(-0.5 * ((grid - centre_ps) / sigma_ps) ** 2) / (sigma_ps * math.sqrt(2.0 * math.pi))
    share = float(np.trapezoid(density, grid))
    if share <= 0.0:
        return _Arrival(0.0, 0.0, 0.0)
    mean = float(np.trapezoid(density * grid, grid)) / share
    variance = float(np.trapezoid(density * (grid - mean) ** 2, grid)) / share
    # in true time: the gate's own centre is not the slot's
    return _Arrival(share, mean - centre_ps, math.sqrt(variance))


def _inside(centre_ps: float, width_ps: float, light: _Arrival) -> float:
    """Return the share of light that falls into a bin."""
    if light.sigma_ps == 0.0:
        return float(abs(centre_ps - light.mean_ps) < width_ps / 2.0)
    low, high = (
        (centre_ps - light.mean_ps + side * width_ps / 2.0) / (light.sigma_ps * math.sqrt(2.0)) for side in (-1, 1)
    )
    return (math.erf(high) - math.erf(low)) / 2.0


def _read(light: _Arrival, apart_ps: float, width_ps: float) -> F64:
    """Return the bins that photons of each of them are found in; the rest is not kept."""
    return np.array(
        [[_inside((there - here) * apart_ps, width_ps, light) for there in (0, 1)] for here in (0, 1)], dtype=np.float64
    )


def _binned(light: _Arrival, apart_ps: float, width_ps: float) -> _Arrival:
    """Return the arrivals in a bin: of its own light, and of that from the other bin, before it or behind."""
    if light.sigma_ps == 0.0:
        return light
    grid = np.linspace(-width_ps / 2.0, width_ps / 2.0, _GRID)
    density = sum(
        weight * np.exp(-0.5 * ((grid - light.mean_ps + shift) / light.sigma_ps) ** 2)
        for weight, shift in ((1.0, 0.0), (0.5, apart_ps), (0.5, -apart_ps))
    )
    weights = np.asarray(density) / np.trapezoid(density, grid)
    mean = float(np.trapezoid(weights * grid, grid))
    return _Arrival(light.share, mean, math.sqrt(float(np.trapezoid(weights * (grid - mean) ** 2, grid))))


def _folded_sigma_ps(sigma_ps: float, period_ps: float) -> float:
    """Return the deviation of a normal arrival, each in the slot that it lands in."""
    grid = np.linspace(-6.0 * sigma_ps, 6.0 * sigma_ps, _GRID)
    weights = np.exp(-0.5 * (grid / sigma_ps) ** 2)
    landed = grid - np.round(grid / period_ps) * period_ps
    return math.sqrt(float((weights * landed**2).sum() / weights.sum()))
