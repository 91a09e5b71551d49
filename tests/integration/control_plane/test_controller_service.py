"""The controller over sockets: who may report, what each is told, what a restart changes; nodes and any controller."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from control_plane.client import ControllerClient
from control_plane.service import next_incarnation, serve
from node.controller_link import ControllerLink, PathServicer
from node.keys.relay_path_file import InstalledPaths
from node.keys.relay_paths import PathBook
from qnetem.runtime import identity, rpc
from qnetem.runtime.errors import BadInputError, ConflictError, DeniedError, StorageError, UnavailableError
from qnetem.runtime.process import standing
from qnetem.v1 import controller_pb2 as pb
from qnetem.v1 import controller_pb2_grpc as pb_grpc
from qnetem.v1 import process_pb2

SQUARE = {"a": "bc", "b": "ad", "c": "ad", "d": "bc"}


def report(node: str, version: int = 0, bits: int = 10_000) -> pb.AttendedReport:
    return pb.AttendedReport(
        node=node,
        incarnation=1,
        is_relay=node in "bc",
        sae_ids=[f"app-{node}"] if node in "ad" else [],
        installed_version=version,
        links=[
            pb.AttendedLink(link_id=f"{node}{peer}", peer_node=peer, is_reachable=True, available_bits=bits)
            for peer in SQUARE[node]
        ],
    )


async def until(condition: Callable[[], Any], within_s: float = 90.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - watched from outside
            await asyncio.sleep(0.01)


class Attending:
    """One node's call, as a node of any make would have it."""

    def __init__(self, stub: Any, first: pb.AttendedReport) -> None:
        self.told: list[pb.PathSet] = []
        self.reports: asyncio.Queue[pb.AttendedReport | None] = asyncio.Queue()
        self.reports.put_nowait(first)
        self._stub = stub

    async def _requests(self) -> AsyncIterator[pb.AttendRequest]:
        while (one := await self.reports.get()) is not None:
            yield pb.AttendRequest(report=one)

    async def run(self) -> None:
        async for response in rpc.stream(self._stub.Attend(self._requests())):
            self.told.append(response.paths)

    def ways(self) -> list[str]:
        return ["".join(path.nodes) for target in self.told[-1].targets for path in target.paths] if self.told else []


@pytest.fixture
def controller(config_of: Any, credentials_of: Any) -> Any:
    """Return a context manager that runs the controller; it yields how to dial it as a party."""
    config = config_of(
        "controller", "controller", control_plane=process_pb2.ControlPlaneConfig(nodes=["a", "b", "c", "d"])
    )

    @asynccontextmanager
    async def run() -> AsyncIterator[Callable[..., Awaitable[Any]]]:
        async with AsyncExitStack() as stack, standing(serve, config):

            async def dial(kind: Any, name: str) -> Any:
                target = identity.dns_name("lab", "controller", "controller")
                address = config.listeners.management
                return await stack.enter_async_context(rpc.dial(address, credentials_of(kind, name), target=target))

            yield dial

    return run


async def test_every_node_is_told_its_paths_and_only_for_itself(controller: Any) -> None:
    async with controller() as dial, asyncio.TaskGroup() as tasks:
        nodes = {}
        for name in "abcd":
            stub = pb_grpc.ControllerServiceStub(await dial("node", name))
            nodes[name] = Attending(stub, report(name))
        running = [tasks.create_task(one.run()) for one in nodes.values()]
        await until(lambda: nodes["a"].told and nodes["d"].told)
        assert set(nodes["a"].ways()) == {"abd", "acd"}
        assert set(nodes["d"].ways()) == {"dba", "dca"}
        assert not nodes["b"].told  # no SAE is there
        # a link is cut: the way over it comes last
        first = nodes["a"].told[-1].version
        cut = report("b")
        cut.links[1].is_reachable = False
        nodes["b"].reports.put_nowait(cut)
        await until(lambda: nodes["a"].ways() == ["acd", "abd"])
        assert nodes["a"].told[-1].version >= first

        operator = ControllerClient(await dial("operator", "admin"))
        network = await operator.get_network()
        assert [one.report.node for one in network.nodes] == list("abcd")
        assert all(one.is_attending and one.age_s < 20 for one in network.nodes)
        assert network.nodes[0].paths == nodes["a"].told[-1]

        # the same node again: its first call ends
        again = Attending(pb_grpc.ControllerServiceStub(await dial("node", "a")), report("a"))
        running.append(tasks.create_task(again.run()))
        await until(lambda: again.told)
        await running[0]
        for one in (*nodes.values(), again):
            one.reports.put_nowait(None)
        await asyncio.gather(*running)


