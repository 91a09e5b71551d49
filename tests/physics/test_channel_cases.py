"""Functions of fibre, source, detectors and timing against the listed cases (physics-cases.json), and the profiles.

The statistical cases themselves are replayed on what runs: test_channel_cases_running.
"""

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from qnetem.runtime.rng import BLOCK_PULSES, receiver_choices, transmitter_choices
from quantum_channel.detector import click_prob, registered_prob
from quantum_channel.fibre import fibre_loss_db, survival_prob
from quantum_channel.isolated_bins import bin_outcome
from quantum_channel.parameters import Parameters
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys
from quantum_channel.sampler_compiled import sample
from quantum_channel.source import photon_number_prob
from quantum_channel.timing import sigma_ps

TRANSMITTER, RECEIVER = b"transmitter-----", b"receiver--------"
KEYS: Final = Keys.of(b"nature----------", TRANSMITTER, RECEIVER)
CASES: Final = {
    case["id"]: case for case in json.loads((Path(__file__).parent / "physics-cases.json").read_text())["cases"]
}
REPLAYED: Final = {"jitter-budget"}


def agrees(case: dict[str, Any], value: float) -> None:
    scale = abs(case["expected"]) if case["tolerance_kind"].startswith("rel") else 1.0
    assert value == pytest.approx(case["expected"], abs=case["tolerance"] * scale, rel=0)


def link(**changes: Any) -> Parameters:
    """One intensity in one basis over no fibre at 1 GHz, without any fault of its own."""
    nothing = {field.name: 0 for field in fields(Parameters) if field.default is MISSING}
    given = {"clock_hz": 1e9, "intensities": (0.0,), "intensity_probs": (1.0,), "efficiency": 1.0}
    return Parameters(**{**nothing, **given, "transmitter_p_z": 1.0, "receiver_p_z": 1.0, **changes})


@pytest.mark.parametrize("name", ["fibre-T-10km", "fibre-T-100km"])
def test_fibre_lets_its_share_of_photons_through(name: str) -> None:
    given = CASES[name]["inputs"]
    loss_db = fibre_loss_db(given["L_km"], given["alpha"], given["n_connectors"], given["connector_db"])
    assert survival_prob(loss_db) == pytest.approx(CASES[name]["expected"], rel=1e-12)


def test_a_coherent_pulse_is_empty_or_crowded_as_often_as_listed() -> None:
    assert photon_number_prob(0.48, 0) == pytest.approx(CASES["wcp-vacuum-mu0.48"]["expected"], rel=1e-12)
    crowded = 1 - photon_number_prob(0.1, 0) - photon_number_prob(0.1, 1)
    assert crowded == pytest.approx(CASES["wcp-multi-mu0.1"]["expected"], rel=1e-9)


def test_a_detector_clicks_on_light_and_in_the_dark() -> None:
    case = CASES["det-click-mu.5-10dB"]
    given = case["inputs"]
    found = click_prob(given["mu"] * survival_prob(given["loss_db"]) * given["eta"], given["pd"])
    assert found == pytest.approx(case["expected"], rel=1e-9)


def test_blanked_gates_lower_the_rate_as_listed() -> None:
    case = CASES["deadtime-gated"]
    given = case["inputs"]
    assert registered_prob(given["p_click"], given["blank_gates"]) == pytest.approx(case["expected"], rel=1e-12)


def test_jitters_add_up_as_listed() -> None:
    agrees(CASES["jitter-budget"], sigma_ps(CASES["jitter-budget"]["inputs"]["fwhm_ps"].values()))


@pytest.mark.parametrize("name", sorted(name for name in CASES if name.startswith("jitter-s")))
def test_isolated_time_bins_err_as_listed(name: str) -> None:
    case = CASES[name]
    given = case["inputs"]
    outcome = bin_outcome(given["sigma_ps"], given["bin_sep_ps"], given["bin_width_ps"], given["offset_ps"])
    assert outcome.error_prob == pytest.approx(case["expected"], rel=1e-9)
    assert outcome.kept_prob == pytest.approx(given["p_kept"], rel=1e-9)


