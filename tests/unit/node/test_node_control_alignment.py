"""The loop on polarisation: ahead of a drift at the rate that it has, at once when errors show, never for an Eve."""

import math

import numpy as np
import pytest

from node.control.alignment import AlignmentLoop, ErrorDrift
from node.control.drift_rate import DriftRate
from qnetem.runtime.errors import BadInputError

BLOCK_S = 0.05
NONE = (0, 0)


def test_an_hour_of_honest_errors_asks_for_no_alignment() -> None:
    rng = np.random.default_rng(1)
    drift = ErrorDrift()
    due = 0
    # 36 000 parts of 400 X bits at 1 %: an hour of the nanowire profile at a tenth of a second each
    for errors in rng.binomial(400, 0.01, 36_000):
        drift.see(400, int(errors))
        due += drift.is_due
    assert due == 0
    assert drift.baseline_prob == pytest.approx(0.01, abs=0.004)


def test_an_hour_of_a_link_that_does_not_drift_sees_next_to_no_alignment() -> None:
    rng = np.random.default_rng(1)
    loop = AlignmentLoop(BLOCK_S)
    loop.aligned(0, 0, is_anew=True)
    for block, errors in enumerate(rng.binomial(400, 0.01, 36_000)):
        loop.see_part(range(block, block + 1), NONE, (400, int(errors)))
        if loop.is_due:
            loop.aligned(block + 1, 0)
    assert loop.count <= 10


@pytest.mark.parametrize("basis", ["z", "x"])
def test_errors_that_drift_up_ask_for_an_alignment_and_one_that_helps_ends_it(basis: str) -> None:
    rng = np.random.default_rng(2)
    loop = AlignmentLoop(BLOCK_S)

    def part(block: int, prob: float) -> None:
        compared = (1000, int(rng.binomial(1000, prob)))
        quiet = (1000, int(rng.binomial(1000, 0.01)))
        loop.see_part(range(block, block + 1), *((compared, quiet) if basis == "z" else (quiet, compared)))

    for block in range(10):
        part(block, 0.01)
    assert not loop.is_due
    block, prob = 10, 0.01
    while not loop.is_due:
        block, prob = block + 1, prob + 0.0005
        part(block, prob)
        assert prob < 0.05
    assert prob > 0.012
    loop.aligned(block + 1, 0)
    # on their way when the polarisation was turned
    part(block, 0.5)
    assert not loop.is_due
    for later in range(block + 1, block + 30):
        part(later, 0.01)
        assert not loop.has_errors
    assert loop.count == 1


def test_errors_that_no_alignment_cures_are_let_be_and_better_ones_are_taken() -> None:
    rng = np.random.default_rng(3)
    loop = AlignmentLoop(BLOCK_S)
    for block in range(400):
        # an eavesdropper comes, and goes
        prob = 0.06 if 20 <= block < 200 else 0.01
        loop.see_part(range(block, block + 1), NONE, (1000, int(rng.binomial(1000, prob))))
        if loop.is_due:
            loop.aligned(block + 1, 0)
        if block == 199:
            assert loop.x.baseline_prob == pytest.approx(0.06, abs=0.02)
            count = loop.count
    assert 1 <= count <= 3
    assert loop.count == count
    assert loop.x.baseline_prob == pytest.approx(0.01, abs=0.005)


def test_key_blocks_begun_before_an_alignment_tell_nothing_of_it() -> None:
    loop = AlignmentLoop(BLOCK_S)
    for number in range(5):
        loop.see_key_block(number, 10_000, 100)
    loop.see_key_block(5, 10_000, 400)
    assert loop.is_due
    loop.aligned(10, 7)
    loop.see_key_block(6, 10_000, 400)
    assert not loop.is_due
    loop.see_key_block(7, 10_000, 100)
    assert not loop.is_due
    assert loop.z.now_prob == 0.01


def test_what_test_trains_showed_before_they_asked_for_an_alignment_is_no_measure_of_what_it_leaves() -> None:
    loop = AlignmentLoop(BLOCK_S)
    loop.aligned(0, 0, is_anew=True)
    loop.see_part(range(0, 1), (9000, 2700), (900, 270))
    loop.aligned(2, 0, is_anew=True)
    loop.see_part(range(1, 2), (9000, 2700), (900, 270))
    loop.see_part(range(2, 3), (9000, 90), (900, 9))
    assert (loop.z.baseline_prob, loop.x.baseline_prob) == (0.01, 0.01)


