"""qnetem.testbed.supervisor.child: one process of the testbed, kept as the operator wants it. Edge."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from qnetem.runtime.errors import ConflictError, QnetemError
from qnetem.testbed.plan import ProcessPlan
from qnetem.testbed.supervisor.lifecycle import End, Life, RestartPolicy
from qnetem.testbed.supervisor.notify import NotifySocket
from qnetem.testbed.supervisor.spawner import Spawner
from qnetem.testbed.zygote.forking import ForkRequest
from qnetem.v1 import process_pb2, supervisor_pb2

__all__ = ["Child"]

_State = supervisor_pb2.ProcessState
_TAIL_BYTES: Final = 4096
_STOP_POLL_S: Final = 0.001
# a process that is not ready yet has nothing to take leave of
_UNREADY_GRACE_S: Final = 1.0


class Child:
    """Starts its process, watches it, and starts it again."""

    def __init__(
        self,
        plan: ProcessPlan,
        request: ForkRequest,
        notify_path: Path,
        spawner: Spawner,
        policy: RestartPolicy,
        *,
        tell: Callable[["Child", str], None],
        prepare: Callable[[ProcessPlan], None],
    ) -> None:
        """Be ready to start; nothing runs yet.

        Args:
            plan: What it is.
            request: How to start it; NOTIFY_SOCKET is added.
            notify_path: Where it says that it lives.
            spawner: Starts it.
            policy: When to start it again.
            tell: Called with the name of each event, after it.
            prepare: Called before each start; writes what the process is told.
        """
        self.plan: Final = plan
        self.life: Final = Life(policy)
        self._request: Final[ForkRequest] = {
            **request,
            "environment": {**request["environment"], "NOTIFY_SOCKET": str(notify_path)},
        }
        self._spawner = spawner
        self._tell = tell
        self._prepare = prepare
        self._notify = NotifySocket(notify_path, self._heard)
        self._kicked = asyncio.Event()
        self._acting = asyncio.Lock()
        self._pidfd = -1
        self.pid = 0
        self._ended: asyncio.Future[End] | None = None
        self._changed = asyncio.Event()
        self._end_count = 0
        self._was_ready_early = False
        self._is_overdue = False
        # it will be started, only not yet: who waits for the testbed waits for it too
        self.is_due = False

    def status(self) -> supervisor_pb2.ProcessStatus:
        """Return how it is."""
        return supervisor_pb2.ProcessStatus(
            name=self.plan.name,
            kind=process_pb2.ProcessKind.ValueType(self.plan.kind),
            state=supervisor_pb2.PROCESS_STATE_STARTING if self.is_due else self.life.state,
            pid=self.pid,
            restart_count=self.life.restart_count,
            up_s=time.monotonic() - self.life.started_s if self.pid else 0.0,
            last_end=self.life.last_end,
            listeners=process_pb2.Listeners(**self.plan.listeners),
        )

    async def run(self) -> None:
        """Keep the process as it is wanted, until cancelled. It is not ended by that: see `stop`."""
        while True:
            await self._kicked.wait()
            self._kicked.clear()
            while self.life.is_wanted:
                delay_s = self._after_end(await self._lived())
                if delay_s is None:
                    break
                try:
                    async with asyncio.timeout(delay_s):
                        await self._kicked.wait()  # stopped or started by the operator
                except TimeoutError:
                    continue
                self._kicked.clear()
            if self.life.is_alive:
                self.life.abandon()
                self._event("process.stopped")

    async def _lived(self) -> End:
        """Start the process and return how it ended."""
        self.life.started(time.monotonic())
        self._was_ready_early = self._is_overdue = False
        try:
            self._prepare(self.plan)
            await self._spawner.spawn(self._request, self._adopt)
        except QnetemError as error:
            return End(exit_code=4, last_line=str(error))
        self._event("process.starting")
        if self._was_ready_early:
            self._heard(True)
        if not self.life.is_wanted:
            self._signal(signal.SIGTERM)
        assert self._ended is not None  # noqa: S101 (set by _adopt)
        return await self._ended

    def _adopt(self, pid: int) -> None:
        loop = asyncio.get_running_loop()
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)
        self._ended = loop.create_future()
        loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        if os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None or self._ended is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # what it started; the number is its own until it is reaped
        ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        assert ended is not None  # noqa: S101 (looked at above)
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self.pid = 0
        self._notify.drain()
        if ended.si_code == os.CLD_EXITED:
            last_line = _last_line(Path(self._request["log_path"])) if ended.si_status else ""
            end = End(exit_code=ended.si_status, last_line=last_line)
        else:
            end = End(signal_number=ended.si_status, last_line="was not ready in time" if self._is_overdue else "")
        self._ended.set_result(end)

    def _after_end(self, end: End) -> float | None:
        delay_s = self.life.ended(end, time.monotonic())
        self._end_count += 1
        name = _State.Name(self.life.state).removeprefix("PROCESS_STATE_").lower()
        self._event("process.exited" if delay_s is not None else f"process.{name}")
        return delay_s

    def _event(self, event: str) -> None:
        self._tell(self, event)
        self._changed.set()
        self._changed = asyncio.Event()

    def _heard(self, is_ready: bool) -> None:
        if not self.pid:  # heard of it before the zygote told its pid
            self._was_ready_early |= is_ready
        elif self.life.heard(is_ready=is_ready, now_s=time.monotonic()):
            self._event("process.healthy")

    def look(self, now_s: float) -> None:
        """Look whether it has been silent, or starting, for too long; to be called about every second."""
        if self.life.silent(now_s):
            self._event("process.unhealthy")
        if self.life.overdue(now_s):
            self._is_overdue = True
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                return  # a zombie that is about to be reaped

    def _signal_all(self, number: signal.Signals) -> None:
        """Signal the process and the rest of its group: what it has started."""
        self._signal(number)
        if self.pid:
            with contextlib.suppress(ProcessLookupError):  # it has no group of its own yet
                os.killpg(self.pid, number)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            await self._changed.wait()

    async def start(self) -> None:
        """Have it running; return when there is a process, or when there will be none."""
        async with self._acting:
            await self._start()

    async def _start(self) -> None:
        is_new = not self.life.is_alive
        if not self.life.is_wanted or is_new:
            self.life.want()
            self.is_due = False
            self._kicked.set()
        if is_new:
            # the keeper is about to start one: the state before counts for nothing
            await self._until(lambda: self.pid != 0 or self.life.state == supervisor_pb2.PROCESS_STATE_FAILED)

    async def started(self) -> None:
        """Return when it is no longer about to start: it serves, or has ended."""
        await self._until(lambda: self.life.state != supervisor_pb2.PROCESS_STATE_STARTING)

    async def stop(self, grace_s: float) -> None:
        """Have it stopped: SIGTERM, and SIGKILL after `grace_s`."""
        async with self._acting:
            await self._stop(grace_s)

    async def _stop(self, grace_s: float) -> None:
        old = self.life.state
        self.life.unwant()
        self.is_due = False
        self._kicked.set()
        if not self.life.is_alive:
            if old != self.life.state:
                self._event("process.stopped")
            return
        if old == supervisor_pb2.PROCESS_STATE_STARTING:
            grace_s = min(grace_s, _UNREADY_GRACE_S)
        self._signal(signal.SIGTERM)
        self._signal_all(signal.SIGCONT)  # a paused process takes no signal but this and SIGKILL
        try:
            async with asyncio.timeout(grace_s):
                await self._until(lambda: not self.life.is_alive)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._until(lambda: not self.life.is_alive)

    async def restart(self, grace_s: float) -> None:
        """Stop it, if it runs, and start it."""
        async with self._acting:
            await self._stop(grace_s)
            await self._start()

    async def kill(self) -> None:
        """Kill it with SIGKILL; it is started again as if it had died."""
        async with self._acting:
            await self._until(lambda: self.pid != 0 or not self.life.is_alive)
            if self.life.is_alive:
                end_count = self._end_count
                self.life.order_kill()
                self._signal(signal.SIGKILL)
                await self._until(lambda: self._end_count != end_count)

    async def pause(self) -> None:
        """Stop its clockwork with SIGSTOP, and that of what it has started.

        Raises:
            ConflictError: It does not run.
        """
        async with self._acting:
            await self._until(lambda: self.pid != 0 or not self.life.is_alive)
            if not self.life.is_alive:
                raise ConflictError(f"{self.plan.name} does not run")
            self._signal_all(signal.SIGSTOP)
            while self._pidfd >= 0 and not _is_stopped(self._pidfd):  # noqa: ASYNC110 (nothing tells it)
                await asyncio.sleep(_STOP_POLL_S)
            self.life.paused()
            self._event("process.paused")

    async def resume(self) -> None:
        """Let it go on after a pause. No effect on one that is not paused."""
        async with self._acting:
            if self.life.state == supervisor_pb2.PROCESS_STATE_PAUSED:
                self._signal_all(signal.SIGCONT)
                self.life.resumed(time.monotonic())
                self._event("process.resumed")

    def close(self) -> None:
        """Let go of what the process needed. Kills it when it is still there."""
        self._signal(signal.SIGKILL)
        self._notify.close()


def _is_stopped(pidfd: int) -> bool:
    """Return whether a child stands still: SIGSTOP takes effect when it next runs."""
    return os.waitid(os.P_PIDFD, pidfd, os.WSTOPPED | os.WNOHANG) is not None


def _last_line(path: Path) -> str:
    """Return the last line of a log, "" when there is none: a process that ends says why there."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - _TAIL_BYTES))
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return _plain(lines[-1])[:500] if lines else ""


def _plain(line: str) -> str:
    """Return a line of a log as a reader wants it: the error of a JSON line, the text of a refusal."""
    try:
        fields = json.loads(line)
        return f"{fields['error']}: {fields['detail']}"
    except (ValueError, TypeError, KeyError):
        return line.removeprefix("qnetem: ")
