"""Links of entangled pairs as the channel draws them: gain and errors of Ma, Fung, Lo, and Bell's inequality.

The channel measures in Z and X at both ends. Where the correlations along both are alike, as those of a Werner pair,
the four settings of CHSH that lie half-way between them give S = sqrt2 (E_ZZ + E_XX). The listed cases are replayed on
what runs: test_channel_cases_running.
"""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from dense_link import RECEIVER, TRANSMITTER

from node.planning.thresholds import werner_chsh
from quantum_channel.clicks import click_table
from quantum_channel.conditions import Conditions
from quantum_channel.eve import intercept_resend_chsh
from quantum_channel.pairs import pair_gain, pair_number_prob
from quantum_channel.parameters import Parameters
from quantum_channel.sampler import Keys
from quantum_channel.ways import AFTERPULSE_CODES

KEYS: Final = Keys.of(b"nature----------", TRANSMITTER, RECEIVER)
CASES: Final = {
    case["id"]: case for case in json.loads((Path(__file__).parent / "physics-cases.json").read_text())["cases"]
}
NATURE = Callable[[Parameters], Conditions]
LINK: Final = Parameters(
    length_km=0,
    attenuation_db_per_km=0.2,
    connector_count=0,
    connector_loss_db=0,
    extra_loss_db=0,
    receiver_loss_db=0,
    clock_hz=1e9,
    intensities=(0.5,),
    intensity_probs=(1.0,),
    transmitter_p_z=0.5,
    receiver_p_z=0.5,
    misalignment_prob=0,
    efficiency=1,
    dark_count_hz=0,
    dead_time_ps=0,
    afterpulse_prob=0,
    afterpulse_tau_ps=0,
    source_jitter_fwhm_ps=0,
    detector_jitter_fwhm_ps=0,
    link_jitter_fwhm_ps=0,
    pair_brightness=1e-4,
    transmitter_efficiency=1,
)


@pytest.mark.parametrize("name", ["chsh-W1.0", "chsh-W0.85", "eve-IR-CHSH-full"])
def test_bells_inequality_is_violated_as_listed(plain_nature: NATURE, name: str) -> None:
    case = CASES[name]
    weight, share = case["inputs"].get("werner", 1.0), case["inputs"].get("p", 0.0)
    assert intercept_resend_chsh(share, weight) == pytest.approx(case["expected"], abs=1e-9)
    if not share:
        assert werner_chsh(weight) == pytest.approx(case["expected"], abs=1e-9)
    link = replace(LINK, pair_brightness=1e-8, misalignment_prob=(1 - weight) / 2, eve_intercept_prob=share)
    _, error = coincidences(link, plain_nature(link))
    along_z, along_x = 1 - 2 * np.diagonal(error)
    assert math.sqrt(2) * (along_z + along_x) == pytest.approx(case["expected"], abs=1e-6)


def test_two_pairs_come_at_once_as_often_as_listed() -> None:
    case = CASES["spdc-p2-lam0.05"]
    assert pair_number_prob(case["inputs"]["lam"], 2) == pytest.approx(case["expected"], rel=1e-9)


def coincidences(link: Parameters, nature: Conditions) -> tuple[Any, Any]:
    """Gain and error by bases, exactly. Shapes (2, 2)."""
    table = click_table(link, nature)
    codes = slice(AFTERPULSE_CODES, AFTERPULSE_CODES + table.cells.shape[-1])
    mine, theirs = (np.array([0, 1, -1, 0])[sets[codes] & 3] for sets in (table.ways.partners, table.ways.detectors))
    both = (table.ways.partners[codes] > 0) * table.cells[0, :, :, 0]
    gain = both.sum(axis=-1)
    return gain, 0.5 - (both * mine * theirs).sum(axis=-1) / gain / 2.0


@pytest.mark.parametrize("brightness", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("is_passive", [False, True])
def test_gain_and_error_are_those_of_ma_fung_and_lo(plain_nature: NATURE, brightness: float, is_passive: bool) -> None:
    link = replace(LINK, pair_brightness=brightness, efficiency=0.1, transmitter_efficiency=0.3, misalignment_prob=0.02)
    if is_passive:
        # all light to the detectors of Z
        link = replace(link, is_passive=True, receiver_p_z=1.0)
    for dark_hz, rel in ((0.0, 1e-9), (1e2, 1e-5)):
        dark = -math.expm1(-dark_hz / 1e9)
        yields = (1 - (1 - dark) ** 2, 1 - (1 - dark) ** (4 if is_passive else 2))
        expected = pair_gain(brightness, (0.3, 0.1), yields, 0.02)
        given = replace(link, dark_count_hz=dark_hz, transmitter_dark_count_hz=dark_hz)
        gain, error = coincidences(given, plain_nature(given))
        assert gain[0, 0] == pytest.approx(expected.gain_prob, rel=1e-9)
        if not (is_passive and dark_hz):
            assert error[0, 0] == pytest.approx(expected.error_prob, rel=rel)
        if not is_passive:
            assert error[1, 1] == pytest.approx(expected.error_prob, rel=rel)
            assert error[0, 1] == pytest.approx(0.5, abs=1e-9)


def test_the_gain_keeps_its_digits_on_a_long_link(plain_nature: NATURE) -> None:
    link = replace(LINK, pair_brightness=0.01, transmitter_efficiency=0.2, extra_loss_db=80)
    gain, error = coincidences(link, plain_nature(link))
    expected = pair_gain(0.01, (0.2, 1e-8), (0, 0), 0)
    assert gain[1, 1] == pytest.approx(expected.gain_prob, rel=1e-5)
    assert error[1, 1] == pytest.approx(expected.error_prob, rel=1e-3)
