"""Conditions of a link: what each parameter, each drift and each control does to them, against its formula."""

import math
from dataclasses import replace
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import pytest

from quantum_channel import dispersion, freespace, raman
from quantum_channel.conditions import Attack, Conditions, conditions
from quantum_channel.controls import Controls
from quantum_channel.detector import dark_prob
from quantum_channel.drift import STILL, Drift
from quantum_channel.parameters import BadLinkError, Parameters

PLAIN: Final = Parameters(
    length_km=50,
    attenuation_db_per_km=0.2,
    connector_count=0,
    connector_loss_db=0,
    extra_loss_db=0,
    receiver_loss_db=2,
    clock_hz=1e9,
    intensities=(0.4, 0.1),
    intensity_probs=(0.25, 0.75),
    transmitter_p_z=0.5,
    receiver_p_z=0.5,
    misalignment_prob=0.01,
    efficiency=0.5,
    dark_count_hz=1000,
    dead_time_ps=0,
    afterpulse_prob=0,
    afterpulse_tau_ps=0,
    source_jitter_fwhm_ps=30,
    detector_jitter_fwhm_ps=50,
    link_jitter_fwhm_ps=0,
)
ETA: Final = 0.5 * 10**-1.2
DARK: Final = dark_prob(1000, 1e9)


def of(drift: Drift = STILL, controls: Controls | None = None, **changes: Any) -> Conditions:
    return conditions(replace(PLAIN, **changes), drift, controls or Controls())


def test_a_plain_link_is_loss_misalignment_darks_and_jitter() -> None:
    plain = of()
    assert plain.detection_probs == pytest.approx((ETA, ETA), rel=1e-12)
    assert plain.receiver_probs == pytest.approx((0.5 * 10**-0.2,) * 2, rel=1e-12)
    assert plain.wrong_probs == (0.01, 0.01)
    assert plain.dark_probs == (DARK, DARK)
    assert plain.sigma_ps == pytest.approx(math.hypot(30, 50) / 2.35482, rel=1e-5)
    assert (plain.offset_ps, plain.intensity_ratio, plain.attack) == (0, 1, Attack())


def test_drift_and_controls_act_where_they_should() -> None:
    drift = Drift(loss_db=3, error_z_prob=0.1, error_x_prob=0.2, intensity_ratio=0.9)
    found = of(drift, Controls(intensity_trim_ratio=1.1))
    assert found.detection_probs[0] == pytest.approx(ETA * 10**-0.3, rel=1e-12)
    assert found.receiver_probs == of().receiver_probs
    assert found.wrong_probs == pytest.approx((0.01 * 0.9 + 0.99 * 0.1, 0.01 * 0.8 + 0.99 * 0.2), rel=1e-12)
    assert found.intensity_ratio == pytest.approx(0.99, rel=1e-12)
    # there is never less loss than none
    assert of(Drift(loss_db=-50)).detection_probs[0] == pytest.approx(0.5 * 10**-0.2, rel=1e-12)
    # a clock that is off moves tags, not light, as long as no gate stands by it
    assert of(Drift(clock_offset_ps=300, delay_ps=100)) == of()


def test_dispersion_widens_pulses_and_linewidth_smears_them() -> None:
    fwhms = {"source_jitter_fwhm_ps": 0, "detector_jitter_fwhm_ps": 0}
    wide = of(pulse_fwhm_ps=30, dispersion_ps_per_nm_km=17, **fwhms)
    assert wide.sigma_ps * 2.35482 == pytest.approx(dispersion.dispersed_fwhm_ps(30, 50, 17), rel=1e-5)
    assert of(pulse_fwhm_ps=30, **fwhms).sigma_ps * 2.35482 == pytest.approx(30, rel=1e-5)
    smeared = of(linewidth_nm=0.02, dispersion_ps_per_nm_km=17, **fwhms)
    assert smeared.sigma_ps == pytest.approx(17, rel=1e-12)
    # air does not disperse
    in_air = of(linewidth_nm=0.02, dispersion_ps_per_nm_km=17, divergence_rad=1e-5, aperture_m=0.1, **fwhms)
    assert in_air.sigma_ps == 0


def test_classical_light_falls_on_the_detectors_as_raman_says() -> None:
    found = of(coexisting_forward_mw=1, coexisting_backward_mw=0.5, raman_per_km_nm=3e-9, filter_nm=0.6)
    power_w = raman.forward_w(1e-3, 50, 0.2, 3e-9, 0.6) + raman.backward_w(0.5e-3, 50, 0.2, 3e-9, 0.6)
    mean = raman.detected_per_gate(power_w, 1e-9, 0.5 * 10**-0.2)
    quiet = (1 - DARK) ** 2 * math.exp(-mean)
    assert (1 - found.dark_probs[0]) * (1 - found.dark_probs[1]) == pytest.approx(quiet, rel=1e-12)
    assert found.detection_probs == of().detection_probs
    passive = of(coexisting_forward_mw=1, filter_nm=0.6, is_passive=True, receiver_p_z=0.8)
    assert len(passive.dark_probs) == 4
    assert passive.dark_probs[0] / passive.dark_probs[2] == pytest.approx(4, rel=0.01)


