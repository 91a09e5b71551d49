"""Steps in threads: one at a time, in order, whatever becomes of one of them; what is prepared for them at once."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import pytest

from quantum_channel.chain import Chain

WAIT_S = 30.0
Numbers = Chain[int, int, int]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def add(chain: Numbers, step: Callable[[int], tuple[int, int]]) -> "Future[int]":
    return chain.add(lambda: 0, lambda left, _: step(left))


def counted(left: int) -> tuple[int, int]:
    return left, left + 1


def test_each_step_is_given_what_the_one_before_it_left(pool: ThreadPoolExecutor) -> None:
    chain = Numbers(pool, 5)
    at_work, most = 0, 0

    def step(left: int) -> tuple[int, int]:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        time.sleep(1e-4)
        at_work -= 1
        return counted(left)

    results = [add(chain, step) for _ in range(200)]
    assert [result.result(WAIT_S) for result in results] == list(range(5, 205))
    assert most == 1


def test_what_is_prepared_is_prepared_while_a_step_before_it_is_at_work(pool: ThreadPoolExecutor) -> None:
    chain, may_go = Numbers(pool, 0), threading.Event()
    both = threading.Barrier(2)

    def wait(left: int) -> tuple[int, int]:
        may_go.wait(WAIT_S)
        return counted(left)

    def prepare() -> int:
        # both are here at once
        both.wait(WAIT_S)
        return 7

    seen: list[tuple[int, int | None]] = []

    def take(left: int, prepared: int | None) -> tuple[int, int]:
        seen.append((left, prepared))
        return counted(left)

    results = [
        chain.add(prepare, lambda left, _: wait(left)),
        chain.add(prepare, take),
        chain.add(prepare, take),
    ]
    assert not results[0].done()
    may_go.set()
    assert [result.result(WAIT_S) for result in results] == [0, 1, 2]
    # the first one had nothing before it
    assert seen == [(1, 7), (2, 7)]


def test_a_step_that_fails_is_the_last(pool: ThreadPoolExecutor) -> None:
    chain, done = Numbers(pool, 0), []

    def fail(left: int) -> tuple[int, int]:
        raise ValueError(f"at {left}")

    def step(left: int) -> tuple[int, int]:
        done.append(left)
        return counted(left)

    results = [add(chain, step), add(chain, fail), add(chain, step), add(chain, step)]
    assert results[0].result(WAIT_S) == 0
    for result in results[1:]:
        with pytest.raises(ValueError, match="at 1"):
            result.result(WAIT_S)
    assert done == [0]


def test_a_step_whose_preparation_fails_fails_and_none_before_it(pool: ThreadPoolExecutor) -> None:
    chain, may_go = Numbers(pool, 0), threading.Event()

    def wait(left: int) -> tuple[int, int]:
        may_go.wait(WAIT_S)
        return counted(left)

    def fail() -> int:
        raise ValueError("not to be had")

    results = [add(chain, wait), add(chain, counted)]
    bad = chain.add(fail, lambda left, _: counted(left))
    behind = add(chain, counted)
    may_go.set()
    for result in (bad, behind):
        with pytest.raises(ValueError, match="not to be had"):
            result.result(WAIT_S)
    # what is before it is as ever
    assert [result.result(WAIT_S) for result in results] == [0, 1]


def test_a_step_that_is_cancelled_before_it_begins_is_the_last(pool: ThreadPoolExecutor) -> None:
    chain, may_go, done = Numbers(pool, 0), threading.Event(), []

    def wait(left: int) -> tuple[int, int]:
        may_go.wait(WAIT_S)
        return counted(left)

    def step(left: int) -> tuple[int, int]:
        done.append(left)
        return counted(left)

    first, second, third = add(chain, wait), add(chain, step), add(chain, step)
    assert second.cancel()
    may_go.set()
    assert first.result(WAIT_S) == 0
    with pytest.raises(CancelledError):
        third.result(WAIT_S)
    assert done == []


def test_what_is_left_when_the_pool_is_closed_is_done_where_it_is_asked_for(pool: ThreadPoolExecutor) -> None:
    chain = Numbers(pool, 3)
    pool.shutdown()
    assert add(chain, counted).result(WAIT_S) == 3


def test_a_chain_does_not_keep_a_thread_for_itself() -> None:
    with ThreadPoolExecutor(2) as threads:
        chain, done, done_before = Numbers(threads, 0), [], []
        may_go, is_blocked, may_end = threading.Event(), threading.Event(), threading.Event()

        def step(left: int) -> tuple[int, int]:
            may_go.wait(WAIT_S)
            done.append(left)
            return counted(left)

        def block() -> None:
            is_blocked.set()
            may_end.wait(WAIT_S)

        results = [add(chain, step) for _ in range(40)]
        # the first step has one thread; the other has prepared the rest when it comes to this
        threads.submit(block)
        assert is_blocked.wait(WAIT_S)
        other = threads.submit(lambda: done_before.append(len(done)))
        may_go.set()
        other.result(WAIT_S)
        assert [result.result(WAIT_S) for result in results] == list(range(40))
        may_end.set()
    assert done_before == [8]
