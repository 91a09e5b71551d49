"""bench.key_lab: a testbed whose pools were filled beforehand, and SAEs of it that cost little. Edge.

Quantum links nearly stand still, so that what is measured is the key managers.
"""

import asyncio
import json
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import yaml
from google.protobuf import json_format

from node.client import KeyAdminClient
from node.keys.records import BlockRole, StoreLimits
from node.keys.store import open_store
from qnetem.runtime import identity, rpc
from qnetem.testbed.client import TestbedClient
from qnetem.testbed.credentials import ADMIN
from qnetem.testbed.launching import launch
from qnetem.testbed.layout import Layout
from qnetem.v1 import controller_pb2, controller_pb2_grpc, process_pb2

PROFILE = "decoy-bb84-1ghz-snspd"
# emulated seconds a second: quantum links leave the cores to the key managers. Delays of classical links, emulated too,
# would grow with it
SCALE = 0.005
FILL_BITS = 1 << 24


def line_of(node_count: int) -> dict[str, Any]:
    """Return a topology of nodes n0, n1, .. in a line, an SAE at each."""
    return network([(f"n{index}", f"n{index + 1}") for index in range(node_count - 1)])


def network(links: list[tuple[str, str]]) -> dict[str, Any]:
    """Return a topology of these links, an SAE at each node; paths are given by hand."""
    nodes = list(dict.fromkeys(node for link in links for node in link))
    return {
        "apiVersion": "qnetem/v1",
        "name": "keys",
        "time": {"scale": SCALE},
        "topology": {
            "defaults": {"profile": PROFILE, "quantum": {"length": "25km"}, "classical": {"delay": "0us"}},
            "nodes": {node: {"kind": "trusted-relay"} for node in nodes},
            "links": [{"endpoints": list(link)} for link in links],
            "saes": {f"sae-{node}": {"node": node} for node in nodes},
        },
        "control_plane": {"kind": "none"},
    }


async def fill(layout: Layout, nodes: Iterable[str], bits: int = FILL_BITS) -> None:
    """Give both ends of every link the same secret, as sessions do; the nodes have ended."""
    configs = {
        node: json_format.Parse(layout.config(node).read_text(), process_pb2.ProcessConfig()).node for node in nodes
    }
    async with AsyncExitStack() as stack:
        stores = {
            node: await stack.enter_async_context(
                open_store(
                    layout.state(node) / "keys.sqlite",
                    StoreLimits(capacity_bits=1 << 30),
                    key_path=Path(config.storage_key_path),
                )
            )
            for node, config in configs.items()
        }
        for node, config in configs.items():
            for link in config.links:
                if link.role != process_pb2.LINK_ROLE_TRANSMITTER:
                    continue
                sender, taker = stores[node], stores[link.peer_node]
                block_id, secret = f"{link.link_id}/bench", os.urandom(bits // 8)
                await taker.prepare(block_id, link.link_id, node, secret, bits, BlockRole.RECEIVER)
                await sender.prepare(block_id, link.link_id, link.peer_node, secret, bits, BlockRole.TRANSMITTER)
                await sender.commit(block_id)
                await taker.commit(block_id)
                await sender.confirm(block_id)


@asynccontextmanager
async def testbed(topology: dict[str, Any]) -> AsyncIterator["Kmes"]:
    """Run a testbed with filled pools while the block runs."""
    with tempfile.TemporaryDirectory(prefix="qnetem-bench-") as folder:
        path = Path(folder) / "topology.yaml"
        path.write_text(yaml.safe_dump(topology, sort_keys=False))
        layout = Layout.beside(path, topology["name"])
        async with launch(path, is_held=True):
            pass
        await fill(layout, topology["topology"]["nodes"])
        async with launch(path, is_held=True) as client:
            yield Kmes(client, layout, {sae: one["node"] for sae, one in topology["topology"]["saes"].items()})


class Connection:
    """One HTTPS connection of an SAE, kept open; no more HTTP than is needed, so that the client costs little."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak over an open connection."""
        self._reader, self._writer = reader, writer

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer."""
        data = json.dumps(body).encode()
        head = f"POST /api/v1/keys/{path} HTTP/1.1\r\nHost: kme\r\nContent-Length: {len(data)}\r\n"
        self._writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + data)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        return int(answer.split(b" ", 2)[1]), json.loads(await self._reader.readexactly(length))

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


@dataclass
class Kmes:
    """The key managers of a running testbed."""

    client: TestbedClient
    layout: Layout
    saes: dict[str, str]
    _addresses: dict[str, str] = field(default_factory=dict)

    async def connect(self, sae: str) -> Connection:
        """Connect an SAE to its KME."""
        if not self._addresses:
            processes = (await self.client.get()).processes
            self._addresses = {one.name: one.listeners.https for one in processes if one.listeners.https}
        paths = self.layout.credentials("sae", sae)
        tls = ssl.create_default_context(cafile=paths.authority_path)
        tls.load_cert_chain(paths.certificate_path, paths.key_path)
        host, _, port = self._addresses[self.saes[sae]].rpartition(":")
        return Connection(*await asyncio.open_connection(host, int(port), ssl=tls))

    @asynccontextmanager
    async def admin(self, node: str) -> AsyncIterator[KeyAdminClient]:
        """Ask the key manager of a node, as an operator."""
        async with self.dialled(node) as channel:
            yield KeyAdminClient(channel)

    @asynccontextmanager
    async def dialled(self, node: str) -> AsyncIterator[grpc.aio.Channel]:
        """Dial the management listener of a node, as an operator."""
        credentials = rpc.Credentials.load(self.layout.credentials("operator", ADMIN))
        address = next(one.listeners.management for one in (await self.client.get()).processes if one.name == node)
        async with rpc.dial(address, credentials, target=identity.dns_name("keys", "node", node)) as channel:
            yield channel


async def install_paths(kmes: Kmes, source: str, paths: list[list[str]]) -> None:
    """Give a node the paths that it may send keys on, the best first, as an operator."""
    targets: dict[str, controller_pb2.TargetPaths] = {}
    for nodes in paths:
        told = targets.setdefault(nodes[-1], controller_pb2.TargetPaths(target=nodes[-1]))
        told.paths.add(nodes=nodes)
    request = controller_pb2.InstallPathsRequest(paths=controller_pb2.PathSet(version=1, targets=targets.values()))
    async with kmes.dialled(source) as channel:
        await rpc.call(controller_pb2_grpc.PathServiceStub(channel).InstallPaths, request, timeout_s=5.0)


def cpu_s(pids: Iterable[int]) -> float:
    """Return what processes have used of the cores, seconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
