"""`check physics` against the channel: formulas written apart agree with what is drawn, and see what is not as told."""

import math
from typing import Any, Final

import numpy as np
import pytest

import qnetem.runtime.rng_compiled  # noqa: F401  # choices by the million
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.testbed.measuring.comparison import LIMIT_SIGMAS, Row, compared
from qnetem.testbed.measuring.expected import expected
from qnetem.testbed.measuring.tally import Dark, Tally
from qnetem.topology import fields
from qnetem.topology.profiles import PROFILES
from qnetem.v1 import parameters_pb2, quantum_channel_pb2
from quantum_channel.controls import UNTOUCHED
from quantum_channel.course import Cell
from quantum_channel.drift import STILL
from quantum_channel.probe import chosen_classes, dark_response, partner_singles
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys
from quantum_channel.sampler_compiled import sample
from quantum_channel.wire import parameters_from_message

TRANSMITTER, RECEIVER = b"transmitter-----", b"receiver--------"
KEYS: Final = Keys.of(b"nature----------", TRANSMITTER, RECEIVER)
SNSPD: Final = "decoy-bb84-1ghz-snspd"
PAIRS: Final = "bbm92-1ghz-snspd"


def link(profile: str = SNSPD, **changes: Any) -> parameters_pb2.LinkParameters:
    quantum = PROFILES[profile].quantum
    values = {field.wire: quantum[field.key] for field in fields.QUANTUM if field.key in quantum}
    return parameters_pb2.LinkParameters(**{**values, "length_km": 25, **changes})


def counted(drawn: parameters_pb2.LinkParameters, blocks: int) -> Tally:
    p = parameters_from_message(drawn)
    response = respond(p)
    clicks, _ = sample(response, KEYS, 0, blocks, COLD)
    slots = np.repeat(np.arange(blocks) * BLOCK_PULSES, clicks.block_counts) + clicks.offsets
    classes = chosen_classes(response, KEYS, np.maximum(slots, 0).astype(np.uint64))
    tally = Tally(len(p.intensities), is_passive=p.is_passive)
    # in parts, as they come from a channel
    counts = clicks.block_counts
    for half in (slice(0, blocks // 2), slice(blocks // 2, blocks)):
        part = slice(int(counts[: half.start].sum()), int(counts[: half.stop].sum()))
        partners = clicks.partners[part] if response.has_partners else None
        arrays = clicks.offsets[part], clicks.detectors[part], clicks.arrivals_ps[part], classes[part]
        tally.add(counts[half], *arrays, partners)
    if response.has_partners:
        singles = partner_singles(response, KEYS, 0, tally.click_count)
        tally.transmitter_pulse_count, tally.transmitter_double_count = singles.pulse_count, singles.both_count
        tally.transmitter_click_count = singles.detector_0_count + singles.detector_1_count + singles.both_count
    return tally


def darkened(drawn: parameters_pb2.LinkParameters) -> Dark:
    p = parameters_from_message(drawn)
    response = dark_response(Cell(p, STILL, None, 1.0, None), UNTOUCHED)
    blocks = math.ceil(2000 / response.registered_prob / BLOCK_PULSES)
    dark = Dark(blocks * BLOCK_PULSES, len(sample(response, KEYS, 0, blocks, COLD)[0].offsets))
    if response.has_partners:
        singles = partner_singles(response, KEYS, 0, 2000)
        dark.transmitter_pulse_count = singles.pulse_count
        dark.transmitter_click_count = singles.detector_0_count + singles.detector_1_count + singles.both_count
    return dark


def rows(told: parameters_pb2.LinkParameters, drawn: parameters_pb2.LinkParameters, blocks: int = 60) -> dict[str, Row]:
    wanted = expected(quantum_channel_pb2.QuantumLinkState(effective=told))
    found = compared(counted(drawn, blocks), wanted, list(told.intensity_probs), told.clock_hz, darkened(drawn))
    return {row.quantity: row for row in found}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"saturation_hz": 5e6},
        {"efficiency_mismatch_ratio": 0.3, "intensity_sigma_ratio": 0.1},
        {"gate_width_ps": 100, "gate_offset_ps": 30},
        {"coexisting_forward_mw": 1, "coexisting_backward_mw": 1, "filter_nm": 1},
        {
            "divergence_rad": 1e-5,
            "aperture_m": 0.4,
            "pointing_sigma_rad": 5e-6,
            "zenith_loss_db": 1,
            "elevation_rad": 0.7,
        },
        {
            "divergence_rad": 1e-5,
            "aperture_m": 0.4,
            "dispersion_ps_per_nm_km": 17,
            "linewidth_nm": 0.2,
            "pulse_fwhm_ps": 20,
            "coexisting_forward_mw": 1,
            "filter_nm": 1,
        },
        {"dispersion_ps_per_nm_km": 17, "linewidth_nm": 0.2, "pulse_fwhm_ps": 20},
        {"bin_separation_ps": 400, "bin_width_ps": 300, "link_jitter_fwhm_ps": 230},
        {"bin_separation_ps": 400, "is_passive": True, "link_jitter_fwhm_ps": 200, "efficiency_mismatch_ratio": 0.3},
        {"link_jitter_fwhm_ps": 700},
        {"is_passive": True},
        {"is_passive": True, "efficiency_mismatch_ratio": 0.3, "coexisting_forward_mw": 1},
        {"is_passive": True, "afterpulse_prob": 0.05, "afterpulse_tau_ps": 5_000},
        {"gate_width_ps": 200, "afterpulse_prob": 0.05, "afterpulse_tau_ps": 5_000, "dark_count_hz": 1e5},
    ],
    ids=lambda changes: "-".join(changes) or "as-shipped",
)
def test_what_is_drawn_is_what_the_formulas_say(changes: dict[str, Any]) -> None:
    told = link(**changes)
    found = rows(told, told)
    assert {"clicks", "gain, intensity 1", "errors in Z", "double clicks", "arrival, deviation"} <= set(found)
    assert [row for row in found.values() if not row.agrees] == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"is_passive": True},
        {"is_passive": True, "afterpulse_prob": 0.05, "afterpulse_tau_ps": 5_000, "dead_time_ps": 200_000},
        {"efficiency_mismatch_ratio": 0.3, "intensity_sigma_ratio": 0.3, "pair_brightness": 0.2},
        {"gate_width_ps": 100, "gate_offset_ps": 30, "dark_count_hz": 1e5, "transmitter_dark_count_hz": 1e5},
        {"bin_separation_ps": 400, "bin_width_ps": 300, "link_jitter_fwhm_ps": 230},
        {"link_jitter_fwhm_ps": 700},
        {"saturation_hz": 5e6},
        {"coexisting_forward_mw": 1, "filter_nm": 1},
        {"length_km": 0, "efficiency": 1.0, "transmitter_efficiency": 1.0, "pair_brightness": 0.5},
    ],
    ids=lambda changes: "-".join(changes) or "as-shipped",
)
def test_pairs_are_drawn_as_the_formulas_say(changes: dict[str, Any]) -> None:
    told = link(PAIRS, **changes)
    found = rows(told, told, blocks=100)
    assert {
        "clicks",
        "clicks, transmitter",
        "coincidences in Z",
        "coincidences in X",
        "coincidence to accidental",
        "errors in Z",
        "errors in X",
        "double clicks, transmitter",
        "darks",
        "darks, transmitter",
    } <= set(found)
    assert "gain, intensity 1" not in found
    assert [row for row in found.values() if not row.agrees] == []


