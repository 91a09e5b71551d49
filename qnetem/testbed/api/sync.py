"""qnetem.testbed.api.sync: the same testbed for synchronous code, behind a thread with an event loop. Wiring.

Nothing is decided here: every method runs the one of the same name in the thread's loop.
"""

import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from qnetem.runtime.errors import ConflictError
from qnetem.testbed.api.events import EventStream
from qnetem.testbed.api.links import LinkHandle, Planes
from qnetem.testbed.api.loop_thread import LoopThread
from qnetem.testbed.api.patience import EVERY_S, Patience, text_of
from qnetem.testbed.api.processes import ProcessHandle
from qnetem.testbed.api.saes import SaeHandle
from qnetem.testbed.api.testbed import Testbed
from qnetem.testbed.api.views import Event, LinkView, ProcessView
from qnetem.testbed.etsi import Key
from qnetem.testbed.layout import Layout
from qnetem.testbed.paths import NodePaths
from qnetem.topology.model import Topology

__all__ = ["SyncEventStream", "SyncLinkHandle", "SyncProcessHandle", "SyncSaeHandle", "SyncTestbed"]

_T = TypeVar("_T")
_Run = Callable[[Coroutine[Any, Any, Any]], Any]


@contextmanager
def _scope(run: _Run, scope: AbstractAsyncContextManager[_T]) -> Iterator[_T]:
    value: _T = run(_entered(scope))
    try:
        yield value
    finally:
        run(_left(scope))


async def _entered(scope: AbstractAsyncContextManager[_T]) -> _T:
    return await scope.__aenter__()


async def _left(scope: AbstractAsyncContextManager[Any]) -> None:
    await scope.__aexit__(None, None, None)


class SyncProcessHandle:
    """`ProcessHandle` for synchronous code."""

    def __init__(self, run: _Run, handle: ProcessHandle) -> None:
        """Wrap a handle; see `SyncTestbed.process`."""
        self._run = run
        self._handle = handle
        self.name = handle.name

    def kill(self) -> ProcessView:
        """Kill it (SIGKILL); the supervisor starts it again."""
        view: ProcessView = self._run(self._handle.kill())
        return view

    def pause(self) -> ProcessView:
        """Freeze it (SIGSTOP)."""
        view: ProcessView = self._run(self._handle.pause())
        return view

    def resume(self) -> ProcessView:
        """Let it go on after a pause."""
        view: ProcessView = self._run(self._handle.resume())
        return view

    def stop(self) -> ProcessView:
        """Stop it; it stays away until it is started."""
        view: ProcessView = self._run(self._handle.stop())
        return view

    def start(self) -> ProcessView:
        """Start it, when it does not run."""
        view: ProcessView = self._run(self._handle.start())
        return view

    def restart(self) -> ProcessView:
        """Stop it and start it again."""
        view: ProcessView = self._run(self._handle.restart())
        return view

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze it while the block runs."""
        with _scope(self._run, self._handle.paused()):
            yield

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Keep it away while the block runs; it serves again after it."""
        with _scope(self._run, self._handle.stopped()):
            yield

    def status(self) -> ProcessView:
        """Return what the supervisor knows of it."""
        view: ProcessView = self._run(self._handle.status())
        return view

    def wait_healthy(self, within: str = "30s") -> ProcessView:
        """Wait until it serves. Raises NotInTimeError."""
        view: ProcessView = self._run(self._handle.wait_healthy(within))
        return view

    def logs(self, count: int = 50) -> list[str]:
        """Return the last lines of its log."""
        return self._handle.logs(count)


