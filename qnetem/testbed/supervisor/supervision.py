"""qnetem.testbed.supervisor.supervision: the supervisor, from its order to its end. Wiring."""

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from qnetem.runtime import rpc
from qnetem.runtime.clock import PS_PER_S, Clock
from qnetem.runtime.errors import NotFoundError, QnetemError, StartError, StorageError
from qnetem.runtime.journal import Journal
from qnetem.runtime.liveness import HEARTBEAT, NOTIFY_SOCKET
from qnetem.runtime.log import configure, get_logger
from qnetem.testbed import linux
from qnetem.testbed.credentials import SUPERVISOR
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import ProcessPlan, TestbedPlan
from qnetem.testbed.state import State
from qnetem.testbed.supervisor.body import Body, ProcessBody
from qnetem.testbed.supervisor.child import Child
from qnetem.testbed.supervisor.children import Children
from qnetem.testbed.supervisor.events import Events
from qnetem.testbed.supervisor.lease import Lease
from qnetem.testbed.supervisor.lifecycle import RestartPolicy
from qnetem.testbed.supervisor.links import Links
from qnetem.testbed.supervisor.reach import Reach, reaching
from qnetem.testbed.supervisor.server import SupervisorServicer
from qnetem.testbed.supervisor.spawner import Spawner
from qnetem.testbed.supervisor.wiring import LinkWiring, Planes
from qnetem.testbed.supervisor.zygote_process import ZygoteProcess
from qnetem.testbed.timekeeping import HORIZON_S, ClockRecord
from qnetem.testbed.zygote.forking import ForkRequest
from qnetem.v1 import process_pb2, supervisor_pb2, supervisor_pb2_grpc

if TYPE_CHECKING:
    from qnetem.testbed.supervisor.containers import Containers

__all__ = ["supervise"]

_log = get_logger("testbed.supervisor")
# a process that is stopped has this long to end by itself
_GRACE_S: Final = 5.0
_CLOCK_RECORD_S: Final = 5.0
# calls that the end of everything answers have this long to do so
_LAST_ANSWERS_S: Final = 2.0
# as processes say it
_EXIT_CRASHED: Final = 1
_EXIT_NOT_STARTED: Final = 4


async def supervise(control: socket.socket, zygote: ZygoteProcess) -> int:
    """Run a testbed as the launcher at `control` orders; return the exit code.

    Args:
        control: The launcher's socket, see `lease`.
        zygote: Forks the processes; it imports what they need while the launcher is still preparing.
    """
    linux.become_subreaper()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    spawner = Spawner(zygote)
    lease = Lease(control)
    lease.introduce()
    order = await lease.order()
    if order is None:
        spawner.close()
        return 0
    state = State(Layout(order.state_dir))
    try:
        _redirect(state)
        await _Supervision(state, lease, spawner).run()
    except Exception as error:
        known = _known(error)
        if known is None:
            _log.exception("testbed.supervisor.crashed")
            lease.failed(StartError(f"the supervisor crashed: see {state.layout.log(SUPERVISOR)}"))
            return _EXIT_CRASHED
        _log.error("testbed.supervisor.failed", detail=str(known), reason=known.reason)
        lease.failed(known)
        return _EXIT_NOT_STARTED
    finally:
        spawner.close()
    return 0


def _known(error: BaseException) -> QnetemError | None:
    """Return the first of our errors in an exception or a group of them; None when there are only others."""
    if isinstance(error, BaseExceptionGroup):
        return next((known for part in error.exceptions if (known := _known(part)) is not None), None)
    return error if isinstance(error, QnetemError) else None


def _redirect(state: State) -> None:
    """Write to the log of the supervisor from now on, and to nothing of the launcher's."""
    path = state.layout.log(SUPERVISOR)
    try:
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    configure(SUPERVISOR)


