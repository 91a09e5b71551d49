"""The thread with the loop, and that the synchronous twin has everything that the asynchronous testbed has."""

import asyncio
import inspect
import threading
from collections.abc import Iterator

import pytest

from qnetem.testbed.api.events import EventStream
from qnetem.testbed.api.links import LinkHandle
from qnetem.testbed.api.loop_thread import LoopThread
from qnetem.testbed.api.processes import ProcessHandle
from qnetem.testbed.api.saes import SaeHandle
from qnetem.testbed.api.sync import SyncTestbed
from qnetem.testbed.api.sync_handles import SyncEventStream, SyncLinkHandle, SyncProcessHandle, SyncSaeHandle
from qnetem.testbed.api.testbed import Testbed


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    """A running one."""
    thread = LoopThread()
    yield thread
    thread.stop()


def test_it_returns_and_raises_what_the_coroutine_does(loop_thread: LoopThread) -> None:
    async def doubled(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    async def broken() -> None:
        raise ZeroDivisionError

    assert loop_thread.run(doubled(21)) == 42
    with pytest.raises(ZeroDivisionError):
        loop_thread.run(broken())


def test_who_interrupts_the_wait_finds_the_work_cancelled_and_cleaned_up(
    loop_thread: LoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    has_begun = threading.Event()

    async def long() -> None:
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            steps.append("cleaned up")

    from concurrent.futures import Future

    waited = Future.result

    def interrupted(future: "Future[None]", timeout: float | None = None) -> None:
        monkeypatch.undo()
        has_begun.wait(10)
        assert waited is not interrupted
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop_thread.run(long())
    assert steps == ["cleaned up"]


def test_stopping_cancels_what_still_runs() -> None:
    thread = LoopThread()
    steps = []

    async def left() -> None:
        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                steps.append("cancelled")

        started.append(asyncio.create_task(forever()))
        await asyncio.sleep(0)

    started: list[asyncio.Task[None]] = []
    thread.run(left())
    thread.stop()
    assert steps == ["cancelled"]
    assert not [one for one in threading.enumerate() if one.name == "qnetem-testbed"]


# what only an event loop can use, reached by `asynchronous` and `run`
ASYNC_ONLY = {"channel", "client", "connection", "quantum_client", "classical_client"}


@pytest.mark.parametrize(
    ("one", "twin"),
    [
        (Testbed, SyncTestbed),
        (ProcessHandle, SyncProcessHandle),
        (LinkHandle, SyncLinkHandle),
        (SaeHandle, SyncSaeHandle),
        (EventStream, SyncEventStream),
    ],
)
def test_the_twin_has_every_method_with_the_same_parameters(one: type, twin: type) -> None:
    for name, member in inspect.getmembers(one):
        if name.startswith("_") or name in ASYNC_ONLY or not inspect.isroutine(member):
            continue
        assert hasattr(twin, name), name
        here, there = inspect.signature(member).parameters, inspect.signature(getattr(twin, name)).parameters
        if name != "up":  # `within_s` is asynchronous code's
            assert [(p.name, p.kind, p.default) for p in here.values()] == [
                (p.name, p.kind, p.default) for p in there.values()
            ], name
