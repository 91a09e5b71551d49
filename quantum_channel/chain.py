"""quantum_channel.chain: steps in a thread, each going on from what the one before it left. Edge."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from typing import Final, Generic, TypeVar

__all__ = ["Chain"]

R = TypeVar("R")
S = TypeVar("S")

# then others that wait for a thread have their turn
_STEPS_IN_A_ROW: Final = 8


class Chain(Generic[R, S]):
    """Steps in threads of a pool, one at a time, in order.

    The thread that ends a step goes on with the next one before anybody hears of it: whoever hears of it may hold the
    interpreter for a while, and steps are to run meanwhile.
    """

    def __init__(self, pool: Executor, left: S) -> None:
        """Give `left` to the first step."""
        self._pool = pool
        self._left = left
        self._lock = threading.Lock()
        self._steps: deque[tuple[Callable[[S], tuple[R, S]], Future[R]]] = deque()
        self._is_running = False
        self._error: BaseException | None = None

    def add(self, step: Callable[[S], tuple[R, S]]) -> Future[R]:
        """Return what `step` comes to; what it leaves is for the next one.

        Where a step fails or is cancelled before it begins, those behind it come to the same.
        """
        result = Future[R]()
        with self._lock:
            self._steps.append((step, result))
            was_running, self._is_running = self._is_running, True
        if not was_running:
            self._submit(self._run)
        return result

    def _submit(self, work: Callable[[], None]) -> None:
        try:
            self._pool.submit(work)
        except RuntimeError:
            # the pool is closed: what there is to do is done here
            work()

    def _run(self) -> None:
        for _ in range(_STEPS_IN_A_ROW):
            with self._lock:
                step, result = self._steps.popleft()
            tell = self._done(step, result)
            with self._lock:
                self._is_running = bool(self._steps)
            if not self._is_running:
                tell()
                return
            self._submit(tell)
        self._submit(self._run)

    def _done(self, step: Callable[[S], tuple[R, S]], result: Future[R]) -> Callable[[], None]:
        """Return what tells of a step that is done."""
        if not result.set_running_or_notify_cancel():
            self._error = self._error or CancelledError()
            return lambda: None
        if self._error is None:
            try:
                come_to, self._left = step(self._left)
            except BaseException as error:
                self._error = error
            else:
                return lambda: result.set_result(come_to)
        failed = self._error
        return lambda: result.set_exception(failed)
