"""node.keys.group_commit: one thread that writes, one durable commit for all that waited. Edge: SQLite, a thread.

Operations are functions of a connection. Those that wait when the thread is free go into one transaction, each in a
savepoint of its own, and all are answered after its commit is on the disk. Around the commit lie the crash points
`<step>.before` (done, not durable) and `<step>.after` (durable, not answered).
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from node.keys.audit_files import AuditLimits
from node.keys.audit_log import AuditLog
from node.keys.connection import StoreConnection, unlock
from node.keys.schema import broken, open_database
from qnetem.runtime import crashpoint
from qnetem.runtime.errors import QnetemError, StorageError
from qnetem.runtime.log import get_logger

__all__ = ["GroupCommit", "declare_step"]

_log = get_logger("node.keys.store")

_BATCH: Final = 256
# after this long without work the log, which holds old pages, is folded into the database and cut
_IDLE_S: Final = 1.0
# without such a pause it is folded so often, behind the answers of a commit; and by SQLite inside the commit that makes
# it longer than this, in pages
_CHECKPOINT_S: Final = 2.0
_LOG_PAGES: Final = 1 << 14
_T = TypeVar("_T")


def declare_step(step: str, what: str) -> str:
    """Declare the two crash points around the commit of a step; return the step."""
    crashpoint.declare(f"{step}.before", f"{what}: done, not durable")
    crashpoint.declare(f"{step}.after", f"{what}: durable, not answered")
    return step


@dataclass
class _Job:
    step: str | None
    operation: Callable[[sqlite3.Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"
    value: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        if self.future.done():  # its caller was cancelled
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.value)


class GroupCommit:
    """The only one that touches the database at `path`."""

    def __init__(
        self,
        path: Path,
        key_path: Path | None = None,
        emulated_s: Callable[[], float] = lambda: 0.0,
        audit_limits: AuditLimits = AuditLimits(),  # noqa: B008 frozen
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is opened before `open`.

        Args:
            path: The database; the audit trail lies beside it.
            key_path: The file of its storage key; None: beside it too.
            emulated_s: Emulated time, for the audit trail.
            audit_limits: How that is cut, and what of it is kept.
            wall_s: Wall clock, for it too.
        """
        self._path = path
        self._key_path = key_path
        self._emulated_s = emulated_s
        self.audit_log = AuditLog(path.with_suffix(".audit.jsonl"), audit_limits, wall_s)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_dead = False

    async def open(self) -> None:
        """Open the database in the writing thread.

        Raises:
            StorageError: As `open_database`.
        """
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        job = _Job(None, lambda db: None, asyncio.get_running_loop(), opened)
        self._thread = threading.Thread(target=self._run, args=(job,), name="key-store")
        self._thread.start()
        try:
            await opened
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was asked for, close the database and end the thread."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    async def run(self, step: str | None, operation: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `operation` in a transaction and return its value when that is durable.

        Args:
            step: Name of its crash points; None for what has none.
            operation: Reads and writes; what it raises undoes its own writes alone.

        Raises:
            QnetemError: What the operation raised.
            StorageError: The database could not be read or written: nothing of it counts as done.
        """
        if self._thread is None:
            raise StorageError(f"key store {self._path}: is closed")
        loop = asyncio.get_running_loop()
        job = _Job(step, operation, loop, loop.create_future())
        self._jobs.put(job)
        if self._is_dead:
            self._refuse_all()
        value: _T = await job.future
        return value

    def _run(self, first: _Job) -> None:
        try:
            self._serve(first)
        except BaseException:
            # a fault of ours: nobody waits for an answer that will not come
            self._is_dead = True
            _log.exception("keys.store.collapsed", path=str(self._path))
            self._refuse_all()

    def _refuse_all(self) -> None:
        left: list[_Job] = []
        with suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job.error = StorageError(f"key store {self._path}: has collapsed")
                    left.append(job)
        if left:
            _settle(left)

    def _serve(self, first: _Job) -> None:
        db: StoreConnection | None = None
        try:
            db = open_database(self._path, self._key_path)
            db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
            self.audit_log.open(db)
        except Exception as error:
            if db is not None:
                db.close()
                db = None
            first.error = error
        _settle([first])
        is_dirty = db is not None
        folded_s = time.monotonic()
        while db is not None:
            try:
                job = self._jobs.get(timeout=_IDLE_S if is_dirty else None)
            except queue.Empty:
                self._fold(db)
                is_dirty = False
                continue
            batch = [job]
            while len(batch) < _BATCH and batch[-1] is not None and not self._jobs.empty():
                batch.append(self._jobs.get())
            jobs = [job for job in batch if job is not None]
            if jobs:
                try:
                    self._commit(db, jobs)
                except BaseException as error:
                    for job in jobs:
                        job.error = job.error or error
                    raise
                finally:
                    _settle(jobs)
                self._turn(db)
                is_dirty = True
                if time.monotonic() - folded_s >= _CHECKPOINT_S:
                    with suppress(sqlite3.Error):  # as of `_fold`
                        db.execute("PRAGMA wal_checkpoint(PASSIVE)")
                    folded_s = time.monotonic()
            if batch[-1] is None:
                break
        if db is not None:
            self._fold(db)
            db.close()
            self.audit_log.close()

    def _commit(self, db: StoreConnection, jobs: list[_Job]) -> None:
        try:
            db.execute("BEGIN IMMEDIATE")
            for job in jobs:
                self._attempt(db, job)
                if not db.in_transaction:  # SQLite itself gave the whole transaction up
                    raise job.error or sqlite3.OperationalError("transaction lost")
            self.audit_log.seal(db, self._emulated_s())
            done = [job.step for job in jobs if job.error is None and job.step is not None]
            for step in done:
                crashpoint.reach(f"{step}.before")
            db.execute("COMMIT")
            self.audit_log.append(db)
            for step in done:
                crashpoint.reach(f"{step}.after")
        except BaseException as error:
            for job in jobs:
                job.error = job.error or (broken(self._path, error) if isinstance(error, sqlite3.Error) else error)
            with suppress(sqlite3.Error):  # then the next BEGIN fails, and says so to those who wait
                db.execute("ROLLBACK")
            self.audit_log.discard(db)
            with suppress(sqlite3.Error, StorageError):  # a rotation of the storage key may have been undone
                unlock(db, self._path, self._key_path)
            for job in jobs:
                if job.step is None:
                    self._read(db, job)

    def _read(self, db: StoreConnection, job: _Job) -> None:
        """Repeat a reading job by itself: what others could not write is no reason to refuse it."""
        job.error = None
        try:
            db.execute("BEGIN")
            self._attempt(db, job)
            db.execute("ROLLBACK")
            self.audit_log.discard(db)
        except sqlite3.Error as error:
            job.error = broken(self._path, error)
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")

    def _attempt(self, db: StoreConnection, job: _Job) -> None:
        noted_count = len(db.trail.notes)
        db.execute("SAVEPOINT job")
        try:
            job.value = job.operation(db)
        except Exception as error:
            is_ours = isinstance(error, QnetemError) or not isinstance(error, sqlite3.Error)
            job.error = error if is_ours else broken(self._path, error)
            del db.trail.notes[noted_count:]
            if db.in_transaction:
                db.execute("ROLLBACK TO job")
        if db.in_transaction:
            db.execute("RELEASE job")

    def _turn(self, db: StoreConnection) -> None:
        with suppress(sqlite3.Error):  # as of `_fold`
            self.audit_log.turn(db, self._emulated_s())

    def _fold(self, db: StoreConnection) -> None:
        # a full disk: the log stays, and is complete; the next commit tells those who wait
        with suppress(sqlite3.Error):
            self.audit_log.fold(db)
            self.audit_log.turn(db, self._emulated_s())
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _settle(jobs: list[_Job]) -> None:
    def answer() -> None:
        for job in jobs:
            job.settle()

    # the loop may have ended, and with it those who waited
    with suppress(RuntimeError):
        jobs[0].loop.call_soon_threadsafe(answer)
