"""What a probe tells beside clicks: what both ends chose, and what the transmitter's own detectors do by themselves."""

import math
import sys
from dataclasses import MISSING, fields
from typing import Any, Final

import numpy as np
import pytest

import qnetem.runtime.rng_compiled  # noqa: F401  # the compiled choice function is there
from qnetem.runtime.rng import receiver_choices, transmitter_choices
from quantum_channel.conditions import conditions
from quantum_channel.controls import UNTOUCHED
from quantum_channel.course import Cell
from quantum_channel.drift import STILL
from quantum_channel.pairs import pair_gain
from quantum_channel.parameters import Parameters
from quantum_channel.probe import chosen_classes, dark_response, partner_singles
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys
from quantum_channel.sampler_compiled import sample
from quantum_channel.train import PROBE_BLOCK

TRANSMITTER, RECEIVER = b"transmitter-----", b"receiver--------"
KEYS: Final = Keys.of(b"nature----------", TRANSMITTER, RECEIVER)


def link(**changes: Any) -> Parameters:
    nothing: dict[str, Any] = {field.name: 0 for field in fields(Parameters) if field.default is MISSING}
    given = {"clock_hz": 1e9, "intensities": (0.4, 0.1), "intensity_probs": (0.3, 0.7), "efficiency": 0.5}
    return Parameters(**{**nothing, **given, "transmitter_p_z": 0.7, "receiver_p_z": 0.6, **changes})


@pytest.mark.parametrize("is_compiled", [True, False])
def test_classes_are_what_both_ends_chose(monkeypatch: pytest.MonkeyPatch, is_compiled: bool) -> None:
    pulses = np.random.default_rng(7).integers(0, 1 << 63, 5000, dtype=np.uint64)
    bases, levels, bits = transmitter_choices(TRANSMITTER, pulses, 0.7, (0.3, 0.7))
    others, _ = receiver_choices(RECEIVER, pulses, 0.6)
    if not is_compiled:
        monkeypatch.delitem(sys.modules, "qnetem.runtime.rng_compiled")
    classes = chosen_classes(respond(link()), KEYS, pulses)
    assert classes.dtype == np.uint8
    assert (classes == ((levels * 2 + bases) * 2 + others) * 2 + bits).all()


@pytest.mark.parametrize("dark_hz", [0.0, 1e5])
def test_the_transmitters_own_detectors_click_as_often_as_pairs_are_made(dark_hz: float) -> None:
    brightness, own, clicks = 0.05, 0.3, 200_000
    response = respond(link(pair_brightness=brightness, transmitter_efficiency=own, transmitter_dark_count_hz=dark_hz))
    singles = partner_singles(response, KEYS, PROBE_BLOCK, clicks)
    counts = singles.detector_0_count, singles.detector_1_count, singles.both_count
    assert sum(counts) == clicks
    # each polarisation holds as many pairs as a thermal mode of mean lambda
    share = 1 - math.exp(-dark_hz / 1e9) / (1 + own * brightness)
    any_prob, both_prob = 1 - (1 - share) ** 2, share**2
    assert clicks / singles.pulse_count == pytest.approx(any_prob, rel=5 / clicks**0.5)
    assert counts[2] / clicks == pytest.approx(both_prob / any_prob, rel=5 / counts[2] ** 0.5)
    assert counts[0] == pytest.approx(counts[1], abs=5 * clicks**0.5)
    # what one end sees alone is what it sees when the other sees everything
    seen = pair_gain(brightness, (own, 1.0), (1 - math.exp(-2 * dark_hz / 1e9), 1.0), 0.0).gain_prob
    assert seen == pytest.approx(any_prob, rel=1e-9)


def test_detectors_that_see_nothing_are_not_waited_for_for_ever() -> None:
    response = respond(link(pair_brightness=0.05))
    assert partner_singles(response, KEYS, PROBE_BLOCK, 10).pulse_count == 1 << 40
    rare = respond(link(pair_brightness=1e-12, transmitter_efficiency=0.5))
    singles = partner_singles(rare, KEYS, PROBE_BLOCK, 10**6)
    assert singles.pulse_count == 1 << 40
    # lambda photons in each polarisation, half of them seen
    seen = singles.detector_0_count + singles.detector_1_count
    assert abs(seen - 2**40 * 1e-12) <= 5 * (2**40 * 1e-12) ** 0.5 + 1


@pytest.mark.parametrize("changes", [{}, {"pair_brightness": 0.05, "transmitter_efficiency": 0.5}])
def test_with_its_source_off_a_link_is_dark(changes: dict[str, float]) -> None:
    p = link(**changes, dark_count_hz=1e5, transmitter_dark_count_hz=3e5)
    response = dark_response(Cell(p, STILL, respond(p, conditions(p)), 1.0, None), UNTOUCHED)
    blocks = 200
    clicks = len(sample(response, KEYS, PROBE_BLOCK, blocks, COLD)[0].offsets)
    expected = 2 * 1e-4 * blocks * 2**20
    assert clicks == pytest.approx(expected, abs=5 * expected**0.5)
    assert response.has_partners == bool(changes)
    if changes:
        assert response.partner_probs[1:].sum() == pytest.approx(1 - math.exp(-6e-4), rel=1e-9)
