"""Links in weather, and with an Eve in it, for minutes of emulated time: in service, without flapping, and found."""

from dataclasses import replace

import pytest
from drifting_link import DriftingLink
from honest_link import HonestLink, config_of

from node.link_state import LinkState
from qnetem.runtime.clock import PS_PER_S, to_time
from qnetem.v1 import link_session_pb2

PHOTODIODES, NANOWIRES = "decoy-bb84-1ghz-apd", "decoy-bb84-1ghz-snspd"
IN_SERVICE = (LinkState.OPERATING, LinkState.DEGRADED)


@pytest.mark.parametrize(
    ("profile", "environment", "seconds", "operating"),
    [
        (PHOTODIODES, "buried", 300, 0.99),
        (PHOTODIODES, "aerial", 600, 0.99),
        (PHOTODIODES, "metro-day", 300, 0.99),
        (PHOTODIODES, "storm", 600, 0.95),
        (NANOWIRES, "aerial", 30, 0.99),
        (NANOWIRES, "metro-day", 30, 0.99),
        (NANOWIRES, "storm", 30, 0.99),
    ],
)
def test_a_link_in_weather_stays_in_service(profile: str, environment: str, seconds: int, operating: float) -> None:
    link = DriftingLink(profile, environment, 7)
    seen = link.run(seconds)
    assert seen.downs == []
    assert seen.share(LinkState.OPERATING) >= operating
    # all but commissioning
    assert seen.share(*IN_SERVICE) >= 0.995
    assert max(error for _, error in seen.block_qbers) < 0.05


@pytest.mark.parametrize(("profile", "seconds"), [(PHOTODIODES, 600), (NANOWIRES, 30)])
def test_a_link_that_does_not_drift_is_aligned_once_and_alarms_nobody(profile: str, seconds: int) -> None:
    seen = DriftingLink(profile, None, 8).run(seconds)
    assert (seen.downs, seen.changes) == ([], 1)
    assert seen.alignments.total() <= 3


@pytest.mark.parametrize(("profile", "seconds"), [(PHOTODIODES, 300), (NANOWIRES, 30)])
def test_a_storm_that_nobody_planned_is_learnt(profile: str, seconds: int) -> None:
    link = DriftingLink(profile, None, 9)
    link.run(30)
    link.parameters = replace(link.parameters, polarisation_tau_s=5.0)
    seen = link.run(seconds)
    assert len(seen.downs) <= 1
    assert seen.share(*IN_SERVICE) >= 0.95


@pytest.mark.parametrize("environment", [None, "aerial", "storm"])
@pytest.mark.parametrize(("profile", "window_s"), [(PHOTODIODES, 0.6), (NANOWIRES, 0.05)])
def test_who_intercepts_all_is_found_within_one_alignment_more_than_the_errors_take(
    profile: str, window_s: float, environment: str | None
) -> None:
    link = DriftingLink(profile, environment, 11)
    link.run(20)
    link.outcome.first_over_s, came_s = None, link.now_s
    link.intercept_prob = 1.0
    seen = link.run(20)
    assert [why for _, why in seen.downs] == ["qber"]
    assert seen.first_over_s is not None
    assert seen.first_over_s - came_s < 2 * window_s
    # an alignment is asked for and takes effect in two trains at most; then a window more
    assert seen.downs[0][0] - seen.first_over_s < 2 * 0.21 + window_s
    link.intercept_prob = 0.0
    link.run(4)
    assert link.state in IN_SERVICE


# 12 % of errors either way: half of what afterpulses touch is wrong too
@pytest.mark.parametrize(("profile", "intercept_prob"), [(PHOTODIODES, 0.4), (NANOWIRES, 0.45)])
def test_who_intercepts_two_fifths_takes_the_link_down_once(profile: str, intercept_prob: float) -> None:
    link = DriftingLink(profile, "aerial", 12)
    link.run(20)
    link.intercept_prob = intercept_prob
    seen = link.run(60)
    assert [why for _, why in seen.downs] == ["qber"]
    assert (link.state, link.reason) == (LinkState.DOWN, "qber")
    link.intercept_prob = 0.0
    link.run(4)
    assert link.state in IN_SERVICE


@pytest.mark.parametrize("seed", [12, 13, 15])
def test_errors_at_the_threshold_do_not_make_a_link_flap(seed: int) -> None:
    link = DriftingLink(NANOWIRES, "aerial", seed)
    link.run(20)
    # 10.8 %, and 0.2 % of drift
    link.intercept_prob = 0.4
    seen = link.run(40)
    # down for good once 2000 bits happen to have 11 %; or none did, and it is degraded
    assert len(seen.downs) <= 1
    assert link.reason == "qber"
    assert link.state is (LinkState.DOWN if seen.downs else LinkState.DEGRADED)


@pytest.mark.parametrize("profile", [PHOTODIODES, NANOWIRES])
def test_a_fibre_that_somebody_turns_is_aligned_and_stays_in_service(profile: str) -> None:
    link = DriftingLink(profile, None, 14)
    link.run(10)
    link.turned_prob = 0.25
    seen = link.run(10)
    assert seen.first_over_s is not None
    assert seen.downs == []
    assert seen.alignments["errors"] >= 1
    assert link.state is LinkState.OPERATING


async def test_after_a_pause_the_polarisation_is_aligned_before_the_first_pulse() -> None:
    link = HonestLink(config_of(PHOTODIODES, "25km", "aerial"))
    await link.commission()
    aligned_ps = link.link.course.controls.aligned_ps
    train = link_session_pb2.TrainNotice(train_id=10_000, block_count=link.config.protocol.train_blocks)
    aligned = []
    # the second follows the first without a gap, the third after half a minute in which the pool was full
    for start_s in (50.0, 50.201327, 80.0):
        link.now_ps = round(start_s * PS_PER_S) - PS_PER_S // 20
        train.start.CopyFrom(to_time(round(start_s * PS_PER_S)))
        await link.control.expect(train, key_block=0)
        aligned.append(link.link.course.controls.aligned_ps)
    assert aligned == [aligned_ps, aligned_ps, link.now_ps]
