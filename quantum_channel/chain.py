"""quantum_channel.chain: steps that follow each other, in threads; what needs no step before it is done ahead. Edge."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

__all__ = ["Chain"]

A = TypeVar("A")
R = TypeVar("R")
S = TypeVar("S")

# then others that wait for a thread have their turn
_STEPS_IN_A_ROW: Final = 8


@dataclass(slots=True, eq=False)
class _Step(Generic[A, R, S]):
    prepare: Callable[[], A]
    take: Callable[[S, A | None], tuple[R, S]]
    result: "Future[R]" = field(default_factory=Future)
    prepared: A | None = None
    error: BaseException | None = None
    is_ready: bool = False


class Chain(Generic[A, R, S]):
    """Steps in threads of a pool, one at a time, in order; what is prepared for them at once.

    The thread that ends a step goes on with the next one before anybody hears of it: whoever hears of it may hold the
    interpreter for a while, and steps are to run meanwhile.
    """

    def __init__(self, pool: Executor, left: S) -> None:
        """Give `left` to the first step."""
        self._pool = pool
        self._left = left
        self._lock = threading.Lock()
        self._steps: deque[_Step[A, R, S]] = deque()
        self._is_at_work = False
        self._error: BaseException | None = None

    def add(self, prepare: Callable[[], A], take: Callable[[S, A | None], tuple[R, S]]) -> "Future[R]":
        """Return what a step comes to; what it leaves is for the next one.

        Where a step fails or is cancelled before it begins, those behind it come to the same.

        Args:
            prepare: Is called while a step before this one is at work, if there is any.
            take: Is given what the step before it left and what was prepared: None where there was no need to.
        """
        step = _Step(prepare, take)
        with self._lock:
            step.is_ready = not self._steps
            self._steps.append(step)
        self._submit(self._go_on if step.is_ready else lambda: self._prepare(step))
        return step.result

    def _submit(self, work: Callable[[], None]) -> None:
        try:
            self._pool.submit(work)
        except RuntimeError:
            # the pool is closed, or has no thread for it: what there is to do is done here, in the worst case twice
            work()

    def _prepare(self, step: _Step[A, R, S]) -> None:
        if self._error is None and not step.result.cancelled():
            try:
                step.prepared = step.prepare()
            except BaseException as error:
                step.error = error
        with self._lock:
            step.is_ready = True
        self._go_on()

    def _go_on(self) -> None:
        """Take the steps that are ready, unless somebody does."""
        for _ in range(_STEPS_IN_A_ROW):
            with self._lock:
                if self._is_at_work or not self._has_ready():
                    return
                self._is_at_work = True
                step = self._steps[0]
            tell = self._done(step)
            with self._lock:
                self._steps.popleft()
                self._is_at_work = False
                is_next_ready = self._has_ready()
            if is_next_ready:
                self._submit(tell)
            else:
                tell()
        self._submit(self._go_on)

    def _has_ready(self) -> bool:
        return bool(self._steps) and self._steps[0].is_ready

    def _done(self, step: _Step[A, R, S]) -> Callable[[], None]:
        """Return what tells of a step that is done; a second time it does nothing."""
        result = step.result
        if not result.set_running_or_notify_cancel():
            self._error = self._error or CancelledError()
            return lambda: None
        self._error = self._error or step.error
        if self._error is None:
            try:
                come_to, self._left = step.take(self._left, step.prepared)
            except BaseException as error:
                self._error = error
            else:
                return lambda: None if result.done() else result.set_result(come_to)
        failed = self._error
        return lambda: None if result.done() else result.set_exception(failed)
