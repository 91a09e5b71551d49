"""quantum_channel.conditions: what nature is like on a link during one block, from what the link is made of. Pure.

Everything that acts on a link does so here, as a number of `Conditions`; the sampler knows nothing else. What varies
between blocks (drift of loss and polarisation, dispersion, Raman light, a clock that is off) changes these numbers;
what an eavesdropper does changes the click probabilities that `response` makes of them.
"""

import math
from dataclasses import dataclass

from quantum_channel.controls import UNTOUCHED, Controls
from quantum_channel.detector import click_prob, dark_prob, dead_slots
from quantum_channel.dispersion import dispersed_fwhm_ps, linewidth_sigma_ps
from quantum_channel.drift import STILL, Drift
from quantum_channel.fibre import fibre_loss_db, survival_prob
from quantum_channel.freespace import freespace_survival_prob
from quantum_channel.parameters import Parameters
from quantum_channel.raman import backward_w, detected_per_gate, forward_w
from quantum_channel.timing import normal_share, sigma_ps

__all__ = ["Attack", "Conditions", "conditions"]


@dataclass(frozen=True, slots=True)
class Attack:
    """What an eavesdropper does: the fields eve_* of LinkParameters."""

    intercept_prob: float = 0.0
    splitting_prob: float = 0.0
    beam_splitting_prob: float = 0.0
    blinding_prob: float = 0.0
    time_shift_ps: float = 0.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """Nature during one block.

    Attributes:
        detection_probs: A photon that was sent is detected, at detectors 0 and 1 (a passive receiver: of either basis):
            fibre, receiver and detector efficiency together.
        receiver_probs: The same without the fibre: for light that reaches the receiver without loss.
        wrong_probs: A detected photon is at the wrong detector though bases match, in Z and in X.
        dark_probs: Per gate, of each detector, noise light included.
        sigma_ps: Standard deviation of the arrival in its slot.
        offset_ps: Mean of the arrival in its slot.
        dead_slots: Slots blanked after a click.
        afterpulse_prob: A click begets an afterpulse that falls behind its dead time.
        afterpulse_tau_slots: Mean delay of afterpulses behind the dead time, slots.
        intensity_ratio: Intensities are so many times what is planned.
        intensity_sigma_ratio: Relative standard deviation of the intensity from pulse to pulse.
        transmitter_prob: With a source of pairs: a photon of the transmitter's arm is detected.
        transmitter_dark_prob: Per gate and detector of the transmitter.
        attack: What an eavesdropper does.
    """

    detection_probs: tuple[float, float]
    receiver_probs: tuple[float, float]
    wrong_probs: tuple[float, float]
    dark_probs: tuple[float, ...]
    sigma_ps: float
    offset_ps: float
    dead_slots: int
    afterpulse_prob: float
    afterpulse_tau_slots: float
    intensity_ratio: float = 1.0
    intensity_sigma_ratio: float = 0.0
    transmitter_prob: float = 0.0
    transmitter_dark_prob: float = 0.0
    attack: Attack = Attack()


def conditions(parameters: Parameters, drift: Drift = STILL, controls: Controls = UNTOUCHED) -> Conditions:
    """Return what nature is like; by default on a link that nothing has happened to.

    Args:
        parameters: What the link is made of.
        drift: What has become of it.
        controls: What its devices were told.
    """
    p = parameters
    line_prob, receiver_prob = _line_prob(p, drift), survival_prob(p.receiver_loss_db)
    spread_ps = _spread_ps(p)
    intensity_ratio = drift.intensity_ratio * controls.intensity_trim_ratio
    share, sigma, offset_ps, gate_ps = 1.0, spread_ps, 0.0, p.period_ps
    if 0.0 < p.gate_width_ps < p.period_ps:
        shift_ps = drift.clock_offset_ps + drift.delay_ps + p.eve_delay_ps - p.gate_offset_ps - controls.gate_offset_ps
        gate_ps = p.gate_width_ps
        share, offset_ps, sigma = _gated(_in_period(shift_ps, p.period_ps), gate_ps, spread_ps, p.eve_time_shift_ps)
    free_prob = p.efficiency * receiver_prob * share
    free_prob *= _unsaturated_ratio(p, free_prob * line_prob, intensity_ratio)
    uneven = 1.0 - p.efficiency_mismatch_ratio
    return Conditions(
        detection_probs=(free_prob * line_prob, free_prob * line_prob * uneven),
        receiver_probs=(free_prob, free_prob * uneven),
        wrong_probs=(
            _either(p.misalignment_prob, drift.error_z_prob),
            _either(p.misalignment_prob, drift.error_x_prob),
        ),
        dark_probs=_dark_probs(p, gate_ps, receiver_prob),
        sigma_ps=sigma,
        offset_ps=offset_ps,
        dead_slots=dead_slots(p.dead_time_ps, p.clock_hz),
        afterpulse_prob=p.afterpulse_prob,
        afterpulse_tau_slots=p.afterpulse_tau_ps * p.clock_hz / 1e12,
        intensity_ratio=intensity_ratio,
        intensity_sigma_ratio=p.intensity_sigma_ratio,
        transmitter_prob=p.transmitter_efficiency,
        transmitter_dark_prob=dark_prob(p.transmitter_dark_count_hz, p.clock_hz),
        attack=Attack(
            intercept_prob=p.eve_intercept_prob,
            splitting_prob=p.eve_splitting_prob,
            beam_splitting_prob=p.eve_beam_splitting_prob,
            blinding_prob=p.eve_blinding_prob,
            time_shift_ps=p.eve_time_shift_ps,
        ),
    )