def test_a_beam_in_air_has_no_fibre() -> None:
    found = of(divergence_rad=1e-5, aperture_m=0.2, pointing_sigma_rad=1e-6, zenith_loss_db=1, elevation_rad=1.0)
    survival = freespace.freespace_survival_prob(
        50, 1e-5, 0.2, pointing_sigma_rad=1e-6, zenith_loss_db=1, elevation_rad=1.0
    )
    assert found.detection_probs[0] == pytest.approx(0.5 * 10**-0.2 * survival, rel=1e-12)


def test_bright_light_saturates_detectors() -> None:
    mean = 0.25 * 0.4 + 0.75 * 0.1
    asked_hz = 1e9 * mean * ETA
    for limit_hz in (1e5, asked_hz, 1e12):
        left_hz = 1e9 * mean * of(saturation_hz=limit_hz).detection_probs[0]
        # R (1 + R/S) = R0
        assert left_hz * (1 + left_hz / limit_hz) == pytest.approx(asked_hz, rel=1e-9)
    assert of(saturation_hz=1e12).detection_probs[0] == pytest.approx(ETA, rel=1e-4)


def test_unequal_detectors_differ_by_their_mismatch() -> None:
    found = of(efficiency_mismatch_ratio=0.2)
    assert found.detection_probs == pytest.approx((ETA, 0.8 * ETA), rel=1e-12)
    assert found.receiver_probs[1] / found.receiver_probs[0] == pytest.approx(0.8, rel=1e-12)


@pytest.mark.parametrize("shift_ps", [0.0, 100.0, -180.0, 400.0])
def test_a_gate_lets_in_what_falls_into_it(shift_ps: float) -> None:
    sigma = 60.0
    changes = {"detector_jitter_fwhm_ps": sigma * 2.354820045, "source_jitter_fwhm_ps": 0.0, "gate_width_ps": 300.0}
    found = of(Drift(clock_offset_ps=shift_ps + 7000), **changes)
    light = NormalDist(shift_ps, sigma)
    share = light.cdf(150) - light.cdf(-150)
    assert found.detection_probs[0] == pytest.approx(ETA * share, rel=1e-6)
    # darks as long as the gate is open
    assert found.dark_probs[0] == pytest.approx(dark_prob(300, 1e9), rel=1e-9)
    # arrivals are cut to the gate: mean and deviation of a normal number within
    drawn = np.random.default_rng(20_260_101).normal(shift_ps, sigma, 2_000_000)
    inside = drawn[np.abs(drawn) < 150] - shift_ps
    assert found.offset_ps == pytest.approx(float(inside.mean()), abs=5 * sigma / len(inside) ** 0.5 + 0.01)
    assert found.sigma_ps == pytest.approx(float(inside.std()), abs=5 * sigma / len(inside) ** 0.5 + 0.01)


def test_a_gate_stands_by_the_receivers_clock_and_is_moved_after_it() -> None:
    late = Drift(clock_offset_ps=250, delay_ps=50)
    centred = of(gate_width_ps=200)
    assert of(late, gate_width_ps=200).detection_probs[0] < 0.01 * centred.detection_probs[0]
    assert of(late, gate_width_ps=200, gate_offset_ps=300) == centred
    assert of(late, Controls(gate_offset_ps=300), gate_width_ps=200) == centred
    assert of(late, Controls(gate_offset_ps=100), gate_width_ps=200, eve_delay_ps=-0.0, gate_offset_ps=200) == centred
    # as the delay of an eavesdropper
    assert of(gate_width_ps=200, eve_delay_ps=300) == of(late, gate_width_ps=200)
    # a gate as wide as its slot is none
    assert of(late, gate_width_ps=1000) == of()
    # light that an eavesdropper moves falls out on both sides
    shifted = of(gate_width_ps=200, eve_time_shift_ps=100)
    assert shifted.detection_probs[0] == pytest.approx(0.5 * ETA, rel=0.01)


def test_eve_and_the_transmitters_arm_are_handed_on() -> None:
    eve = {
        "eve_intercept_prob": 0.1,
        "eve_splitting_prob": 0.2,
        "eve_beam_splitting_prob": 0.3,
        "eve_blinding_prob": 0.4,
        "eve_time_shift_ps": 50.0,
    }
    found = of(**eve, pair_brightness=0.1, transmitter_efficiency=0.6, transmitter_dark_count_hz=500)
    assert found.attack == Attack(0.1, 0.2, 0.3, 0.4, 50)
    assert (found.transmitter_prob, found.transmitter_dark_prob) == (0.6, dark_prob(500, 1e9))
    assert of(intensity_sigma_ratio=0.05).intensity_sigma_ratio == 0.05


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Controls(gate_offset_ps=1e10), r"gate_offset_ps 1e\+10 is not in -1e\+09 \.\. 1e\+09"),
        (lambda: Controls(intensity_trim_ratio=0), r"intensity_trim_ratio 0 is not in 0\.01 \.\. 100"),
        (lambda: Controls(intensity_trim_ratio=math.nan), "intensity_trim_ratio nan is not in"),
    ],
)
def test_controls_that_no_device_has_are_refused(make: Any, why: str) -> None:
    with pytest.raises(BadLinkError, match=why):
        make()