PROFILES: Final = {
    "decoy-bb84-1ghz-snspd": {
        "intensities": (0.40, 0.13),
        "intensity_probs": (0.35, 0.65),
        "transmitter_p_z": 0.78,
        "receiver_p_z": 0.78,
        "efficiency": 0.85,
        "dark_count_hz": 100.0,
        "dead_time_ps": 50_000,
        "detector_jitter_fwhm_ps": 50.0,
    },
    "decoy-bb84-1ghz-apd": {
        "intensities": (0.20, 0.05),
        "intensity_probs": (0.25, 0.75),
        "transmitter_p_z": 0.80,
        "receiver_p_z": 0.80,
        "efficiency": 0.20,
        "dark_count_hz": 500.0,
        "dead_time_ps": 10_000_000,
        "afterpulse_prob": 0.02,
        "afterpulse_tau_ps": 10_000,
        "detector_jitter_fwhm_ps": 150.0,
    },
}


@pytest.mark.parametrize(
    ("profile", "km", "listed_hz", "half_digit_hz", "listed_qber"),
    [
        ("decoy-bb84-1ghz-snspd", 25, 12.4e6, 0.05e6, 0.010),
        ("decoy-bb84-1ghz-snspd", 50, 6.9e6, 0.05e6, 0.010),
        ("decoy-bb84-1ghz-apd", 25, 97e3, 0.5e3, 0.020),
        ("decoy-bb84-1ghz-apd", 50, 91e3, 0.5e3, 0.020),
        ("decoy-bb84-1ghz-apd", 80, 71e3, 0.5e3, 0.022),
    ],
)
def test_profiles_click_as_often_as_listed(
    profile: str, km: int, listed_hz: float, half_digit_hz: float, listed_qber: float
) -> None:
    given = PROFILES[profile]
    parameters = link(
        length_km=km,
        attenuation_db_per_km=0.20,
        connector_count=2,
        connector_loss_db=0.3,
        receiver_loss_db=2,
        misalignment_prob=0.01,
        **given,
    )
    blocks = 60 if "snspd" in profile else 1200
    got, _ = sample(respond(parameters), KEYS, 0, blocks, COLD)
    clicks, seconds = len(got.offsets), blocks * BLOCK_PULSES / 1e9
    # the listed figures were counted and rounded: half of the last digit, and 5 sigma of this count
    assert clicks / seconds == pytest.approx(listed_hz, abs=half_digit_hz + 5 * clicks**0.5 / seconds)

    # R Q / (1 + R Q tau) with Q over all bases and intensities. Afterpulses between a dead time's end and the next
    # click add to Q; how many is left open within p_ap
    eta = given["efficiency"] * 10 ** (-(0.2 * km + 0.6 + 2) / 10)
    direct = float(np.dot(-np.expm1(-np.array(given["intensities"]) * eta), given["intensity_probs"]))
    direct += 2 * given["dark_count_hz"] / 1e9
    tau_s, p_ap = given["dead_time_ps"] / 1e12, given.get("afterpulse_prob", 0.0)
    low, high = (1e9 * q / (1 + 1e9 * q * tau_s) * seconds for q in (direct, direct * (1 + p_ap)))
    assert low - 5 * low**0.5 <= clicks <= high + 5 * high**0.5

    slots = np.repeat(np.arange(blocks, dtype=np.int64) * BLOCK_PULSES, got.block_counts) + got.offsets
    inside = (slots >= 0) & (slots < blocks * BLOCK_PULSES)
    indices = slots[inside].astype(np.uint64)
    sent_basis, _, sent = transmitter_choices(
        TRANSMITTER, indices, parameters.transmitter_p_z, parameters.intensity_probs
    )
    basis, random_bits = receiver_choices(RECEIVER, indices, parameters.receiver_p_z)
    detectors = got.detectors[inside]
    measured = np.where(detectors == 3, random_bits, detectors == 2)
    sifted = (sent_basis == 0) & (basis == 0)
    qber = float((measured != sent)[sifted].mean())
    assert qber == pytest.approx(listed_qber, abs=0.002 + 5 * (listed_qber / sifted.sum()) ** 0.5)