def _either(first_prob: float, second_prob: float) -> float:
    """Return the probability that one of two flips a bit, but not both."""
    return first_prob * (1.0 - second_prob) + second_prob * (1.0 - first_prob)


def _line_prob(p: Parameters, drift: Drift) -> float:
    """Return the probability that a photon reaches the receiver, through fibre or air."""
    in_air = p.divergence_rad > 0.0
    attenuation_db_per_km = 0.0 if in_air else p.attenuation_db_per_km
    loss_db = fibre_loss_db(p.length_km, attenuation_db_per_km, p.connector_count, p.connector_loss_db, p.extra_loss_db)
    # what drifts may take away no more than there is
    prob = survival_prob(max(0.0, loss_db + drift.loss_db))
    if in_air:
        prob *= freespace_survival_prob(
            p.length_km,
            p.divergence_rad,
            p.aperture_m,
            pointing_sigma_rad=p.pointing_sigma_rad,
            zenith_loss_db=p.zenith_loss_db,
            elevation_rad=p.elevation_rad,
        )
    return prob


def _spread_ps(p: Parameters) -> float:
    """Return the standard deviation of arrivals: devices, and what dispersion makes of pulse and linewidth."""
    fwhms_ps = [p.source_jitter_fwhm_ps, p.detector_jitter_fwhm_ps, p.link_jitter_fwhm_ps]
    if p.divergence_rad > 0.0:
        return sigma_ps([*fwhms_ps, p.pulse_fwhm_ps])
    if p.pulse_fwhm_ps:
        fwhms_ps.append(dispersed_fwhm_ps(p.pulse_fwhm_ps, p.length_km, p.dispersion_ps_per_nm_km, p.wavelength_nm))
    return sigma_ps(fwhms_ps, [linewidth_sigma_ps(p.length_km, p.dispersion_ps_per_nm_km, p.linewidth_nm)])


def _in_period(offset_ps: float, period_ps: float) -> float:
    """Return an offset from the nearest gate, in whole picoseconds: one period after the other looks alike."""
    return float(round(offset_ps - period_ps * round(offset_ps / period_ps)))


def _gated(distance_ps: float, width_ps: float, sigma: float, time_shift_ps: float) -> tuple[float, float, float]:
    """Return the share of light inside a gate, and the mean and deviation of its arrival in the slot.

    Args:
        distance_ps: From the gate's centre to that of the light.
        width_ps: Of the gate.
        sigma: Of the light.
        time_shift_ps: Light comes so much early or late, half of it each.
    """
    distances = (distance_ps - time_shift_ps, distance_ps + time_shift_ps) if time_shift_ps else (distance_ps,)
    share = sum(normal_share(-each, width_ps, sigma) for each in distances) / len(distances)
    # a normal distribution that is cut on both sides, by its moments
    inside = normal_share(-distance_ps, width_ps, sigma)
    if sigma == 0.0 or not inside > 1e-12:
        return share, 0.0, sigma
    low, high = ((edge_ps - distance_ps) / sigma for edge_ps in (-width_ps / 2.0, width_ps / 2.0))
    at_low, at_high = (math.exp(-z * z / 2.0) / math.sqrt(2.0 * math.pi) for z in (low, high))
    mean = (at_low - at_high) / inside
    variance = 1.0 + (low * at_low - high * at_high) / inside - mean * mean
    return share, mean * sigma, sigma * math.sqrt(max(0.0, variance))


def _unsaturated_ratio(p: Parameters, detection_prob: float, intensity_ratio: float) -> float:
    """Return what is left of the efficiency when so much light is detected.

    Source: 1/(1 + R/S), R being the rate that is left: R (1 + R/S) = R0.
    """
    if not p.saturation_hz:
        return 1.0
    sent = 2.0 * p.pair_brightness or sum(
        mean * prob for mean, prob in zip(p.intensities, p.intensity_probs, strict=True)
    )
    times = p.clock_hz * sent * intensity_ratio * detection_prob / p.saturation_hz
    return 2.0 / (1.0 + math.sqrt(1.0 + 4.0 * times))


def _dark_probs(p: Parameters, gate_ps: float, receiver_prob: float) -> tuple[float, ...]:
    """Return the probability that each detector clicks without light of the source: in the dark, or by Raman light."""
    dark = dark_prob(p.dark_count_hz * gate_ps / p.period_ps, p.clock_hz)
    if p.divergence_rad or not (p.coexisting_forward_mw or p.coexisting_backward_mw):
        return (dark,) * (4 if p.is_passive else 2)
    fibre = (p.length_km, p.attenuation_db_per_km, p.raman_per_km_nm, p.filter_nm)
    power_w = forward_w(p.coexisting_forward_mw / 1e3, *fibre) + backward_w(p.coexisting_backward_mw / 1e3, *fibre)
    noise = detected_per_gate(power_w, gate_ps / 1e12, p.efficiency * receiver_prob, p.wavelength_nm)
    # unpolarised: half to each detector of an arm, and to the arms of a passive receiver as its splitter has it
    arms = (p.receiver_p_z, 1.0 - p.receiver_p_z) if p.is_passive else (1.0,)
    ratios = (1.0, 1.0 - p.efficiency_mismatch_ratio)
    return tuple(click_prob(noise * arm / 2.0 * ratio, dark) for arm in arms for ratio in ratios)
