"""Stretches of a train that are sampled before it is known what the one before them leaves: the same clicks."""

from dataclasses import replace
from typing import Final

import numpy as np
import pytest

from quantum_channel import sampler_compiled
from quantum_channel.conditions import conditions
from quantum_channel.course import Cell, Run
from quantum_channel.drift import STILL, Weather
from quantum_channel.drift_chance import Chance
from quantum_channel.parameters import Parameters
from quantum_channel.passage import START, Left, pass_runs, sample_ahead
from quantum_channel.response import Response, respond
from quantum_channel.sampler import Carry, Keys, Sample
from quantum_channel.train import Train

KEYS: Final = Keys.of(bytes(range(3, 19)), bytes(range(4, 20)), bytes(range(5, 21)))
STRETCHES: Final = 60
BLOCKS: Final = 2
PLAIN: Final = Parameters(
    length_km=0,
    attenuation_db_per_km=0.2,
    connector_count=0,
    connector_loss_db=0,
    extra_loss_db=0,
    receiver_loss_db=0,
    clock_hz=1e9,
    intensities=(0.4, 0.13),
    intensity_probs=(0.35, 0.65),
    transmitter_p_z=0.78,
    receiver_p_z=0.6,
    misalignment_prob=0.01,
    efficiency=0.2,
    dark_count_hz=1000,
    dead_time_ps=50_000,
    afterpulse_prob=0,
    afterpulse_tau_ps=0,
    source_jitter_fwhm_ps=0,
    detector_jitter_fwhm_ps=50,
    link_jitter_fwhm_ps=0,
)
LINKS: Final = {
    "often blanked": PLAIN,
    "seldom blanked": replace(PLAIN, dead_time_ps=2_000),
    "clicks leave their slots": replace(PLAIN, link_jitter_fwhm_ps=2_000, dead_time_ps=20_000),
    "no dead time": replace(PLAIN, dead_time_ps=0, link_jitter_fwhm_ps=2_000),
    "few clicks": replace(PLAIN, efficiency=1e-6, dark_count_hz=300, dead_time_ps=20_000),
    "blanked for long": replace(PLAIN, efficiency=1e-6, dark_count_hz=1_000, dead_time_ps=1_500_000_000),
    "passed over": replace(PLAIN, dead_time_ps=10_000_000),
    "afterpulses": replace(PLAIN, afterpulse_prob=0.2, afterpulse_tau_ps=100_000),
}
FELT: Final = ("often blanked", "seldom blanked", "clicks leave their slots", "no dead time", "blanked for long")


class Counting:
    """The sampler, and how many blocks it was asked for."""

    def __init__(self) -> None:
        self.blocks = 0

    def __call__(
        self, response: Response, keys: Keys, first_block: int, block_count: int, carry: Carry
    ) -> tuple[Sample, Carry]:
        self.blocks += block_count
        return sampler_compiled.sample(response, keys, first_block, block_count, carry)


def same(one: Sample, other: Sample) -> bool:
    names = ("block_counts", "offsets", "detectors", "arrivals_ps", "partners")
    return all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in names)


def leaves_the_same(one: Left, other: Left) -> bool:
    return one.carry.due_slots.tolist() == other.carry.due_slots.tolist() and (
        one.carry.blanked_to == other.carry.blanked_to
    )


@pytest.mark.parametrize("name", LINKS)
def test_what_was_sampled_ahead_is_what_is_sampled_in_its_turn(name: str) -> None:
    link, weather = cell(LINKS[name]), Weather(Chance(bytes(16)))
    train, left = Train(0, STRETCHES * BLOCKS, 0, 1000.0), START
    # blocks that were sampled again, and whether the stretch before was felt
    again, felt = [], []
    for block in range(0, STRETCHES * BLOCKS, BLOCKS):
        runs = [Run(block, BLOCKS, link)]
        in_turn, left_in_turn = pass_runs(sampler_compiled.sample, KEYS, weather, train, runs, left)
        ahead = sample_ahead(sampler_compiled.sample, KEYS, runs)
        counting = Counting()
        passed, left_behind = pass_runs(counting, KEYS, weather, train, runs, left, ahead)
        assert same(passed.tagged, in_turn.tagged)
        assert leaves_the_same(left_behind, left_in_turn)
        again.append(counting.blocks)
        felt.append(ahead is not None and not same(ahead[0][0], in_turn.tagged))
        left = left_in_turn
    if name in ("passed over", "afterpulses"):
        # each hangs on the one before it
        assert set(again) == {BLOCKS}
    elif name in ("few clicks", "blanked for long"):
        assert BLOCKS in again
    else:
        # all but the first, before which nothing may land, are as they were sampled, or begin anew and go on
        assert 0 in again[1:]
        assert set(again[1:]) <= {0, 1}
    # were what is left not looked at, these would be wrong
    assert any(felt) == (name in FELT)


def cell(p: Parameters) -> Cell:
    return Cell(p, STILL, respond(p, conditions(p)), 1.0, None)


def test_stretches_of_many_kinds_are_the_same_ahead_and_in_turn() -> None:
    dark = Cell(PLAIN, STILL, None, 1.0, None)
    pairs = replace(PLAIN, pair_brightness=0.2, transmitter_efficiency=0.3, transmitter_dark_count_hz=1e5)
    kinds = [
        dark,
        *(cell(LINKS[name]) for name in ("often blanked", "clicks leave their slots", "passed over", "afterpulses")),
        cell(replace(PLAIN, clock_offset_ps=400, clock_skew_ppb=3e3, clock_white_ps=20)),
        cell(replace(pairs, link_jitter_fwhm_ps=900)),
    ]
    rng, weather, left = np.random.default_rng(11), Weather(Chance(bytes(16))), START
    stretches, block, ahead_count = 150, 0, 0
    train = Train(0, 4 * stretches, 0, 1000.0)
    for _ in range(stretches):
        runs = []
        for kind in rng.integers(0, len(kinds), rng.integers(1, 4)):
            runs.append(Run(block, 1, kinds[kind]))
            block += 1
        in_turn, left_in_turn = pass_runs(sampler_compiled.sample, KEYS, weather, train, runs, left)
        ahead = sample_ahead(sampler_compiled.sample, KEYS, runs)
        passed, left_behind = pass_runs(sampler_compiled.sample, KEYS, weather, train, runs, left, ahead)
        assert same(passed.sample, in_turn.sample)
        assert same(passed.tagged, in_turn.tagged)
        assert leaves_the_same(left_behind, left_in_turn)
        assert left_behind.first == left_in_turn.first
        ahead_count += ahead is not None
        left = left_in_turn
    assert stretches / 3 < ahead_count < stretches
