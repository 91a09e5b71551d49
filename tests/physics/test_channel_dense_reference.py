"""The sparse sampler against a dense one that looks at every pulse, and against exact expectations.

5 sigma, fixed seeds.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from typing import Any, Final

import numpy as np
import pytest
from dense_link import Choices, Record, chosen, dense_record

from qnetem.runtime.rng import BLOCK_PULSES, transmitter_choices
from quantum_channel.alias import alias_table, word_counts
from quantum_channel.conditions import conditions
from quantum_channel.parameters import Parameters
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys
from quantum_channel.sampler_compiled import sample

KEYS: Final = Keys.of(b"nature----------", b"transmitter-----", b"receiver--------")
BRIGHT: Final = Parameters(
    length_km=10,
    attenuation_db_per_km=0.2,
    connector_count=2,
    connector_loss_db=0.3,
    extra_loss_db=0,
    receiver_loss_db=1,
    clock_hz=1e9,
    intensities=(0.5, 0.1),
    intensity_probs=(0.6, 0.4),
    transmitter_p_z=0.7,
    receiver_p_z=0.6,
    misalignment_prob=0.05,
    efficiency=0.6,
    dark_count_hz=2e6,
    dead_time_ps=0,
    afterpulse_prob=0,
    afterpulse_tau_ps=0,
    source_jitter_fwhm_ps=0,
    detector_jitter_fwhm_ps=0,
    link_jitter_fwhm_ps=0,
)
CASES: Final = {
    "light and darks": BRIGHT,
    "darks only": replace(BRIGHT, efficiency=0),
    "three intensities": replace(BRIGHT, intensities=(0.5, 0.2, 0.0), intensity_probs=(0.3, 0.3, 0.4)),
    "dead time": replace(BRIGHT, dead_time_ps=20_000),
    "long dead time, which is skipped": replace(BRIGHT, dead_time_ps=400_000),
    "jitter": replace(BRIGHT, source_jitter_fwhm_ps=300, detector_jitter_fwhm_ps=400, link_jitter_fwhm_ps=500),
    "jitter and dead time": replace(BRIGHT, detector_jitter_fwhm_ps=900, dead_time_ps=5_000),
    "jitter and skipped dead time": replace(BRIGHT, detector_jitter_fwhm_ps=900, dead_time_ps=300_000),
    "afterpulses": replace(BRIGHT, extra_loss_db=15, afterpulse_prob=0.3, afterpulse_tau_ps=20_000, dead_time_ps=3_000),
    "afterpulses behind a skipped dead time": replace(
        BRIGHT, afterpulse_prob=0.4, afterpulse_tau_ps=5_000, dead_time_ps=200_000
    ),
    "everything": replace(
        BRIGHT,
        detector_jitter_fwhm_ps=700,
        afterpulse_prob=0.2,
        afterpulse_tau_ps=30_000,
        dead_time_ps=50_000,
        misalignment_prob=0.2,
    ),
}
PASSIVE: Final = replace(BRIGHT, is_passive=True)
PAIRS: Final = replace(
    BRIGHT,
    pair_brightness=0.15,
    transmitter_efficiency=0.5,
    transmitter_dark_count_hz=3e6,
    intensities=(0.3,),
    intensity_probs=(1.0,),
)
EVERYTHING: Final[dict[str, Any]] = {
    "efficiency_mismatch_ratio": 0.4,
    "detector_jitter_fwhm_ps": 250,
    "afterpulse_prob": 0.1,
    "afterpulse_tau_ps": 30_000,
    "dead_time_ps": 20_000,
    "eve_intercept_prob": 0.5,
}
CASES |= {
    "unequal detectors": replace(BRIGHT, efficiency_mismatch_ratio=0.4),
    "light that fluctuates": replace(BRIGHT, intensities=(3.0, 0.5), intensity_sigma_ratio=0.6),
    "passive": PASSIVE,
    "passive with bright light": replace(PASSIVE, intensities=(4.0, 0.5), efficiency_mismatch_ratio=0.3),
    "intercepted": replace(BRIGHT, eve_intercept_prob=0.6),
    "split": replace(BRIGHT, eve_splitting_prob=0.8, intensities=(1.5, 0.4)),
    "split and intercepted, passive": replace(PASSIVE, eve_splitting_prob=0.5, eve_intercept_prob=0.5),
    "blinded": replace(BRIGHT, eve_blinding_prob=0.7, extra_loss_db=3, afterpulse_prob=0.2, afterpulse_tau_ps=9_000),
    "blinded, passive": replace(PASSIVE, eve_blinding_prob=0.7, extra_loss_db=3),
    "shifted": replace(BRIGHT, eve_time_shift_ps=200, efficiency_mismatch_ratio=0.5, detector_jitter_fwhm_ps=100),
    "everything, passive": replace(PASSIVE, **EVERYTHING, eve_blinding_prob=0.3, eve_time_shift_ps=150),
    "pairs": PAIRS,
    "bright pairs, unequal detectors": replace(PAIRS, pair_brightness=0.8, efficiency_mismatch_ratio=0.5),
    "pairs at a passive receiver": replace(PAIRS, is_passive=True, pair_brightness=0.5),
    "pairs intercepted": replace(PAIRS, eve_intercept_prob=1.0, pair_brightness=0.5),
    "pairs intercepted at a passive receiver": replace(PAIRS, is_passive=True, eve_intercept_prob=1.0),
    "pairs and blinded detectors": replace(PAIRS, eve_blinding_prob=0.6, extra_loss_db=3),
    "everything with pairs": replace(PAIRS, **EVERYTHING),
}
BLOCKS: Final = 3
FIRST: Final = 17


def classes(record: Any, chosen: Choices) -> Any:
    """Clicks by all that may tell: intensity, bases, the bit that was sent, detectors, the transmitter's own."""
    at = record.slots
    place = ((chosen.intensity[at] * 2 + chosen.basis[at]) * 2 + chosen.other[at]) * 2 + chosen.bit[at]
    return np.bincount((place.astype(np.int64) * 16 + record.detectors) * 4 + record.partners, minlength=3 * 8 * 64)


