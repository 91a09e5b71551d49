"""A live link: its settings, its connections, what it tells."""

import pytest

from classical_channel.link import Link, links_of
from qnetem.runtime.clock import PS_PER_S, Clock
from qnetem.runtime.errors import BadInputError
from qnetem.v1.parameters_pb2 import ClassicalLayer, ClassicalParameters, ClassicalSettings
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
    with pytest.raises(BadInputError, match="link alice-bob: its paths have different layers"):
        links_of([path("alice"), path("bob", layers=[ClassicalLayer(ramp_s=1)])], CLOCK)


def test_a_path_without_a_link_is_refused() -> None:
    with pytest.raises(BadInputError, match="from 'alice' to 'bob' has no link_id"):
        links_of([path(link_id="", to_node="bob")], CLOCK)


def test_settings_reach_every_direction_at_once() -> None:
    link = Link([path("alice"), path("bob")], CLOCK)
    transits = [*link.transits(path("alice")), *link.transits(path("bob"))]
    link.set(ClassicalSettings(delay_ps=40 * MS_PS))
    assert [transit.next_delay_s() for transit in transits] == [pytest.approx(0.020)] * 4  # scale 2
    link.reset([])
    assert [transit.next_delay_s() for transit in transits] == [pytest.approx(0.004)] * 4


def test_a_setting_for_one_way_acts_on_whoever_dials() -> None:
    link = Link([path("alice", to_node="bob"), path("bob", to_node="alice")], CLOCK)
    (from_alice, to_alice), (from_bob, to_bob) = link.transits(path("alice")), link.transits(path("bob"))
    link.set(ClassicalSettings(forth_delay_ps=40 * MS_PS))
    delays = [transit.next_delay_s() for transit in (from_alice, to_bob, to_alice, from_bob)]
    assert delays == pytest.approx([0.020, 0.020, 0.004, 0.004])
    forth, back = link.state().ways
    assert (forth.from_node, forth.to_node, forth.effective.delay_ps) == ("alice", "bob", 40 * MS_PS)
    assert (back.from_node, back.to_node, back.effective.delay_ps) == ("bob", "alice", 8 * MS_PS)


def test_a_layer_is_followed_as_time_goes_and_forgotten_when_it_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(ClockConfig(epoch_ns=0, scale=1.0, source=ClockConfig.SOURCE_MONOTONIC))
    now_s = [100.0]
    monkeypatch.setattr(clock, "now_ps", lambda: round(now_s[0] * PS_PER_S))
    link = Link([path()], clock)
    transit, _ = link.transits(path())
    link.set(ClassicalSettings(delay_ps=48 * MS_PS), ramp_s=10, duration_s=20)
    for at_s, delay_s in ((100.0, 0.008), (105.0, 0.028), (110.0, 0.048), (119.0, 0.048), (120.0, 0.008)):
        now_s[0] = at_s
        assert transit.next_delay_s() == pytest.approx(delay_s)
    assert not link.state().layers
    assert link.state().settings == ClassicalSettings()


def test_a_field_is_taken_out_of_layers_too_and_all_can_be_replaced_at_once() -> None:
    link = Link([path()], CLOCK)
    link.set(ClassicalSettings(delay_ps=MS_PS))
    link.set(ClassicalSettings(delay_ps=2 * MS_PS, loss_prob=0.5), duration_s=1000)
    link.set(ClassicalSettings(delay_ps=3 * MS_PS), ramp_s=1000)
    link.reset(["delay_ps"])
    state = link.state()
    assert state.effective == ClassicalParameters(delay_ps=8 * MS_PS, loss_prob=0.5)
    assert [layer.settings for layer in state.layers] == [ClassicalSettings(loss_prob=0.5)]
    link.replace(ClassicalSettings(jitter_ps=5), [ClassicalLayer(settings=ClassicalSettings(delay_ps=0))])
    state = link.state()
    assert state.effective == ClassicalParameters(delay_ps=0, jitter_ps=5)
    assert state.layers[0].HasField("start")
    with pytest.raises(BadInputError, match="link alice-bob: duration_s -1"):
        link.replace(ClassicalSettings(), [ClassicalLayer(duration_s=-1)])
    assert link.state().effective == state.effective


def test_a_link_that_is_cut_for_a_time_mends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(ClockConfig(epoch_ns=0, scale=1.0, source=ClockConfig.SOURCE_MONOTONIC))
    now_s = 100.0
    monkeypatch.setattr(clock, "now_ps", lambda: round(now_s * PS_PER_S))
    link, spy = Link([path()], clock), Spy()
    transit, _ = link.transits(path())
    link.opened(spy)
    link.set(ClassicalSettings(is_up=False), duration_s=5)
    assert (spy.reset_count, transit.is_open) == (1, False)
    now_s = 105.0
    assert transit.is_open


def test_a_bad_setting_changes_nothing() -> None:
    link = Link([path()], CLOCK)
    with pytest.raises(BadInputError, match="delay_ps -5"):
        link.set(ClassicalSettings(delay_ps=-5, is_up=False))
    assert link.state().effective.delay_ps == 8 * MS_PS
    assert link.state().is_up


def test_down_ends_connections_and_lets_none_in() -> None:
    link = Link([path()], CLOCK)
    (transit, _), spy = link.transits(path()), Spy()
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
    link.forth.forwarded(100, 0.010)
    link.forth.forwarded(50, 0.014)
    link.back.forwarded(7, 0.5)
    state = link.state()
    assert state.forwarded_bytes == 157
    assert [way.achieved_delay_ps for way in state.ways] == pytest.approx([0.024 * PS_PER_S, PS_PER_S])
    assert state.achieved_delay_ps == pytest.approx(0.012 * 2 * PS_PER_S, rel=1e-9)  # emulated: scale 2
    link.set(ClassicalSettings(delay_ps=MS_PS))
    later = link.state()
    assert later.forwarded_bytes == 157
    assert later.achieved_delay_ps == 0
    assert later.unslept_delay_ps == MS_PS
    assert later.settings == ClassicalSettings(delay_ps=MS_PS)
    since = [s.effective_since.seconds * PS_PER_S + s.effective_since.picoseconds for s in (state, later)]
    assert since[0] < since[1] <= CLOCK.now_ps()
