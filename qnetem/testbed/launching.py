"""qnetem.testbed.launching: from a topology file to a running testbed, and down again. Wiring."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final

from qnetem import topology as topologies
from qnetem.runtime.errors import ConflictError, NotFoundError, QnetemError, UnavailableError
from qnetem.testbed.client import NotRunningError, TestbedClient, connect
from qnetem.testbed.containers.preparing import remove_containers
from qnetem.testbed.launch_record import FOLDER, is_running
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import BROKER_ROOM, ROOMS, Runtime
from qnetem.testbed.ports import why_not_bindable
from qnetem.testbed.prepare import prepare
from qnetem.testbed.progress import Progress
from qnetem.testbed.runtimes import runtime_of
from qnetem.testbed.starting import StartingSupervisor, started_early
from qnetem.testbed.state import State
from qnetem.topology.model import Topology

__all__ = ["BusyError", "TopologyChangedError", "down", "launch", "started_early", "state_of"]

_POLL_S: Final = 0.02
_END_TIMEOUT_S: Final = 30.0
_DYING_S: Final = 5.0


class TopologyChangedError(ConflictError):
    """The topology is not the one that the testbed was brought up with; the text has a line per change."""

    reason: ClassVar[str] = "TOPOLOGY_CHANGED"


class BusyError(ConflictError):
    """Somebody else is bringing the testbed up or taking it down."""

    reason: ClassVar[str] = "BUSY"


def _states_beside(topology_path: Path) -> list[State]:
    """Return the states of testbeds that were brought up from this file, the one that runs first, then the latest."""
    found: list[tuple[bool, float, State]] = []
    for root in (topology_path.parent / FOLDER).glob("*/"):
        state = State(Layout(root))
        try:
            plan, last = state.plan(), state.launch()
        except QnetemError:  # damaged: `up` says so
            continue
        if plan is not None and plan.topology_path == str(topology_path):
            is_running = last is not None and last.is_running
            found.append((is_running, state.layout.plan.stat().st_mtime, state))
    return [state for *_, state in sorted(found, key=lambda one: one[:2], reverse=True)]


def state_of(topology_path: str | Path) -> State:
    """Return the state of the testbed that was brought up from this file, whatever has become of the file.

    Raises:
        NotFoundError: There is none.
    """
    path = Path(topology_path).absolute()
    states = _states_beside(path)
    if not states:
        raise NotFoundError(f"{topology_path}: was never brought up")
    return states[0]


@asynccontextmanager
async def launch(
    topology_path: str | Path,
    *,
    is_reconfigured: bool = False,
    is_held: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    timeout_s: float = 120.0,
    rooms: Mapping[int, str] = ROOMS,
    commands: Mapping[str, Sequence[str]] | None = None,
    early: StartingSupervisor | None = None,
    storage_key_file: Path | None = None,
    runtime: Runtime | None = None,
) -> AsyncIterator[TestbedClient]:
    """Bring a testbed up, or find it up; the block runs when every process serves.

    A launch that fails, or whose process dies before that, leaves nothing running. After it the testbed runs on, also
    after the block, unless it is held.

    Args:
        topology_path: The topology file; state is kept in `.qnetem` beside it.
        is_reconfigured: A changed topology takes the place of the one before; keys and settings of its links stay.
        is_held: The testbed goes down with the block, or with this process.
        on_progress: Called with each step.
        timeout_s: How long the processes have to become healthy.
        rooms: Modules to run instead of ours, by ProcessKind.
        commands: Programs to run instead of ours, by process name: `<command> --config FILE`.
        early: A supervisor that was started ahead, see `started_early`; it is used, or ended.
        storage_key_file: The key that keys at rest are sealed under, whatever the file says.
        runtime: What the processes are: of this machine, or containers; None: as QNETEM_RUNTIME says.

    Raises:
        BadInputError: There is no such runtime.
        TopologyError: The file cannot be used.
        TopologyChangedError: It is not what the testbed was brought up with.
        StartError: A port is in use, a process does not start; a line for each.
        StorageError: The state cannot be read or written.
        BusyError: Somebody else is bringing it up or down, and does not come to an end.
    """
    path = Path(topology_path).absolute()
    runtime = runtime_of(runtime)
    async with AsyncExitStack() as stack:
        # containers fork nothing here
        forked = rooms if runtime == "process" else {}
        preloaded = tuple(dict.fromkeys(room for room in forked.values() if room != BROKER_ROOM))

        def start() -> StartingSupervisor:
            return StartingSupervisor(path, preloaded)

        # it takes a second to import everything: meanwhile the rest is prepared
        if early is None and not is_running(path):
            early = start()
        if early is not None:
            stack.push_async_callback(early.close)
        topology = topologies.load(path)
        if storage_key_file is not None:
            topology = replace(topology, storage_key_file=str(storage_key_file.absolute()))
        state = State.beside(path, topology.name)
        state.create()
        while (lock_fd := state.try_lock()) is None:
            async with _found(state) as client:
                if client is None:
                    continue
                if (await client.get()).topology_digest != topology.digest:
                    if not is_reconfigured:
                        raise _changed(state, topology)
                    await client.down()
                    await _until_unlocked(state)
                    continue
                await client.wait_until_healthy(timeout_s, on_progress)
                if is_held:
                    stack.push_async_callback(_until_unlocked, state)
                    await stack.enter_async_context(client.held())
                yield client
                return
        try:
            await _recover(state)
            last = state.plan()
            if last is not None and last.digest != topology.digest and not is_reconfigured:
                raise _changed(state, topology)
            try:
                prepare(state, topology, rooms, commands or {}, runtime)
            except BaseException:
                state.run_folder.remove()
                raise
            supervisor = early or start()
            stack.push_async_callback(_rolled_back, supervisor, state)
            await supervisor.order(state, lock_fd)
        finally:
            os.close(lock_fd)
        async with connect(state) as client:
            try:
                await client.wait_until_healthy(timeout_s, on_progress)
            except UnavailableError:
                raise await supervisor.failure() from None
            if not is_held:
                supervisor.detach()
            yield client


async def _rolled_back(supervisor: StartingSupervisor, state: State) -> None:
    await supervisor.close()
    if not supervisor.is_detached:
        await _clean_up(state)  # what one that was killed has left


@asynccontextmanager
async def _found(state: State) -> AsyncIterator[TestbedClient | None]:
    """Connect to the testbed that somebody else holds the lock of; None when it has ended meanwhile.

    Raises:
        BusyError: It neither serves nor ends.
    """
    deadline_s = asyncio.get_running_loop().time() + _END_TIMEOUT_S
    while asyncio.get_running_loop().time() < deadline_s:
        try:
            async with connect(state) as client:
                await client.get()
                yield client
                return
        except (NotRunningError, UnavailableError):
            # another launcher is still preparing, or the supervisor goes down
            if not state.is_locked():
                yield None
                return
        await asyncio.sleep(_POLL_S)
    raise BusyError(f"{state.layout.root}: somebody else is bringing the testbed up or taking it down")


async def _until_unlocked(state: State) -> None:
    """Wait until the supervisor has ended."""
    deadline_s = asyncio.get_running_loop().time() + _END_TIMEOUT_S
    while state.is_locked():
        if asyncio.get_running_loop().time() > deadline_s:
            raise BusyError(f"{state.layout.root}: the supervisor does not end")
        await asyncio.sleep(_POLL_S)


async def _recover(state: State) -> None:
    """Clear away what a killed supervisor has left; the caller holds the lock."""
    last = state.launch()
    if last is not None:
        plan = state.plan()
        if plan is not None and plan.runtime == "compose":
            await asyncio.to_thread(remove_containers, plan.testbed, state.layout)
        # dying takes a moment, and ports are free only after it
        deadline_s = asyncio.get_running_loop().time() + _DYING_S
        ports = state.ports().values()
        while last.end() or any(why_not_bindable(port) for port in ports):
            if asyncio.get_running_loop().time() > deadline_s:
                break  # others have taken a port, which is for the next `up` to say
            await asyncio.sleep(_POLL_S)
        state.clear_launch()
    state.run_folder.remove()


async def _clean_up(state: State) -> None:
    lock_fd = state.try_lock()
    if lock_fd is not None:
        try:
            await _recover(state)
        finally:
            os.close(lock_fd)


def _changed(state: State, topology: Topology) -> TopologyChangedError:
    head = f"{topology.path}: not what testbed {topology.name} was brought up with (--reconfigure takes the new one)"
    try:
        text = state.layout.topology.read_text()
        lines = topologies.difference(topologies.parse(text, str(state.layout.topology)), topology)
    except (OSError, QnetemError):  # made by another version
        lines = []
    return TopologyChangedError("\n".join((head, *lines)))


async def down(state: State) -> bool:
    """Take a testbed down, however it has been left; return whether it was running. Keys and settings stay.

    Raises:
        BusyError: Somebody else is bringing it up, and does not come to an end.
    """
    if not state.layout.root.exists():
        return False
    was_running = False
    deadline_s = asyncio.get_running_loop().time() + _END_TIMEOUT_S
    while state.is_locked():
        try:
            async with connect(state) as client:
                await client.down()
            was_running = True
            await _until_unlocked(state)
        except QnetemError:  # it hangs, or it has just gone, or another launcher is still preparing
            await asyncio.sleep(_POLL_S)
        if asyncio.get_running_loop().time() > deadline_s:
            last = state.launch()
            if last is None or not last.end():
                raise BusyError(f"{state.layout.root}: somebody else is bringing the testbed up")
            was_running = True
    last = state.launch()
    await _clean_up(state)
    return was_running or last is not None
