"""qnetem.runtime.tasks: tasks that run for as long as a block does. Edge."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

__all__ = ["apart", "background", "end_if_cancelled", "keeping_cancellation"]

Result = TypeVar("Result")


@asynccontextmanager
async def background() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Yield a function that starts a task; the end of the block cancels them all, a crash of one ends the block."""
    async with asyncio.TaskGroup() as group:
        started: list[asyncio.Task[None]] = []
        try:
            yield lambda coroutine: started.append(group.create_task(coroutine))
        finally:
            for task in started:
                task.cancel()


async def apart(work: Coroutine[Any, Any, Result]) -> Result:
    """Return what `work` does, in a task of its own that ends with this one.

    A group of tasks (Python 3.11, 3.12) that is left when one of its tasks fails leaves its parent counted as
    cancelled, though nobody cancelled it; here that parent is not the task that goes on.
    """
    return await asyncio.create_task(work)


def end_if_cancelled() -> None:
    """Raise CancelledError if the running task was asked to end: for a loop that goes on after any error.

    A group of tasks (Python 3.11, 3.12) whose parent is cancelled as one of its tasks fails raises the failure alone.
    What has groups of its own runs `apart`, or the loop ends with the first of their failures.
    """
    _end_if_cancelled_since(asyncio.current_task(), 0)


@contextmanager
def keeping_cancellation() -> Iterator[None]:
    """Raise CancelledError at the end of the block if the task was cancelled within, whatever else came of it.

    grpc.aio takes a cancellation that meets the end of a call for that end: the caller would never know.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    except asyncio.CancelledError:
        raise
    except BaseException:
        _end_if_cancelled_since(task, before)
        raise
    _end_if_cancelled_since(task, before)


def _end_if_cancelled_since(task: asyncio.Task[Any] | None, before: int) -> None:
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
