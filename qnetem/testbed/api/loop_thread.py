"""qnetem.testbed.api.loop_thread: an event loop in a thread of its own, for who has none. Wiring."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

__all__ = ["LoopThread"]

_T = TypeVar("_T")


class LoopThread:
    """Runs coroutines for other threads. It is no daemon: who starts it stops it."""

    def __init__(self) -> None:
        """Start it."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qnetem-testbed")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return or raise what a coroutine does; who interrupts the wait cancels it, and waits for its end."""
        begun: list[asyncio.Task[Any]] = []

        async def noted() -> _T:
            if (task := asyncio.current_task()) is not None:
                begun.append(task)
            return await work

        future = asyncio.run_coroutine_threadsafe(noted(), self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                asyncio.run_coroutine_threadsafe(_ended(begun), self._loop).result()
                work.close()
            raise

    def stop(self) -> None:
        """Cancel what still runs, and end."""

        async def ended() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._loop.shutdown_asyncgens()
            await self._loop.shutdown_default_executor()

        try:
            asyncio.run_coroutine_threadsafe(ended(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _ended(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    if tasks:
        await asyncio.wait(tasks)
