"""control_plane.service: the process: hears every node, tells each its paths. Wiring.

After a start nothing is told before every node has been heard, or a while has passed: what nodes have stays in force,
and half a network makes worse paths.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from control_plane.inventory import Inventory
from control_plane.path_plan import Ranking, is_worth_telling, path_set, rankings
from qnetem.runtime import identity, rpc
from qnetem.runtime.errors import BadInputError, DeniedError, StorageError
from qnetem.runtime.process import Process
from qnetem.runtime.tasks import background
from qnetem.v1 import controller_pb2 as pb
from qnetem.v1 import controller_pb2_grpc as pb_grpc

__all__ = ["ControllerServicer", "Planner", "next_incarnation", "serve"]

_SERVICE: Final = "qnetem.v1.ControllerService"
# a change of what can be reached is gathered for so long; amounts are looked at so often
_GATHER_S: Final = 0.05
_EVERY_S: Final = 2.0
_COMPLETE_S: Final = 10.0


class Planner:
    """Makes paths of reports, and hands them to who attends."""

    def __init__(self, name: str, inventory: Inventory, incarnation: int) -> None:
        """Make them in the name of the controller `name`; versions rise with `incarnation`."""
        self.inventory: Final = inventory
        self.told: dict[str, tuple[pb.PathSet, float]] = {}
        self._name = name
        self._version = incarnation << 32
        self._rankings: Mapping[str, Ranking] = {}
        self._queues: dict[str, asyncio.Queue[pb.PathSet | None]] = {}
        self._changed = asyncio.Event()

    def take(self, report: pb.AttendedReport) -> None:
        """Take a report in."""
        if self.inventory.take(report, time.monotonic()):
            self._changed.set()

    def attend(self, node: str) -> "asyncio.Queue[pb.PathSet | None]":
        """Return where a node's paths come out; the queue it had before ends with None."""
        before = self._queues.get(node)
        if before is not None:
            before.put_nowait(None)
        queue: asyncio.Queue[pb.PathSet | None] = asyncio.Queue()
        self._queues[node] = queue
        self.told.pop(node, None)  # what it holds is not known: it is told anew
        self._changed.set()
        return queue

    def leave(self, node: str, queue: "asyncio.Queue[pb.PathSet | None]") -> None:
        """Note that a node has gone, unless it came again meanwhile."""
        if self._queues.get(node) is queue:
            del self._queues[node]
            self.inventory.leave(node)
            self._changed.set()

    async def run(self) -> None:
        """Plan until cancelled."""
        started_s = time.monotonic()
        while self.inventory.missing(time.monotonic()) and time.monotonic() - started_s < _COMPLETE_S:
            await self._pause(_EVERY_S)
        while True:
            await self.plan()
            await self._pause(_EVERY_S)

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._changed.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_GATHER_S)
        self._changed.clear()

    async def plan(self) -> None:
        """Make all paths anew and tell those whose paths changed."""
        now_s = time.monotonic()
        known = self.inventory.known()
        # a hundred nodes take a second: not in the loop that hears them
        self._rankings, states = await asyncio.to_thread(rankings, known, self._rankings, now_s)
        for node, queue in self._queues.items():
            made = path_set(self._name, self._version + 1, self._rankings.get(node, {}), states)
            told, at_s = self.told.get(node, (None, now_s))
            if node in self._rankings and is_worth_telling(told, made, now_s - at_s):
                self._version += 1
                self.told[node] = (made, now_s)
                queue.put_nowait(made)


class ControllerServicer(pb_grpc.ControllerServiceServicer):
    """Hears nodes and answers operators."""

    def __init__(self, planner: Planner, process: Process) -> None:
        """Serve what `planner` makes."""
        self._planner = planner
        self._process = process

    # gRPC takes a handler that writes; the stubs know only one that yields
    async def Attend(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        """Take a node's reports and give it its paths, for as long as both live."""
        requests = aiter(request_iterator)
        first = await anext(requests, None)
        if first is None:
            return
        node = first.report.node
        if rpc.caller_uri(context) != identity.uri(self._process.testbed, "node", node):
            raise DeniedError(f"{rpc.caller_uri(context)} reports for node {node!r}")
        self._planner.take(first.report)
        queue = self._planner.attend(node)
        self._process.journal.write("controller.node.attends", node=node)
        try:
            async with asyncio.TaskGroup() as tasks:
                hearing = tasks.create_task(self._hear(node, requests, queue))
                while (paths := await queue.get()) is not None:
                    await context.write(pb.AttendResponse(paths=paths))
                hearing.cancel()
        finally:
            self._planner.leave(node, queue)
            self._process.journal.write("controller.node.left", node=node)

    async def _hear(self, node: str, requests: Any, queue: "asyncio.Queue[pb.PathSet | None]") -> None:
        try:
            async for request in requests:
                if request.report.node == node:
                    self._planner.take(request.report)
        finally:
            queue.put_nowait(None)

    async def GetNetwork(self, request: pb.GetNetworkRequest, context: Any) -> pb.GetNetworkResponse:
        """Return what is known and was told."""
        now_s = time.monotonic()
        nodes = [
            pb.AttendedNode(
                report=one.report,
                age_s=now_s - one.at_s,
                is_attending=one.is_attending,
                paths=self._planner.told.get(name, (None, 0.0))[0],
            )
            for name, one in self._planner.inventory.known().items()
        ]
        return pb.GetNetworkResponse(nodes=nodes)


def next_incarnation(folder: Path) -> int:
    """Count a start of the controller, durably: versions never go back.

    Raises:
        StorageError: The count cannot be read or written; names the file.
    """
    path = folder / "incarnation"
    try:
        count = int(path.read_text()) + 1 if path.exists() else 1
        fresh = path.with_suffix(".new")
        with fresh.open("w") as file:
            file.write(f"{count}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        folder_fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(folder_fd)
        finally:
            os.close(folder_fd)
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: {getattr(error, 'strerror', None) or 'is not a count'}") from error
    return count


@asynccontextmanager
async def serve(process: Process) -> AsyncIterator[None]:
    """Run the controller while the block runs.

    Raises:
        BadInputError: The configuration is not a controller's.
        StartError: A port is in use or a certificate is not usable.
        StorageError: Its state cannot be written.
    """
    config = process.config
    if not config.HasField("control_plane"):
        raise BadInputError(f"{process.name}: not the configuration of a controller")
    if not config.listeners.management:
        raise BadInputError(f"{process.name}: listeners.management is missing")
    planner = Planner(process.name, Inventory(config.control_plane.nodes), next_incarnation(process.state_dir))
    registration = rpc.Registration(
        pb_grpc.add_ControllerServiceServicer_to_server,
        ControllerServicer(planner, process),
        _SERVICE,
        {"Attend": [identity.uri(process.testbed, "node", "*")], "*": process.operators},
    )
    registrations = [registration, *process.health.registrations((_SERVICE,), process.operators)]
    async with rpc.serve(config.listeners.management, process.credentials, registrations):
        await process.health.set_links(True)
        async with background() as start:
            start(planner.run())
            yield
