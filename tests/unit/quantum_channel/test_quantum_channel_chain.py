"""Steps in threads: one at a time, in order, whatever becomes of one of them."""

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from quantum_channel.chain import Chain

WAIT_S = 30.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def test_each_step_is_given_what_the_one_before_it_left(pool: ThreadPoolExecutor) -> None:
    chain = Chain[str, int](pool, 5)
    at_work, most = 0, 0

    def step(left: int) -> tuple[str, int]:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        at_work -= 1
        return f"from {left}", left + 1

    results = [chain.add(step) for _ in range(200)]
    assert [result.result(WAIT_S) for result in results] == [f"from {n}" for n in range(5, 205)]
    assert most == 1


def test_a_step_that_fails_is_the_last(pool: ThreadPoolExecutor) -> None:
    chain, done = Chain[int, int](pool, 0), []

    def fail(left: int) -> tuple[int, int]:
        raise ValueError(f"at {left}")

    def step(left: int) -> tuple[int, int]:
        done.append(left)
        return left, left + 1

    results = [chain.add(step), chain.add(fail), chain.add(step), chain.add(step)]
    assert results[0].result(WAIT_S) == 0
    for result in results[1:]:
        with pytest.raises(ValueError, match="at 1"):
            result.result(WAIT_S)
    assert done == [0]


def test_a_step_that_is_cancelled_before_it_begins_is_the_last(pool: ThreadPoolExecutor) -> None:
    chain, may_go, done = Chain[int, int](pool, 0), threading.Event(), []

    def wait(left: int) -> tuple[int, int]:
        may_go.wait(WAIT_S)
        return left, left + 1

    def step(left: int) -> tuple[int, int]:
        done.append(left)
        return left, left + 1

    first, second, third = chain.add(wait), chain.add(step), chain.add(step)
    assert second.cancel()
    may_go.set()
    assert first.result(WAIT_S) == 0
    with pytest.raises(CancelledError):
        third.result(WAIT_S)
    assert done == []


def test_what_is_left_when_the_pool_is_closed_is_done_where_it_is_asked_for(pool: ThreadPoolExecutor) -> None:
    chain = Chain[int, int](pool, 3)
    pool.shutdown()
    assert chain.add(lambda left: (left, left + 1)).result(WAIT_S) == 3


def test_many_chains_share_a_thread_that_none_keeps() -> None:
    with ThreadPoolExecutor(1) as thread:
        order: list[int] = []
        chains = [Chain[int, int](thread, number) for number in range(3)]
        may_go = threading.Event()

        def step(left: int) -> tuple[int, int]:
            may_go.wait(WAIT_S)
            order.append(left)
            return left, left

        results = [chain.add(step) for chain in chains for _ in range(40)]
        may_go.set()
        assert [result.result(WAIT_S) for result in results] == [0] * 40 + [1] * 40 + [2] * 40
    assert sorted(order) == [0] * 40 + [1] * 40 + [2] * 40
    assert order.index(2) < 40