def test_afterpulses_are_counted_beside_the_light() -> None:
    told = link("decoy-bb84-1ghz-apd")
    found = rows(told, told, blocks=8000)
    assert [row for row in found.values() if not row.agrees] == []
    assert found["afterpulses"].measured == pytest.approx(0.02, abs=0.004)


@pytest.mark.parametrize(
    ("fault", "seen_in"),
    [
        ({"efficiency": 0.83}, "gain, intensity 1"),
        ({"extra_loss_db": 0.1}, "clicks"),
        ({"misalignment_prob": 0.013}, "errors in Z"),
        ({"dead_time_ps": 40_000}, "shortest gap"),
        ({"dead_time_ps": 60_000}, "shortest gap"),
        ({"detector_jitter_fwhm_ps": 55}, "arrival, deviation"),
        ({"transmitter_p_z": 0.77}, "transmitter in Z"),
        ({"receiver_p_z": 0.77}, "receiver in Z"),
        ({"afterpulse_prob": 0.02}, "gain, intensity 2"),
        ({"eve_intercept_prob": 0.05}, "errors in X"),
        ({"eve_blinding_prob": 0.5}, "double clicks"),
        ({"dark_count_hz": 140.0}, "darks"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_is_not_as_told_deviates(fault: dict[str, Any], seen_in: str) -> None:
    row = rows(link(), link(**fault), blocks=120)[seen_in]
    assert abs(row.sigmas) > LIMIT_SIGMAS, row
    assert not row.agrees


@pytest.mark.parametrize(
    ("fault", "seen_in"),
    [
        ({"efficiency": 0.83}, "clicks"),
        ({"pair_brightness": 0.0205}, "clicks, transmitter"),
        ({"transmitter_efficiency": 0.53}, "coincidences in Z"),
        ({"pair_brightness": 0.022, "efficiency": 0.775}, "coincidence to accidental"),
        ({"misalignment_prob": 0.013}, "errors in Z"),
        ({"eve_intercept_prob": 0.05}, "errors in X"),
        ({"transmitter_p_z": 0.77}, "transmitter in Z"),
        ({"receiver_p_z": 0.77}, "receiver in Z"),
        ({"dark_count_hz": 140.0}, "darks"),
        ({"transmitter_dark_count_hz": 140.0}, "darks, transmitter"),
        ({"detector_jitter_fwhm_ps": 55}, "arrival, deviation"),
        ({"dead_time_ps": 60_000}, "shortest gap"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_source_of_pairs_that_is_not_as_told_deviates(fault: dict[str, Any], seen_in: str) -> None:
    row = rows(link(PAIRS), link(PAIRS, **fault), blocks=120)[seen_in]
    assert not row.agrees, row
