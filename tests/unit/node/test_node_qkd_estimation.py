"""The key length when counts are odd: never a crash, never a number that is not one, always a reason for nothing."""

from math import isfinite
from typing import Any

import pytest

from node.qkd.estimation import KeyEstimate, one_decoy_key_estimate
from qnetem.runtime.errors import BadInputError

GOOD: dict[str, Any] = {
    "z_counts": [54_000, 46_000],
    "z_error_counts": [540, 460],
    "x_counts": [4_300, 3_700],
    "x_error_counts": [43, 37],
    "intensities": (0.4, 0.13),
    "intensity_probs": (0.35, 0.65),
    "eps_sec": 1e-10,
    "eps_cor": 1e-15,
    "leaked_bits": 9_000,
}


def estimate(**changes: Any) -> KeyEstimate:
    return one_decoy_key_estimate(**{**GOOD, **changes})


def test_a_plausible_block_makes_key() -> None:
    result = estimate()
    assert 0 < result.secret_bits < result.vacuum_count + result.single_count
    assert (result.reason, 0 < result.phase_error_prob < 0.5) == ("", True)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"z_counts": [0, 0], "z_error_counts": [0, 0]}, "no-counts"),
        ({"z_counts": [0] * 2, "z_error_counts": [0] * 2, "x_counts": [0] * 2, "x_error_counts": [0] * 2}, "no-counts"),
        ({"x_counts": [0, 0], "x_error_counts": [0, 0]}, "single-photon-bound"),
        ({"z_counts": [100_000, 0], "z_error_counts": [0, 0]}, "single-photon-bound"),
        ({"z_error_counts": GOOD["z_counts"]}, "single-photon-bound"),
        ({"x_error_counts": [2_150, 1_850]}, "single-photon-bound"),
        ({"x_counts": [43_000, 37_000], "x_error_counts": [21_000, 9_000]}, "phase-error-bound"),
        ({"leaked_bits": 100_000}, "leak"),
        ({"z_counts": [5, 5], "z_error_counts": [0, 0]}, "single-photon-bound"),
    ],
)
def test_a_block_that_makes_no_key_says_why(changes: dict[str, Any], reason: str) -> None:
    result = estimate(**changes)
    assert (result.secret_bits, result.reason) == (0, reason)
    assert isfinite(result.vacuum_count + result.single_count + result.phase_error_prob)


def test_every_disclosed_bit_costs_one() -> None:
    assert estimate(leaked_bits=9_000).secret_bits - estimate(leaked_bits=9_128).secret_bits == 128


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"z_counts": [-1, 10]}, "Z: counts"),
        ({"x_error_counts": [5_000, 0]}, "X: counts"),
        ({"z_counts": [float("nan"), 10]}, "Z: counts"),
        ({"x_counts": [1, 2, 3]}, "two intensities"),
        ({"intensities": (0.13, 0.4)}, "intensities"),
        ({"intensities": (0.4, 0.0)}, "intensities"),
        ({"intensity_probs": (1.0, 0.0)}, "intensity probabilities"),
        ({"eps_sec": 0.0}, "eps_sec"),
        ({"eps_cor": 1.0}, "eps_cor"),
        ({"leaked_bits": -1}, "leaked"),
        ({"leaked_bits": float("nan")}, "leaked"),
    ],
)
def test_counts_and_parameters_that_cannot_be_are_refused(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(BadInputError, match=name):
        estimate(**changes)
