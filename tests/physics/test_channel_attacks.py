"""Every eavesdropper and what gives her away (PHYSICS 7): exactly, in the click tables, and counted, by the sampler.

The listed cases are replayed on what runs: test_channel_cases_running. Samples of 5 sigma, fixed seeds.
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

from quantum_channel.clicks import ClickTable, click_table
from quantum_channel.conditions import Conditions
from quantum_channel.eve import (
    honest_match_prob,
    intercept_resend_error_prob,
    photon_number_splitting_gain_prob,
)
from quantum_channel.parameters import Parameters
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys
from quantum_channel.sampler_compiled import sample
from quantum_channel.ways import AFTERPULSE_CODES, UNIFORM

KEYS: Final = Keys.of(b"nature----------", TRANSMITTER, RECEIVER)
CASES: Final = {
    case["id"]: case for case in json.loads((Path(__file__).parent / "physics-cases.json").read_text())["cases"]
}
NATURE = Callable[[Parameters], Conditions]
# the link of the literature (GYS) at 50 km, with both bases
LINK: Final = Parameters(
    length_km=50,
    attenuation_db_per_km=0.21,
    connector_count=0,
    connector_loss_db=0,
    extra_loss_db=0,
    receiver_loss_db=0,
    clock_hz=1e9,
    intensities=(0.48, 0.05),
    intensity_probs=(0.5, 0.5),
    transmitter_p_z=0.7,
    receiver_p_z=0.6,
    misalignment_prob=0.033,
    efficiency=0.045,
    dark_count_hz=850,
    dead_time_ps=0,
    afterpulse_prob=0,
    afterpulse_tau_ps=0,
    source_jitter_fwhm_ps=0,
    detector_jitter_fwhm_ps=50,
    link_jitter_fwhm_ps=0,
)


def gains(table: ClickTable) -> Any:
    """Clicks per pulse of each intensity."""
    weights = table.class_probs / table.class_probs.sum(axis=(1, 2, 3), keepdims=True)
    return (table.cells.sum(axis=-1) * weights).sum(axis=(1, 2, 3))


def qber(table: ClickTable) -> float:
    """Share of wrong bits where bases match, a double click being half wrong."""
    detectors = table.ways.detectors[AFTERPULSE_CODES : AFTERPULSE_CODES + table.cells.shape[-1]]
    wrong = np.stack([np.array([0, 0, 1, 0.5])[detectors], np.array([0, 1, 0, 0.5])[detectors]])
    matching = table.cells[:, [0, 1], [0, 1]] * table.class_probs[:, [0, 1], [0, 1], :, None]
    return float((matching * wrong).sum() / matching.sum())


def match_share(table: ClickTable) -> float:
    clicks = table.cells.sum(axis=-1) * table.class_probs
    return float(clicks[:, [0, 1], [0, 1]].sum() / clicks.sum())


def shares_of(table: ClickTable) -> tuple[float, float]:
    """Shares of clicks that are double, and that come by darks alone."""
    codes = slice(AFTERPULSE_CODES, AFTERPULSE_CODES + table.cells.shape[-1])
    clicks = (table.cells * table.class_probs[..., None]).sum(axis=(0, 1, 2, 3))
    is_double, is_dark = table.ways.detectors[codes] == 3, table.ways.landings[codes] == UNIFORM
    return float(clicks[is_double].sum() / clicks.sum()), float(clicks[is_dark].sum() / clicks.sum())


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_intercept_resend_leaves_the_gain_and_shows_in_the_errors(plain_nature: NATURE, share: float) -> None:
    honest = click_table(LINK, plain_nature(LINK))
    attacked = click_table(LINK, plain_nature(replace(LINK, eve_intercept_prob=share)))
    assert gains(attacked) == pytest.approx(gains(honest), rel=1e-12)
    # dark counts dilute honest and resent light alike
    assert qber(attacked) == pytest.approx(intercept_resend_error_prob(share, qber(honest)), rel=1e-9)
    assert match_share(attacked) == pytest.approx(match_share(honest), rel=1e-12)


@pytest.mark.parametrize("name", ["eve-IR-p0.1", "eve-IR-p0.5", "eve-IR-p0.4-e0.02"])
def test_intercept_resend_errs_as_listed(plain_nature: NATURE, name: str) -> None:
    case = CASES[name]
    given = case["inputs"]
    assert intercept_resend_error_prob(given["p"], given["e0"]) == pytest.approx(case["expected"], abs=1e-12)
    # faint light: double clicks would err by half
    link = replace(LINK, dark_count_hz=0, intensities=(1e-6,), intensity_probs=(1.0,))
    link = replace(link, misalignment_prob=given["e0"], eve_intercept_prob=given["p"])
    assert qber(click_table(link, plain_nature(link))) == pytest.approx(case["expected"], abs=1e-7)


def test_splitting_photon_numbers_shows_in_the_decoy_alone(plain_nature: NATURE) -> None:
    link = replace(LINK, dark_count_hz=0)
    honest = click_table(link, plain_nature(link))
    split = click_table(link, plain_nature(replace(link, eve_splitting_prob=1.0)))
    assert gains(split) == pytest.approx(
        [photon_number_splitting_gain_prob(k, 0.045) for k in LINK.intensities], rel=1e-9
    )
    assert gains(honest)[1] / gains(honest)[0] == pytest.approx(0.1045, abs=0.0005)
    assert gains(split)[1] / gains(split)[0] == pytest.approx(0.0125, abs=0.00005)
    # what is left of doubles is a little different; the photons that pass are as they were
    assert qber(split) == pytest.approx(qber(honest), abs=2e-4)
    # on a fibre of the right loss the signal's gain is the honest one, and the decoy's is not
    gain = gains(split)[0]
    loss_db = 10 * math.log10(0.045 * 0.48 / -math.log1p(-gain))
    far = replace(link, length_km=0, extra_loss_db=loss_db)
    honest, split = (click_table(p, plain_nature(p)) for p in (far, replace(far, eve_splitting_prob=1.0)))
    assert gains(split)[0] == pytest.approx(gains(honest)[0], rel=1e-9)
    assert gains(split)[1] / gains(honest)[1] == pytest.approx(0.12, abs=0.01)


def test_beam_splitting_shows_nowhere(plain_nature: NATURE) -> None:
    honest, split = (respond(link, plain_nature(link)) for link in (LINK, replace(LINK, eve_beam_splitting_prob=1.0)))
    assert honest.cells.tobytes() == split.cells.tobytes()
    assert honest.accept.tobytes() == split.accept.tobytes()
    assert honest.candidate_prob == split.candidate_prob


def test_blinding_matches_bases_and_silences_darks_and_doubles(plain_nature: NATURE) -> None:
    link = replace(LINK, length_km=10)
    honest = click_table(link, plain_nature(link))
    blinded = click_table(link, plain_nature(replace(link, eve_blinding_prob=1.0)))
    assert match_share(honest) == pytest.approx(honest_match_prob(0.7, 0.6), rel=1e-9)
    assert match_share(blinded) == 1
    assert shares_of(blinded) == (0, 0)
    assert min(shares_of(honest)) > 0
    # light alone: she makes no darks. A pulse at which she detects more than one photon makes one click all the same
    light = gains(
        click_table(
            replace(link, dark_count_hz=0),
            replace(plain_nature(link), dark_probs=(0.0,) * (4 if link.is_passive else 2)),
        )
    )
    assert gains(blinded) == pytest.approx(light, rel=0.03)
    assert gains(blinded)[1] == pytest.approx(light[1], rel=0.003)
    assert qber(blinded) == pytest.approx(LINK.misalignment_prob, abs=1e-3)
    half = click_table(link, plain_nature(replace(link, eve_blinding_prob=0.5)))
    assert match_share(half) == pytest.approx((1 + match_share(honest)) / 2, abs=0.01)


def test_blinding_cannot_make_up_for_a_fibre_that_loses_little(plain_nature: NATURE) -> None:
    link = replace(LINK, length_km=0, efficiency=1, dark_count_hz=0)
    honest, blinded = (click_table(p, plain_nature(p)) for p in (link, replace(link, eve_blinding_prob=1.0)))
    # half of all pulses find her in the wrong basis, and of the rest a share the receiver
    reached = honest_match_prob(0.7, 0.6) / 2.0
    assert gains(blinded) == pytest.approx(gains(honest) * reached, rel=1e-9)


@pytest.mark.parametrize("mismatch", [0.0, 0.2, 0.6])
def test_a_time_shift_shows_in_detectors_against_arrival(plain_nature: NATURE, mismatch: float) -> None:
    link = replace(LINK, dark_count_hz=0, efficiency_mismatch_ratio=mismatch)
    attack = replace(link, eve_time_shift_ps=150)
    honest, shifted = (click_table(p, plain_nature(p)) for p in (link, attack))
    # faint light: late, one detector has lost the mismatch again; early, the other has
    left = ((1 + (1 - mismatch) ** 2) / 2 + (1 - mismatch)) / 2
    assert gains(shifted)[1] == pytest.approx(gains(honest)[1] * left / (1 - mismatch / 2), rel=1e-3)
    assert qber(shifted) == pytest.approx(qber(honest), abs=2e-3)

    got, _ = sample(respond(attack, plain_nature(attack)), KEYS, 0, 200, COLD)
    rms_ps = float((got.arrivals_ps.astype(float) ** 2).mean() ** 0.5)
    assert rms_ps == pytest.approx(math.hypot(150, 50 / 2.3548), rel=0.01)
    counts = np.array(
        [[((got.detectors == d) & (got.arrivals_ps * side > 0)).sum() for d in (1, 2)] for side in (1, -1)]
    )
    spread = 5 * (counts[:, 1] / counts[:, 0] * (1 / counts).sum(axis=1) ** 0.5)
    imbalance = counts[:, 1] / counts[:, 0]
    assert abs(imbalance[0] - (1 - mismatch) ** 2) < spread[0]
    assert abs(imbalance[1] - 1) < spread[1]
