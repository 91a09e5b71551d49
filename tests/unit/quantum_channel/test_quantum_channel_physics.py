"""Fibre, source, detectors, timing, conditions and the tables made of them."""

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest

from quantum_channel import detector, fibre, source, timing
from quantum_channel.alias import word_counts
from quantum_channel.clicks import click_table
from quantum_channel.conditions import conditions
from quantum_channel.link import Link
from quantum_channel.parameters import RANGES, SETTABLE, BadLinkError, Parameters, checked_settings, effective
from quantum_channel.response import respond
from quantum_channel.ways import AFTERPULSE_CODES

GIVEN: Final[dict[str, Any]] = {
    "length_km": 25.0,
    "attenuation_db_per_km": 0.2,
    "connector_count": 2,
    "connector_loss_db": 0.3,
    "extra_loss_db": 0.0,
    "receiver_loss_db": 2.0,
    "clock_hz": 1e9,
    "intensities": (0.4, 0.13),
    "intensity_probs": (0.35, 0.65),
    "transmitter_p_z": 0.78,
    "receiver_p_z": 0.78,
    "misalignment_prob": 0.01,
    "efficiency": 0.85,
    "dark_count_hz": 100.0,
    "dead_time_ps": 50_000,
    "afterpulse_prob": 0.02,
    "afterpulse_tau_ps": 10_000,
    "source_jitter_fwhm_ps": 30.0,
    "detector_jitter_fwhm_ps": 50.0,
    "link_jitter_fwhm_ps": 0.0,
    "aperture_m": 0.1,
}
PLANNED: Final = Parameters(**GIVEN)


def test_ten_db_keep_one_photon_in_ten_and_losses_add_up() -> None:
    assert fibre.survival_prob(10) == pytest.approx(0.1, rel=1e-15)
    assert fibre.survival_prob(0) == 1
    assert fibre.fibre_loss_db(25, 0.2, 2, 0.3, 1) == pytest.approx(6.6, rel=1e-12)


def test_light_takes_4_9_microseconds_per_kilometre() -> None:
    assert fibre.latency_ps(1) == pytest.approx(4_897_400, abs=50)
    assert fibre.latency_ps(0) == 0


@pytest.mark.parametrize("bad", [-1.0, math.nan])
def test_physics_refuses_what_is_negative_or_no_number(bad: float) -> None:
    for wrong in (
        lambda: fibre.fibre_loss_db(bad, 0.2),
        lambda: fibre.survival_prob(bad),
        lambda: fibre.latency_ps(bad),
        lambda: source.photon_number_prob(bad, 0),
        lambda: detector.dark_prob(bad, 1e9),
        lambda: source.intensity_ratios(bad),
        lambda: timing.sigma_ps((1.0, math.nan)),
    ):
        with pytest.raises(BadLinkError):
            wrong()


def test_photon_numbers_are_poisson() -> None:
    probs = [source.photon_number_prob(0.48, n) for n in range(30)]
    assert sum(probs) == pytest.approx(1, rel=1e-12)
    assert sum(n * p for n, p in enumerate(probs)) == pytest.approx(0.48, rel=1e-12)
    assert (source.photon_number_prob(0, 0), source.photon_number_prob(0, 1)) == (1, 0)


def test_sets_add_up_and_split_as_light_and_darks_do() -> None:
    sets = detector.darkened(detector.lit_sets(np.array([0.3, 0.1])), (0.01,) * 2)
    assert sets.sum() == pytest.approx(1, rel=1e-12)
    assert sets[0] == pytest.approx(0.99**2 * math.exp(-0.4), rel=1e-12)
    at_0, at_1 = sets[1] + sets[3], sets[2] + sets[3]
    assert at_0 == pytest.approx(detector.click_prob(0.3, 0.01), rel=1e-12)
    assert at_1 == pytest.approx(detector.click_prob(0.1, 0.01), rel=1e-12)
    assert sets[3] == pytest.approx(at_0 * at_1, rel=1e-12)  # detectors are independent
    dark = detector.darkened(detector.lit_sets(np.zeros(4)), (1e-7,) * 4)
    assert dark[1:].sum() == pytest.approx(4e-7, rel=1e-6)
    assert dark[[5, 9]] == pytest.approx(1e-14, rel=1e-6)  # the improbable keeps its digits
    assert detector.click_prob(0.0, 1.0) == 1


def test_sets_of_so_many_photons_average_to_those_of_coherent_light() -> None:
    shares, mean = np.array([0.2, 0.05, 0.3, 0.1]), 1.3
    of_numbers = detector.photon_sets(shares, 40)
    poisson = np.array([source.photon_number_prob(mean, n) for n in range(41)])
    assert poisson @ of_numbers == pytest.approx(detector.lit_sets(mean * shares), rel=1e-12)
    assert of_numbers[1, [1, 2, 4, 8]] == pytest.approx(shares, rel=1e-15)


