"""Monitors: what counts prove, and that each attack is seen. An honest hour: tests/physics/test_physics_honest_hour."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from node.control.evidence import (
    ALARM_NATS,
    CountWatch,
    Interval,
    contrast_nats,
    poisson_nats,
    share_nats,
)
from node.control.expectation import Expectation
from node.control.reasons import ABORTING, DEGRADING, PROBED, most_telling
from node.control.receiver_watch import ReceiverWatch
from node.control.transmitter_watch import TransmitterWatch, single_photon_yield
from qnetem import topology
from qnetem.runtime.errors import BadInputError
from qnetem.v1 import parameters_pb2
from quantum_channel.conditions import conditions
from quantum_channel.eve import photon_number_splitting_gain_prob
from quantum_channel.response import respond
from quantum_channel.wire import parameters_from_message

NANOWIRES, PHOTODIODES = "decoy-bb84-1ghz-snspd", "decoy-bb84-1ghz-apd"
STRETCH_PULSES = 100_000_000


def planned_of(profile: str, length: str) -> parameters_pb2.LinkParameters:
    text: dict[str, Any] = topology.ring(2)
    text["topology"]["defaults"] = {"profile": profile}
    text["topology"]["links"][0]["quantum"] = {"length": length}
    return topology.from_dict(text).links["n0-n1"].planned


def test_evidence_bounds_what_chance_does() -> None:
    trials, prob = 400, 0.1
    log_pmf = [
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        + k * math.log(prob) + (trials - k) * math.log1p(-prob)
        for k in range(trials + 1)
    ]  # fmt: skip
    tails = np.cumsum(np.exp(log_pmf)[::-1])[::-1]
    poisson = [math.exp(-40.0 + k * math.log(40.0) - math.lgamma(k + 1)) for k in range(400)]
    poisson_tails = np.cumsum(poisson[::-1])[::-1]
    for count in range(45, 90, 5):
        assert tails[count] <= math.exp(-share_nats(count, trials, Interval(prob, prob)))
        assert poisson_tails[count] <= math.exp(-poisson_nats(count, Interval(40.0, 40.0)))
        # and not by far: the bound is worth its while
        assert tails[count] > math.exp(-share_nats(count, trials, Interval(prob, prob))) / 100.0


def test_within_the_tolerance_there_is_no_evidence_and_the_sign_tells_the_side() -> None:
    honest = Interval(0.4, 0.5)
    assert share_nats(450_000, 1_000_000, honest) == 0.0
    assert share_nats(510_000, 1_000_000, honest) > ALARM_NATS
    assert share_nats(390_000, 1_000_000, honest) < -ALARM_NATS
    assert poisson_nats(0, Interval(25.0, 100.0)) == -25.0
    assert contrast_nats(500, 1000, 509, 1000, 0.01) == 0.0
    assert contrast_nats(500, 1000, 0, 0, 0.01) == 0.0
    with pytest.raises(BadInputError, match="others_count"):
        share_nats(11, 10, honest)


def test_an_attack_is_not_drowned_by_the_honest_time_before_it() -> None:
    watch, honest = CountWatch(10_000), Interval(0.3, 0.3)
    rng = np.random.default_rng(1)
    for count in rng.binomial(1000, 0.3, 5000):
        watch.add_share(int(count), 1000, honest)
        assert not watch.is_high
    looks = 0
    while not watch.is_high:
        watch.add_share(int(rng.binomial(1000, 0.4)), 1000, honest)
        looks += 1
    assert looks <= 25


def test_a_long_window_sees_what_a_short_one_does_not() -> None:
    short, both, honest = CountWatch(1000), CountWatch(1000, 2), Interval(0.3, 0.3)
    rng = np.random.default_rng(2)
    for count in rng.binomial(1000, 0.3, 400):
        short.add_share(int(count), 1000, honest)
        both.add_share(int(count), 1000, honest)
        assert abs(both.nats) < ALARM_NATS
    for count in rng.binomial(1000, 0.32, 100):
        short.add_share(int(count), 1000, honest)
        both.add_share(int(count), 1000, honest)
        assert not short.is_high
    assert both.is_high


def test_what_a_short_window_has_seen_is_forgotten_as_fast() -> None:
    watch, honest = CountWatch(1000, 3), Interval(0.3, 0.3)
    rng = np.random.default_rng(4)
    for share, is_seen in ((0.3, False), (0.5, True), (0.3, False)):
        for look in range(50):
            watch.add_share(int(rng.binomial(500, share)), 500, honest)
            if look >= 4:
                assert watch.is_high is is_seen


def test_what_is_honest_may_change_within_a_window() -> None:
    watch, rng = CountWatch(1_000_000), np.random.default_rng(3)
    for share in np.tile((0.2, 0.4), 200):
        watch.add_share(int(rng.binomial(1000, share)), 1000, Interval(share, share))
        assert abs(watch.nats) < ALARM_NATS
    assert watch.shown is not None
    assert watch.shown[1].low == pytest.approx(0.3)


@pytest.mark.parametrize("profile", [NANOWIRES, PHOTODIODES, "two-decoys-bb84-1ghz-snspd"])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_photon_number_splitting_shows_in_the_decoys(profile: str, share: float) -> None:
    planned = planned_of(profile, "50km")
    nature = conditions(parameters_from_message(planned))
    gains = []
    for mean, prob in zip(planned.intensities, planned.intensity_probs, strict=True):
        honest = -math.expm1(-nature.detection_probs[0] * mean)
        split = photon_number_splitting_gain_prob(mean, nature.receiver_probs[0])
        gains.append(prob * ((1 - share) * honest + share * split))
    rng = np.random.default_rng(3)
    watch = TransmitterWatch(planned)
    pulses = round(20_000 / respond(parameters_from_message(planned)).registered_prob)
    trains = 0
    while "decoy-statistics" not in watch.alarms:
        levels = rng.multinomial(20_000, np.asarray(gains) / sum(gains)).tolist()
        watch.see_report(pulses, levels, round(20_000 * 0.6568 if profile != PHOTODIODES else 20_000 * 0.68), 20_000)
        trains += 1
        assert trains <= 10
    assert watch.alarms == {"decoy-statistics"}


def test_the_bound_on_single_photons_falls_below_nothing_under_splitting() -> None:
    kept = 0.0467
    honest = [-math.expm1(-kept * mean) for mean in (0.4, 0.13)]
    assert single_photon_yield(honest, (0.4, 0.13), 0.0) == pytest.approx(kept, rel=0.05)
    split = [photon_number_splitting_gain_prob(mean, 0.536) for mean in (0.4, 0.13)]
    assert single_photon_yield(split, (0.4, 0.13), 0.0) < 0.0


def stretch(watch: ReceiverWatch, clicks: int, doubles: int, detectors: Any = None, arrivals: Any = None) -> None:
    rng = np.random.default_rng(4)
    watch.see(
        STRETCH_PULSES,
        np.resize(np.array([1, 2], np.uint8), clicks) if detectors is None else detectors,
        np.round(rng.normal(0.0, 21.0, clicks)).astype(np.int32) if arrivals is None else arrivals,
        doubles,
        sigma_ps=21.0,
        bias_ratio=1.0,
    )


def test_blinded_detectors_show_in_bias_in_darks_and_doubles_and_in_the_match() -> None:
    planned = planned_of(NANOWIRES, "50km")
    watch = ReceiverWatch(planned)
    watch.see_bias(4.0)
    assert watch.alarms == {"detector-blinding"}
    deaf = ReceiverWatch(planned)
    seconds = 0
    while not deaf.alarms:
        stretch(deaf, 685_000, 0)
        seconds += 1
        assert seconds <= 20
    assert deaf.alarms == {"detector-blinding"}
    transmitter = TransmitterWatch(planned)
    transmitter.see_report(2_200_000, [9_000, 6_000], 15_000, 15_000)
    assert transmitter.alarms == {"basis-match"}


def test_a_time_shift_shows_where_detectors_differ_and_detectors_that_differ_do_not() -> None:
    planned, rng = planned_of(NANOWIRES, "50km"), np.random.default_rng(5)
    shares = {"time shift": (0.45, 0.55), "mismatch": (0.42, 0.42)}
    for what, (early, late) in shares.items():
        arrivals = np.where(rng.random(685_000) < 0.5, -100, 100).astype(np.int32)
        is_second = rng.random(685_000) < np.where(arrivals < 0, early, late)
        watch = ReceiverWatch(planned)
        stretch(watch, 685_000, 900, np.where(is_second, 2, 1).astype(np.uint8), arrivals)
        assert ("detector-imbalance" in watch.alarms) is (what == "time shift")


@pytest.mark.parametrize(
    ("darks", "doubles", "reason"), [(10, 880, ""), (30, 880, "dark-counts"), (10, 1800, "double-clicks")]
)
def test_darks_and_doubles_beyond_what_is_planned_are_told(darks: int, doubles: int, reason: str) -> None:
    watch, rng = ReceiverWatch(planned_of(NANOWIRES, "50km")), np.random.default_rng(6)
    for _ in range(5):
        arrivals = np.round(rng.normal(0.0, 21.0, 685_000)).astype(np.int32)
        arrivals[:darks] = 400
        stretch(watch, 685_000, doubles, None, arrivals)
    assert watch.alarms == ({reason} if reason else set())


def test_light_that_comes_back_is_told_at_once() -> None:
    watch = TransmitterWatch(planned_of(NANOWIRES, "50km"))
    watch.see_reflection(1e-7)
    assert not watch.alarms
    watch.see_reflection(1e-4)
    assert watch.alarms == {"back-reflection"}


@pytest.mark.parametrize("length", ["5km", "25km", "50km", "100km"])
@pytest.mark.parametrize("profile", [NANOWIRES, PHOTODIODES, "two-decoys-bb84-1ghz-snspd"])
def test_light_and_doubles_are_told_from_the_clicks_as_the_channel_makes_them(profile: str, length: str) -> None:
    planned = planned_of(profile, length)
    parameters = parameters_from_message(planned)
    response = respond(parameters)
    expectation = Expectation(planned)
    share = expectation.double_share(response.registered_prob)
    if response.registered_prob * response.dead_slots > 0.95:
        assert share is None
        return
    assert share is not None
    kept = conditions(parameters).detection_probs[0]
    assert expectation.detected_photons(response.registered_prob) == pytest.approx(kept, rel=0.02)
    doubles = clicks = 0.0
    bases = np.outer(
        (parameters.transmitter_p_z, 1 - parameters.transmitter_p_z),
        (parameters.receiver_p_z, 1 - parameters.receiver_p_z),
    )
    for mean, prob in zip(parameters.intensities, parameters.intensity_probs, strict=True):
        for is_match, weight in ((True, bases[0, 0] + bases[1, 1]), (False, bases[0, 1] + bases[1, 0])):
            wrong = parameters.misalignment_prob if is_match else 0.5
            one, other = (-math.expm1(-mean * kept * part) for part in (1 - wrong, wrong))
            doubles += prob * weight * one * other
            clicks += prob * weight * (one + other - one * other)
    assert share.low < doubles / clicks < share.high
    # what drifts makes more of them, never less; of an afterpulse there is no double
    assert share.low == pytest.approx(0.97 * doubles / clicks, rel=0.025)


def test_the_most_telling_reason_is_given() -> None:
    assert most_telling({"qber", "basis-match", "detector-blinding"}, ABORTING) == "detector-blinding"
    assert most_telling({"no-key", "dark-counts"}, DEGRADING) == "dark-counts"
    assert most_telling({"a word"}, ABORTING) == ""
    assert set(ABORTING) <= PROBED
    assert replace(Interval(0.0, 1.0), low=0.5).nearest(0.2) == 0.5