def outcomes(record: Any, chosen: Choices, has_pairs: bool) -> Any:
    """Clicks by bases, and by what is seen of the bit that was sent, or that the transmitter detected: few bins."""
    at = record.slots
    is_one = record.partners == 2 if has_pairs else chosen.bit[at] == 1
    swapped = (record.detectors & 5) << 1 | (record.detectors & 10) >> 1
    place = (chosen.basis[at] * 2 + chosen.other[at]) * 3 + np.array([0, 1, 1, 2])[record.partners]
    return np.bincount(place * 16 + np.where(is_one, swapped, record.detectors), minlength=12 * 16)


def distance(a: Any, b: Any, chosen: Choices, p: Parameters, sigmas_apart: Callable[..., float]) -> float:
    """How far two records are apart in what they differ most, sigma: classes, detectors, gaps, arrivals."""
    log_bins = np.unique(np.geomspace(1, 1e5, 60).astype(np.int64))
    gaps = np.concatenate(([0], p.dead_time_ps // 1000 + log_bins, [10**9]))
    arrivals = np.concatenate(([-1e9], np.arange(-462.5, 463, 37.0), [1e9]))
    histograms = (
        lambda r: classes(r, chosen),
        lambda r: outcomes(r, chosen, p.pair_brightness > 0),
        lambda r: np.bincount(r.detectors, minlength=16),
        lambda r: [len(r.slots)],
        lambda r: np.histogram(np.diff(r.slots), gaps)[0],
        lambda r: np.histogram(r.arrivals_ps, arrivals)[0],
        # of one bit, of the other
        lambda r: [np.histogram(r.arrivals_ps[(r.detectors & 5 > 0) == bit], arrivals)[0] for bit in (0, 1)],
    )
    return max(sigmas_apart(of(a), of(b)) for of in histograms)


@cache
def reference(case: str) -> tuple[Choices, Record]:
    """What both ends chose, and the dense record."""
    choices = chosen(CASES[case], FIRST, BLOCKS)
    return choices, dense_record(CASES[case], choices, 2026)


@pytest.fixture
def sampled(record: Callable[..., Record], plain_nature: Callable[..., Any]) -> Callable[[Parameters], Record]:
    """The channel's own record of the same blocks."""
    return lambda p: record(sample(respond(p, plain_nature(p)), KEYS, FIRST, BLOCKS, COLD)[0])


@pytest.mark.parametrize("case", CASES)
def test_the_channel_takes_the_links_for_what_they_are(case: str, plain_nature: Callable[..., Any]) -> None:
    found, expected = conditions(CASES[case]), plain_nature(CASES[case])
    assert found.attack == expected.attack
    for name in (field.name for field in fields(expected) if field.name != "attack"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9), name


@pytest.mark.parametrize("case", CASES)
def test_classes_gaps_arrivals_and_doubles_are_those_of_the_dense_reference(
    case: str, sampled: Callable[..., Record], sigmas_apart: Callable[..., float]
) -> None:
    parameters, (choices, dense), sparse = CASES[case], reference(case), sampled(CASES[case])
    assert len(sparse.slots) > 1000
    assert np.diff(sparse.slots).min() > parameters.dead_time_ps // 1000
    assert distance(sparse, dense, choices, parameters, sigmas_apart) < 5


@pytest.mark.parametrize(
    ("case", "change"),
    [
        ("everything", {"dead_time_ps": 52_000}),
        ("everything", {"misalignment_prob": 0.24}),
        ("everything", {"detector_jitter_fwhm_ps": 800.0}),
        ("everything", {"dark_count_hz": 6e6}),
        ("everything", {"extra_loss_db": 0.4}),
        ("afterpulses", {"afterpulse_prob": 0.4}),
        ("afterpulses", {"afterpulse_tau_ps": 50_000}),
        ("light that fluctuates", {"intensity_sigma_ratio": 0.5}),
        ("passive", {"receiver_p_z": 0.61}),
        ("unequal detectors", {"efficiency_mismatch_ratio": 0.38}),
        ("intercepted", {"eve_intercept_prob": 0.52}),
        ("split", {"eve_splitting_prob": 0.77}),
        ("blinded", {"eve_blinding_prob": 0.68}),
        ("shifted", {"eve_time_shift_ps": 195.0}),
        ("pairs", {"transmitter_efficiency": 0.48}),
        ("pairs", {"pair_brightness": 0.155}),
        ("pairs intercepted", {"eve_intercept_prob": 0.85}),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else given,
)
def test_the_comparison_sees_a_change_of_any_parameter(
    case: str, change: dict[str, Any], sampled: Callable[..., Record], sigmas_apart: Callable[..., float]
) -> None:
    parameters, (choices, dense) = CASES[case], reference(case)
    assert distance(sampled(replace(parameters, **change)), dense, choices, parameters, sigmas_apart) > 5


@pytest.mark.parametrize("case", ["light and darks", "passive", "pairs"])
def test_the_comparison_sees_a_wrong_cell(
    case: str, plain_nature: Callable[..., Any], record: Callable[..., Record], sigmas_apart: Callable[..., float]
) -> None:
    # three clicks in a hundred are taken for the first way to click
    parameters, (choices, dense) = CASES[case], reference(case)
    response = respond(parameters, plain_nature(parameters))
    counts = [word_counts(row) * 97 // 100 for row in response.cells]
    for ways in counts:
        ways[0] += 2**32 - ways.sum()
    cells = np.stack([alias_table(ways.tolist()) for ways in counts])
    wrong = record(sample(replace(response, cells=cells), KEYS, FIRST, BLOCKS, COLD)[0])
    assert distance(wrong, dense, choices, parameters, sigmas_apart) > 5


def by_outcome(record: Any, choices: Any) -> np.ndarray[Any, Any]:
    """Clicks by intensity, match, and outcome: the bit that was sent, the other, both."""
    at = record.slots
    sent = 1 + choices.bit[at]
    outcome = np.where(record.detectors == 3, 2, np.where(record.detectors == sent, 0, 1))
    place = (choices.intensity[at] * 2 + choices.is_match[at]) * 3 + outcome
    return np.bincount(place.astype(np.int64), minlength=18)


@pytest.mark.parametrize("misalignment_prob", [0.0, 0.03, 0.5])
def test_without_dead_time_every_class_has_its_exact_expectation(
    misalignment_prob: float, record: Any, sigmas_off: Callable[..., float]
) -> None:
    parameters = replace(BRIGHT, misalignment_prob=misalignment_prob)
    blocks = 8
    choices = chosen(parameters, 0, blocks)
    sampled, _ = sample(respond(parameters), KEYS, 0, blocks, COLD)
    counts = by_outcome(record(sampled), choices)[:12].reshape(2, 2, 3)
    eta = 0.6 * 10 ** (-(10 * 0.2 + 2 * 0.3 + 1) / 10)
    quiet = np.exp(-2e6 / 1e9)
    expected = np.zeros((2, 2, 3))
    for k, mean in enumerate((0.5 * eta, 0.1 * eta)):
        for match, wrong in ((0, 0.5), (1, misalignment_prob)):
            trials = int(((choices.intensity == k) & (choices.is_match == match)).sum())
            silent = [quiet * np.exp(-mean * (1 - wrong)), quiet * np.exp(-mean * wrong)]
            expected[k, match] = trials * np.array(
                [(1 - silent[0]) * silent[1], silent[0] * (1 - silent[1]), (1 - silent[0]) * (1 - silent[1])]
            )
    assert sigmas_off(counts, expected) < 5
    assert counts.sum() == pytest.approx(expected.sum(), abs=5 * expected.sum() ** 0.5)


@pytest.mark.parametrize(("p_ap", "tau_ps"), [(0.05, 3_000), (0.2, 100_000)])
def test_afterpulses_add_their_share_of_all_clicks_to_every_intensity(p_ap: float, tau_ps: int, record: Any) -> None:
    # Q_k = D_k + p_ap Qbar (PHYSICS 4), where clicks are so sparse that no daughter meets another click
    parameters = replace(
        BRIGHT, extra_loss_db=30, dark_count_hz=0, afterpulse_prob=p_ap, afterpulse_tau_ps=tau_ps, dead_time_ps=2_000
    )
    blocks = 400
    sampled, _ = sample(respond(parameters), KEYS, 0, blocks, COLD)
    eta = 0.6 * 10 ** (-(10 * 0.2 + 2 * 0.3 + 1 + 30) / 10)
    direct = -np.expm1(-np.array(parameters.intensities) * eta)
    mean = float(np.dot(direct, parameters.intensity_probs))
    gains = direct + p_ap * mean
    pulses = blocks * BLOCK_PULSES
    slots = record(sampled).slots
    _, intensity, _ = transmitter_choices(
        b"transmitter-----", slots.astype(np.uint64), parameters.transmitter_p_z, parameters.intensity_probs
    )
    for k, prob in enumerate(parameters.intensity_probs):
        expected = pulses * prob * gains[k]
        # a click and its daughter come together: variance (1 + 3 p_ap) of the direct clicks at most
        assert int((intensity == k).sum()) == pytest.approx(expected, abs=5 * (expected * (1 + 3 * p_ap)) ** 0.5)