def test_intensities_fluctuate_around_their_mean() -> None:
    for sigma in (0.0, 0.05, 0.3, 1.0):
        ratios, weights = source.intensity_ratios(sigma)
        assert weights.sum() == pytest.approx(1, rel=1e-12)
        assert float(weights @ ratios) == pytest.approx(1, rel=1e-12)
        assert ratios.min() >= 0
        # of a normal cut at +-c: 1 - 2 c phi(c)/(2 Phi(c) - 1)
        c = 1 / sigma if sigma else math.inf
        kept = 1 - 2 * c * math.exp(-(c**2) / 2) / math.sqrt(2 * math.pi) / math.erf(c / math.sqrt(2)) if sigma else 0
        assert float(weights @ (ratios - 1) ** 2) == pytest.approx(sigma**2 * kept, rel=1e-9)
    ratios, weights = source.intensity_ratios(0.1)
    assert float(weights @ np.exp(-0.8 * ratios)) == pytest.approx(math.exp(-0.8 + 0.8**2 * 0.01 / 2), rel=1e-10)


def test_dark_counts_become_a_probability_per_gate() -> None:
    assert detector.dark_prob(100, 1e9) == pytest.approx(1e-7, rel=1e-6)
    assert detector.dark_prob(0, 1e9) == 0


@pytest.mark.parametrize(
    ("dead_time_ps", "clock_hz", "slots"),
    [(50_000, 1e9, 50), (0, 1e9, 0), (999, 1e9, 0), (1000, 1e9, 1), (62_500, 1e9, 62), (10_000_000, 1.25e9, 12_500)],
)
def test_slots_within_the_dead_time_are_blanked(dead_time_ps: int, clock_hz: float, slots: int) -> None:
    assert detector.dead_slots(dead_time_ps, clock_hz) == slots


def test_jitter_adds_in_quadrature() -> None:
    assert timing.sigma_ps((timing.FWHM_PER_SIGMA * 3,), (4,)) == pytest.approx(5, rel=1e-12)
    assert timing.sigma_ps(()) == 0


@pytest.mark.parametrize(
    ("sigma", "period", "offset"), [(21.0, 1000.0, 0.0), (400.0, 1000.0, 120.0), (300.0, 800.0, -900.0)]
)
def test_landing_table_is_the_gaussian_cut_into_slots(sigma: float, period: float, offset: float) -> None:
    table = timing.landing(sigma, period, offset)
    probs = word_counts(table.cells)[: len(table.shifts)] / 2**32
    times = table.shifts * period + table.arrivals_ps
    assert float(np.dot(probs, times)) == pytest.approx(offset, abs=0.01)
    variance = float(np.dot(probs, (times - offset) ** 2))
    assert variance == pytest.approx(sigma**2 + 1 / 12, rel=1e-4)  # whole picoseconds add 1/12
    assert np.abs(table.arrivals_ps).max() <= period / 2 + 1

    def below(edge_ps: float) -> float:
        return 0.5 * math.erfc(-(edge_ps - offset) / sigma / math.sqrt(2))

    for shift in range(-1, 2):
        expected = below((shift + 0.5) * period - 0.5) - below((shift - 0.5) * period - 0.5)
        assert probs[table.shifts == shift].sum() == pytest.approx(expected, abs=1e-8)
    assert probs.sum() == 1


def test_without_jitter_every_click_stays_at_the_centre_of_its_slot() -> None:
    table = timing.landing(0.0, 1000.0)
    assert (table.shifts.tolist(), table.arrivals_ps.tolist()) == ([0], [0])
    assert table.reach_slots == 0


def test_conditions_put_all_losses_into_one_probability() -> None:
    nature = conditions(PLANNED)
    assert nature.detection_probs == pytest.approx([0.85 * 10 ** (-0.76)] * 2, rel=1e-12)
    assert nature.receiver_probs == pytest.approx([0.85 * 10 ** (-0.2)] * 2, rel=1e-12)
    assert nature.sigma_ps == pytest.approx(math.hypot(30, 50) / 2.354820045, rel=1e-9)
    assert (nature.dead_slots, nature.afterpulse_tau_slots) == (50, 10)