class SyncLinkHandle:
    """`LinkHandle` for synchronous code."""

    def __init__(self, run: _Run, handle: LinkHandle) -> None:
        """Wrap a handle; see `SyncTestbed.link`."""
        self._run = run
        self._handle = handle
        self.link_id = handle.link_id
        self.endpoints = handle.endpoints

    def state(self) -> LinkView:
        """Return the link as both ends see it now."""
        view: LinkView = self._run(self._handle.state())
        return view

    def parameters(self) -> dict[str, Any]:
        """Return the parameters in force and the operator's settings."""
        return dict(self._run(self._handle.parameters()))

    def set(
        self, *, ramp: str | None = None, duration: str | None = None, direction: str | None = None, **settings: object
    ) -> dict[str, Any]:
        """Set parameters; they hold until reset, or for a time. Raises BadInputError."""
        return dict(self._run(self._handle.set(ramp=ramp, duration=duration, direction=direction, **settings)))

    def reset(self, *keys: str, direction: str | None = None) -> dict[str, Any]:
        """Take settings back, all where none is named. Raises BadInputError."""
        return dict(self._run(self._handle.reset(*keys, direction=direction)))

    def down(self, plane: Planes = "both", *, duration: str | None = None) -> dict[str, Any]:
        """Cut it until `up`, or for a time."""
        return dict(self._run(self._handle.down(plane, duration=duration)))

    def up(self, plane: Planes = "both") -> dict[str, Any]:
        """Mend what `down` has cut."""
        return dict(self._run(self._handle.up(plane)))

    @contextmanager
    def fault(
        self, *, loss: str | None = None, direction: str | None = None, **settings: object
    ) -> Iterator[Mapping[str, Any]]:
        """Have a fault in force while the block runs. Raises BadInputError."""
        with _scope(self._run, self._handle.fault(loss=loss, direction=direction, **settings)) as in_force:
            yield in_force

    @contextmanager
    def eve(self, attack: str, **strength: object) -> Iterator[Mapping[str, Any]]:
        """Have an eavesdropper on it while the block runs. Raises BadInputError."""
        with _scope(self._run, self._handle.eve(attack, **strength)) as in_force:
            yield in_force

    @contextmanager
    def cut(self, plane: Planes = "both") -> Iterator[Mapping[str, Any]]:
        """Have it cut while the block runs."""
        with _scope(self._run, self._handle.cut(plane)) as in_force:
            yield in_force

    def wait_in_service(self, within: str = "60s") -> LinkView:
        """Wait until both ends are OPERATING, or DEGRADED. Raises NotInTimeError."""
        view: LinkView = self._run(self._handle.wait_in_service(within))
        return view

    def wait_for(self, state: str, reason: str | None = None, within: str = "60s") -> LinkView:
        """Wait until an end is in a state, for a reason. Raises NotInTimeError."""
        view: LinkView = self._run(self._handle.wait_for(state, reason, within))
        return view


class SyncSaeHandle:
    """`SaeHandle` for synchronous code; raises the same errors."""

    def __init__(self, run: _Run, handle: SaeHandle) -> None:
        """Wrap a handle; see `SyncTestbed.sae`."""
        self._run = run
        self._handle = handle
        self.sae_id = handle.sae_id
        self.node = handle.node
        self.kme_url = handle.kme_url
        self.credentials = handle.credentials

    def enc_keys(self, slave: str, number: int = 1, size: int = 256) -> list[Key]:
        """Return new keys that are shared with the SAE `slave`."""
        return list(self._run(self._handle.enc_keys(slave, number, size)))

    def dec_keys(self, master: str, key_ids: Sequence[str]) -> list[Key]:
        """Return the keys that the SAE `master` has, by their ids."""
        return list(self._run(self._handle.dec_keys(master, key_ids)))

    def status(self, slave: str) -> dict[str, Any]:
        """Return what the KME says of keys with the SAE `slave`."""
        return dict(self._run(self._handle.status(slave)))


class SyncEventStream(Iterator[Event]):
    """`EventStream` for synchronous code."""

    def __init__(self, run: _Run, stream: EventStream) -> None:
        """Wrap a stream; see `SyncTestbed.events`."""
        self._run = run
        self._stream = stream

    def __next__(self) -> Event:
        """Return the next event, waiting for it."""
        event: Event = self._run(self._stream.__anext__())
        return event

    def until(self, name: str, *, within: str = "30s", **fields: Any) -> Event:
        """Return the next event of a name that has these fields. Raises NotInTimeError."""
        event: Event = self._run(self._stream.until(name, within=within, **fields))
        return event


