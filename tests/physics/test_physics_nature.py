"""Replay of the listed cases about what fibre, air, sources, clocks and Eve do, on the functions that say so.

Statistical ones draw the listed number of samples, in parts, from seeded generators of the tests' own.
"""

import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from quantum_channel import clock, dispersion, eve, freespace, pairs, polarisation, raman
from quantum_channel.detector import click_prob

CASES: Final = {
    case["id"]: case for case in json.loads((Path(__file__).parent / "physics-cases.json").read_text())["cases"]
}
REPLAYED: Final = {
    "fibre-GVD-100ps-50km",
    "fibre-dispersion-linewidth",
    "raman-forward-10km",
    "raman-backward-50km",
    "bbm92-pdc-E",
    "clock-skew-1ppb-10s",
    "clock-ptp-asym",
    "sat-500km-zenith",
    "eve-PNS-decoy-ratio",
    "eve-beamsplit",
}


def agrees(case: dict[str, Any], value: float) -> None:
    scale = abs(case["expected"]) if case["tolerance_kind"].startswith("rel") else 1.0
    assert value == pytest.approx(case["expected"], abs=case["tolerance"] * scale, rel=0)


def test_a_pulse_widens_as_listed() -> None:
    given = CASES["fibre-GVD-100ps-50km"]["inputs"]
    width_ps = dispersion.dispersed_fwhm_ps(given["fwhm_ps"], given["L_km"], given["D"], given["lam_nm"])
    agrees(CASES["fibre-GVD-100ps-50km"], width_ps)
    given = CASES["fibre-dispersion-linewidth"]["inputs"]
    sigma_ps = dispersion.linewidth_sigma_ps(given["L_km"], given["D"], given["sigma_lambda_nm"])
    agrees(CASES["fibre-dispersion-linewidth"], sigma_ps)


def test_polarisation_that_drifts_makes_the_listed_errors() -> None:
    case = CASES["pol-walk-0.1tau"]
    taus, trials, part = case["inputs"]["t_over_tau"], case["sample_size"], 100_000
    agrees(case, polarisation.error_prob_mean(taus, 1.0))
    rng = np.random.default_rng(20_070_601)
    wrong = 0
    for step_count in range(1, 1 + trials // part):
        # one drift per bit, cut into one step and into several
        normals = rng.normal(size=(1 + step_count % 3, part, 3))
        error_z, _ = polarisation.basis_errors(polarisation.walked(polarisation.ALIGNED, taus, 1.0, normals))
        wrong += int((rng.random(part) < error_z).sum())
    agrees(case, wrong / trials)


def raman_w(given: dict[str, Any], direction: str) -> float:
    power = raman.forward_w if direction == "forward" else raman.backward_w
    attenuation = given.get("alpha", 0.2)
    return power(given["P_launch_mW"] * 1e-3, given["L_km"], attenuation, given["beta_per_km_nm"], given["filter_nm"])


@pytest.mark.parametrize("name", ["raman-forward-10km", "raman-backward-50km"])
def test_classical_light_makes_the_listed_noise(name: str) -> None:
    given = CASES[name]["inputs"]
    power_w = raman_w(given, name.split("-")[1])
    agrees(CASES[name], raman.detected_per_gate(power_w, given["gate_ns"] * 1e-9, given["eta_rx"], given["lam_nm"]))


def test_classical_light_makes_detectors_click_as_listed() -> None:
    case = CASES["raman-mc-forward-50km"]
    given, gates = case["inputs"], case["sample_size"]
    mean = raman.detected_per_gate(raman_w(given, "forward"), given["gate_ns"] * 1e-9, given["eta_rx"])
    agrees(case, click_prob(mean, 0.0))
    rng = np.random.default_rng(20_100_601)
    agrees(case, sum(int((rng.poisson(mean, gates // 20) > 0).sum()) for _ in range(20)) / gates)


def test_pairs_err_as_listed() -> None:
    given = CASES["bbm92-pdc-E"]["inputs"]
    efficiencies, darks = (given["etaA"], given["etaB"]), (given["Y0A"], given["Y0B"])
    agrees(CASES["bbm92-pdc-E"], pairs.pair_gain(given["lam"], efficiencies, darks, given["ed"]).error_prob)


def test_clocks_part_as_listed() -> None:
    given = CASES["clock-skew-1ppb-10s"]["inputs"]
    agrees(CASES["clock-skew-1ppb-10s"], clock.time_error_ps(given["t_s"], given["x0_ps"], given["y0"]))
    given = CASES["clock-ptp-asym"]["inputs"]
    bias_ps = clock.two_way_bias_ps(given["delay_fwd_us"] * 1e6, given["delay_rev_us"] * 1e6)
    agrees(CASES["clock-ptp-asym"], bias_ps)


@pytest.mark.parametrize("step_count", [1, 40])
def test_a_random_walk_of_frequency_takes_the_clock_as_far_as_listed(step_count: int) -> None:
    case = CASES["clock-rwfm"]
    given, clocks = case["inputs"], case["sample_size"]
    agrees(case, clock.random_walk_fm_sigma_ps(given["t_s"], given["b"]))
    normals = np.random.default_rng(19_660_201).normal(size=(2, step_count, clocks))
    path_ps = clock.random_walk_fm_path_ps(given["t_s"] / step_count, given["b"], normals)
    agrees(case, float(np.sqrt((path_ps[-1] ** 2).mean())))


def test_a_satellite_overhead_is_as_far_in_decibels_as_listed() -> None:
    given = CASES["sat-500km-zenith"]["inputs"]
    eta = freespace.freespace_survival_prob(
        given["range_km"], given["div_urad_half"] * 1e-6, given["rx_radius_m"], zenith_loss_db=given["atm_db"]
    )
    agrees(CASES["sat-500km-zenith"], -10 * math.log10(eta))


def test_photon_number_splitting_shows_in_the_decoy_as_listed() -> None:
    case = CASES["eve-PNS-decoy-ratio"]
    given = case["inputs"]
    decoy, signal = (
        eve.photon_number_splitting_gain_prob(given[k], given["eta_bob"], given["Y0"]) for k in ("nu", "mu")
    )
    agrees(case, decoy / signal)


def test_beam_splitting_learns_as_much_as_listed() -> None:
    given = CASES["eve-beamsplit"]["inputs"]
    agrees(CASES["eve-beamsplit"], eve.beam_splitting_prob(given["mu"], given["eta"]))
