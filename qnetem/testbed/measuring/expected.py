"""qnetem.testbed.measuring.expected: what a link does if it is as it says, from the formulas of the field. Pure.

Written apart from the channel's own tables on purpose: what the channel draws from is not what it is checked against.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnetem.v1 import parameters_pb2, quantum_channel_pb2

__all__ = ["Expected", "expected"]

_FWHM_PER_SIGMA: Final = 2.0 * math.sqrt(2.0 * math.log(2.0))
_PLANCK_TIMES_C: Final = 6.62607015e-34 * 299_792_458.0  # J m
_NEPERS_PER_DB: Final = math.log(10.0) / 10.0
_LIGHT_NM_PER_PS: Final = 299_792.458


@dataclass(frozen=True, slots=True)
class Expected:
    """What is to be seen.

    Attributes:
        gains: Probability of a click in a live slot, by intensity.
        error_probs: Of matched bits in Z and X.
        double_share: Clicks of both detectors of a basis, of all clicks.
        receiver_z_share, transmitter_z_share: Clicks in Z, of all clicks.
        escaped_share: Light that jitter carries out of its slot.
        across_share: Clicks in both bases of a passive receiver, of those in one.
        uniform_share: Darks, noise and afterpulses, of all clicks.
        registered_prob: Clicks per pulse, those across bases too.
        mean_ps, sigma_ps: Mean and standard deviation of the arrivals of light in their slots.
        dead_slots: Slots blanked after a click.
        afterpulse_prob: A click begets another.
        afterpulse_tau_slots: Mean delay.
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
    mean_ps: float
    sigma_ps: float
    dead_slots: int
    afterpulse_prob: float
    afterpulse_tau_slots: float


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


def _noise_photons(p: parameters_pb2.LinkParameters) -> float:
    """Return Raman photons per slot at the receiver's entrance."""
    a = p.attenuation_db_per_km * _NEPERS_PER_DB
    width = (p.raman_per_km_nm or 3e-9) * (p.filter_nm or 0.1)
    forward_w = p.coexisting_forward_mw * 1e-3 * p.length_km * math.exp(-a * p.length_km) * width
    reach_km = -math.expm1(-2.0 * a * p.length_km) / (2.0 * a) if a > 0.0 else p.length_km
    backward_w = p.coexisting_backward_mw * 1e-3 * reach_km * width
    return (forward_w + backward_w) / p.clock_hz * (p.wavelength_nm or 1550.0) * 1e-9 / _PLANCK_TIMES_C


def _sigma_ps(p: parameters_pb2.LinkParameters) -> float:
    squares = [
        (fwhm / _FWHM_PER_SIGMA) ** 2
        for fwhm in (p.source_jitter_fwhm_ps, p.detector_jitter_fwhm_ps, p.link_jitter_fwhm_ps)
    ]
    squares.append((p.dispersion_ps_per_nm_km * p.length_km * p.linewidth_nm) ** 2)
    if p.pulse_fwhm_ps > 0.0:
        t0 = p.pulse_fwhm_ps / (2.0 * math.sqrt(math.log(2.0)))
        beta2 = p.dispersion_ps_per_nm_km * (p.wavelength_nm or 1550.0) ** 2 / (2.0 * math.pi * _LIGHT_NM_PER_PS)
        widened = p.pulse_fwhm_ps * math.hypot(1.0, beta2 * p.length_km / t0**2)
        squares.append((widened / _FWHM_PER_SIGMA) ** 2)
    return math.sqrt(sum(squares))


def _levels(mean: float, sigma_ratio: float) -> Iterator[tuple[float, float]]:
    """Yield (mean photon number, weight): pulses differ by a normal of that relative width."""
    if sigma_ratio == 0.0:
        yield mean, 1.0
        return
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    for node, weight in zip(nodes.tolist(), (weights / weights.sum()).tolist(), strict=True):
        yield mean * max(0.0, 1.0 + sigma_ratio * node), weight


def _combined(first: float, second: float) -> float:
    """Return the probability that exactly one of two flips happens."""
    return first * (1.0 - second) + second * (1.0 - first)


def _complement(gain: float, any_noise: float) -> float:
    """Return the probability that light alone shows nothing, from that of a click by light or noise."""
    return (1.0 - gain) / (1.0 - any_noise) if any_noise < 1.0 else 0.0


def _folded_sigma_ps(sigma_ps: float, period_ps: float) -> float:
    """Return the deviation of a normal arrival, each in the slot that it lands in."""
    grid = np.linspace(-6.0 * sigma_ps, 6.0 * sigma_ps, 20_001)
    weights = np.exp(-0.5 * (grid / sigma_ps) ** 2)
    landed = grid - np.round(grid / period_ps) * period_ps
    return math.sqrt(float((weights * landed**2).sum() / weights.sum()))