def test_classes_differ_as_bases_and_bits_do() -> None:
    nature = replace(conditions(PLANNED), wrong_probs=(0.1, 0.2), dark_probs=(0.0, 0.0))
    table = click_table(PLANNED, nature)
    cells = table.cells
    assert cells.shape == (2, 2, 2, 2, 3)
    assert table.ways.detectors[AFTERPULSE_CODES:].tolist() == [1, 2, 3]
    mean = 0.4 * nature.detection_probs[0]
    for basis, wrong in ((0, 0.1), (1, 0.2)):
        for bit in (0, 1):
            wrong_only = cells[0, basis, basis, bit, 1 - bit]
            assert wrong_only == pytest.approx(-math.expm1(-mean * wrong) * math.exp(-mean * (1 - wrong)), rel=1e-12)
    # in other bases bits leave no trace
    assert cells[0, 0, 1, 0] == pytest.approx(cells[0, 0, 1, 1], rel=1e-12)
    assert cells[0, 0, 1, 0, 0] == pytest.approx(cells[0, 0, 1, 0, 1], rel=1e-12)
    # how often it clicks depends on the intensity alone
    assert np.ptp(cells.sum(axis=-1), axis=(1, 2, 3)) == pytest.approx([0, 0], abs=1e-15)


def test_response_bounds_and_means_are_those_of_the_link() -> None:
    response = respond(PLANNED)
    clicks = -np.expm1(-np.array([0.4, 0.13]) * conditions(PLANNED).detection_probs[0] - 2e-7)
    assert response.candidate_prob == pytest.approx(clicks[0], rel=1e-9)
    assert response.click_prob == pytest.approx(0.35 * clicks[0] + 0.65 * clicks[1], rel=1e-9)
    assert response.accept_intensity.tolist() == [2**32, round(clicks[1] / clicks[0] * 2**32)]
    assert not response.is_skipping
    assert respond(replace(PLANNED, dead_time_ps=10**6)).is_skipping


@pytest.mark.parametrize("name", RANGES)
def test_a_parameter_out_of_range_is_refused_by_name(name: str) -> None:
    low, high = RANGES[name]
    for bad in (low - 1, high * 1.01 + 1, math.nan):
        with pytest.raises(BadLinkError, match=f"^{name} .* is not in "):
            Parameters(**{**GIVEN, name: bad})
    for good in (low, high):
        Parameters(**{**GIVEN, name: type(getattr(PLANNED, name))(good)})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"intensities": (), "intensity_probs": ()}, "intensities: 0 of them"),
        ({"intensities": (0.1, 0.2)}, "smaller than the one before"),
        ({"intensities": (0.4, -0.1)}, "intensities: -0.1 is not in"),
        ({"intensity_probs": (1.0,)}, "intensity_probs: 1 of them for 2"),
        ({"intensity_probs": (0.5, 0.6)}, "add up to 1"),
        ({"intensity_probs": (1.5, -0.5)}, "are not probabilities"),
        ({"intensity_probs": (math.nan, 1.0)}, "are not probabilities"),
    ],
)
def test_intensities_that_cannot_be_are_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(BadLinkError, match=why):
        Parameters(**{**GIVEN, **change})


def test_faults_lie_over_settings_and_settings_over_what_was_planned() -> None:
    assert effective(PLANNED, [{"efficiency": 0.5, "length_km": 30}, {"efficiency": 0.1}]) == replace(
        PLANNED, efficiency=0.1, length_km=30
    )
    assert effective(PLANNED, []) == PLANNED
    with pytest.raises(BadLinkError, match="clock_hz cannot be set on a live link"):
        checked_settings({"clock_hz": 1e9})
    assert {"is_up", "length_km"} <= SETTABLE


def test_a_change_takes_effect_at_the_next_block_of_a_train_or_at_once() -> None:
    link = Link("a-b", PLANNED, {"efficiency": 0.5}, bytes(16))
    assert (link.at(0).efficiency, link.at(10**18).efficiency) == (0.5, 0.5)
    assert link.settings == {"efficiency": 0.5}
    link.set({"length_km": 1.0}, now_ps=7)
    assert (link.effective_since_ps, link.effective_from_block) == (7, 0)
    link.begin(40, 1000)
    link.set({"is_up": False}, now_ps=8)
    assert (link.effective_since_ps, link.effective_from_block) == (1000, 40)
    assert not link.at(1000).is_up
    link.rest()
    link.reset(["is_up"], now_ps=2000)
    assert (link.effective_since_ps, link.effective_from_block) == (2000, 40)
    assert link.settings == {"efficiency": 0.5, "length_km": 1.0}
    before = link.course
    for wrong in (
        lambda: link.set({"efficiency": 2.0}, now_ps=3000),
        lambda: link.replace({"efficiency": 2.0}, (), now_ps=3000),
        lambda: link.set({"efficiency": 2.0}, now_ps=3000, ramp_s=1.0),
    ):
        with pytest.raises(BadLinkError, match=r"link a-b: efficiency 2 is not in 0 .. 1"):
            wrong()
    assert link.course is before
    link.reset([], now_ps=4000)
    assert link.settings == {}
    assert link.at(4000) == PLANNED
