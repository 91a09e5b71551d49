"""docs/controller.md and docs/relay.md: their topologies are taken, the page's controller tells a node its path."""

import asyncio
import re
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from node.controller_link import ControllerLink
from node.keys.relay_path_file import InstalledPaths
from node.keys.relay_paths import PathBook
from qnetem.runtime import identity, rpc
from qnetem.runtime.process import Process, standing
from qnetem.topology.reader import from_dict
from qnetem.v1 import controller_pb2, controller_pb2_grpc, process_pb2

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["controller.md", "relay.md"])
def test_what_a_page_says_of_the_topology_is_taken(page: str) -> None:
    texts = list(blocks(page, "yaml"))
    assert texts
    alternatives = [line for text in texts for line in text.splitlines()] if page == "controller.md" else texts
    for text in alternatives:
        file: dict[str, Any] = {
            "apiVersion": "qnetem/v1",
            "name": "lab",
            "topology": {"nodes": {"alice": {}, "bob": {}}},
        }
        said = yaml.safe_load(text)
        file |= said
        file["topology"]["defaults"] = {"profile": "decoy-bb84-1ghz-apd", "quantum": {"length": "25km"}}
        topology = from_dict(file)
        for key, value in said.get("control_plane", {}).items():
            assert getattr(topology.control_plane, key) == value


async def test_the_controller_of_the_page_tells_alice_the_way_to_bob(
    tmp_path: Path, credential_paths_of: Any, credentials_of: Any, free_port: Any
) -> None:
    [text] = blocks("controller.md", "python")
    names: dict[str, Any] = {"controller_pb2": controller_pb2, "controller_pb2_grpc": controller_pb2_grpc}
    exec(textwrap.dedent(text), names)  # noqa: S102 the page
    address = f"127.0.0.1:{free_port()}"
    registration = rpc.Registration(
        controller_pb2_grpc.add_ControllerServiceServicer_to_server,
        names["Mine"](),
        "qnetem.v1.ControllerService",
        {"*": [identity.uri("lab", "node", "*")]},
    )
    config = process_pb2.ProcessConfig(
        testbed="lab",
        name="alice",
        state_dir=str(tmp_path / "alice"),
        credentials=credential_paths_of("node", "alice"),
        clock=process_pb2.ClockConfig(scale=1, source=process_pb2.ClockConfig.SOURCE_MONOTONIC),
    )
    party = process_pb2.PartyAddress(address=address, target=identity.dns_name("lab", "controller", "controller"))
    book = PathBook("alice", {"relay"})
    is_told = asyncio.Event()

    async def report() -> controller_pb2.AttendedReport:
        if book.table.version:
            is_told.set()
        return controller_pb2.AttendedReport(node="alice", installed_version=book.table.version)

    @asynccontextmanager
    async def room(process: Process) -> AsyncIterator[None]:
        yield

    async with (
        rpc.serve(address, credentials_of("controller", "controller"), [registration], grace_s=0),
        standing(room, config) as process,
        asyncio.TaskGroup() as tasks,
    ):
        link = ControllerLink(
            party, process, InstalledPaths(tmp_path / "paths", book, "alice"), report, asyncio.Event()
        )
        running = tasks.create_task(link.run_forever())
        async with asyncio.timeout(20):
            await is_told.wait()
        running.cancel()
    assert [path.nodes for path in book.paths("bob", 0.0)] == [("alice", "relay", "bob")]
    assert book.table.controller == "mine"
