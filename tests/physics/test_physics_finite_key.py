"""Finite keys and post-processing against physics-cases.json, and the default profiles against their table."""

import json
from math import exp
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from node.qkd.estimation import binary_entropy, hoeffding_deviation, one_decoy_key_estimate
from node.qkd.reconciliation import CascadeReceiver, CascadeTransmitter
from node.qkd.sifting import sift_transmitter
from node.qkd.verification import collision_prob
from qnetem.runtime.rng import receiver_choices, transmitter_choices

CASES = {case["id"]: case for case in json.loads((Path(__file__).parent / "physics-cases.json").read_text())["cases"]}
REPLAYED: Final = {
    "rusca18-n1e+06-10dB",
    "rusca18-n1e+06-40dB",
    "rusca18-n1e+07-26dB",
    "rusca18-n1e+08-10dB",
    "rusca18-n1e+08-40dB",
    "rusca18-n1e+09-26dB",
    "bb84-threshold",
    "hoeffding-delta",
    "polyhash-eps",
    "cascade-f-Q0.01",
    "cascade-f-Q0.05",
}


def cases(prefix: str) -> list[Any]:
    chosen = [pytest.param(case, id=name) for name, case in CASES.items() if name.startswith(prefix)]
    assert chosen
    return chosen


@pytest.mark.parametrize("case", cases("rusca18-"))
def test_finite_key_length_of_rusca_2018(case: dict[str, Any]) -> None:
    given = case["inputs"]
    intensities, probs = (given["mu1"], given["mu2"]), (given["p1"], 1 - given["p1"])
    eta = given["eta_det"] * 10 ** (-given["loss_db"] / 10)
    seen = [1 - exp(-k * eta) for k in intensities]
    gains = [p * (s + given["pdc"]) for p, s in zip(probs, seen, strict=True)]
    errors = [p * (s * given["perr"] + given["pdc"] / 2) for p, s in zip(probs, seen, strict=True)]
    n_z = given["nZ"]
    z_counts = [n_z * gain / sum(gains) for gain in gains]
    z_errors = [n_z * error / sum(gains) for error in errors]
    x_share = ((1 - given["pz"]) / given["pz"]) ** 2
    result = one_decoy_key_estimate(
        z_counts=z_counts,
        z_error_counts=z_errors,
        x_counts=[count * x_share for count in z_counts],
        x_error_counts=[count * x_share for count in z_errors],
        intensities=intensities,
        intensity_probs=probs,
        eps_sec=given["eps_sec"],
        eps_cor=given["eps_cor"],
        leaked_bits=given["fEC"] * n_z * binary_entropy(sum(z_errors) / n_z),
    )
    assert result.secret_bits == pytest.approx(case["expected"], rel=case["tolerance"])


# PHYSICS 6, default profiles at a leakage of 1.12: (km, block bits) -> secret bits per sifted bit
PROFILES = {
    "snspd": {
        "efficiency": 0.85,
        "dark_count_hz": 100,
        "afterpulse_prob": 0.0,
        "intensities": (0.40, 0.13),
        "probs": (0.35, 0.65),
        "p_z": 0.78,
    },
    "apd": {
        "efficiency": 0.20,
        "dark_count_hz": 500,
        "afterpulse_prob": 0.02,
        "intensities": (0.20, 0.05),
        "probs": (0.25, 0.75),
        "p_z": 0.80,
    },
}


