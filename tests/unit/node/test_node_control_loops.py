"""Loops on polarisation, gate and power."""

import math

import numpy as np
import pytest

from node.control.alignment import AlignmentLoop, ErrorDrift
from node.control.tuning import GateScan, IntensityTrim, gate_step_ps
from qnetem.runtime.errors import BadInputError


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


@pytest.mark.parametrize("basis", ["z", "x"])
def test_errors_that_drift_up_ask_for_an_alignment_and_one_that_helps_ends_it(basis: str) -> None:
    rng = np.random.default_rng(2)
    loop = AlignmentLoop()

    def part(block: int, prob: float) -> None:
        compared = (1000, int(rng.binomial(1000, prob)))
        quiet = (1000, int(rng.binomial(1000, 0.01)))
        loop.see_train(block, *((compared, quiet) if basis == "z" else (quiet, compared)))

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
    loop = AlignmentLoop()
    for block in range(400):
        # an eavesdropper comes, and goes
        prob = 0.06 if 20 <= block < 200 else 0.01
        loop.see_train(block, (0, 0), (1000, int(rng.binomial(1000, prob))))
        if loop.is_due:
            loop.aligned(block + 1, 0)
        if block == 199:
            assert loop.x.baseline_prob == pytest.approx(0.06, abs=0.02)
            count = loop.count
    assert 1 <= count <= 3
    assert loop.count == count
    assert loop.x.baseline_prob == pytest.approx(0.01, abs=0.005)


def test_key_blocks_begun_before_an_alignment_tell_nothing_of_it() -> None:
    loop = AlignmentLoop()
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


def test_more_errors_than_bits_are_refused() -> None:
    with pytest.raises(BadInputError, match="error_prob"):
        ErrorDrift().see(10, 11)


@pytest.mark.parametrize("light_ps", [0.0, 130.0, -420.0, 499.0])
def test_a_scan_puts_the_gate_where_the_light_is(light_ps: float) -> None:
    width_ps, sigma_ps, period_ps = 300.0, 30.0, 1000.0
    scan = GateScan(period_ps, width_ps)
    while (place_ps := scan.next_ps) is not None:
        off_ps = (light_ps - place_ps + period_ps / 2) % period_ps - period_ps / 2
        inside = [math.erf((edge - off_ps) / sigma_ps / math.sqrt(2)) / 2 for edge in (-width_ps / 2, width_ps / 2)]
        scan.measured(0.01 * (inside[1] - inside[0]) + 1e-7)
    missed_ps = (scan.best_ps - light_ps + period_ps / 2) % period_ps - period_ps / 2
    assert abs(missed_ps) < width_ps / 4


def test_a_gate_follows_what_leaves_its_middle() -> None:
    assert gate_step_ps(20.0, 0.0, 300.0) is None
    assert gate_step_ps(40.0, 0.0, 300.0) == 40.0
    assert gate_step_ps(-40.0, 0.0, 300.0) == -40.0


def test_power_that_wanders_is_trimmed_back_and_stays_within_a_percent() -> None:
    trim, powers = IntensityTrim(), []
    for train in range(2000):
        power = (1.0 + 0.1 * math.sin(train / 100.0)) * trim.ratio
        powers.append(power)
        trim.see(power)
    # 0.1 % a train at most, over the eight of a reading and of what is on its way, and what is no reason to trim
    assert max(abs(power - 1.0) for power in powers[20:]) < 0.015


def test_a_laser_at_half_its_power_is_brought_back() -> None:
    trim = IntensityTrim()
    for _ in range(40):
        trim.see(0.5 * trim.ratio)
    assert trim.ratio == pytest.approx(2.0, rel=0.01)
    with pytest.raises(BadInputError, match="power_ratio 0 is not above 0"):
        trim.see(0.0)


@pytest.mark.parametrize(("tau_s", "bits_per_s"), [(60.0, 4000), (5.0, 100_000)])
def test_a_drift_that_comes_again_and_again_is_met_ahead(tau_s: float, bits_per_s: int) -> None:
    rng = np.random.default_rng(13)
    loop = AlignmentLoop()
    since_s, errors = 0.0, []
    for step in range(4000):
        since_s += 0.05
        error_prob = 0.01 + (1.0 - math.exp(-since_s / tau_s)) / 2.0
        errors.append(error_prob)
        count = bits_per_s // 20
        loop.see_train(step, (0, 0), (count, int(rng.binomial(count, error_prob))))
        if loop.is_due:
            loop.aligned(step + 1, 0)
            since_s = 0.0
    settled = np.asarray(errors[1000:])
    assert settled.mean() < 0.025
    assert settled.max() < 0.06
