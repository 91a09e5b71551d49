"""qnetem.testbed.api.testbed: the testbed itself, up with its block and down with it. Wiring."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeVar, overload

from qnetem import topology as topologies
from qnetem.runtime.errors import ConflictError, NotFoundError
from qnetem.testbed.api.connection import Connection
from qnetem.testbed.api.events import EventStream
from qnetem.testbed.api.healing import heal
from qnetem.testbed.api.links import LinkHandle
from qnetem.testbed.api.processes import NodeHandle, ProcessHandle
from qnetem.testbed.api.saes import SaeHandle
from qnetem.testbed.api.views import LinkView, ProcessView
from qnetem.testbed.api.waiting import eventually
from qnetem.testbed.client import NotRunningError, TestbedClient
from qnetem.testbed.launching import down, launch
from qnetem.testbed.layout import Layout
from qnetem.testbed.paths import NodePaths, Paths
from qnetem.testbed.plan import Runtime
from qnetem.testbed.planes import Plane
from qnetem.testbed.state import State
from qnetem.topology.model import Topology

__all__ = ["Testbed"]

_T = TypeVar("_T")
_UP_S: Final = 120.0


class OtherLoopError(ConflictError):
    """The testbed is used from another event loop than the one that it was brought up in."""

    reason: ClassVar[str] = "OTHER_LOOP"


class Testbed:
    """A quantum network of real processes: `async with Testbed.from_file("metro.yaml") as tb: ...`.

    It is up while the block runs, and goes down with it or with this process; `keep` leaves it running. Every method
    raises a QnetemError that says in one line what is wrong.
    """

    __test__ = False  # pytest takes any Test* for a test

    def __init__(
        self,
        topology: Topology,
        folder: Path | None,
        *,
        keep: bool,
        reconfigure: bool,
        runtime: Runtime | None = None,
    ) -> None:
        """Describe a testbed; see `from_file` and `from_dict`."""
        self.topology: Final = topology
        self._folder = folder
        self._keep = keep
        self._reconfigure = reconfigure
        self._runtime = runtime
        self._connection: Connection | None = None
        self._stack = AsyncExitStack()

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
        """Return the testbed of a topology file; nothing is started yet.

        Args:
            path: The file. State lies in `.qnetem` beside it.
            folder: Keep a copy of the topology, and the state, here instead.
            seed: Another run seed than the file's; without a folder all lies in a temporary one then.
            keep: Leave it running after the block; one that runs already is found.
            reconfigure: Take a file that has changed since the testbed was brought up last.
            runtime: What its processes are: "process" of this machine, or "compose": containers. By default as
                QNETEM_RUNTIME says, else "process".

        Raises:
            TopologyError: Something in the file is wrong; says where.
        """
        topology = topologies.load(path)
        if folder is None and seed is None:
            return cls(topology, None, keep=keep, reconfigure=reconfigure, runtime=runtime)
        return cls._copy(topology, folder, seed, keep=keep, reconfigure=reconfigure, runtime=runtime)

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
        """Return the testbed of a topology in the file's shape; without a folder all lies in a temporary one.

        Args, Raises: As `from_file`.
        """
        topology = topologies.from_dict(content)
        return cls._copy(topology, folder, seed, keep=keep, reconfigure=reconfigure, runtime=runtime)

    @classmethod
    def _copy(
        cls,
        topology: Topology,
        folder: str | Path | None,
        seed: int | None,
        *,
        keep: bool,
        reconfigure: bool,
        runtime: Runtime | None,
    ) -> Self:
        if seed is not None:
            topology = replace(topology, seed=seed)
        if keep and folder is None:
            raise ConflictError("keep needs a folder: a temporary one goes with the block")
        place = None if folder is None else Path(folder).absolute()
        return cls(replace(topology, path=None), place, keep=keep, reconfigure=reconfigure, runtime=runtime)

    def _placed(self, stack: AsyncExitStack) -> Path:
        """Return the topology file to launch; writes it where the testbed has a folder of its own."""
        if self.topology.path is not None:
            return self.topology.path
        folder = self._folder
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="qnetem-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.topology.name}.yaml"
        path.write_text(topologies.render(self.topology), encoding="utf-8")
        return path

    async def up(self, within_s: float = _UP_S) -> Self:
        """Bring it up, or find it up; return when every process serves. Idempotent.

        Raises:
            TopologyChangedError: The topology is not what the testbed was brought up with (`reconfigure` takes it).
            StartError: A process does not start; a line for each.
        """
        if self._connection is not None:
            return self
        async with AsyncExitStack() as stack:
            path = self._placed(stack)
            launching = launch(
                path,
                is_held=not self._keep,
                is_reconfigured=self._reconfigure,
                timeout_s=within_s,
                runtime=self._runtime,
            )
            client = await stack.enter_async_context(launching)
            layout = Layout.beside(path, self.topology.name)
            plan = State(layout).plan()
            if plan is None:
                raise NotFoundError(f"{layout.plan}: there is no plan")
            self._connection = Connection(client, layout, plan, stack)
            self._stack = stack.pop_all()
        return self

    async def down(self) -> None:
        """Take it down; keys and settings stay, unless its folder is a temporary one. Idempotent."""
        connection = self._connection
        if connection is None:
            return
        await self._leave()
        if self._keep:
            await down(State(connection.layout))

    async def _leave(self) -> None:
        self._connection = None
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def __aenter__(self) -> Self:
        """Bring it up."""
        return await self.up()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it down, unless it is to be kept."""
        await self._leave()

    def connection(self) -> Connection:
        """Return what the handles stand on.

        Raises:
            NotRunningError: It is not up.
            OtherLoopError: It was brought up in another event loop.
        """
        if self._connection is None:
            raise NotRunningError(f"testbed {self.topology.name} is not up: `async with` it, or call `up`")
        running = asyncio._get_running_loop()  # None in synchronous code, where nothing is awaited
        if running not in (None, self._connection.loop):
            raise OtherLoopError(
                f"testbed {self.topology.name} was brought up in another event loop: "
                "give the test and its fixtures the same loop scope"
            )
        return self._connection

    @property
    def name(self) -> str:
        """Its name."""
        return self.topology.name

    @property
    def seed(self) -> int:
        """The run seed: the same one makes the same noise again."""
        return self.topology.seed

    @property
    def layout(self) -> Layout:
        """Where its logs, journals and certificates lie."""
        return self.connection().layout

    @property
    def client(self) -> TestbedClient:
        """The client of its supervisor."""
        return self.connection().client

    def process(self, name: str) -> ProcessHandle:
        """Return any process: a node, a channel such as "qc-alice-bob" and "cc". Raises NotFoundError."""
        return ProcessHandle(self.connection, name)

    def node(self, name: str) -> NodeHandle:
        """Return a node. Raises NotFoundError."""
        return NodeHandle(self.connection, name)

    def link(self, link_id: str) -> LinkHandle:
        """Return a link. Raises NotFoundError."""
        return LinkHandle(self.connection, link_id)

    def sae(self, sae_id: str) -> SaeHandle:
        """Return an SAE. Raises NotFoundError."""
        return SaeHandle(self.connection, sae_id, self.topology.saes.get(sae_id), list(self.topology.saes))

    async def disconnect(self, name: str, plane: Plane | None = None) -> ProcessView:
        """Take a process off a plane, or off all of its planes, until `connect`. Raises NotFoundError."""
        return await self.process(name).disconnect(plane)

    async def connect(self, name: str, plane: Plane | None = None) -> ProcessView:
        """Join a process to a plane again, or to all of its planes. Raises NotFoundError."""
        return await self.process(name).connect(plane)

    async def processes(self) -> dict[str, ProcessView]:
        """Return every process, by name."""
        values = (await self.connection().inspected())["processes"]
        return {one["name"]: ProcessView.of(one) for one in values}

    async def links(self) -> dict[str, LinkView]:
        """Return every link, by id."""
        return await self.connection().links()

    async def paths(self, *nodes: str) -> dict[str, NodePaths]:
        """Return the paths in force at nodes, at all of them where none is named. Raises NotFoundError."""
        return {one.node: one for one in await Paths(self.connection()).in_force(*nodes)}

    async def install_paths(self, *paths: str | Sequence[str]) -> dict[str, int]:
        """Put paths in force by hand ("a/relay/b", the best first); return the version of each node's set.

        Raises:
            BadInputError: The testbed has a controller, or one is no way over links and relays; nothing was changed.
            UnavailableError: A node does not answer.
        """
        return await Paths(self.connection()).install(paths)

    async def wait_in_service(self, *link_ids: str, within: str = "60s") -> dict[str, LinkView]:
        """Wait until links make keys, all of them where none is named; return them.

        Raises:
            NotInTimeError: Some did not in time.
        """
        connection = self.connection()
        for link_id in link_ids:
            connection.link(link_id)

        async def chosen() -> dict[str, LinkView]:
            links = await connection.links()
            return {link_id: links[link_id] for link_id in link_ids or links}

        __tracebackhide__ = True
        what = f"{', '.join(link_ids) or 'every link'} in service"
        return await eventually(
            connection,
            chosen,
            holds=lambda links: all(link.is_in_service for link in links.values()),
            within=within,
            what=what,
        )

    @overload
    async def eventually(self, condition: Callable[[], Awaitable[_T]], *, within: str = ..., what: str = ...) -> _T: ...

    @overload
    async def eventually(self, condition: Callable[[], _T], *, within: str = ..., what: str = ...) -> _T: ...

    async def eventually(self, condition: Callable[[], Any], *, within: str = "30s", what: str = "") -> Any:
        """Wait until a condition returns something true; return that.

        Args:
            condition: A function or a coroutine function. "Not yet" is a false value, an AssertionError, and an error
                that may pass by itself, such as NoKeysError; any other error is raised.
            within: Wall time with its unit.
            what: What is waited for, for the error; otherwise the condition's docstring or source.

        Raises:
            NotInTimeError: It did not in time: says what was waited for and seen last, and the last log lines.
        """
        __tracebackhide__ = True
        return await eventually(self.connection(), condition, within=within, what=what)

    async def heal(self, within: str = "30s") -> None:
        """Take back all settings, connect, resume and start every process; faults heal with their blocks, not here.

        Raises:
            NotInTimeError: A process does not serve in time.
        """
        await heal(self.connection(), within)

    def events(self) -> EventStream:
        """Return an iterator over everything that happens from now on; `until` waits for one event."""
        return EventStream(self.connection())

    def write_access(self, path: str | Path) -> Path:
        """Write, as JSON, what a program needs to reach every process over gRPC: addresses, names, credential files."""
        self.connection().write_access(Path(path))
        return Path(path)