def expected(state: quantum_channel_pb2.QuantumLinkState) -> Expected:
    """Return what a BB84 link of weak coherent pulses does; an eavesdropper is not expected.

    Args:
        state: Its effective parameters, and what has become of it on top of these.

    Source: detectors 1 - (1-p_d) e^-m, means split m(1-e) and me, half and half in the other basis; dead time
    p/(1 + k p); each click begets an afterpulse, of a random bit, into whatever slot comes.
    """
    p, drift = state.effective, state.drift
    period_ps = 1e12 / p.clock_hz
    sigma_ps = _sigma_ps(p)
    light, open_share = _Arrival(1.0, 0.0, sigma_ps), 1.0
    if 0.0 < p.gate_width_ps < period_ps:
        light, open_share = _gated(state, sigma_ps, period_ps), p.gate_width_ps / period_ps
    wrong = [_combined(p.misalignment_prob, drift.error_z_prob), _combined(p.misalignment_prob, drift.error_x_prob)]
    receiver = p.efficiency * 10.0 ** (-p.receiver_loss_db / 10.0)
    noise = _noise_photons(p) * receiver * open_share
    share = _transmission(p, drift.loss_db) * light.share
    ratio = (drift.intensity_ratio or 1.0) * (state.intensity_trim_ratio or 1.0)
    probs = list(p.intensity_probs)
    if p.saturation_hz > 0.0:
        sent = sum(prob * mean for prob, mean in zip(probs, p.intensities, strict=True)) * ratio
        # R is the rate that is left: f = 1/(1 + r f)
        r = p.clock_hz * sent * receiver * share / p.saturation_hz
        receiver *= (math.sqrt(1.0 + 4.0 * r) - 1.0) / (2.0 * r) if r > 0.0 else 1.0
    etas = (receiver * share, receiver * share * (1.0 - p.efficiency_mismatch_ratio))
    # of a passive receiver each arm has its share of the noise, and each arm two detectors
    dark_free = math.exp(-p.dark_count_hz / p.clock_hz * open_share)
    shown = _Shown(p, etas, dark_free, noise, (wrong[0], wrong[1]))
    tables = [
        sum(weight * shown.table(level) for level, weight in _levels(mean * ratio, p.intensity_sigma_ratio))
        for mean in p.intensities
    ]
    # shape (2 transmitter, 2 receiver, 3): right, wrong, both; and the chance of each pair of bases in front
    gains = [float(np.asarray(table).sum()) for table in tables]
    mean_gain = sum(prob * gain for prob, gain in zip(probs, gains, strict=True))
    # nothing leaves a slot through a gate
    escaped = 0.0
    if sigma_ps > 0.0 and open_share == 1.0:
        escaped = math.erfc(period_ps / 2.0 / (sigma_ps * math.sqrt(2.0)))
        light = _Arrival(1.0, 0.0, _folded_sigma_ps(sigma_ps, period_ps))
    after = p.afterpulse_prob * mean_gain
    mean_table = sum(prob * np.asarray(table) for prob, table in zip(probs, tables, strict=True))
    errors = []
    for basis in (0, 1):
        right, off, both = (float(x) for x in np.asarray(mean_table)[basis, basis])
        total = right + off + both
        by_chance = p.afterpulse_prob * total
        true_error = (off + both / 2.0) / total if total > 0.0 else 0.5
        true_error = true_error * (1.0 - escaped) + escaped / 2.0
        errors.append((true_error * total + by_chance / 2.0) / (total + by_chance) if total > 0.0 else 0.5)
    live = mean_gain + after
    across = sum(
        prob * weight * shown.across_prob(level)
        for prob, mean in zip(probs, p.intensities, strict=True)
        for level, weight in _levels(mean * ratio, p.intensity_sigma_ratio)
    )
    any_noise = -math.expm1(
        math.log(max(dark_free, 1e-300)) * (4.0 if p.is_passive else 2.0)
        - noise * (1.0 - p.efficiency_mismatch_ratio / 2.0)
    )
    dead_slots = math.floor(p.dead_time_ps / period_ps + 1e-6)
    table = np.asarray(mean_table)
    return Expected(
        gains=tuple(gain * (1.0 - escaped) + escaped * mean_gain + after for gain in gains),
        error_probs=(errors[0], errors[1]),
        double_share=float(table[..., 2].sum()) / live if live > 0.0 else 0.0,
        receiver_z_share=float(table[:, 0].sum()) / mean_gain if mean_gain > 0.0 else 0.0,
        transmitter_z_share=float(table[0].sum()) / mean_gain if mean_gain > 0.0 else 0.0,
        escaped_share=escaped,
        across_share=across / mean_gain if mean_gain > 0.0 else 0.0,
        uniform_share=(any_noise * _complement(mean_gain + across, any_noise) + after) / (live + across)
        if live > 0.0
        else 0.0,
        registered_prob=(live + across) / (1.0 + dead_slots * (live + across)),
        mean_ps=light.mean_ps,
        sigma_ps=light.sigma_ps,
        dead_slots=dead_slots,
        afterpulse_prob=p.afterpulse_prob,
        afterpulse_tau_slots=p.afterpulse_tau_ps / period_ps,
    )


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
    centre_ps = (late_ps + period_ps / 2.0) % period_ps - period_ps / 2.0
    half_ps = p.gate_width_ps / 2.0
    if sigma_ps == 0.0:
        return _Arrival(float(abs(centre_ps) <= half_ps), centre_ps, 0.0)
    grid = np.linspace(-half_ps, half_ps, 4001)
    density = np.exp(-0.5 * ((grid - centre_ps) / sigma_ps) ** 2) / (sigma_ps * math.sqrt(2.0 * math.pi))
    share = float(np.trapezoid(density, grid))
    if share <= 0.0:
        return _Arrival(0.0, 0.0, 0.0)
    mean = float(np.trapezoid(density * grid, grid)) / share
    variance = float(np.trapezoid(density * (grid - mean) ** 2, grid)) / share
    # in true time: the gate's own centre is not the slot's
    return _Arrival(share, mean - centre_ps, math.sqrt(variance))


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a pulse of a mean photon number shows."""

    p: parameters_pb2.LinkParameters
    etas: tuple[float, float]
    dark_free: float
    noise: float
    wrong: tuple[float, float]

    def table(self, mean: float) -> np.ndarray:
        """Return the probability of each pair of bases and (right, wrong, both). Shape (2, 2, 3)."""
        found = np.zeros((2, 2, 3))
        sent = (self.p.transmitter_p_z, 1.0 - self.p.transmitter_p_z)
        arms = (self.p.receiver_p_z, 1.0 - self.p.receiver_p_z)
        for b_t in (0, 1):
            for bit in (0, 1):
                cells = [self._arm(mean * (arms[b_r] if self.p.is_passive else 1.0), b_t, b_r, bit) for b_r in (0, 1)]
                for b_r in (0, 1):
                    # a passive receiver counts what shows in one arm alone as that basis
                    weight = cells[1 - b_r][1] if self.p.is_passive else arms[b_r]
                    found[b_t, b_r] += sent[b_t] / 2.0 * weight * cells[b_r][0]
        return found

    def across_prob(self, mean: float) -> float:
        """Return the probability that both arms of a passive receiver show something."""
        if not self.p.is_passive:
            return 0.0
        arms = (self.p.receiver_p_z, 1.0 - self.p.receiver_p_z)
        sent = (self.p.transmitter_p_z, 1.0 - self.p.transmitter_p_z)
        return sum(
            sent[b_t] / 2.0 * math.prod(1.0 - self._arm(mean * arms[b_r], b_t, b_r, bit)[1] for b_r in (0, 1))
            for b_t in (0, 1)
            for bit in (0, 1)
        )

    def _arm(self, mean: float, b_t: int, b_r: int, bit: int) -> tuple[np.ndarray, float]:
        """Return (right, wrong, both) of the two detectors of a basis, and the probability of neither."""
        wrong = self.wrong[b_t] if b_t == b_r else 0.5
        noise = self.noise * ((self.p.receiver_p_z, 1.0 - self.p.receiver_p_z)[b_r] if self.p.is_passive else 1.0) / 2.0
        uneven = (1.0, 1.0 - self.p.efficiency_mismatch_ratio)
        quiet_right = self.dark_free * math.exp(-mean * self.etas[bit] * (1.0 - wrong) - noise * uneven[bit])
        quiet_wrong = self.dark_free * math.exp(-mean * self.etas[1 - bit] * wrong - noise * uneven[1 - bit])
        shows = np.array(
            [
                (1.0 - quiet_right) * quiet_wrong,
                quiet_right * (1.0 - quiet_wrong),
                (1.0 - quiet_right) * (1.0 - quiet_wrong),
            ]
        )
        return shows, quiet_right * quiet_wrong