class _Supervision:
    """One run of a testbed."""

    def __init__(self, state: State, lease: Lease, spawner: Spawner) -> None:
        plan = state.plan()
        if plan is None:
            raise NotFoundError(f"{state.layout.plan}: there is no plan")
        self._state = state
        self._lease = lease
        self._spawner = spawner
        self._plan: TestbedPlan = plan
        self._clock_config = process_pb2.ClockConfig(
            epoch_ns=plan.epoch_ns, scale=plan.scale, source=process_pb2.ClockConfig.SOURCE_MONOTONIC
        )
        self._clock = Clock(self._clock_config)
        self._is_wanted_down = asyncio.Event()
        self._is_down = asyncio.Event()
        self._healthy_after_s = 0.0
        self._containers: Containers | None = None

    async def run(self) -> None:
        """Bring everything up, and down when that is asked for."""
        layout, run_folder = self._state.layout, self._state.run_folder
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._is_wanted_down.set)
        async with AsyncExitStack() as stack:
            stack.callback(self._conclude)
            run_folder.create()
            stack.callback(run_folder.remove)
            journal = stack.enter_context(Journal(layout.journal(SUPERVISOR), SUPERVISOR, self._clock))
            self._events = Events(journal, self._clock)
            credentials = rpc.Credentials.load(layout.credentials("operator", SUPERVISOR))
            reach = await stack.enter_async_context(reaching(self._plan.testbed, self._plan.processes, credentials))
            if self._plan.runtime == "compose":
                from qnetem.testbed.supervisor.containers import Containers  # what it needs, processes do not

                self._containers = stack.enter_context(Containers(self._plan.testbed, layout))
            self._links = Links(self._plan, self._state, reach, self._is_serving)
            self._children = Children(
                {plan.name: self._child(index, plan) for index, plan in enumerate(self._plan.processes.values())},
                self._spawner,
                _GRACE_S,
            )
            stack.callback(self._children.close)
            wiring = self._containers or LinkWiring(self._plan, self._links)
            self._planes = Planes(self._children, wiring, self._rewired)
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._spawner.run(self._children.known_pids, self._zygote_replaced)),
                    tasks.create_task(self._children.run()),
                    tasks.create_task(self._links.run()),
                    tasks.create_task(self._keep_clock()),
                    tasks.create_task(self._end_with_lease()),
                ]
                await self._serve(reach)
                for task in running:
                    task.cancel()

    def _conclude(self) -> None:
        """All processes have ended, and with them what they started: time stands until the next run."""
        try:
            self._write_clock(is_final=True)
        except StorageError as error:  # the next run goes by the record before
            _log.error("testbed.supervisor.clock_not_kept", detail=str(error))
        last = self._state.launch()
        if last is not None:
            last.sweep()  # what processes started in sessions of their own
        self._state.clear_launch()

    async def _serve(self, reach: Reach) -> None:
        servicer = SupervisorServicer(
            self._children,
            self._planes,
            self._links,
            reach,
            self._events,
            describe=self._describe,
            zygote_pid=lambda: self._spawner.pid,
            take_down=self._is_wanted_down.set,
            is_down=self._is_down,
        )
        registration = rpc.Registration(
            supervisor_pb2_grpc.add_SupervisorServiceServicer_to_server,
            servicer,
            supervisor_pb2.DESCRIPTOR.services_by_name["SupervisorService"].full_name,
            {},
        )
        path = self._state.run_folder.socket
        async with rpc.serve(f"unix:{path}", None, [registration], grace_s=_LAST_ANSWERS_S):
            self._lease.serves(path)
            self._events.tell("testbed.starting", processes=len(self._plan.processes))
            async with asyncio.TaskGroup() as tasks:
                starting = tasks.create_task(self._start_all())
                await self._is_wanted_down.wait()
                starting.cancel()
            self._spawner.refuse()
            with contextlib.suppress(TimeoutError):  # one that even SIGKILL does not end is left to the kernel
                async with asyncio.timeout(4 * _GRACE_S):
                    await self._children.stop_all()
            self._events.tell("testbed.down")
            self._events.end()
            self._is_down.set()

    async def _start_all(self) -> None:
        if self._containers is not None:
            self._children.expect_all()
            await asyncio.to_thread(self._containers.deploy)
        await self._children.start_all()

    def _child(self, index: int, plan: ProcessPlan) -> Child:
        notify_path = self._state.run_folder.notify_socket(index)
        is_ours = plan.command is None and plan.image is None
        heartbeat_path = None if is_ours else self._state.run_folder.heartbeat(index)
        return Child(
            plan,
            self._body(plan, notify_path, heartbeat_path),
            notify_path,
            RestartPolicy(),
            tell=self._tell,
            prepare=self._links.prepare,
            heartbeat_path=heartbeat_path,
        )

    def _body(self, plan: ProcessPlan, notify_path: Path, heartbeat_path: Path | None) -> Body:
        layout = self._state.layout
        if self._containers is not None:
            return self._containers.body(plan.name, layout.log(plan.name))
        command = list(plan.command) if plan.command is not None else None
        if command is None and plan.is_exec:
            command = [sys.executable, "-P", "-m", plan.package]
        request = ForkRequest(
            name=plan.name,
            room=plan.room,
            command=command,
            folder=plan.folder,
            config_path=str(layout.config(plan.name)),
            log_path=str(layout.log(plan.name)),
            environment={NOTIFY_SOCKET: str(notify_path)}
            | ({HEARTBEAT: str(heartbeat_path)} if heartbeat_path else {}),
            title=f"qnetem {plan.name} {self._plan.topology_path}",
        )
        return ProcessBody(request, self._spawner)

    def _rewired(self, child: Child, event: str, planes: list[str]) -> None:
        self._events.tell(event, child.status(), planes=planes)
        self._links.poke()  # settings that came meanwhile

    def _tell(self, child: Child, event: str) -> None:
        self._events.tell(event, child.status())
        if child.life.state == supervisor_pb2.PROCESS_STATE_HEALTHY:
            self._links.poke()
            if not self._healthy_after_s and all(one.life.was_ever_healthy for one in self._children):
                self._healthy_after_s = _age_s()
                self._events.tell("testbed.healthy", after_s=self._healthy_after_s)

    def _is_serving(self, name: str) -> bool:
        child = self._children[name]
        is_alive = child.life.state in (supervisor_pb2.PROCESS_STATE_HEALTHY, supervisor_pb2.PROCESS_STATE_UNHEALTHY)
        return is_alive and "management" not in child.off

    def _zygote_replaced(self) -> None:
        self._events.tell("zygote.restarted", pid=self._spawner.pid)

    async def _end_with_lease(self) -> None:
        await self._lease.ended()
        _log.info("testbed.supervisor.launcher_gone")
        self._is_wanted_down.set()

    async def _keep_clock(self) -> None:
        while True:
            try:
                self._write_clock(is_final=False)
            except StorageError as error:
                _log.error("testbed.supervisor.clock_not_kept", detail=str(error))
            await asyncio.sleep(_CLOCK_RECORD_S)

    def _write_clock(self, *, is_final: bool) -> None:
        ahead_ps = 0 if is_final else int(HORIZON_S * PS_PER_S * self._plan.scale)
        reached_ps = self._clock.now_ps() + ahead_ps
        self._state.write_clock(
            ClockRecord(linux.boot_id(), self._plan.epoch_ns, self._plan.scale, reached_ps, is_final)
        )

    def _describe(self) -> supervisor_pb2.GetTestbedResponse:
        return supervisor_pb2.GetTestbedResponse(
            name=self._plan.testbed,
            topology_digest=self._plan.digest,
            version=_version(),
            supervisor_pid=os.getpid(),
            seed=self._plan.seed,
            clock=self._clock_config,
            is_reproducible=self._plan.is_reproducible,
            processes=[child.status() for child in self._children],
            healthy_after_s=self._healthy_after_s,
            state_dir=str(self._state.layout.root),
            topology_path=self._plan.topology_path,
            is_held=self._lease.is_held,
            links=[
                supervisor_pb2.LinkPlace(
                    link_id=link.id,
                    endpoints=link.endpoints,
                    quantum_channel=link.quantum_channel,
                    classical_channel=link.classical_channel,
                    transmitter=link.transmitter,
                )
                for link in self._plan.links.values()
            ],
        )


def _age_s() -> float:
    """Return how long this process has been running, to a hundredth of a second."""
    ticks = linux.start_ticks(os.getpid()) or 0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # 30 ms that nothing else waits for

    with contextlib.suppress(PackageNotFoundError):
        return version("qnetem")
    return "unknown"
