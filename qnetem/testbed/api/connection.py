"""qnetem.testbed.api.connection: a running testbed as the handles reach it, from one event loop. Edge."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc.aio
from google.protobuf import json_format

from qnetem.runtime import identity, rpc
from qnetem.runtime.errors import NotFoundError, QnetemError, StorageError
from qnetem.testbed.api.evidence import log_lines
from qnetem.testbed.api.patience import NotInTimeError, Patience
from qnetem.testbed.api.views import LinkView
from qnetem.testbed.client import TestbedClient
from qnetem.testbed.credentials import ADMIN
from qnetem.testbed.inspected import inspected_values
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import KINDS, LinkPlan, ProcessPlan, TestbedPlan
from qnetem.topology.words import did_you_mean, shown
from qnetem.v1 import process_pb2

__all__ = ["Connection"]

_LOG_COUNT: Final = 12
_LINK_COUNT: Final = 10
_EVIDENCE_S: Final = 5.0
_T = TypeVar("_T")


class Connection:
    """The supervisor's client, the plan, and channels to the processes, opened when they are first needed."""

    def __init__(self, client: TestbedClient, layout: Layout, plan: TestbedPlan, stack: AsyncExitStack) -> None:
        """Use what is connected; channels live as long as `stack`."""
        self.client: Final = client
        self.layout: Final = layout
        self.plan: Final = plan
        self.loop: Final = asyncio.get_running_loop()
        self._stack = stack
        self._channels: dict[str, grpc.aio.Channel] = {}

    def process(self, name: str) -> ProcessPlan:
        """Return the plan of a process. Raises NotFoundError; suggests the nearest."""
        if name not in self.plan.processes:
            raise NotFoundError(f"no process {shown(name)}" + did_you_mean(name, self.plan.processes))
        return self.plan.processes[name]

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes."""
        return [name for name, one in self.plan.processes.items() if KINDS[one.kind] == "node"]

    def node(self, name: str) -> ProcessPlan:
        """Return the plan of a node. Raises NotFoundError; suggests the nearest."""
        if name not in self.nodes:
            raise NotFoundError(f"no node {shown(name)}" + did_you_mean(name, self.nodes))
        return self.plan.processes[name]

    def link(self, link_id: str) -> LinkPlan:
        """Return the plan of a link. Raises NotFoundError; suggests the nearest."""
        if link_id not in self.plan.links:
            raise NotFoundError(f"no link {shown(link_id)}" + did_you_mean(link_id, self.plan.links))
        return self.plan.links[link_id]

    def target(self, name: str) -> str:
        """Return the name in the certificate of a process."""
        return identity.dns_name(self.plan.testbed, KINDS[self.process(name).kind], name)

    async def channel(self, name: str) -> grpc.aio.Channel:
        """Return the channel to the management listener of a process, as an operator."""
        if name not in self._channels:
            credentials = rpc.Credentials.load(self.layout.credentials("operator", ADMIN))
            dialling = rpc.dial(self.process(name).listeners["management"], credentials, target=self.target(name))
            self._channels[name] = await self._stack.enter_async_context(dialling)
        return self._channels[name]

    def config(self, node: str) -> process_pb2.NodeConfig:
        """Return what a node was told at its start. Raises StorageError."""
        path = self.layout.config(node)
        try:
            return json_format.Parse(path.read_text(), process_pb2.ProcessConfig()).node
        except (OSError, json_format.ParseError) as error:
            raise StorageError(f"{path}: cannot be read ({type(error).__name__})") from error

    async def of_nodes(
        self, ask: Callable[[grpc.aio.Channel, str], Awaitable[_T]], nodes: Iterable[str] = ()
    ) -> dict[str, _T | QnetemError]:
        """Ask nodes at once, all of them where none is named; return what each said, or why it does not.

        Raises:
            NotFoundError: There is no such node; suggests the nearest.
        """
        names = [self.node(name).name for name in nodes] or self.nodes

        async def one(node: str) -> _T | QnetemError:
            try:
                return await ask(await self.channel(node), node)
            except QnetemError as error:
                return error

        return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))

    async def inspected(self) -> dict[str, Any]:
        """Return what `inspect -f json` tells."""
        return inspected_values(await self.client.inspect())

    async def links(self) -> dict[str, LinkView]:
        """Return every link, by id."""
        return {one["link_id"]: LinkView.of(one) for one in (await self.inspected())["links"]}

    async def not_in_time(self, patience: Patience, process: str | None = None) -> NotInTimeError:
        """Return what to raise when something did not come about: with links that are not in service, and the logs."""
        lines = []
        try:
            async with asyncio.timeout(_EVIDENCE_S):
                links = await self.links()
            outside = [str(link) for link in links.values() if not link.is_in_service]
            lines += [f"links in service: {len(links) - len(outside)} of {len(links)}", *_first(outside)]
        except (QnetemError, TimeoutError) as error:
            lines.append(f"links: not known ({error or 'no answer'})")
        logged = log_lines(self.layout, _LOG_COUNT, process)
        if logged:
            lines += ["last log lines:", *(f"  {line}" for line in logged)]
        return patience.error(lines)

    def access(self) -> dict[str, Any]:
        """Return what a program of any language needs to reach the processes: addresses, names, credential files."""
        operator = self.layout.credentials("operator", ADMIN)

        def place(name: str) -> dict[str, str]:
            return {
                "name": name,
                "address": self.plan.processes[name].listeners["management"],
                "target": self.target(name),
            }

        return {
            "testbed": self.plan.testbed,
            "credentials": {field.name: value for field, value in operator.ListFields()},
            "nodes": {name: place(name) for name in self.nodes},
            "links": {
                link.id: {
                    "endpoints": list(link.endpoints),
                    **({"quantum_channel": place(link.quantum_channel)} if link.quantum_channel else {}),
                    "classical_channel": place(link.classical_channel),
                }
                for link in self.plan.links.values()
            },
        }

    def write_access(self, path: Path) -> None:
        """Write `access` as JSON."""
        path.write_text(json.dumps(self.access(), indent=2) + "\n")


def _first(lines: list[str]) -> Iterable[str]:
    yield from (f"  {line}" for line in lines[:_LINK_COUNT])
    if len(lines) > _LINK_COUNT:
        yield f"  and {len(lines) - _LINK_COUNT} more"
