"""A peer is silent only while this end could have heard it."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager

import pytest

from node.qkd.patience import Patience

LIMIT_S = 0.2


async def heard_after_a_stall(patience: AbstractAsyncContextManager[object]) -> str:
    """Wait for what comes while the loop does not run, and longer than anyone is waited for."""
    loop = asyncio.get_running_loop()
    message: asyncio.Future[str] = loop.create_future()

    def stall() -> None:
        time.sleep(4 * LIMIT_S)
        # as from a socket: what was read is handed on in the turns that follow
        loop.call_soon(loop.call_soon, message.set_result, "heard")

    loop.call_soon(stall)
    async with patience:
        return await message
    raise AssertionError("nothing was raised, and nothing heard")


async def test_what_came_while_the_loop_did_not_run_is_heard() -> None:
    assert await heard_after_a_stall(Patience(LIMIT_S, tick_s=LIMIT_S / 8)) == "heard"


async def test_a_plain_limit_takes_a_stall_for_silence() -> None:
    with pytest.raises(TimeoutError):
        await heard_after_a_stall(asyncio.timeout(LIMIT_S))


async def test_silence_ends_in_time() -> None:
    began_s = time.monotonic()
    with pytest.raises(TimeoutError):
        async with Patience(LIMIT_S, tick_s=LIMIT_S / 8):
            await asyncio.Event().wait()
    assert time.monotonic() - began_s >= LIMIT_S


async def test_what_comes_in_time_is_no_matter() -> None:
    async with Patience(60.0):
        await asyncio.sleep(0)
