"""The life of a process as the supervisor sees it: tables of events, states and delays."""

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnetem.testbed.supervisor.lifecycle import ALIVE, End, Life, RestartPolicy
from qnetem.v1 import supervisor_pb2
from qnetem.v1.supervisor_pb2 import (
    PROCESS_STATE_FAILED,
    PROCESS_STATE_HEALTHY,
    PROCESS_STATE_PAUSED,
    PROCESS_STATE_RESTARTING,
    PROCESS_STATE_STARTING,
    PROCESS_STATE_STOPPED,
    PROCESS_STATE_UNHEALTHY,
)

POLICY = RestartPolicy(first_delay_s=0.1, longest_delay_s=1.0, give_up_count=6, unborn_give_up_count=3, steady_s=5.0)


def healthy_life(now_s: float = 0.0) -> Life:
    life = Life(POLICY)
    life.want()
    life.started(now_s)
    life.heard(is_ready=True, now_s=now_s)
    return life


def test_a_process_is_healthy_when_it_says_that_it_is_ready_and_not_before() -> None:
    life = Life(POLICY)
    assert life.state == PROCESS_STATE_STOPPED
    life.want()
    life.started(0.0)
    assert life.state == PROCESS_STATE_STARTING
    assert not life.heard(is_ready=False, now_s=1.0)
    assert life.state == PROCESS_STATE_STARTING
    assert life.heard(is_ready=True, now_s=2.0)
    assert life.state == PROCESS_STATE_HEALTHY


def test_silence_makes_it_unhealthy_and_a_sign_of_life_healthy_again() -> None:
    life = healthy_life()
    assert not life.silent(5.0)
    assert life.silent(5.1)
    assert life.state == PROCESS_STATE_UNHEALTHY
    assert not life.silent(6.0), "an event once, not every second"
    assert life.heard(is_ready=False, now_s=7.0)
    assert life.state == PROCESS_STATE_HEALTHY


def test_silence_is_not_held_against_a_process_while_it_is_paused_or_nobody_listens() -> None:
    life = healthy_life()
    life.paused()
    assert not life.silent(100.0)
    life.resumed(100.0)
    assert life.state == PROCESS_STATE_HEALTHY
    assert not life.silent(104.0)
    life.excuse(300.0)
    assert not life.silent(304.0)


def test_a_process_paused_before_it_was_ready_goes_on_starting() -> None:
    life = Life(POLICY)
    life.want()
    life.started(0.0)
    life.paused()
    assert not life.overdue(1000.0)
    life.resumed(1000.0)
    assert life.state == PROCESS_STATE_STARTING
    assert not life.overdue(1030.0)
    assert life.overdue(1061.0)


def test_restarts_back_off_and_end_with_failure() -> None:
    life = healthy_life()
    delays = []
    while True:
        delay_s = life.ended(End(exit_code=1), 0.0)
        if delay_s is None:
            break
        delays.append(delay_s)
        life.started(0.0)
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.0]
    assert life.state == PROCESS_STATE_FAILED
    assert life.restart_count == 5
    life.want()
    assert life.state == PROCESS_STATE_STARTING, "the operator's start forgives"


def test_a_process_that_was_steady_has_left_its_deaths_behind() -> None:
    life = healthy_life()
    for _ in range(20):
        assert life.ended(End(exit_code=1), 6.0) == 0.1
        life.started(0.0)
        life.heard(is_ready=True, now_s=0.0)


def test_one_that_was_never_healthy_is_given_up_sooner() -> None:
    life = Life(POLICY)
    life.want()
    life.started(0.0)
    assert life.ended(End(exit_code=1), 0.0) is not None
    assert life.ended(End(exit_code=1), 0.0) is not None
    assert life.ended(End(exit_code=1), 0.0) is None


@pytest.mark.parametrize("number", [3, 126, 127])
def test_a_process_that_cannot_use_its_configuration_is_not_tried_again(number: int) -> None:
    life = healthy_life()
    assert life.ended(End(exit_code=number, last_line="config.json: name is missing"), 1.0) is None
    assert life.state == PROCESS_STATE_FAILED
    assert life.last_end == f"exit {number}: config.json: name is missing"


def test_could_not_start_is_final_at_first_and_tried_again_later() -> None:
    fresh = Life(POLICY)
    fresh.want()
    fresh.started(0.0)
    assert fresh.ended(End(exit_code=4), 0.0) is None
    known = healthy_life()
    assert known.ended(End(exit_code=4), 0.0) == 0.1, "a port can be in use for a moment"


def test_kills_from_outside_never_make_a_healthy_process_fail() -> None:
    life = healthy_life()
    for _ in range(50):
        assert life.ended(End(signal_number=signal.SIGKILL), 0.0) == 0.1
        assert life.state == PROCESS_STATE_RESTARTING
        life.started(0.0)
        life.heard(is_ready=True, now_s=0.0)


def test_a_kill_that_was_ordered_is_not_counted_even_before_it_was_ready() -> None:
    life = Life(POLICY)
    life.want()
    for _ in range(10):
        life.started(0.0)
        life.order_kill()
        assert life.ended(End(signal_number=signal.SIGKILL), 0.0) is not None


def test_what_the_operator_stopped_stays_stopped() -> None:
    life = healthy_life()
    life.unwant()
    assert life.state == PROCESS_STATE_HEALTHY, "it runs until it has ended"
    assert life.ended(End(exit_code=0), 0.0) is None
    assert life.state == PROCESS_STATE_STOPPED


def test_stopping_a_process_that_waits_for_its_restart_stops_it_at_once() -> None:
    life = healthy_life()
    life.ended(End(exit_code=1), 0.0)
    life.unwant()
    assert life.state == PROCESS_STATE_STOPPED


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (End(exit_code=0), "exit 0"),
        (End(exit_code=4, last_line="port 5 in use"), "exit 4: port 5 in use"),
        (End(signal_number=signal.SIGSEGV), "killed by SIGSEGV"),
        (End(signal_number=50), "killed by signal 50"),
    ],
)
def test_an_end_is_told_in_one_line(end: End, text: str) -> None:
    assert str(end) == text


EVENTS = st.lists(
    st.tuples(st.sampled_from(["want", "unwant", "started", "ready", "beat", "pause", "resume", "look", "end", "kill"]))
)


@given(EVENTS)
def test_whatever_happens_states_stay_consistent(events: list[tuple[str]]) -> None:
    life = Life(POLICY)
    is_running = False
    now_s = 0.0
    for (event,) in events:
        now_s += 1.0
        match event:
            case "want":
                life.want()
            case "unwant":
                life.unwant()
            case "started" if life.is_wanted and not is_running:
                life.started(now_s)
                is_running = True
            case "ready" if is_running:
                life.heard(is_ready=True, now_s=now_s)
            case "beat" if is_running:
                life.heard(is_ready=False, now_s=now_s)
            case "pause" if is_running:
                life.paused()
            case "resume" if is_running:
                life.resumed(now_s)
            case "look":
                life.silent(now_s)
            case "kill":
                life.order_kill()
            case "end" if is_running:
                delay_s = life.ended(End(exit_code=1), now_s)
                is_running = False
                assert (delay_s is not None) == (life.state == PROCESS_STATE_RESTARTING)
                assert delay_s is None or 0 < delay_s <= POLICY.longest_delay_s
            case _:
                continue
        if is_running:
            assert life.state in ALIVE
        if life.state == PROCESS_STATE_PAUSED:
            assert is_running
        assert life.state in supervisor_pb2.ProcessState.values()
