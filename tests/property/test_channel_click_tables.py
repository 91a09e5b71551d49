"""Whatever a link is made of and whoever sits on it: click tables are probabilities, and lose with every decibel."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_channel.alias import word_counts
from quantum_channel.clicks import ClickTable, click_table
from quantum_channel.conditions import Attack, Conditions
from quantum_channel.parameters import Parameters
from quantum_channel.response import respond
from quantum_channel.ways import AFTERPULSE_CODES, STRAY, UNIFORM

ROUNDING: Final = 1e-12
many = settings(deadline=None, derandomize=True, max_examples=60)
PROB = st.floats(0, 1)


@st.composite
def links(draw: Any) -> Parameters:
    is_paired = draw(st.booleans())
    is_binned = draw(st.booleans())
    strong = draw(st.floats(0.01, 5))
    return Parameters(
        length_km=0,
        attenuation_db_per_km=0,
        connector_count=0,
        connector_loss_db=0,
        extra_loss_db=0,
        receiver_loss_db=0,
        clock_hz=1e9,
        intensities=(strong, strong * draw(st.floats(0, 0.9))),
        intensity_probs=(0.4, 0.6),
        transmitter_p_z=draw(PROB),
        receiver_p_z=draw(PROB),
        misalignment_prob=0,
        efficiency=1,
        dark_count_hz=0,
        dead_time_ps=0,
        afterpulse_prob=0,
        afterpulse_tau_ps=0,
        source_jitter_fwhm_ps=0,
        detector_jitter_fwhm_ps=0,
        link_jitter_fwhm_ps=0,
        pair_brightness=draw(st.floats(1e-6, 3)) if is_paired else 0.0,
        is_passive=draw(st.booleans()),
        bin_separation_ps=400.0 if is_binned else 0.0,
        bin_width_ps=300.0 if is_binned else 0.0,
        efficiency_mismatch_ratio=draw(PROB),
    )


@st.composite
def natures(draw: Any) -> Conditions:
    receiver = draw(PROB), draw(PROB)
    fibre = draw(PROB)
    dark = draw(st.floats(0, 0.1))
    return Conditions(
        detection_probs=(receiver[0] * fibre, receiver[1] * fibre),
        receiver_probs=receiver,
        wrong_probs=(draw(st.floats(0, 0.5)), draw(st.floats(0, 0.5))),
        dark_probs=(dark, dark),
        sigma_ps=draw(st.floats(1, 100)),
        offset_ps=0.0,
        dead_slots=0,
        afterpulse_prob=0.0,
        afterpulse_tau_slots=0.0,
        intensity_ratio=draw(st.floats(0, 2)),
        intensity_sigma_ratio=draw(st.sampled_from([0.0, 0.3, 1.0])),
        transmitter_prob=draw(PROB),
        transmitter_dark_prob=draw(st.floats(0, 0.1)),
        attack=Attack(draw(PROB), draw(PROB), draw(PROB), draw(PROB), draw(st.sampled_from([0.0, 80.0]))),
    )


def fitted(link: Parameters, nature: Conditions) -> Conditions:
    """With as many darks as there are detectors."""
    return replace(nature, dark_probs=nature.dark_probs[:1] * (4 if link.is_passive else 2))


def clicks(table: ClickTable) -> Any:
    return table.cells.sum(axis=-1)


def marginal(table: ClickTable) -> Any:
    """Of the receiver's sets, whatever the transmitter's detectors register."""
    detectors = table.ways.detectors[AFTERPULSE_CODES : AFTERPULSE_CODES + table.cells.shape[-1]]
    return np.stack([table.cells[..., detectors == mask].sum(axis=-1) for mask in range(16)], axis=-1)


@given(links(), natures())
@many
def test_tables_are_probabilities_and_codes_mean_what_they_say(link: Parameters, nature: Conditions) -> None:
    nature = fitted(link, nature)
    table = click_table(link, nature)
    assert table.cells.min() >= 0
    assert clicks(table).max() <= 1 + ROUNDING
    assert abs(table.class_probs.sum() - 1) < ROUNDING
    assert abs(table.stray_probs.sum() - 1) < ROUNDING
    ways = table.ways
    assert (ways.detectors > 0).all()
    assert ways.detectors[AFTERPULSE_CODES:].max() < (16 if link.is_passive else 4)
    # a click that strays is the same click, of which the transmitter's part is open
    assert (ways.detectors[ways.strays] == ways.detectors).all()
    assert (ways.begets[ways.strays] == ways.begets).all()
    if (ways.partners > 0).any():
        assert (ways.partners[ways.strays][ways.landings != UNIFORM] == STRAY).all()
    response = respond(link, nature)
    for row, probs in zip(response.cells, table.cells.reshape(-1, table.cells.shape[-1]), strict=True):
        counts = word_counts(row)
        assert counts.sum() == 2**32
        assert not counts[len(probs) :].any()
        if probs.sum() > 0.0:
            # each border between two ways is rounded to a word
            assert np.abs(counts[: len(probs)] - probs / probs.sum() * 2**32).max() <= 1.001
    assert response.accept.max() <= 2**32
    assert 0 <= response.click_prob <= response.candidate_prob + ROUNDING
    assert abs(response.click_prob - float((clicks(table) * table.class_probs).sum())) < ROUNDING


@given(links(), natures(), st.floats(0, 1))
@many
def test_more_loss_never_makes_more_clicks(link: Parameters, nature: Conditions, left: float) -> None:
    nature = fitted(link, nature)
    less = replace(nature, detection_probs=(nature.detection_probs[0] * left, nature.detection_probs[1] * left))
    assert (clicks(click_table(link, less)) <= clicks(click_table(link, nature)) + ROUNDING).all()


@given(links(), natures())
@many
def test_nothing_is_told_across_a_link_of_pairs_by_the_choice_of_a_basis(link: Parameters, nature: Conditions) -> None:
    # whoever blinds detectors tells something: she knows the transmitter's basis
    nature = fitted(link, replace(nature, attack=replace(nature.attack, blinding_prob=0.0)))
    table = click_table(replace(link, pair_brightness=link.pair_brightness or 0.1), nature)
    there = marginal(table)
    assert np.abs(there - there[:, ::-1]).max() < ROUNDING
    # nor does the transmitter's bit, which is not used
    assert np.array_equal(there[:, :, :, 0], there[:, :, :, 1])


@given(links(), natures(), PROB)
@many
def test_intercept_resend_keeps_the_clicks_of_equal_detectors(link: Parameters, nature: Conditions, eta: float) -> None:
    nature = fitted(link, replace(nature, detection_probs=(eta, eta), wrong_probs=(0.0, 0.0), attack=Attack()))
    # all photons are kept: where time bins lose some, they lose as many of either bit
    tables = [click_table(link, replace(nature, attack=Attack(intercept_prob=share))) for share in (0.0, 1.0)]
    assert np.abs(clicks(tables[0]) - clicks(tables[1])).max() < ROUNDING


@given(links(), natures())
@many
def test_blinded_detectors_click_alone_and_where_bases_match(link: Parameters, nature: Conditions) -> None:
    nature = fitted(link, replace(nature, attack=Attack(blinding_prob=1.0)))
    table = click_table(link, nature)
    there = marginal(table)
    assert not there[..., [3, *range(5, 8), *range(9, 16)]].any()
    if not link.is_passive:
        assert not there[:, [0, 1], [1, 0]].any()
