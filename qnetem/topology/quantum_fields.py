"""qnetem.topology.quantum_fields: what can be said of a quantum link, field by field. Pure.

Fields without a default are said by every profile; the others are off, or a constant of nature, unless said.
"""

import math
from typing import Final

from qnetem.topology import quantities as q
from qnetem.topology.field import Field, falling, sum_to_one
from qnetem.topology.units import Choice, Quantity

__all__ = ["QUANTUM"]


def _field(key: str, wire: str, quantity: Quantity | Choice, default: float | bool, doc: str) -> Field:
    return Field(key=key, wire=wire, quantity=quantity, default=default, doc=doc)


_PLAIN: Final = (
    Field(key="length", wire="length_km", quantity=q.LENGTH, doc="Length of the fibre."),
    Field(key="attenuation", wire="attenuation_db_per_km", quantity=q.ATTENUATION, doc="Loss of the fibre per length."),
    Field(key="connectors", wire="connector_count", quantity=q.COUNT, doc="How many connectors the light passes."),
    Field(key="connector_loss", wire="connector_loss_db", quantity=q.LOSS, doc="Loss of one connector."),
    Field(key="extra_loss", wire="extra_loss_db", quantity=q.LOSS, doc="Loss on top of fibre and connectors."),
    Field(
        key="receiver_loss", wire="receiver_loss_db", quantity=q.LOSS, doc="Loss inside the receiver before detection."
    ),
    Field(key="clock", wire="clock_hz", quantity=q.CLOCK, doc="Pulses per second."),
    Field(
        key="intensities",
        wire="intensities",
        quantity=q.PHOTONS,
        is_list=True,
        check=falling,
        doc="Mean photon numbers of a pulse, the larger first.",
    ),
    Field(
        key="intensity_probabilities",
        wire="intensity_probs",
        quantity=q.SHARE,
        is_list=True,
        check=sum_to_one,
        doc="How often the transmitter chooses each intensity.",
    ),
    Field(
        key="transmitter_p_z",
        wire="transmitter_p_z",
        quantity=q.CHOICE,
        doc="How often the transmitter chooses the Z basis, which makes the key.",
    ),
    Field(
        key="receiver_p_z", wire="receiver_p_z", quantity=q.CHOICE, doc="How often the receiver chooses the Z basis."
    ),
    Field(
        key="misalignment",
        wire="misalignment_prob",
        quantity=q.PROBABILITY,
        doc="Part of the light that goes to the wrong detector.",
    ),
    Field(key="efficiency", wire="efficiency", quantity=q.PROBABILITY, doc="Efficiency of a detector."),
    Field(key="dark_counts", wire="dark_count_hz", quantity=q.RATE, doc="Dark counts per second of each detector."),
    Field(
        key="dead_time",
        wire="dead_time_ps",
        quantity=q.DEAD_TIME,
        doc="How long all detectors of a receiver are blind after a click.",
    ),
    Field(
        key="afterpulse_probability",
        wire="afterpulse_prob",
        quantity=q.PROBABILITY,
        doc="How often a click begets another after the dead time.",
    ),
    Field(
        key="afterpulse_time",
        wire="afterpulse_tau_ps",
        quantity=q.DEAD_TIME,
        doc="Time constant of the exponential delay of an afterpulse.",
    ),
    Field(
        key="source_jitter", wire="source_jitter_fwhm_ps", quantity=q.JITTER, doc="Timing jitter of the source, FWHM."
    ),
    Field(
        key="detector_jitter",
        wire="detector_jitter_fwhm_ps",
        quantity=q.JITTER,
        doc="Timing jitter of a detector, FWHM.",
    ),
    Field(
        key="jitter",
        wire="link_jitter_fwhm_ps",
        quantity=q.JITTER,
        doc="Timing jitter of the link on top of its devices', FWHM.",
    ),
)
_FIBRE: Final = (
    _field("wavelength", "wavelength_nm", q.WAVELENGTH, 1550.0, "Wavelength of the quantum signal."),
    _field(
        "dispersion",
        "dispersion_ps_per_nm_km",
        q.DISPERSION,
        0.0,
        "Chromatic dispersion of the fibre, which widens `pulse_width` and `linewidth` into jitter.",
    ),
    _field(
        "pulse_width",
        "pulse_fwhm_ps",
        q.JITTER,
        0.0,
        "Transform-limited pulses as they leave the source, FWHM; 0ps: dispersion does not widen them.",
    ),
    _field("linewidth", "linewidth_nm", q.LINEWIDTH, 0.0, "Standard deviation of the source's wavelength."),
    _field("day", "day_s", q.DAY, 86400.0, "Period of everything that follows the day."),
    _field(
        "temperature_swing",
        "temperature_swing_k",
        q.TEMPERATURE,
        0.0,
        "Amplitude of the fibre's temperature over the day; delays it by 33 ps/km/K.",
    ),
    _field("loss_day", "loss_day_db", q.DRIFT, 0.0, "Amplitude of the loss over the day."),
    _field("loss_wander", "loss_wander_db", q.DRIFT, 0.0, "Standard deviation of a loss that wanders."),
    _field("loss_wander_time", "loss_wander_tau_s", q.SPAN, 0.0, "Correlation time of the wander."),
    _field("loss_event", "loss_event_db", q.LOSS, 0.0, "Loss that an event adds: a bent patch cord, rain."),
    _field("loss_event_rate", "loss_event_hz", q.EVENTS, 0.0, "How often events begin."),
    _field("loss_event_time", "loss_event_s", q.SPAN, 0.0, "How long an event lasts in the mean."),
    _field(
        "polarisation_time",
        "polarisation_tau_s",
        q.LONG_SPAN,
        0.0,
        "Time constant of the drift of polarisation; 0s: it does not drift.",
    ),
    _field(
        "coexisting_forward",
        "coexisting_forward_mw",
        q.POWER,
        0.0,
        "Launch power of classical light in the same fibre, with the signal.",
    ),
    _field("coexisting_backward", "coexisting_backward_mw", q.POWER, 0.0, "The same against the signal."),
    _field("raman", "raman_per_km_nm", q.RAMAN, 3e-09, "Raman cross-section of the fibre."),
    _field("filter_width", "filter_nm", q.FILTER, 0.1, "Width of the receiver's filter for Raman light."),
    _field(
        "divergence",
        "divergence_rad",
        q.ANGLE,
        0.0,
        "Above 0rad: free space instead of fibre, with this half angle at 1/e^2; attenuation does not count then.",
    ),
    _field("aperture", "aperture_m", q.APERTURE, 0.0, "Radius of the receiver's telescope."),
    _field("pointing_jitter", "pointing_sigma_rad", q.ANGLE, 0.0, "Standard deviation of the pointing."),
    _field("zenith_loss", "zenith_loss_db", q.DRIFT, 0.0, "Loss of the air straight up."),
    _field("elevation", "elevation_rad", q.ELEVATION, math.pi / 2, "Angle above the horizon."),
)
_SOURCE: Final = (
    _field(
        "intensity_noise",
        "intensity_sigma_ratio",
        q.RATIO,
        0.0,
        "Relative standard deviation of the intensity from pulse to pulse.",
    ),
    _field(
        "intensity_wander",
        "intensity_wander_ratio",
        q.RATIO,
        0.0,
        "Relative standard deviation of an intensity that wanders.",
    ),
    _field(
        "intensity_wander_time", "intensity_wander_tau_s", q.SPAN, 0.0, "Correlation time of the intensity's wander."
    ),
    _field(
        "pair_brightness",
        "pair_brightness",
        q.PAIRS,
        0.0,
        "Above 0: a source of entangled pairs at the transmitter, 2 lambda a pulse; intensities do not count then.",
    ),
    _field(
        "transmitter_efficiency",
        "transmitter_efficiency",
        q.PROBABILITY,
        0.0,
        "Efficiency of the transmitter's own arm and detectors, with a source of pairs.",
    ),
    _field(
        "transmitter_dark_counts",
        "transmitter_dark_count_hz",
        q.RATE,
        0.0,
        "Dark counts per second of each of its detectors.",
    ),
)
_RECEIVER: Final = (
    _field(
        "receiver",
        "is_passive",
        q.RECEIVER,
        False,
        "How it chooses its basis: active with two detectors, passive with four.",
    ),
    _field(
        "efficiency_mismatch",
        "efficiency_mismatch_ratio",
        q.RATIO,
        0.0,
        "Detectors of bit 1 have `efficiency` times one less this.",
    ),
    _field(
        "saturation_rate",
        "saturation_hz",
        q.SATURATION,
        0.0,
        "Above 0Hz: efficiency falls as 1/(1 + R/saturation) with the rate R of detected light.",
    ),
    _field("gate_width", "gate_width_ps", q.GATE, 0.0, "Above 0ps: a detector is open for so long in each slot."),
    _field(
        "gate_offset",
        "gate_offset_ps",
        q.GATE_OFFSET,
        0.0,
        "Of the gate's centre in its slot, by the receiver's clock.",
    ),
    _field(
        "bin_separation",
        "bin_separation_ps",
        q.BIN,
        0.0,
        "Above 0ps: time bins, isolated symbols; from the centre of one bin to that of the other.",
    ),
    _field("bin_width", "bin_width_ps", q.BIN, 0.0, "Width of a time bin."),
)
_CLOCKS: Final = (
    _field(
        "clock_offset",
        "clock_offset_ps",
        q.CLOCK_OFFSET,
        0.0,
        "The receiver's clock against the transmitter's, at time 0.",
    ),
    _field("clock_skew", "clock_skew_ppb", q.SKEW, 0.0, "By how much it runs faster; 1 ppb is 1 ns/s."),
    _field("clock_ageing", "clock_ageing_ppb_per_day", q.AGEING, 0.0, "By how much that grows."),
    _field("clock_white", "clock_white_ps", q.WHITE_FM, 0.0, "White frequency noise, a1."),
    _field("clock_walk", "clock_walk_ppb", q.WALK_FM, 0.0, "Random walk of its frequency, b."),
    _field("sync_noise", "sync_noise_ps", q.GATE, 0.0, "Standard deviation of a time stamp of two-way time transfer."),
    _field(
        "sync_asymmetry",
        "sync_asymmetry_ps",
        q.GATE_OFFSET,
        0.0,
        "By how much its way forth is longer than its way back.",
    ),
)
_EVE: Final = (
    _field(
        "eve_intercept",
        "eve_intercept_prob",
        q.PROBABILITY,
        0.0,
        "Share of pulses that an eavesdropper intercepts and sends on.",
    ),
    _field(
        "eve_splitting",
        "eve_splitting_prob",
        q.PROBABILITY,
        0.0,
        "Share of pulses whose photon number she splits: single photons blocked, one of more kept.",
    ),
    _field(
        "eve_beam_splitting",
        "eve_beam_splitting_prob",
        q.PROBABILITY,
        0.0,
        "Share of the fibre's loss that she collects; nothing shows.",
    ),
    _field(
        "eve_blinding",
        "eve_blinding_prob",
        q.PROBABILITY,
        0.0,
        "Share of slots in which she controls blinded detectors.",
    ),
    _field("eve_time_shift", "eve_time_shift_ps", q.BIN, 0.0, "She moves each pulse by plus or minus this, at random."),
    _field(
        "eve_trojan",
        "eve_trojan_photons",
        q.LEAKED_PHOTONS,
        0.0,
        "Mean photons of her light that come back out of the transmitter, per pulse.",
    ),
    _field("eve_delay", "eve_delay_ps", q.ADDED_DELAY, 0.0, "Delay that she adds to the way forth."),
)
QUANTUM: Final = (*_PLAIN, *_FIBRE, *_SOURCE, *_RECEIVER, *_CLOCKS, *_EVE)