@pytest.mark.parametrize(
    ("profile", "length_km", "fraction"),
    [("snspd", 25, 0.185), ("snspd", 50, 0.170), ("apd", 25, 0.185), ("apd", 50, 0.179), ("apd", 80, 0.160)],
)
def test_default_profiles_make_the_key_of_their_table(profile: str, length_km: float, fraction: float) -> None:
    device: dict[str, Any] = PROFILES[profile]
    block_bits, clock_hz, misalignment_prob = 1e5, 1e9, 0.01
    eta = device["efficiency"] * 10 ** (-(0.20 * length_km + 2 * 0.3 + 2.0) / 10)
    no_dark = (1 - device["dark_count_hz"] / clock_hz) ** 2
    direct = [1 - no_dark * exp(-k * eta) for k in device["intensities"]]
    mean = sum(p * d for p, d in zip(device["probs"], direct, strict=True))
    after = device["afterpulse_prob"] * mean
    gains = [p * (d + after) for p, d in zip(device["probs"], direct, strict=True)]
    errors = [
        p * ((1 - exp(-k * eta)) * misalignment_prob + (1 - no_dark) / 2 * exp(-k * eta) + after / 2)
        for p, k in zip(device["probs"], device["intensities"], strict=True)
    ]
    z_counts = [block_bits * gain / sum(gains) for gain in gains]
    z_errors = [block_bits * error / sum(gains) for error in errors]
    x_share = ((1 - device["p_z"]) / device["p_z"]) ** 2
    result = one_decoy_key_estimate(
        z_counts=z_counts,
        z_error_counts=z_errors,
        x_counts=[count * x_share for count in z_counts],
        x_error_counts=[count * x_share for count in z_errors],
        intensities=device["intensities"],
        intensity_probs=device["probs"],
        eps_sec=1e-10,
        eps_cor=1e-15,
        leaked_bits=1.12 * block_bits * binary_entropy(sum(z_errors) / block_bits),
    )
    # the table has three digits
    assert result.secret_bits / block_bits == pytest.approx(fraction, abs=0.001)


def test_intensities_that_look_plausible_may_make_no_key() -> None:
    # PHYSICS 6: mu .5/.15, p_mu .7, p_Z .9, a block of 10^6: X is too small
    x_share = (0.1 / 0.9) ** 2
    probs, gains = (0.7, 0.3), (0.7 * 0.5, 0.3 * 0.15)
    z_counts = [1e6 * gain / sum(gains) for gain in gains]
    result = one_decoy_key_estimate(
        z_counts=z_counts,
        z_error_counts=[0.01 * count for count in z_counts],
        x_counts=[x_share * count for count in z_counts],
        x_error_counts=[0.01 * x_share * count for count in z_counts],
        intensities=(0.5, 0.15),
        intensity_probs=probs,
        eps_sec=1e-10,
        eps_cor=1e-15,
        leaked_bits=1.12e6 * binary_entropy(0.01),
    )
    assert (result.secret_bits, result.reason != "") == (0, True)


def test_bb84_threshold() -> None:
    case = CASES["bb84-threshold"]
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - 2 * binary_entropy(middle) > 0 else (low, middle)
    assert low == pytest.approx(case["expected"], abs=case["tolerance"])


def test_hoeffding_deviation() -> None:
    case = CASES["hoeffding-delta"]
    found = hoeffding_deviation(case["inputs"]["n"], case["inputs"]["eps"])
    assert found == pytest.approx(case["expected"], rel=case["tolerance"])


def test_collision_bound_of_the_polynomial_hash() -> None:
    case = CASES["polyhash-eps"]
    found = collision_prob(int(case["inputs"]["n_bits"]), case["inputs"]["t"])
    assert found == pytest.approx(case["expected"], rel=case["tolerance"])


def test_share_of_clicks_that_survive_sifting() -> None:
    case = CASES["sift-pz0.5"]
    indices = np.arange(case["sample_size"], dtype=np.uint64)
    bases, intensities, bits = transmitter_choices(bytes(16), indices, case["inputs"]["pzA"], (0.5, 0.5))
    measured, _ = receiver_choices(bytes(range(16)), indices, case["inputs"]["pzB"])
    sift = sift_transmitter(bases, intensities, bits, measured, is_test=False)
    assert float(sift.matches.mean()) == pytest.approx(case["expected"], abs=case["tolerance"])


@pytest.mark.parametrize("case", cases("cascade-f-"))
def test_efficiency_of_cascade(case: dict[str, Any]) -> None:
    qber_prob, bit_count, frames = case["inputs"]["Q"], case["inputs"]["n"], case["inputs"]["frames"]
    rng = np.random.default_rng(20_150_101)
    disclosed_bits = needed_bits = 0.0
    for seed in range(frames):
        sent = rng.integers(0, 2, bit_count, dtype=np.uint8)
        errors = (rng.random(bit_count) < qber_prob).astype(np.uint8)
        receiver, transmitter = CascadeReceiver(sent ^ errors, seed, qber_prob), CascadeTransmitter(sent, seed)
        while (queries := receiver.next_queries()) is not None:
            receiver.take_answers(transmitter.answer(queries))
        assert np.array_equal(receiver.bits, sent)
        disclosed_bits += receiver.disclosed_count
        needed_bits += bit_count * binary_entropy(float(errors.mean()))
    low, high = case["expected"]
    assert low <= disclosed_bits / needed_bits <= high
