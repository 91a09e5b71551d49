"""Rates of protocols, thresholds, two-decoy keys, intervals and the search for optima, against independent counts."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any, Final

import numpy as np
import pytest

from node.planning import single_photon, thresholds
from node.planning.measurement_device_independent import MdiLink
from node.planning.optimum import best, last_positive
from node.planning.published_links import lim_block, rusca_block
from node.planning.twin_field import PhaseMatchingLink, repeaterless_bound
from node.qkd.asymptotic import DecoyLink
from node.qkd.two_decoy import two_decoy_key_estimate
from qnetem.runtime.errors import BadInputError
from qnetem.runtime.intervals import wilson_interval

MEANS: Final = (0.45, 0.15, 0.001)
PROBS: Final = (0.6, 0.25, 0.15)
BLOCK: Final[dict[str, Any]] = {
    "key_counts": (7e6, 1e6, 5e3),
    "test_counts": (9e4, 1.3e4, 100),
    "test_error_counts": (900, 150, 20),
    "intensities": MEANS,
    "intensity_probs": PROBS,
    "eps_sec": 1e-10,
    "eps_cor": 1e-15,
    "leaked_bits": 0,
}


def lim(**changes: Any) -> Any:
    given = {
        "block_bits": 1e7,
        "survival_prob": 0.01,
        "dark_prob": 1e-6,
        "afterpulse_prob": 0.02,
        "misalignment_prob": 0.01,
        "key_basis_prob": 0.9,
        "intensities": MEANS,
        "intensity_probs": PROBS,
    }
    return lim_block(**{**given, **changes})


def rusca(**changes: Any) -> Any:
    given = {
        "block_bits": 1e6,
        "survival_prob": 0.05,
        "dark_prob": 1e-8,
        "misalignment_prob": 0.01,
        "key_basis_prob": 0.9,
        "intensities": MEANS[:2],
        "intensity_probs": (0.6, 0.4),
        "clock_hz": 1e9,
        "dead_time_s": 1e-7,
    }
    return rusca_block(**{**given, **changes})


def test_the_best_of_a_function_is_found_within_and_at_the_ends() -> None:
    place, value = best(lambda x: 3 - (x - 0.3) ** 2, 0, 1)
    assert (place, value) == (pytest.approx(0.3, abs=1e-6), pytest.approx(3, abs=1e-12))
    assert best(lambda x: x, 0, 1) == (1, 1)
    assert best(lambda x: -x, 0, 1) == (0, 0)
    # of two hills the higher
    assert best(lambda x: math.sin(12 * x) + x, 0, 1)[0] == pytest.approx(0.6615, abs=1e-3)


def test_the_end_of_a_rate_is_found_or_the_question_refused() -> None:
    assert last_positive(lambda x: 2 - x * x, 0, 5) == pytest.approx(2**0.5, abs=1e-8)
    for value in (lambda _: 1.0, lambda _: -1.0):
        with pytest.raises(BadInputError, match="above 0"):
            last_positive(value, 0, 5)


def test_two_decoys_never_promise_more_single_photons_than_there_are() -> None:
    rng = np.random.default_rng(20_140_201)
    photons = np.arange(12)
    poisson = [np.exp(-k) * k**photons / [math.factorial(n) for n in photons] for k in MEANS]
    eta, dark, pulses = 0.1, 1e-5, 10**9
    clicks = 1 - (1 - dark) * (1 - eta) ** photons
    errors = (dark / 2 + 0.02 * (1 - (1 - eta) ** photons)) / clicks
    for _ in range(40):
        counts = np.array(
            [
                [rng.poisson(pulses * p * m * c) for m, c in zip(ms, clicks, strict=True)]
                for p, ms in zip(PROBS, poisson, strict=True)
            ]
        )
        tests = rng.binomial(counts, 0.05)
        wrong = rng.binomial(tests, errors)
        found = two_decoy_key_estimate(
            key_counts=counts.sum(axis=1),
            test_counts=tests.sum(axis=1),
            test_error_counts=wrong.sum(axis=1),
            intensities=MEANS,
            intensity_probs=PROBS,
            eps_sec=1e-10,
            eps_cor=1e-15,
            leaked_bits=0,
        )
        assert 0.9 * counts[:, 1].sum() < found.single_count <= counts[:, 1].sum()
        assert found.vacuum_count <= counts[:, 0].sum()
        assert errors[1] <= found.phase_error_prob < 0.05
        assert found.secret_bits <= found.single_count + found.vacuum_count


def test_a_third_of_the_leak_is_a_third_off_the_key() -> None:
    whole = two_decoy_key_estimate(**BLOCK).secret_bits
    assert whole > 0
    assert two_decoy_key_estimate(**{**BLOCK, "leaked_bits": 1000}).secret_bits == pytest.approx(whole - 1000, abs=1)
    none = two_decoy_key_estimate(**{**BLOCK, "leaked_bits": whole + 10})
    assert (none.secret_bits, none.reason) == (0, "leak")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key_counts": (0, 0, 0), "test_counts": (0, 0, 0), "test_error_counts": (0, 0, 0)}, "no-counts"),
        ({"key_counts": (7e6, 10, 5e3)}, "single-photon-bound"),
        ({"test_error_counts": (9e4, 1.3e4, 100)}, "phase-error-bound"),
    ],
)
def test_counts_that_prove_nothing_give_no_key_and_say_why(change: dict[str, Any], reason: str) -> None:
    found = two_decoy_key_estimate(**{**BLOCK, **change})
    assert (found.secret_bits, found.reason) == (0, reason)


def test_a_decoy_proves_less_than_is_true_and_more_decoys_more() -> None:
    link = DecoyLink(1e-3, 1e-6, 0.02, 1.16)
    true, proven = link.single, link.vacuum_weak(0.5, 0.1)
    assert 0.9 * true.yield_prob < proven.yield_prob < true.yield_prob
    assert true.error_prob < proven.error_prob < 2 * true.error_prob
    assert link.plain_rate(0.5) < 0 < link.decoy_rate(0.5, 0.1) < link.decoy_rate(0.5)
    # without decoys the pulse has to be about as faint as the link: eta/2 and less
    place, rate = best(DecoyLink(0.05, 1e-6, 0.02, 1.16).plain_rate, 1e-4, 0.2)
    assert rate > 0
    assert 0.01 < place < 0.05


def test_a_decoy_that_shows_nothing_proves_nothing() -> None:
    blind = DecoyLink(0.0, 1e-3, 0.02).vacuum_weak(0.5, 0.49)
    assert blind.yield_prob == pytest.approx(1e-3, rel=0.3) or (blind.yield_prob, blind.error_prob) == (0, 0.5)
    assert blind.error_prob == pytest.approx(0.5, abs=1e-6)


def test_six_states_bear_more_errors_than_four_and_devices_less() -> None:
    assert thresholds.bb84_threshold_prob() < thresholds.six_state_threshold_prob()
    assert thresholds.six_state_fraction(0.0) == thresholds.bb84_fraction(0.0) == 1
    assert thresholds.device_independent_fraction(thresholds.QUANTUM_CHSH, 0.0) == pytest.approx(1, abs=1e-6)
    # Acin et al. 2007: for a Werner pair the key ends at 7.1 % errors, S = 2.43
    ends = last_positive(
        lambda q: thresholds.device_independent_fraction(thresholds.werner_chsh(1 - 2 * q), q), 0.001, 0.14
    )
    assert ends == pytest.approx(0.071, abs=0.0005)


def test_single_photons_approach_the_asymptotic_fraction() -> None:
    bits = single_photon.single_photon_key_bits(1e12, 1e12, 0.02, efficiency=1.0, eps_sec=1e-9, eps_cor=1e-12)
    assert bits / 1e12 == pytest.approx(thresholds.bb84_fraction(0.02), abs=1e-4)
    small = single_photon.single_photon_key_bits(1e3, 1e2, 0.02, efficiency=1.1, eps_sec=1e-9, eps_cor=1e-12)
    assert small < 0


def test_a_bell_measurement_half_way_clicks_on_single_photons_as_enumerated() -> None:
    eta, p, ed = (0.3, 0.5), 0.01, 0.0
    # detectors: H and V at either port. Equal bits bunch in one detector, other ones part into one H and one V
    yields = 0.0
    for is_equal, arrived in product((True, False), product((True, False), repeat=2)):
        prob = 0.5 * math.prod(e if a else 1 - e for e, a in zip(eta, arrived, strict=True))
        lit_h, lit_v = (sum(arrived) > 0, False) if is_equal else arrived
        for darks in product((True, False), repeat=4):
            dark_prob = math.prod(p if d else 1 - p for d in darks)
            clicks_h, clicks_v = (darks[0] or lit_h) + darks[1], (darks[2] or lit_v) + darks[3]
            yields += prob * dark_prob * (clicks_h == 1 and clicks_v == 1)
    assert MdiLink(eta, p, ed).single.yield_prob == pytest.approx(yields, rel=1e-12)


def test_a_bell_measurement_half_way_clicks_on_coherent_light_as_integrated() -> None:
    (ea, eb), p, ed, mean = (0.2, 0.4), 0.02, 0.03, 0.6
    phases = (np.arange(1000) + 0.5) * 2 * math.pi / 1000

    def exactly_one(mean_1: Any, mean_2: Any) -> Any:
        quiet_1, quiet_2 = (1 - p) * np.exp(-mean_1), (1 - p) * np.exp(-mean_2)
        return (1 - quiet_1) * quiet_2 + quiet_1 * (1 - quiet_2)

    correct = exactly_one(ea * mean / 2, ea * mean / 2) * exactly_one(eb * mean / 2, eb * mean / 2) / 2
    beat = mean * math.sqrt(ea * eb) * np.cos(phases)
    wrong = (exactly_one((ea + eb) * mean / 2 + beat, (ea + eb) * mean / 2 - beat) * exactly_one(0, 0)).mean() / 2
    gain, error = MdiLink((ea, eb), p, ed).gain_and_error(mean)
    assert gain == pytest.approx(correct + wrong, rel=1e-9)
    assert error == pytest.approx((ed * correct + (1 - ed) * wrong) / (correct + wrong), rel=1e-9)


def test_without_errors_a_bell_measurement_half_way_gives_a_key_of_all_single_photons() -> None:
    rate = MdiLink((0.2, 0.3), 0.0, 0.0).rate(0.4)
    assert rate == pytest.approx(0.16 * math.exp(-0.8) * 0.03, rel=1e-9)


def test_measurement_device_independence_reaches_far_and_needs_good_detectors() -> None:
    def rate(km: float, eta: float) -> float:
        return MdiLink((eta * 10 ** (-0.2 * km / 20),) * 2, 1e-7, 0.015).best_rate()[1]

    assert rate(100, 0.8) > 1e-5
    assert rate(100, 0.8) > 15 * rate(100, 0.1) > 0
    assert not rate(700, 0.8) > 0


def test_clicks_of_phase_matching_come_from_photons_and_darks() -> None:
    link, mean = PhaseMatchingLink(0.05, 1e-4), 0.3
    poisson = [math.exp(-mean) * mean**k / math.factorial(k) for k in range(30)]
    gain = sum(q * (1 - (1 - 2e-4) * 0.95**k) for k, q in enumerate(poisson))
    assert link.gain_prob(mean) == pytest.approx(gain, rel=1e-9)
    # faint, almost noiseless light: phase errors are the even photons, about mu/2
    assert PhaseMatchingLink(1.0, 0.0, 64).phase_error_prob(0.01) == pytest.approx(0.005, rel=0.02)
    assert repeaterless_bound(0.5) == 1


def test_the_interval_of_a_share_holds_it_as_often_as_it_says() -> None:
    trials, share = 60, 0.08
    probs = [math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(trials + 1)]
    held = 0.0
    for k, prob in enumerate(probs):
        low, high = wilson_interval(k, trials)
        held += prob * (low <= share <= high)
    assert 0.93 < held < 0.98
    assert wilson_interval(0, 10)[0] == 0
    assert wilson_interval(10, 10)[1] == 1


def test_expected_blocks_hold_what_was_asked_for() -> None:
    for block in (lim(), rusca()):
        assert sum(block.test_counts) / sum(block.key_counts) == pytest.approx(1 / 81, rel=1e-12)
    assert sum(lim().key_counts) == pytest.approx(1e7, rel=1e-12)
    assert 0.01 < rusca().key_error_prob < 0.011
    assert rusca(dead_time_s=0).pulse_count < rusca().pulse_count


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_rates_refuse_what_cannot_be(bad: float) -> None:
    link, twin, mdi = DecoyLink(0.1, 1e-6, 0.01), PhaseMatchingLink(0.1, 1e-6), MdiLink((0.1, 0.1), 1e-6, 0.01)
    walk: list[Callable[[], object]] = [
        lambda: best(math.sin, 0, bad),
        lambda: best(lambda _: math.nan, 0, 1),
        lambda: DecoyLink(bad, 1e-6, 0.01),
        lambda: DecoyLink(0.1, bad, 0.01),
        lambda: DecoyLink(0.1, 0.0, 0.01),
        lambda: DecoyLink(0.1, 1e-6, 0.01, bad),
        lambda: link.gain_prob(bad),
        lambda: link.decoy_rate(bad),
        lambda: link.decoy_rate(0.5, bad),
        lambda: link.decoy_rate(0.5, 0.6),
        lambda: link.plain_rate(bad),
        lambda: thresholds.bb84_fraction(bad),
        lambda: thresholds.bb84_fraction(0.1, 0.99),
        lambda: thresholds.six_state_fraction(bad),
        lambda: thresholds.werner_chsh(bad),
        lambda: thresholds.device_independent_fraction(bad, 0.1),
        lambda: thresholds.device_independent_fraction(2.0, 0.1),
        lambda: thresholds.device_independent_fraction(2.9, 0.1),
        lambda: single_photon.sampling_deviation(bad, 1, 1e-9),
        lambda: single_photon.single_photon_key_bits(1, 1, bad, efficiency=1, eps_sec=1e-9, eps_cor=1e-9),
        lambda: single_photon.single_photon_key_bits(1, 1, 0.1, efficiency=1, eps_sec=bad, eps_cor=1e-9),
        lambda: single_photon.single_photon_key_bits(1, 1, 0.1, efficiency=0.9, eps_sec=1e-9, eps_cor=1e-9),
        lambda: PhaseMatchingLink(bad, 1e-6),
        lambda: PhaseMatchingLink(0.1, 0.6),
        lambda: PhaseMatchingLink(0.1, 1e-6, 5),
        lambda: PhaseMatchingLink(0.1, 1e-6, 16, bad),
        lambda: twin.rate(bad),
        lambda: PhaseMatchingLink(0.0, 0.0).rate(0.1),
        lambda: repeaterless_bound(bad),
        lambda: MdiLink((bad, 0.1), 1e-6, 0.01),
        lambda: MdiLink((0.1, 0.1), 1e-6, 0.01, bad),
        lambda: mdi.rate(bad),
        lambda: MdiLink((0.0, 0.1), 0.0, 0.01).single,
        lambda: wilson_interval(3, 2),
        lambda: wilson_interval(0, 0),
        lambda: wilson_interval(1, 2, bad),
        lambda: lim(block_bits=bad),
        lambda: lim(survival_prob=bad),
        lambda: lim(intensity_probs=(0.5, 0.2, 0.2)),
        lambda: lim(key_basis_prob=bad),
        lambda: rusca(dark_prob=bad),
        lambda: rusca(clock_hz=0),
        lambda: rusca(intensities=(0.5,)),
    ]
    for wrong in walk:
        with pytest.raises(BadInputError):
            wrong()


@pytest.mark.parametrize(
    "change",
    [
        {"key_counts": (1, 2)},
        {"key_counts": (1, 2, -1)},
        {"key_counts": (1, 2, math.nan)},
        {"test_error_counts": (9e4, 1.3e4, 101)},
        {"intensities": (0.45, 0.15)},
        {"intensities": (0.45, 0.3, 0.2)},
        {"intensities": (0.45, 0.15, -0.1)},
        {"intensities": (math.inf, 0.15, 0.0)},
        {"intensity_probs": (0.6, 0.4, 0.0)},
        {"intensity_probs": (0.6, 0.4, 0.4)},
        {"eps_sec": 0},
        {"eps_cor": 1},
        {"leaked_bits": -1},
        {"leaked_bits": math.nan},
    ],
)
def test_two_decoys_refuse_counts_and_settings_that_cannot_be(change: dict[str, Any]) -> None:
    with pytest.raises(BadInputError):
        two_decoy_key_estimate(**{**BLOCK, **change})
