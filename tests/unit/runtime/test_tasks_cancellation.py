"""A task that is asked to end does, whatever else happens in the same instant."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from qnetem.runtime import rpc
from qnetem.runtime.errors import UnavailableError
from qnetem.runtime.tasks import apart, end_if_cancelled, keeping_cancellation


class Failed(Exception):
    pass


async def swallowing(fails: bool) -> int:
    """As grpc.aio does when a call ends in the instant in which its task is cancelled."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    if fails:
        raise Failed
    return 7


@pytest.mark.parametrize("fails", [True, False])
async def test_a_cancellation_that_a_library_took_is_raised_all_the_same(fails: bool) -> None:
    async def run() -> None:
        with keeping_cancellation():
            await swallowing(fails)

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_deadline_around_it_is_a_deadline() -> None:
    async def run() -> None:
        async with asyncio.timeout(0.01):
            with keeping_cancellation():
                await swallowing(fails=True)

    with pytest.raises(TimeoutError):
        await run()


async def test_without_a_cancellation_nothing_is_changed() -> None:
    with pytest.raises(Failed), keeping_cancellation():
        raise Failed

    async def cleaning_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            # a call made on the way out fails as it would anywhere
            with pytest.raises(Failed), keeping_cancellation():
                raise Failed

    task = asyncio.create_task(cleaning_up())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_stream_that_ends_as_its_reader_is_cancelled_does_not_hide_it() -> None:
    async def responses() -> AsyncIterator[int]:
        yield 1
        await swallowing(fails=True)

    async def read_forever() -> None:
        while True:
            with contextlib.suppress(UnavailableError, Failed):
                async for _ in rpc.stream(responses()):
                    pass

    task = asyncio.create_task(read_forever())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


async def test_a_loop_over_groups_ends_when_one_of_a_group_fails_as_it_is_cancelled() -> None:
    async def failing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise Failed

    async def run_forever() -> None:
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(failing())
            except* Failed:
                end_if_cancelled()

    task = asyncio.create_task(run_forever())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()


async def test_a_loop_goes_on_after_a_group_that_fails_by_itself_and_still_ends_when_asked() -> None:
    rounds = 0

    async def failing() -> None:
        nonlocal rounds
        rounds += 1
        await asyncio.sleep(0)
        raise Failed

    async def session() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(failing())

    async def run_forever() -> None:
        while True:
            try:
                await apart(session())
            except* Failed:
                end_if_cancelled()

    task = asyncio.create_task(run_forever())
    while rounds < 5:
        await asyncio.sleep(0)
        assert not task.done()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
