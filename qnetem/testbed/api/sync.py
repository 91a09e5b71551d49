"""qnetem.testbed.api.sync: the same testbed for synchronous code, behind a thread with an event loop. Wiring.

Nothing is decided here: every method runs the one of the same name in the thread's loop.
"""

import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from qnetem.runtime.errors import ConflictError
from qnetem.testbed.api.loop_thread import LoopThread
from qnetem.testbed.api.patience import EVERY_S, Patience, text_of
from qnetem.testbed.api.sync_handles import SyncEventStream, SyncLinkHandle, SyncProcessHandle, SyncSaeHandle
from qnetem.testbed.api.testbed import Testbed
from qnetem.testbed.api.views import LinkView, ProcessView
from qnetem.testbed.layout import Layout
from qnetem.testbed.paths import NodePaths
from qnetem.testbed.plan import Runtime
from qnetem.testbed.planes import Plane
from qnetem.topology.model import Topology

__all__ = ["SyncTestbed"]

_T = TypeVar("_T")


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
        runtime: Runtime | None = None,
    ) -> Self:
        """Return the testbed of a topology file, as `Testbed.from_file` does."""
        return cls(
            Testbed.from_file(path, folder=folder, seed=seed, keep=keep, reconfigure=reconfigure, runtime=runtime)
        )

    @classmethod
    def from_dict(
        cls,
        content: Mapping[str, Any],
        *,
        folder: str | Path | None = None,
        seed: int | None = None,
        keep: bool = False,
        reconfigure: bool = False,
        runtime: Runtime | None = None,
    ) -> Self:
        """Return the testbed of a topology in the file's shape, as `Testbed.from_dict` does."""
        return cls(
            Testbed.from_dict(content, folder=folder, seed=seed, keep=keep, reconfigure=reconfigure, runtime=runtime)
        )

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

    def disconnect(self, name: str, plane: Plane | None = None) -> ProcessView:
        """Take a process off a plane, or off all of its planes, until `connect`. Raises NotFoundError."""
        return self.run(self.asynchronous.disconnect(name, plane))

    def connect(self, name: str, plane: Plane | None = None) -> ProcessView:
        """Join a process to a plane again, or to all of its planes. Raises NotFoundError."""
        return self.run(self.asynchronous.connect(name, plane))

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
        """Take back all settings, connect, resume and start every process. Raises NotInTimeError."""
        self.run(self.asynchronous.heal(within))

    def events(self) -> SyncEventStream:
        """Return an iterator over everything that happens from now on."""
        return SyncEventStream(self.run, self.asynchronous.events())

    def write_access(self, path: str | Path) -> Path:
        """Write, as JSON, what a program needs to reach every process over gRPC."""
        return self.asynchronous.write_access(path)