async def refused(stub: Any, first: pb.AttendedReport) -> None:
    """Attend until told why not: a report that is written as the call ends hides it from whoever wrote."""
    async with asyncio.timeout(90.0):
        while True:
            with contextlib.suppress(UnavailableError):
                return await Attending(stub, first).run()


async def test_who_is_not_the_node_it_reports_for_is_refused(controller: Any) -> None:
    async with controller() as dial:
        for kind, name in (("node", "b"), ("operator", "admin"), ("sae", "app-a")):
            stub = pb_grpc.ControllerServiceStub(await dial(kind, name))
            with pytest.raises(DeniedError):
                await refused(stub, report("a"))
        with pytest.raises(DeniedError):
            await ControllerClient(await dial("node", "a")).get_network()
        assert not (await ControllerClient(await dial("operator", "admin")).get_network()).nodes


async def test_versions_rise_over_restarts(controller: Any) -> None:
    versions = []
    for _ in range(2):
        async with controller() as dial, asyncio.TaskGroup() as tasks:
            nodes = [
                Attending(pb_grpc.ControllerServiceStub(await dial("node", name)), report(name)) for name in "abcd"
            ]
            running = [tasks.create_task(one.run()) for one in nodes]
            await until(lambda nodes=nodes: nodes[0].told)
            versions.append(nodes[0].told[0].version)
            for one in nodes:
                one.reports.put_nowait(None)
            await asyncio.gather(*running)
    assert versions[1] > versions[0] > 0


def test_an_incarnation_that_cannot_be_counted_is_told(tmp_path: Path) -> None:
    assert [next_incarnation(tmp_path) for _ in range(3)] == [1, 2, 3]
    (tmp_path / "incarnation").write_text("seven")
    with pytest.raises(StorageError, match="incarnation: is not a count"):
        next_incarnation(tmp_path)


class OtherMake(pb_grpc.ControllerServiceServicer):
    """A controller of another make: tells whoever attends what the test says."""

    def __init__(self) -> None:
        self.heard: list[pb.AttendedReport] = []
        self.to_tell: asyncio.Queue[pb.PathSet] = asyncio.Queue()

    async def Attend(self, request_iterator: Any, context: Any) -> AsyncIterator[pb.AttendResponse]:
        self.heard.append((await anext(aiter(request_iterator))).report)
        while True:
            yield pb.AttendResponse(paths=await self.to_tell.get())


def paths(version: int, *ways: str, controller: str = "theirs") -> pb.PathSet:
    made = pb.PathSet(controller=controller, version=version)
    for way in ways:
        made.targets.add(target=way[-1]).paths.add(nodes=way)
    return made


