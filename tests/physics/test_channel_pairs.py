"""Links of entangled pairs as the channel draws them: gain and errors of Ma, Fung, Lo, and Bell's inequality.

The channel measures in Z and X at both ends. Where the correlations along both are alike, as those of a Werner pair,
the four settings of CHSH that lie half-way between them give S = sqrt2 (E_ZZ + E_XX). The sampler draws at the listed
sample size or above; 5 sigma, fixed seeds.
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
from qnetem.runtime.rng import BLOCK_PULSES, receiver_choices, transmitter_choices
from quantum_channel.clicks import click_table
from quantum_channel.conditions import Conditions
from quantum_channel.eve import intercept_resend_chsh
from quantum_channel.pairs import pair_gain, pair_number_prob
from quantum_channel.parameters import Parameters
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys
from quantum_channel.sampler_compiled import sample
from quantum_channel.ways import AFTERPULSE_CODES

KEYS: Final = Keys.of(b"nature----------", TRANSMITTER, RECEIVER)
CASES: Final = {
    case["id"]: case for case in json.loads((Path(__file__).parent / "physics-cases.json").read_text())["cases"]
}
REPLAYED: Final = {"spdc-p2-lam0.05", "chsh-W1.0", "chsh-W0.85", "eve-IR-CHSH-full"}
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


def correlations(link: Parameters, nature: Conditions, blocks: int) -> tuple[float, float, int]:
    """E_ZZ, E_XX and the smaller number of coincidences; a double click has a random bit."""
    got, _ = sample(respond(link, nature), KEYS, 0, blocks, COLD)
    slots = np.repeat(np.arange(blocks, dtype=np.int64) * BLOCK_PULSES, got.block_counts) + got.offsets
    bases, _, bits = transmitter_choices(TRANSMITTER, slots.astype(np.uint64), link.transmitter_p_z, (1.0,))
    others, other_bits = receiver_choices(RECEIVER, slots.astype(np.uint64), link.receiver_p_z)
    mine = np.where(got.partners == 3, bits, got.partners == 2)
    theirs = np.where(got.detectors == 3, other_bits, got.detectors == 2)
    agree = [(mine == theirs)[(bases == basis) & (others == basis) & (got.partners > 0)] for basis in (0, 1)]
    return 2 * agree[0].mean() - 1, 2 * agree[1].mean() - 1, min(len(agree[0]), len(agree[1]))


@pytest.mark.parametrize("name", ["chsh-W1.0", "chsh-W0.85", "eve-IR-CHSH-full"])
def test_bells_inequality_is_violated_as_listed(plain_nature: NATURE, name: str) -> None:
    case = CASES[name]
    weight, share = case["inputs"].get("werner", 1.0), case["inputs"].get("p", 0.0)
    assert intercept_resend_chsh(share, weight) == pytest.approx(case["expected"], abs=1e-9)
    if not share:
        assert werner_chsh(weight) == pytest.approx(case["expected"], abs=1e-9)
    link = replace(LINK, misalignment_prob=(1 - weight) / 2, eve_intercept_prob=share)
    along_z, along_x, count = correlations(link, plain_nature(link), 10_000)
    # two of four settings each
    assert count >= 2 * case["inputs"]["n_per_setting"]
    assert math.sqrt(2) * (along_z + along_x) == pytest.approx(case["expected"], abs=case["tolerance"])


def test_two_pairs_come_at_once_as_often_as_listed(plain_nature: NATURE) -> None:
    case = CASES["spdc-p2-lam0.05"]
    brightness = case["inputs"]["lam"]
    assert pair_number_prob(brightness, 2) == pytest.approx(case["expected"], rel=1e-9)
    # Perfect threshold detectors tell whether each polarisation is empty. Pairs in one do not depend on those in the
    # other, so that both clicking, share^2, and neither, (1 - share)^2, give two pairs: 3 share^2 (1 - share)^2.
    # Four times the sample: the listed tolerance is that of counting them.
    link = replace(LINK, pair_brightness=brightness)
    blocks = 4 * math.ceil(case["sample_size"] / BLOCK_PULSES)
    got, _ = sample(respond(link, plain_nature(link)), KEYS, 0, blocks, COLD)
    pulses = blocks * BLOCK_PULSES
    doubles, empty = int((got.detectors == 3).sum()) / pulses, 1 - len(got.offsets) / pulses
    assert 3 * doubles * empty == pytest.approx(case["expected"], abs=case["tolerance"])
    # both ends count the same pairs
    slots = np.repeat(np.arange(blocks, dtype=np.int64) * BLOCK_PULSES, got.block_counts) + got.offsets
    bases, *_ = transmitter_choices(TRANSMITTER, slots.astype(np.uint64), 0.5, (1.0,))
    others, _ = receiver_choices(RECEIVER, slots.astype(np.uint64), 0.5)
    assert (got.partners == got.detectors)[bases == others].all()
    assert got.partners.min() > 0


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
