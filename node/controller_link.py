"""node.controller_link: the node's side of its controller: reports, and the paths it is told. Edge: gRPC.

A controller that cannot be reached, or talks nonsense, changes nothing here but the log: the paths stay in force.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

from node.keys.relay_path_file import InstalledPaths, wire_table
from qnetem.runtime import rpc
from qnetem.runtime.errors import BadInputError, ConflictError, QnetemError, StorageError, UnavailableError
from qnetem.runtime.process import Process
from qnetem.v1 import controller_pb2 as pb
from qnetem.v1 import controller_pb2_grpc as pb_grpc
from qnetem.v1 import process_pb2

__all__ = ["ControllerLink", "PathServicer"]

_REPORT_S: Final = 1.0
_BACKOFF_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
OPERATOR: Final = "operator"
Report = Callable[[], Awaitable[pb.AttendedReport]]


class ControllerLink:
    """Attends a controller for as long as the node lives."""

    def __init__(
        self,
        controller: process_pb2.PartyAddress,
        process: Process,
        paths: InstalledPaths,
        report: Report,
        has_changed: asyncio.Event,
    ) -> None:
        """Report to `controller` what `report` returns, every second and as soon as `has_changed` is set."""
        self._controller = controller
        self._process = process
        self._paths = paths
        self._report = report
        self._has_changed = has_changed

    async def run_forever(self) -> None:
        """Dial, attend, begin again."""
        attempt = 0
        was_away = False
        log = self._process.log
        async with rpc.dial(
            self._controller.address, self._process.credentials, target=self._controller.target
        ) as channel:
            stub = pb_grpc.ControllerServiceStub(channel)
            while True:
                try:
                    await _connected(channel)
                    log.info("controller.attended", address=self._controller.address)
                    was_away = False
                    async for response in rpc.stream(stub.Attend(self._reports())):
                        attempt = 0
                        await self._install(response.paths)
                except QnetemError as error:
                    if not was_away:
                        log.warning("controller.away", reason=error.reason, detail=str(error))
                    was_away = True
                await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
                attempt += 1

    async def _reports(self) -> AsyncIterator[pb.AttendRequest]:
        while True:
            self._has_changed.clear()
            try:
                yield pb.AttendRequest(report=await self._report())
            except StorageError as error:  # a broken disk is told by those who need it
                self._process.log.warning("controller.report.failed", reason=error.reason)
            try:
                async with asyncio.timeout(_REPORT_S):
                    await self._has_changed.wait()
            except TimeoutError:
                continue

    async def _install(self, paths: pb.PathSet) -> None:
        try:
            is_new = self._paths.install(paths)
        except (BadInputError, StorageError) as error:
            self._process.log.error("controller.paths.refused", controller=paths.controller, detail=str(error))
            return
        if is_new:
            name, version, count = paths.controller, paths.version, len(paths.targets)
            self._process.journal.write("paths.installed", controller=name, version=version, targets_count=count)
            self._process.log.info("paths.installed", controller=name, version=version, targets_count=count)


async def _connected(channel: Any) -> None:
    """Wait until the controller can be reached, for as long as that takes."""
    while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
        if state is grpc.ChannelConnectivity.SHUTDOWN:
            raise UnavailableError("the node is going down")
        await channel.wait_for_state_change(state)


class PathServicer(pb_grpc.PathServiceServicer):
    """Shows operators the paths in force, and takes theirs where there is no controller."""

    def __init__(self, paths: InstalledPaths, now_s: Callable[[], float], *, has_controller: bool) -> None:
        """Serve `paths`; `now_s` is the clock that hops are suspect by."""
        self._paths = paths
        self._now_s = now_s
        self._has_controller = has_controller

    async def InstallPaths(self, request: pb.InstallPathsRequest, context: Any) -> pb.InstallPathsResponse:
        """Put an operator's paths in force."""
        if self._has_controller:
            raise ConflictError("this node takes its paths from its controller")
        paths = pb.PathSet(controller=OPERATOR, version=request.paths.version, targets=request.paths.targets)
        if not self._paths.install(paths):
            raise ConflictError(f"version {paths.version} is not above {self._paths.book.table.version}, in force")
        return pb.InstallPathsResponse()

    async def GetPaths(self, request: pb.GetPathsRequest, context: Any) -> pb.GetPathsResponse:
        """Return the paths in force and the hops that are gone around."""
        now_s = self._now_s()
        book = self._paths.book
        suspects = [
            pb.SuspectHop(from_node=near, to_node=far, left_s=one.until_s - now_s)
            for (near, far), one in sorted(book.suspects(now_s).items())
        ]
        return pb.GetPathsResponse(paths=wire_table(book.table), suspects=suspects)
