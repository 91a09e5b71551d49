"""What drifts: against the laws of `loss_drift`, `polarisation` and `clock`, and a function of time alone.

Ensembles are over nature secrets, or over times far apart. 5 sigma, fixed secrets.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import pytest

from qnetem.runtime.rng import philox4x32, secret_words
from quantum_channel.clock import random_walk_fm_sigma_ps, white_fm_sigma_ps
from quantum_channel.controls import Controls
from quantum_channel.drift import STILL, TICK_LEVEL, TICK_PS, Weather, drifts, has_clock
from quantum_channel.drift_chance import Chance, Process, normal_quantile
from quantum_channel.drift_events import Events
from quantum_channel.drift_rotation import Rotation, step_level
from quantum_channel.drift_walk import IntegratedWalk, Walk, Wander
from quantum_channel.parameters import Parameters
from quantum_channel.polarisation import error_prob_mean

SECRET: Final = bytes(range(16))
PLAIN: Final = Parameters(
    length_km=50,
    attenuation_db_per_km=0.2,
    connector_count=0,
    connector_loss_db=0,
    extra_loss_db=0,
    receiver_loss_db=0,
    clock_hz=1e9,
    intensities=(0.4, 0.1),
    intensity_probs=(0.5, 0.5),
    transmitter_p_z=0.5,
    receiver_p_z=0.5,
    misalignment_prob=0.01,
    efficiency=0.2,
    dark_count_hz=100,
    dead_time_ps=0,
    afterpulse_prob=0,
    afterpulse_tau_ps=0,
    source_jitter_fwhm_ps=0,
    detector_jitter_fwhm_ps=50,
    link_jitter_fwhm_ps=0,
)
EVERYTHING: Final = replace(
    PLAIN,
    loss_day_db=1,
    temperature_swing_k=10,
    loss_wander_db=0.5,
    loss_wander_tau_s=20,
    loss_event_db=2,
    loss_event_hz=0.05,
    loss_event_s=4,
    polarisation_tau_s=30,
    intensity_wander_ratio=0.05,
    intensity_wander_tau_s=100,
    clock_offset_ps=1000,
    clock_skew_ppb=2,
    clock_ageing_ppb_per_day=5,
    clock_white_ps=3,
    clock_walk_ppb=0.01,
)
S: Final = 1 << -TICK_LEVEL  # ticks of a second


def chance(number: int) -> Chance:
    return Chance(number.to_bytes(16, "little"))


def ensemble(value: Callable[[Chance], float], count: int) -> Any:
    return np.array([value(chance(number)) for number in range(count)])


def spread(values: Any, expected: float) -> None:
    """Normal numbers of mean 0: their deviation is what is expected, to 5 sigma of the estimate."""
    assert float(np.sqrt((values**2).mean())) == pytest.approx(expected, rel=5 / (2 * len(values)) ** 0.5)
    assert abs(float(values.mean())) < 5 * expected / len(values) ** 0.5


def test_draws_are_those_of_philox_and_normal_numbers_those_of_the_distribution() -> None:
    s0, s1, _, s3 = secret_words(SECRET)
    index, level = (7 << 33) + 5, -6
    words = philox4x32(index & 0xFFFFFFFF, index >> 32, Process.CLOCK_WALK << 8 | level + 128, s3 ^ 4, s0, s1)
    first, second = Chance(SECRET).words(Process.CLOCK_WALK, index, level)
    assert [first & 0xFFFFFFFF, first >> 32, second & 0xFFFFFFFF, second >> 32] == [int(word) for word in words]
    for word in (1 << 10, 1 << 45, 1 << 60, 5 << 60, 1 << 63, (1 << 64) - 12345678901234):
        assert normal_quantile(word) == pytest.approx(NormalDist().inv_cdf((word + 0.5) / 2**64), rel=1e-9, abs=1e-15)
    assert normal_quantile((1 << 64) - 1) == -normal_quantile(0) == pytest.approx(9.16, abs=0.01)
    assert "0x" not in repr(Chance(SECRET))
    assert repr(Chance(SECRET)) == "Chance(...)"
    times = np.array([Chance(SECRET).exponential(Process.LOSS_EVENT_GAPS, n) for n in range(10_000)])
    assert times.mean() == pytest.approx(1, abs=5 / 100)


def test_a_wander_has_its_deviation_and_forgets_in_its_time() -> None:
    tau_s, count = 10.0, 1500
    pairs = np.array([[w.value(5 * S, -6), w.value(15 * S, -6)] for w in wanders(tau_s, count)])
    spread(pairs[:, 0], 1)
    spread(pairs[:, 1], 1)
    kept = float((pairs[:, 0] * pairs[:, 1]).mean())
    assert kept == pytest.approx(math.exp(-1), abs=5 * ((1 + math.exp(-2)) / count) ** 0.5)
    # a step within is a normal number by itself: Gillespie's law, whatever the halves were
    steps = np.array([w.value(70, -6) - math.exp(-6 / 64 / tau_s) * w.value(64, -6) for w in wanders(tau_s, count)])
    spread(steps, math.sqrt(-math.expm1(-2 * 6 / 64 / tau_s)))


def wanders(tau_s: float, count: int) -> list[Wander]:
    return [Wander(chance(number), Process.LOSS_WANDER, tau_s) for number in range(count)]


def test_clocks_walk_as_far_as_their_noise_says() -> None:
    count = 1500
    white, steps, walked, late = (np.empty(count) for _ in range(4))
    for number in range(count):
        w, v = Walk(chance(number), Process.CLOCK_WHITE), IntegratedWalk(chance(number), Process.CLOCK_WALK)
        white[number], steps[number] = w.value(10 * S, -6), w.value(11 * S + 3, -6) - w.value(10 * S, -6)
        walked[number] = v.value(10 * S, -6)
        # behind the second anchor, 24 days
        late[number] = v.value(2_500_000 * S, -6)
    spread(white * 3, white_fm_sigma_ps(10, 3e-12))
    spread(steps, math.sqrt(1 + 3 / 64))
    assert abs(float((white * steps).mean())) < 5 * math.sqrt(10 / count)
    spread(walked * 1e3, random_walk_fm_sigma_ps(10, 1e-9))
    spread(late * 1e3, random_walk_fm_sigma_ps(2.5e6, 1e-9))


def test_an_integrated_walk_is_smooth_and_its_middle_is_what_its_law_says() -> None:
    count, h = 1500, 1.0
    second = ensemble(
        lambda c: (lambda v: v.value(102 * S, -6) - 2 * v.value(101 * S, -6) + v.value(100 * S, -6))(
            IntegratedWalk(c, Process.CLOCK_WALK)
        ),
        count,
    )
    # variance of a second difference of the integral of a Wiener process: 2/3 h^3
    spread(second, math.sqrt(2 / 3 * h**3))


def test_polarisation_is_lost_as_isotropic_diffusion_says() -> None:
    tau_s, count = 12.8, 1500
    step_s = 2.0 ** step_level(tau_s)
    for steps in (10, 90):
        errors = np.array([Rotation(chance(n), tau_s).errors(1000 + steps, 1000) for n in range(count)])
        expected = error_prob_mean(steps * step_s, tau_s)
        for basis in (0, 1):
            seen = errors[:, basis]
            assert float(seen.mean()) == pytest.approx(expected, abs=5 * float(seen.std()) / count**0.5)
    # never aligned: anywhere on the sphere, R_zz uniform on -1 .. 1
    errors = np.array([Rotation(chance(n), tau_s).errors(1030, None) for n in range(count)])
    assert errors.mean(axis=0) == pytest.approx([0.5, 0.5], abs=5 * (1 / 12 / count) ** 0.5)
    assert errors.var(axis=0) == pytest.approx([1 / 12] * 2, abs=5 * (1 / 180 / count) ** 0.5)


def test_polarisation_is_whole_when_aligned_and_moves_little_at_a_time() -> None:
    rotation = Rotation(chance(1), 30.0)
    assert rotation.errors(500, 500) == (0, 0)
    path = np.array([rotation.errors(500 + n, 500)[0] for n in range(600)])
    assert float(np.abs(np.diff(path)).max()) < 0.25
    # straight there, backwards, from another beginning: the same
    for n in (599, 64, 63, 0, 130):
        assert Rotation(chance(1), 30.0).errors(500 + n, 500)[0] == path[n] == rotation.errors(500 + n, 500)[0]
    # so long after the alignment that nothing is left of it
    assert rotation.errors(500 + 5000, 500) == Rotation(chance(1), 30.0).errors(5500, None)


def test_events_come_and_last_as_they_should() -> None:
    # one at a time in the mean, seen at times between which all have passed: e^-10 of correlation
    count, events = 3000, Events(chance(0), 0.2, 5.0)
    both = np.array([[events.count(1000.0 + 50.0 * n), events.count(1005.0 + 50.0 * n)] for n in range(count)])
    counts = both[:, 0]
    assert float(counts.mean()) == pytest.approx(1, abs=5 / count**0.5)
    for k in range(4):
        expected = math.exp(-1) / math.factorial(k)
        sigma = (expected * (1 - expected) / count) ** 0.5
        assert float((counts == k).mean()) == pytest.approx(expected, abs=5 * sigma)
    # how long one lasts: the correlation falls as e^(-t/mean)
    covariance = float(((both[:, 0] - 1) * (both[:, 1] - 1)).mean())
    assert covariance == pytest.approx(math.exp(-1), abs=5 * (2.5 / count) ** 0.5)
    path = [Events(chance(0), 0.5, 2.0).count(t / 8) for t in range(800)]
    again = Events(chance(0), 0.5, 2.0)
    assert [again.count(t / 8) for t in reversed(range(800))] == path[::-1]
    assert len(set(path)) > 1


def test_the_day_is_a_sinusoid_of_loss_and_of_delay() -> None:
    p = replace(PLAIN, loss_day_db=2, temperature_swing_k=10, day_s=400)
    quarter = Weather(chance(0)).at(p, 100 * S)
    assert quarter.loss_db == pytest.approx(2, rel=1e-12)
    assert quarter.delay_ps == pytest.approx(33 * 50 * 10, rel=1e-12)
    assert Weather(chance(0)).at(p, 300 * S).loss_db == pytest.approx(-2, rel=1e-12)
    # air has no cable
    in_air = replace(p, divergence_rad=1e-5, aperture_m=0.1)
    assert Weather(chance(0)).at(in_air, 100 * S).delay_ps == 0
    assert not has_clock(in_air)


def test_intensity_wanders_around_what_is_set_and_never_below_nothing() -> None:
    p = replace(PLAIN, intensity_wander_ratio=0.5, intensity_wander_tau_s=10)
    count = 3000
    ratios = ensemble(lambda c: Weather(c).at(p, 7 * S).intensity_ratio, count)
    assert float(ratios.min()) > 0
    assert float(ratios.mean()) == pytest.approx(1, abs=5 * 0.5 / count**0.5)
    # the deviation of a log-normal's deviation: from the sample's own fourth moment
    fourth = float(((ratios - 1) ** 4).mean())
    sigma = ((fourth - 0.5**4) / count) ** 0.5 / (2 * 0.5)
    assert float(ratios.std()) == pytest.approx(0.5, abs=5 * sigma)


def test_what_does_not_drift_is_still() -> None:
    assert Weather(chance(0)).at(PLAIN, 12345) == STILL
    assert not drifts(PLAIN)
    assert not has_clock(PLAIN)
    for name in (
        "loss_day_db",
        "polarisation_tau_s",
    ):
        assert drifts(replace(PLAIN, **{name: 1}))
    # what has no time to wander in does not
    for name in ("loss_wander_db", "intensity_wander_ratio", "loss_event_db"):
        assert not drifts(replace(PLAIN, **{name: 1}))
    assert has_clock(replace(PLAIN, eve_delay_ps=1))
    assert not drifts(replace(PLAIN, clock_skew_ppb=1))
    assert drifts(replace(PLAIN, clock_skew_ppb=1, gate_width_ps=300))


def test_any_moment_is_the_same_whatever_was_asked_before() -> None:
    ticks = [0, 1, 2, 63, 64, 1000, 999, 36_000 * S + 17, 36_000 * S + 16, 5]
    controls = Controls(aligned_ps=3 * TICK_PS)
    asked = Weather(Chance(SECRET))
    for tick in ticks:
        assert asked.at(EVERYTHING, tick, controls) == Weather(Chance(SECRET)).at(EVERYTHING, tick, controls)
    assert Weather(chance(5)).at(EVERYTHING, 1000, controls) != asked.at(EVERYTHING, 1000, controls)


def test_hours_are_reached_in_milliseconds() -> None:
    taken_s = []
    for hour in range(1, 8):
        weather = Weather(Chance(SECRET))
        began_s = time.perf_counter()
        weather.at(EVERYTHING, hour * 3600 * S + 1)
        taken_s.append(time.perf_counter() - began_s)
    # 25 ms at most on an idle core; a walk from the beginning would take a second and more for each hour
    assert min(taken_s) < 0.25


def test_drift_moves_in_small_steps_from_cell_to_cell() -> None:
    weather = Weather(Chance(SECRET))
    calm = replace(EVERYTHING, loss_event_db=0)
    path = [weather.at(calm, 7200 * S + 4 * n, Controls(aligned_ps=7200 * 10**12)) for n in range(800)]
    for one, two in pairwise(path):
        # a wander of 0.5 dB in 20 s moves by 0.04 dB in 1/16 s
        assert abs(two.loss_db - one.loss_db) < 6 * 0.5 * math.sqrt(2 / 16 / 20) + 0.01
        assert abs(two.intensity_ratio - one.intensity_ratio) < 0.02
        assert abs(two.clock_offset_ps - one.clock_offset_ps) < 1000
        assert abs(two.error_z_prob - one.error_z_prob) < 0.1