async def test_a_node_keeps_what_a_controller_of_another_make_told_whatever_becomes_of_it(
    config_of: Any, credentials_of: Any, empty_room: Any, tmp_path: Path, free_port: Any
) -> None:
    address = f"127.0.0.1:{free_port()}"
    party = process_pb2.PartyAddress(address=address, target=identity.dns_name("lab", "controller", "controller"))
    book = PathBook("a", {"b", "c"})
    installed = InstalledPaths(tmp_path / "paths.binpb", book, "a")
    changed = asyncio.Event()

    async def own_report() -> pb.AttendedReport:
        return report("a", book.table.version)

    @asynccontextmanager
    async def other_make() -> AsyncIterator[OtherMake]:
        servicer = OtherMake()
        registration = rpc.Registration(
            pb_grpc.add_ControllerServiceServicer_to_server,
            servicer,
            "qnetem.v1.ControllerService",
            {"*": [identity.uri("lab", "node", "*")]},
        )
        async with rpc.serve(address, credentials_of("controller", "controller"), [registration], grace_s=0):
            yield servicer

    async with standing(empty_room, config_of("node", "a")) as process, asyncio.TaskGroup() as tasks:
        link = ControllerLink(party, process, installed, own_report, changed)
        running = tasks.create_task(link.run_forever())
        async with other_make() as one:
            one.to_tell.put_nowait(paths(5, "abd"))
            await until(lambda: book.table.version == 5)
            # older, or no paths from here: nothing changes
            for bad in (paths(4, "acd"), paths(0, "acd"), paths(6, "bd"), paths(6, "abd", "abd"), paths(6, "aba")):
                one.to_tell.put_nowait(bad)
            one.to_tell.put_nowait(paths(7, "acd"))
            await until(lambda: book.table.version == 7)
        assert [path.nodes for path in book.paths("d", 0.0)] == [tuple("acd")]
        async with other_make() as one:
            await until(lambda: one.heard)
            assert one.heard[0].installed_version == 7
        running.cancel()
    # what was told is there after a restart, without any controller
    later = PathBook("a", {"b", "c"})
    InstalledPaths(tmp_path / "paths.binpb", later, "a").load()
    assert later.table == book.table


async def test_paths_that_cannot_be_kept_are_not_put_in_force(tmp_path: Path) -> None:
    book = PathBook("a", {"b"})
    installed = InstalledPaths(tmp_path / "missing" / "paths.binpb", book, "a")
    with pytest.raises(StorageError, match=r"paths\.binpb"):
        installed.install(paths(1, "abd"))
    assert book.table.version == 0
    (tmp_path / "paths.binpb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(StorageError, match="does not hold paths"):
        InstalledPaths(tmp_path / "paths.binpb", book, "a").load()


async def test_an_operator_gives_paths_where_there_is_no_controller(tmp_path: Path) -> None:
    book = PathBook("a", {"b"})
    installed = InstalledPaths(tmp_path / "paths.binpb", book, "a")
    servicer = PathServicer(installed, lambda: 10.0, has_controller=False)
    await servicer.InstallPaths(pb.InstallPathsRequest(paths=paths(1, "abd")), None)
    with pytest.raises(ConflictError, match="version 1"):
        await servicer.InstallPaths(pb.InstallPathsRequest(paths=paths(1, "acd")), None)
    with pytest.raises(BadInputError):
        await servicer.InstallPaths(pb.InstallPathsRequest(paths=paths(2, "xyd")), None)
    book.doubt(("b", "d"), 0.0)
    told = await servicer.GetPaths(pb.GetPathsRequest(), None)
    assert told.paths == paths(1, "abd", controller="operator")
    [suspect] = told.suspects
    assert (suspect.from_node, suspect.to_node) == ("b", "d")
    assert suspect.left_s == pytest.approx(20.0)
    with pytest.raises(ConflictError, match="controller"):
        await PathServicer(installed, lambda: 0.0, has_controller=True).InstallPaths(pb.InstallPathsRequest(), None)


async def test_a_controller_that_is_not_the_controller_is_not_attended(credentials_of: Any, free_port: Any) -> None:
    """A node's certificate at the controller's address: the connection is refused, and the node lives on."""
    address = f"127.0.0.1:{free_port()}"
    servicer = OtherMake()
    registration = rpc.Registration(
        pb_grpc.add_ControllerServiceServicer_to_server, servicer, "qnetem.v1.ControllerService", {"*": ["*"]}
    )
    party = process_pb2.PartyAddress(address=address, target=identity.dns_name("lab", "controller", "controller"))
    async with (
        rpc.serve(address, credentials_of("node", "b"), [registration], grace_s=0),
        rpc.dial(address, credentials_of("node", "a"), target=party.target) as channel,
    ):
        stub = pb_grpc.ControllerServiceStub(channel)
        with pytest.raises(UnavailableError):
            await Attending(stub, report("a")).run()
    assert not servicer.heard