class SyncTestbed:
    """`Testbed` for synchronous code: `with SyncTestbed.from_file("metro.yaml") as tb: ...`; from any thread."""

    __test__ = False  # pytest takes any Test* for a test

    def __init__(self, testbed: Testbed) -> None:
        """Wrap a testbed that is not up."""
        self.asynchronous = testbed
        self._thread: LoopThread | None = None

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        folder: str | Path | None = None,
        seed: int | None = None,
        keep: bool = False,
        reconfigure: bool = False,
    ) -> Self:
        """Return the testbed of a topology file, as `Testbed.from_file` does."""
        return cls(Testbed.from_file(path, folder=folder, seed=seed, keep=keep, reconfigure=reconfigure))

    @classmethod
    def from_dict(
        cls,
        content: Mapping[str, Any],
        *,
        folder: str | Path | None = None,
        seed: int | None = None,
        keep: bool = False,
        reconfigure: bool = False,
    ) -> Self:
        """Return the testbed of a topology in the file's shape, as `Testbed.from_dict` does."""
        return cls(Testbed.from_dict(content, folder=folder, seed=seed, keep=keep, reconfigure=reconfigure))

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine where the testbed runs, such as a call of a gRPC client of `asynchronous`."""
        if self._thread is None:
            work.close()
            self.asynchronous.connection()  # says that it is not up
            raise ConflictError(f"testbed {self.name} is not up")
        return self._thread.run(work)

    def up(self) -> Self:
        """Bring it up, or find it up. Idempotent; who does not use `with` calls `down`, whatever happens."""
        if self._thread is None:
            self._thread = LoopThread()
            try:
                self.run(self.asynchronous.up())
            except BaseException:
                self._stop()
                raise
        return self

    def down(self) -> None:
        """Take it down. Idempotent."""
        if self._thread is not None:
            try:
                self.run(self.asynchronous.down())
            finally:
                self._stop()

    def _stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop()

    def __enter__(self) -> Self:
        """Bring it up."""
        return self.up()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it down, unless it is to be kept."""
        if self._thread is not None:
            try:
                self.run(self.asynchronous.__aexit__(kind, error, trace))
            finally:
                self._stop()

    @property
    def name(self) -> str:
        """Its name."""
        return self.asynchronous.name

    @property
    def seed(self) -> int:
        """The run seed."""
        return self.asynchronous.seed

    @property
    def topology(self) -> Topology:
        """The topology, every default filled in."""
        return self.asynchronous.topology

    @property
    def layout(self) -> Layout:
        """Where its logs, journals and certificates lie."""
        return self.asynchronous.layout

    def process(self, name: str) -> SyncProcessHandle:
        """Return any process. Raises NotFoundError."""
        return SyncProcessHandle(self.run, self.asynchronous.process(name))

    def node(self, name: str) -> SyncProcessHandle:
        """Return a node. Raises NotFoundError."""
        return SyncProcessHandle(self.run, self.asynchronous.node(name))

    def link(self, link_id: str) -> SyncLinkHandle:
        """Return a link. Raises NotFoundError."""
        return SyncLinkHandle(self.run, self.asynchronous.link(link_id))

    def sae(self, sae_id: str) -> SyncSaeHandle:
        """Return an SAE. Raises NotFoundError."""
        return SyncSaeHandle(self.run, self.asynchronous.sae(sae_id))

    def processes(self) -> dict[str, ProcessView]:
        """Return every process, by name."""
        return self.run(self.asynchronous.processes())

    def links(self) -> dict[str, LinkView]:
        """Return every link, by id."""
        return self.run(self.asynchronous.links())

    def paths(self, *nodes: str) -> dict[str, NodePaths]:
        """Return the paths in force at nodes, at all of them where none is named. Raises NotFoundError."""
        return dict(self.run(self.asynchronous.paths(*nodes)))

    def install_paths(self, *paths: str | Sequence[str]) -> dict[str, int]:
        """Put paths in force by hand; return the version of each node's set. Raises as `Testbed.install_paths`."""
        return dict(self.run(self.asynchronous.install_paths(*paths)))

    def wait_in_service(self, *link_ids: str, within: str = "60s") -> dict[str, LinkView]:
        """Wait until links make keys, all of them where none is named. Raises NotInTimeError."""
        return self.run(self.asynchronous.wait_in_service(*link_ids, within=within))

    def eventually(self, condition: Callable[[], _T], *, within: str = "30s", what: str = "") -> _T:
        """Wait until a condition returns something true; return that. It is called in the caller's thread.

        Raises:
            NotInTimeError: It did not in time.
        """
        __tracebackhide__ = True
        patience = Patience(what or text_of(condition), within, time.monotonic())
        while True:
            try:
                value = condition()
                if patience.is_held(value):
                    return value
            except Exception as error:
                patience.excuse(error)
            if patience.is_over(time.monotonic()):
                raise self.run(self.asynchronous.connection().not_in_time(patience))
            time.sleep(EVERY_S)

    def heal(self, within: str = "30s") -> None:
        """Take back all settings, resume and start every process. Raises NotInTimeError."""
        self.run(self.asynchronous.heal(within))

    def events(self) -> SyncEventStream:
        """Return an iterator over everything that happens from now on."""
        return SyncEventStream(self.run, self.asynchronous.events())

    def write_access(self, path: str | Path) -> Path:
        """Write, as JSON, what a program needs to reach every process over gRPC."""
        return self.asynchronous.write_access(path)
