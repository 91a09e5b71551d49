"""What a link is like over a train: the same however it is cut, whoever samples, after any restart."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest

from qnetem.runtime.rng import BLOCK_PULSES
from quantum_channel import raw_time, raw_time_compiled, sampler, sampler_compiled
from quantum_channel.conditions import conditions
from quantum_channel.drift import TICK_PS
from quantum_channel.layers import Series
from quantum_channel.link import Link
from quantum_channel.parameters import Parameters
from quantum_channel.passage import START, Left, Readings, bias_ratio, pass_runs
from quantum_channel.raw_time import GRID_PS, FirstSlot, in_raw_time, shift_ps
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys, Sample, Sampler
from quantum_channel.time_transfer import stamps
from quantum_channel.train import Train
from quantum_channel.wire import partner_clicks

S: Final = 10**12
SECRET: Final = bytes(range(16))
KEYS: Final = Keys.of(SECRET, b"transmitter-----", b"receiver--------")
ARRAYS: Final = ("block_counts", "offsets", "detectors", "arrivals_ps")
CALM: Final = Parameters(
    length_km=25,
    attenuation_db_per_km=0.2,
    connector_count=2,
    connector_loss_db=0.3,
    extra_loss_db=0,
    receiver_loss_db=2,
    clock_hz=1e9,
    intensities=(0.2, 0.05),
    intensity_probs=(0.25, 0.75),
    transmitter_p_z=0.8,
    receiver_p_z=0.8,
    misalignment_prob=0.01,
    efficiency=0.2,
    dark_count_hz=500,
    dead_time_ps=10_000_000,
    afterpulse_prob=0.02,
    afterpulse_tau_ps=1_000_000,
    source_jitter_fwhm_ps=0,
    detector_jitter_fwhm_ps=150,
    link_jitter_fwhm_ps=0,
)
# the gate makes loss and arrivals follow the clock
ROUGH: Final = replace(
    CALM,
    loss_day_db=1,
    day_s=40,
    temperature_swing_k=2,
    loss_wander_db=0.5,
    loss_wander_tau_s=3,
    loss_event_db=2,
    loss_event_hz=1,
    loss_event_s=1,
    polarisation_tau_s=8,
    intensity_wander_ratio=0.05,
    intensity_wander_tau_s=5,
    clock_offset_ps=300,
    clock_skew_ppb=3,
    clock_ageing_ppb_per_day=50,
    clock_white_ps=5,
    clock_walk_ppb=0.5,
    gate_width_ps=600,
)
# 1.5 s from 3,600 s on
TRAIN: Final = Train(1000, 1430, 3600 * S + 123_456_789, 1000.0)


def rough_link(series: Sequence[Series] = ()) -> Link:
    """Drifts, a ramp within the train, a layer that ends in it, a table, an alignment before it."""
    link = Link("a-b", ROUGH, {"dark_count_hz": 800.0}, SECRET, series=series)
    link.align(3599 * S)
    link.tune(3599 * S, gate_offset_ps=20.0, intensity_trim_ratio=1.1)
    link.set({"extra_loss_db": 4.0}, 3600 * S + 4 * 10**11, ramp_s=0.4, duration_s=0.8)
    link.set({"eve_delay_ps": 700.0, "is_up": True}, 3600 * S, duration_s=0.7)
    return link


SERIES: Final = (Series("efficiency", (3600, 3600.5, 3602), (0.2, 0.15, 0.2)),)


def clicks(link: Link, train: Train, cuts: Sequence[int], sample: Sampler = sampler_compiled.sample) -> Sample:
    """Pass a train in stretches that end at `cuts`, blocks of the train."""
    left, parts, block = START, [], train.first_block
    for cut in [*cuts, train.block_count]:
        end = train.first_block + cut
        while block < end:
            runs = link.course.runs(train, block, end)
            passed, left = pass_runs(sample, KEYS, link.course.weather, train, runs, left)
            parts.append(passed.tagged)
            block = runs[-1].end_block
    return Sample(*(np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS))


def same(one: Sample, two: Sample) -> bool:
    return all(getattr(one, name).tobytes() == getattr(two, name).tobytes() for name in ARRAYS)


def test_clicks_do_not_depend_on_how_a_train_is_cut_nor_on_the_process() -> None:
    whole = clicks(rough_link(SERIES), TRAIN, [])
    assert len(whole.offsets) > 20_000
    link = rough_link(SERIES)
    for cuts in ([700], [1, 2, 3, 500, 501, 1400], list(range(37, 1430, 37))):
        assert same(clicks(link, TRAIN, cuts), whole)
    # a new process knows nothing but its configuration and what was told again
    assert same(clicks(rough_link(SERIES), TRAIN, [333, 999]), whole)
    # all of it matters
    for change in ({"eve_delay_ps": 0.0}, {"extra_loss_db": 0.0}, {"loss_wander_db": 0.0}, {"clock_skew_ppb": 4.0}):
        other = rough_link(SERIES)
        other.set(change, 0)
        assert not same(clicks(other, TRAIN, []), whole)


def test_both_samplers_pass_a_drifting_train_alike() -> None:
    train = replace(TRAIN, block_count=30)
    cut = [12]
    assert same(
        clicks(rough_link(SERIES), train, cut, sampler.sample),
        clicks(rough_link(SERIES), train, [], sampler_compiled.sample),
    )


def test_a_calm_link_is_one_run_and_clicks_as_ever() -> None:
    link = Link("a-b", CALM, {}, SECRET)
    runs = link.course.runs(replace(TRAIN, block_count=50), 1000, 1050)
    assert [(run.first_block, run.block_count) for run in runs] == [(1000, 50)]
    assert runs[0].cell.until_ps is None
    expected, _ = sampler_compiled.sample(respond(CALM), KEYS, 1000, 50, COLD)
    assert same(clicks(link, replace(TRAIN, block_count=50), []), expected)


def test_a_ramp_and_its_end_are_where_they_were_asked_for() -> None:
    link = Link("a-b", CALM, {}, SECRET)
    link.set({"extra_loss_db": 6.0}, TRAIN.time_ps(1100), ramp_s=0.4, duration_s=0.8)
    start_ps = TRAIN.time_ps(1100)
    runs = link.course.runs(TRAIN, 1000, 2430)
    losses = {run.first_block: run.cell.parameters.extra_loss_db for run in runs}
    assert losses[1000] == 0
    # the first cell of the ramp may be read before it has begun
    assert 1100 <= runs[1].first_block <= TRAIN.first_from(start_ps + TICK_PS)
    assert 0 < runs[1].cell.parameters.extra_loss_db < 0.5
    held = [run for run in runs if run.cell.parameters.extra_loss_db == 6.0]
    reached_ps = start_ps + 4 * 10**11
    assert TRAIN.first_from(reached_ps - TICK_PS // 2) <= held[0].first_block <= TRAIN.first_from(reached_ps)
    assert held[-1].end_block == TRAIN.first_from(start_ps + 8 * 10**11) == runs[-1].first_block
    assert losses[runs[-1].first_block] == 0
    # within the ramp the line is met to the half of a cell
    for run in runs[1:-1]:
        into_s = (TRAIN.time_ps(run.first_block) - start_ps) / S
        assert losses[run.first_block] == pytest.approx(min(6.0, 15 * into_s), abs=15 / 64 + 1e-9)
    # and light follows: 6 dB less of what is far from saturation
    faint = Link(
        "a-b", replace(CALM, efficiency=0.002, dark_count_hz=0), dict(link.settings), SECRET, layers=link.layers
    )
    counts = clicks(faint, TRAIN, []).block_counts
    before, during, after = (counts[a:b].sum() for a, b in ((0, 100), (500, 800), (900, 1400)))
    assert before / 100 > 3 * during / 300
    assert after / 500 == pytest.approx(before / 100, abs=5 * (before**0.5 / 100 + after**0.5 / 500))


def test_a_link_that_goes_down_for_a_while_is_dark_and_begins_cold() -> None:
    link = Link("a-b", CALM, {}, SECRET)
    link.set({"is_up": False}, TRAIN.time_ps(1010), duration_s=0.0105)
    train = replace(TRAIN, block_count=40)
    counts = clicks(link, train, []).block_counts
    dark = train.first_from(TRAIN.time_ps(1010) + 10_500_000_000) - 1000
    assert (counts[:10] > 0).all()
    assert not counts[10:dark].any()
    assert (counts[dark:] > 0).all()
    for cuts in ([10], [12, 15], [dark], [dark + 1]):
        assert same(clicks(link, train, cuts), clicks(link, train, []))
    cold, _ = sampler_compiled.sample(respond(CALM), KEYS, 1000 + dark, 40 - dark, COLD)
    assert clicks(link, train, []).offsets[-len(cold.offsets) :].tobytes() == cold.offsets.tobytes()


def test_changes_hold_from_the_block_on_that_they_say() -> None:
    link = rough_link()
    expected = [link.course.cell(TRAIN.time_ps(1000 + block)).parameters.misalignment_prob for block in (0, 500)]
    assert expected == [0.01, 0.01]
    link.begin(1500, TRAIN.time_ps(1500))
    before = link.course
    link.set({"misalignment_prob": 0.3}, 0)
    assert link.effective_from_block == 1500
    # what is sampled of blocks before is sampled by the course of then
    assert before.cell(TRAIN.time_ps(1600)).parameters.misalignment_prob == 0.01
    assert link.course.cell(TRAIN.time_ps(1500)).parameters.misalignment_prob == 0.3


def test_an_alignment_undoes_what_the_polarisation_did() -> None:
    link = Link("a-b", replace(CALM, polarisation_tau_s=4), {}, SECRET)
    never = link.drift(3600 * S)
    assert never.error_z_prob + never.error_x_prob > 0.05
    link.align(3600 * S)
    assert link.drift(3600 * S).error_z_prob == 0
    assert 0 < link.drift(3600 * S + S // 8).error_z_prob < 0.1
    cell = link.course.cell(3600 * S)
    assert conditions(cell.parameters, cell.drift).wrong_probs == (0.01, 0.01)


def test_raw_time_moves_clicks_by_what_the_clock_is_off() -> None:
    p = replace(CALM, clock_offset_ps=123_456, clock_skew_ppb=1000)
    link, train = Link("a-b", p, {}, SECRET), Train(0, 4, 50 * S, 1000.0)
    sample, _ = sampler_compiled.sample(respond(p), KEYS, 0, 4, COLD)
    tagged, first = in_raw_time(sample, train, 0, p, link.course.weather, FirstSlot())
    blocks = np.repeat(np.arange(4), sample.block_counts) * BLOCK_PULSES
    true_ps = (blocks + sample.offsets) * 1000.0 + sample.arrivals_ps
    raw_ps = (
        np.repeat(np.arange(4), tagged.block_counts) * BLOCK_PULSES + tagged.offsets
    ) * 1000.0 + tagged.arrivals_ps
    expected_ps = true_ps + 123_456 + 1e-6 * (50e12 + true_ps - sample.arrivals_ps)
    assert float(np.abs(raw_ps - expected_ps).max()) <= 1
    assert np.abs(tagged.arrivals_ps).max() <= 501
    assert tagged.detectors.tobytes() == sample.detectors.tobytes()
    assert first.slot == int(blocks[-1] + tagged.offsets[-1])


def test_both_loops_tag_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    p = replace(ROUGH, clock_skew_ppb=-3e5, clock_white_ps=1e4, dead_time_ps=0, link_jitter_fwhm_ps=900)
    link = Link("a-b", p, {}, SECRET)
    for period_ps in (1000.0, 800.0 / 3):
        train = Train(7, 200, 900 * S + 17, period_ps)
        sample, _ = sampler_compiled.sample(respond(p), KEYS, 7, 200, COLD)
        # some of them are behind tags of before
        after = FirstSlot(int(shift_ps(p, link.course.weather, train.start_ps) / period_ps) + 10 * BLOCK_PULSES)
        both = []
        for loop in (raw_time_compiled.tag, None):
            monkeypatch.setattr(raw_time, "_compiled", lambda loop=loop: loop)
            both.append(in_raw_time(sample, train, 7, p, link.course.weather, after))
        (one, left), (two, also) = both
        assert same(one, two)
        assert left == also
        assert 1000 < len(one.offsets) < len(sample.offsets)


def test_tags_do_not_go_back_and_what_is_beyond_them_is_lost() -> None:
    train = Train(0, 2, 0, 1000.0)
    sample = Sample(
        np.array([2, 1], np.uint32),
        np.array([5, 900, 7], np.int32),
        np.array([1, 2, 1], np.uint8),
        np.zeros(3, np.int32),
    )
    link = Link("a-b", replace(CALM, clock_offset_ps=10_000), {}, SECRET)
    p, weather = link.at(0), link.course.weather
    kept, first = in_raw_time(sample, train, 0, p, weather, FirstSlot(200))
    assert kept.offsets.tolist() == [910, 17]
    assert kept.block_counts.tolist() == [1, 1]
    assert first == FirstSlot(BLOCK_PULSES + 17)
    nothing, still = in_raw_time(sample, train, 0, p, weather, FirstSlot(1 << 30))
    assert (len(nothing.offsets), still) == (0, FirstSlot(1 << 30))
    # a clock that is off by more than 32 bits of slots cannot be told from any other
    lost, _ = in_raw_time(
        sample, replace(train, period_ps=50.0), 0, replace(p, clock_offset_ps=1e12), weather, FirstSlot()
    )
    assert lost.block_counts.tolist() == [0, 0]


def test_time_transfer_finds_the_clock_but_for_its_asymmetry_and_noise() -> None:
    p = replace(ROUGH, sync_noise_ps=0, sync_asymmetry_ps=0, eve_delay_ps=0)
    link = Link("a-b", p, {}, SECRET)
    now_ps = 3600 * S + 5 * 10**9

    def offset_ps(**changes: float) -> float:
        link.reset([], 0)
        if changes:
            link.set(changes, 0)
        t1, t2, t3, t4 = stamps(link, now_ps).read_ps
        assert stamps(link, now_ps).read_ps == (t1, t2, t3, t4)
        return ((t2 - t1) - (t4 - t3)) / 2

    drift = link.drift(now_ps)
    true_ps = shift_ps(p, link.course.weather, now_ps + link.latency_ps(now_ps)) - drift.delay_ps
    # a tick later, at some 30 ppb
    assert true_ps == pytest.approx(drift.clock_offset_ps, abs=1000)
    assert offset_ps() == pytest.approx(true_ps, abs=1)
    assert offset_ps(sync_asymmetry_ps=600) == pytest.approx(true_ps + 300, abs=1)
    assert offset_ps(eve_delay_ps=5000) == pytest.approx(true_ps + 2500, abs=1)
    t1, t2, t3, t4 = stamps(link, now_ps).read_ps
    assert (t4 - t1) - (t3 - t2) == pytest.approx(2 * (link.latency_ps(now_ps) + drift.delay_ps) + 5000, abs=2)
    link.set({"sync_noise_ps": 100.0, "eve_delay_ps": 0.0}, 0)
    noisy = np.array([np.array(stamps(link, now_ps + n).read_ps) for n in range(2000)])
    link.set({"sync_noise_ps": 0.0}, 0)
    plain = np.array([np.array(stamps(link, now_ps + n).read_ps) for n in range(2000)])
    noise = (noisy - plain).astype(float)
    assert noise.std(axis=0) == pytest.approx([100] * 4, rel=5 / 4000**0.5)
    assert np.corrcoef(noise.T) == pytest.approx(np.eye(4), abs=5 / 2000**0.5)


def test_monitors_read_power_reflection_and_bias() -> None:
    link = Link("a-b", replace(CALM, eve_trojan_photons=0.3), {}, SECRET)
    link.tune(0, intensity_trim_ratio=1.25)
    link.set({"eve_blinding_prob": 0.5}, 0)
    runs = link.course.runs(TRAIN, 1000, 1010)
    assert bias_ratio(runs) == pytest.approx(5.5)
    readings = Readings(1000)
    for run in runs:
        readings.add(run)
    assert readings.back_reflection_photons == pytest.approx(0.3)
    chance = link.course.weather.chance
    read = []
    for number in range(1000):
        each = Readings(number)
        each.add(runs[0])
        read.append(each.power_ratio(chance))
    assert float(np.mean(read)) == pytest.approx(1.25, rel=5e-3 / 1000**0.5)
    assert float(np.std(read)) == pytest.approx(1.25e-3, rel=5 / 2000**0.5)
    honest = Link("a-b", CALM, {}, SECRET).course.runs(TRAIN, 1000, 1010)
    assert bias_ratio(honest) == 1


def test_slots_ascend_over_a_train_though_a_delay_goes_within_it() -> None:
    link = Link("a-b", replace(CALM, dead_time_ps=100_000), {}, SECRET)
    link.set({"eve_delay_ps": 1e8}, 0, duration_s=(TRAIN.time_ps(1010) + 10**9) / S)
    train = replace(TRAIN, block_count=20)
    whole = clicks(link, train, [])
    slots = np.repeat(np.arange(20), whole.block_counts) * BLOCK_PULSES + whole.offsets
    assert (np.diff(slots) > 0).all()
    # 100,000 slots of a block of 2^20 are gone
    before, after = whole.block_counts[:10].sum() / 10, whole.block_counts[11]
    lost = before * 1e5 / BLOCK_PULSES
    assert after == pytest.approx(before - lost, abs=5 * before**0.5)
    for cuts in ([10], [11], [12], [5, 11, 15]):
        assert same(clicks(link, train, cuts), whole)


def test_a_transmitter_is_told_of_the_slots_in_which_its_own_detectors_clicked() -> None:
    p = replace(CALM, pair_brightness=0.05, transmitter_efficiency=0.3, clock_offset_ps=5000)
    link, train = Link("a-b", p, {}, SECRET), replace(TRAIN, block_count=20)
    runs = link.course.runs(train, 1000, 1020)
    passed, left = pass_runs(sampler_compiled.sample, KEYS, link.course.weather, train, runs, START)
    assert isinstance(left, Left)
    told = partner_clicks(1000, 1000, passed.sample, is_last=True)
    seen = passed.sample.partners > 0
    assert 0 < seen.sum() < len(seen)
    assert told.offsets.tolist() == passed.sample.offsets[seen].tolist()
    assert int(told.block_counts.sum()) == len(told.offsets) == len(told.detectors)
    # its own slots, not the receiver's: those are five later
    assert (passed.tagged.offsets - passed.sample.offsets).tolist() == [5] * len(seen)


def test_stretches_stay_small_when_light_comes_back_within_them() -> None:
    bright: dict[str, Any] = {"efficiency": 1.0, "dead_time_ps": 0, "intensities": (1.0, 0.5)}
    link = Link("a-b", replace(CALM, **bright), {}, SECRET)
    link.set({"extra_loss_db": 60.0}, 0, duration_s=3600.5)
    runs = link.course.runs(TRAIN, 1000, 2430)
    assert runs[0].end_block == TRAIN.first_from(3600 * S + 5 * 10**11)
    assert runs[-1].end_block - runs[0].end_block < 20


def test_points_of_the_clock_lie_on_ticks() -> None:
    assert GRID_PS % TICK_PS == 0
    assert TICK_PS * 64 == S