def test_more_errors_than_bits_are_refused() -> None:
    with pytest.raises(BadInputError, match="error_prob"):
        ErrorDrift().see(10, 11)
    with pytest.raises(BadInputError, match="error_prob"):
        DriftRate(0.0).see(1.0, 10, 11)
    with pytest.raises(BadInputError, match="age_s"):
        DriftRate(0.0).see(-1.0, 10, 1)
    with pytest.raises(BadInputError, match="block_s"):
        AlignmentLoop(0.0)


@pytest.mark.parametrize(("tau_s", "bits_per_s"), [(60.0, 4000), (5.0, 100_000)])
def test_a_drift_that_comes_again_and_again_is_met_ahead(tau_s: float, bits_per_s: int) -> None:
    rng = np.random.default_rng(13)
    loop = AlignmentLoop(BLOCK_S)
    since_s, errors = 0.0, []
    for step in range(4000):
        since_s += BLOCK_S
        error_prob = 0.01 + (1.0 - math.exp(-since_s / tau_s)) / 2.0
        errors.append(error_prob)
        count = bits_per_s // 20
        loop.see_part(range(step, step + 1), NONE, (count, int(rng.binomial(count, error_prob))))
        if loop.is_due:
            loop.aligned(step + 1, 0)
            since_s = 0.0
    settled = np.asarray(errors[1000:])
    assert settled.mean() < 0.025
    assert settled.max() < 0.06


def seen(rate: DriftRate, per_s: float, usual_prob: float, seed: int) -> DriftRate:
    """Let 40 alignments pass, a second each, of 10 parts of 1000 bits: 32 of them count, about 2e5 bits."""
    rng = np.random.default_rng(seed)
    for _ in range(40):
        rate.aligned()
        for age_s in np.arange(0.05, 1.0, 0.1):
            rate.see(age_s, 1000, int(rng.binomial(1000, usual_prob + per_s * age_s)))
    return rate


def test_the_rate_is_the_slope_against_age_whatever_errors_there_are_at_all_ages() -> None:
    # one standard deviation of the slope: sqrt(.03/2.3e5)/.29 = 0.12 % a second at most, of 6 % errors 0.17 %
    for usual_prob in (0.01, 0.06):
        assert seen(DriftRate(0.0), 0.02, usual_prob, 1).per_s == pytest.approx(0.02, abs=5 * 0.0017)


def test_a_planned_rate_is_believed_until_bits_say_otherwise() -> None:
    assert DriftRate(0.1).per_s == 0.1
    assert seen(DriftRate(0.021), 0.02, 0.01, 2).per_s == 0.021
    assert seen(DriftRate(0.1), 0.02, 0.01, 2).per_s == pytest.approx(0.02, abs=5 * 0.0012)
    assert seen(DriftRate(0.0), 0.0, 0.01, 2).per_s == 0.0


def test_bits_of_one_age_tell_no_rate_and_weather_that_changed_is_forgotten() -> None:
    rate = DriftRate(0.01)
    for _ in range(100):
        rate.see(0.1, 1000, 200)
    assert rate.per_s == 0.01
    rate = seen(DriftRate(0.0), 0.02, 0.01, 3)
    rate.forget()
    assert rate.per_s == 0.0


@pytest.mark.parametrize(("tau_s", "pace_s"), [(5.0, 0.05), (60.0, 0.48), (7200.0, 57.6)])
def test_a_planned_drift_sets_the_pace_and_the_alignments_keep_it(tau_s: float, pace_s: float) -> None:
    loop = AlignmentLoop(BLOCK_S, tau_s)
    assert loop.pace_s == pytest.approx(pace_s)
    loop.aligned(0, 0, is_anew=True)
    since = 0
    for block in range(3000):
        loop.see_part(range(block, block + 1), NONE, (0, 0))
        since += 1
        if loop.is_due:
            # the nearest whole part
            assert since == max(1, round(pace_s / BLOCK_S))
            loop.aligned(block + 2, 0)
            since = 0
    assert loop.count >= 3000 * BLOCK_S / pace_s / 1.2


def test_a_pause_longer_than_the_pace_calls_for_an_alignment() -> None:
    loop = AlignmentLoop(BLOCK_S, 60.0)
    assert (loop.is_stale_after(0.4), loop.is_stale_after(0.5)) == (False, True)
    assert not AlignmentLoop(BLOCK_S).is_stale_after(1e6)


def test_alignments_count_as_behind_from_the_first_part_that_was_sent_after_they_took_effect() -> None:
    loop = AlignmentLoop(BLOCK_S)
    loop.aligned(0, 0, is_anew=True)
    behind = []
    for block in range(6):
        loop.see_part(range(block, block + 1), NONE, (10, 0))
        behind.append(loop.behind_count)
        # the second is asked for before the first is seen to be in effect
        if block in (1, 2):
            loop.aligned(block + 2, 0)
    assert behind == [1, 1, 1, 2, 3, 3]
