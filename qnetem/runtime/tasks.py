"""qnetem.runtime.tasks: tasks that run for as long as a block does. Edge."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["background"]


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
