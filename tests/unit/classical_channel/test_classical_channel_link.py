"""A live link: its settings, its connections, what it tells."""

import pytest

from classical_channel.link import Link, links_of
from qnetem.runtime.clock import PS_PER_S, Clock
from qnetem.runtime.errors import BadInputError
from qnetem.v1.parameters_pb2 import ClassicalParameters, ClassicalSettings
from qnetem.v1.process_pb2 import ClassicalPathConfig, ClockConfig

MS_PS = 10**9
CLOCK = Clock(ClockConfig(epoch_ns=0, scale=2.0, source=ClockConfig.SOURCE_MONOTONIC))


class Spy:
    def __init__(self) -> None:
        self.reset_count = 0

    def reset(self) -> None:
        self.reset_count += 1


def path(from_node: str = "alice", **fields: object) -> ClassicalPathConfig:
    planned = ClassicalParameters(delay_ps=8 * MS_PS)
    return ClassicalPathConfig(**{"link_id": "alice-bob", "from_node": from_node, "planned": planned, **fields})  # type: ignore[arg-type]


def test_the_two_directions_make_one_link() -> None:
    links = links_of([path("alice"), path("bob"), path("alice", link_id="alice-carol")], CLOCK)
    assert sorted(links) == ["alice-bob", "alice-carol"]


def test_directions_that_disagree_are_refused() -> None:
    other = path("bob", planned=ClassicalParameters(delay_ps=1))
    with pytest.raises(BadInputError, match="link alice-bob: its paths have different parameters"):
        links_of([path("alice"), other], CLOCK)


def test_a_path_without_a_link_is_refused() -> None:
    with pytest.raises(BadInputError, match="from 'alice' to 'bob' has no link_id"):
        links_of([path(link_id="", to_node="bob")], CLOCK)


def test_settings_reach_every_direction_at_once() -> None:
    link = Link([path("alice"), path("bob")], CLOCK)
    transits = [link.transit(path("alice")), link.transit(path("bob"))]
    link.set(ClassicalSettings(delay_ps=40 * MS_PS))
    assert [transit.next_delay_s() for transit in transits] == [pytest.approx(0.020)] * 2  # scale 2
    link.reset([])
    assert [transit.next_delay_s() for transit in transits] == [pytest.approx(0.004)] * 2


def test_a_bad_setting_changes_nothing() -> None:
    link = Link([path()], CLOCK)
    with pytest.raises(BadInputError, match="delay_ps -5"):
        link.set(ClassicalSettings(delay_ps=-5, is_up=False))
    assert link.state().effective.delay_ps == 8 * MS_PS
    assert link.state().is_up


def test_down_ends_connections_and_lets_none_in() -> None:
    link = Link([path()], CLOCK)
    transit, spy = link.transit(path()), Spy()
    link.opened(spy)
    link.set(ClassicalSettings(delay_ps=1))
    assert spy.reset_count == 0
    link.set(ClassicalSettings(is_up=False))
    assert spy.reset_count == 1
    assert not transit.is_open
    link.set(ClassicalSettings(is_up=True))
    assert transit.is_open


def test_the_state_tells_what_was_really_added_since_the_last_change() -> None:
    link = Link([path()], CLOCK)
    link.forwarded(100, 0.010)
    link.forwarded(50, 0.014)
    state = link.state()
    assert state.forwarded_bytes == 150
    assert state.achieved_delay_ps == pytest.approx(0.012 * 2 * PS_PER_S, rel=1e-9)  # emulated: scale 2
    link.set(ClassicalSettings(delay_ps=MS_PS))
    later = link.state()
    assert later.forwarded_bytes == 150
    assert later.achieved_delay_ps == 0
    assert later.unslept_delay_ps == MS_PS
    assert later.settings == ClassicalSettings(delay_ps=MS_PS)
    since = [s.effective_since.seconds * PS_PER_S + s.effective_since.picoseconds for s in (state, later)]
    assert since[0] < since[1] <= CLOCK.now_ps()
