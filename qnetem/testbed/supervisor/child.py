"""qnetem.testbed.supervisor.child: one process of the testbed, kept as the operator wants it. Edge."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from qnetem.runtime.errors import ConflictError, QnetemError
from qnetem.testbed.plan import ProcessPlan
from qnetem.testbed.planes import Plane, plane_values
from qnetem.testbed.supervisor.body import Body
from qnetem.testbed.supervisor.heartbeat_file import HeartbeatFile
from qnetem.testbed.supervisor.lifecycle import End, Life, RestartPolicy
from qnetem.testbed.supervisor.notify import NotifySocket
from qnetem.v1 import process_pb2, supervisor_pb2

__all__ = ["Child"]

_State = supervisor_pb2.ProcessState
# a process that is not ready yet has nothing to take leave of
_UNREADY_GRACE_S: Final = 1.0


class Child:
    """Starts its process, watches it, and starts it again."""

    def __init__(
        self,
        plan: ProcessPlan,
        body: Body,
        notify_path: Path,
        policy: RestartPolicy,
        *,
        tell: Callable[["Child", str], None],
        prepare: Callable[[ProcessPlan], None],
        heartbeat_path: Path | None = None,
    ) -> None:
        """Be ready to start; nothing runs yet.

        Args:
            plan: What it is.
            body: What lives; it says that it does at `notify_path`.
            notify_path: A socket, see sd_notify(3).
            policy: When to start it again.
            tell: Called with the name of each event, after it.
            prepare: Called before each start; writes what the process is told.
            heartbeat_path: A file that it may touch instead.
        """
        self.plan: Final = plan
        self.life: Final = Life(policy)
        self._body = body
        self._tell = tell
        self._prepare = prepare
        self._notify = NotifySocket(notify_path, self._heard)
        self._heartbeat = None if heartbeat_path is None else HeartbeatFile(heartbeat_path, self._heard)
        self._kicked = asyncio.Event()
        self._acting = asyncio.Lock()
        self._changed = asyncio.Event()
        self._end_count = 0
        self._was_ready_early = False
        self._is_overdue = False
        # it will be started, only not yet: who waits for the testbed waits for it too
        self.is_due = False
        # what it has been taken off, whatever restarts: see `wiring`
        self.off: frozenset[Plane] = frozenset()

    @property
    def pid(self) -> int:
        """Its process on this machine; 0 when there is none."""
        return self._body.pid

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
            disconnected=plane_values(self.off),
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
            if self._heartbeat is not None:
                self._heartbeat.reset()
            ended = await self._body.start()
        except QnetemError as error:
            return End(exit_code=4, last_line=str(error))
        self._event("process.starting")
        if self._was_ready_early:
            self._heard(True)
        if not self.life.is_wanted:
            self._body.terminate()
        end = await ended
        self._notify.drain()
        is_overdue = self._is_overdue and end.signal_number is not None
        return replace(end, last_line="was not ready in time") if is_overdue else end

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
        if self._heartbeat is not None and self.life.is_alive:
            self._heartbeat.look()
        if self.life.silent(now_s):
            self._event("process.unhealthy")
        if self.life.overdue(now_s):
            self._is_overdue = True
            self._body.kill()

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
        self._body.terminate()
        try:
            async with asyncio.timeout(grace_s):
                await self._until(lambda: not self.life.is_alive)
        except TimeoutError:
            self._body.kill()
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
                self._body.kill()
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
            await self._body.pause()
            self.life.paused()
            self._event("process.paused")

    async def resume(self) -> None:
        """Let it go on after a pause. No effect on one that is not paused."""
        async with self._acting:
            if self.life.state == supervisor_pb2.PROCESS_STATE_PAUSED:
                self._body.resume()
                self.life.resumed(time.monotonic())
                self._event("process.resumed")

    def close(self) -> None:
        """Let go of what the process needed. Kills it when it is still there."""
        self._body.close()
        self._notify.close()
