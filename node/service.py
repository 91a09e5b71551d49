"""node.service: the process of a network node: its links, its keys, its listeners. Wiring."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc.aio

from node.context import NodeContext
from node.controller_link import ControllerLink, PathServicer
from node.controller_report import attended_report
from node.entropy import Entropy
from node.key_admin import KeyAdminServicer
from node.keys.agreement import AgreementDesk
from node.keys.audit_config import audit_limits_of
from node.keys.directory import Directory
from node.keys.hybrid_keys import HybridKeys
from node.keys.kem import Kem
from node.keys.relay_path_file import InstalledPaths
from node.keys.relay_prefill import Marks
from node.keys.relaying import Relaying
from node.keys.sae_service import serve_saes
from node.keys.southbound import external_links
from node.keys.store import open_store
from node.link_state import LinkRecord
from node.links import LinkSessionServicer, ReceiverLink, TransmitterLink
from node.metrics import NodeCollector
from node.qkd.authentication import authenticated
from node.qkd.withdrawal import withdraw_insecure
from node.status import POOL_SUMS, link_status, pool_status, telemetry_of
from qnetem.runtime import allocator, identity, rpc
from qnetem.runtime.clock import PS_PER_S
from qnetem.runtime.errors import BadInputError, StorageError
from qnetem.runtime.process import Process
from qnetem.runtime.tasks import background
from qnetem.v1 import (
    controller_pb2,
    controller_pb2_grpc,
    key_admin_pb2_grpc,
    key_exchange_pb2_grpc,
    key_relay_pb2_grpc,
    link_session_pb2,
    link_session_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    process_pb2,
)

__all__ = ["serve"]

_TELEMETRY_S: Final = 2.0
_WATCH_LIMIT: Final = 1000


class _Board:
    """The links' records, and who wants to hear of their changes."""

    def __init__(self, process: Process, links: Sequence[process_pb2.NodeLinkConfig]) -> None:
        self._process = process
        self._configs = {link.link_id: link for link in links}
        self.records = {link_id: LinkRecord(link_id, process.clock.now_ps, self._changed) for link_id in self._configs}
        self._watchers: set[asyncio.Queue[node_pb2.NodeLinkStatus]] = set()
        self._has_changed = asyncio.Event()
        self.report_is_due = asyncio.Event()
        self.pools: list[node_pb2.PoolStatus] = []

    def status(self, link_id: str) -> node_pb2.NodeLinkStatus:
        return link_status(self._configs[link_id], self.records[link_id])

    def links(self) -> list[node_pb2.NodeLinkStatus]:
        return [self.status(link_id) for link_id in self._configs]

    def _changed(self, record: LinkRecord) -> None:
        process = self._process
        state = record.state.name
        process.journal.write("link.state.changed", link_id=record.link_id, state=state, reason=record.reason)
        process.log.info("link.state.changed", link_id=record.link_id, state=state, reason=record.reason)
        status = self.status(record.link_id)
        process.telemetry.publish(f"link/{record.link_id}/state", {"state": state, "reason": record.reason})
        for queue in self._watchers:
            # who does not read misses changes, and sees the state that followed
            if not queue.full():
                queue.put_nowait(status)
        self._has_changed.set()
        self.report_is_due.set()

    async def watch(self) -> AsyncIterator[node_pb2.NodeLinkStatus]:
        queue: asyncio.Queue[node_pb2.NodeLinkStatus] = asyncio.Queue(_WATCH_LIMIT)
        self._watchers.add(queue)
        try:
            for status in self.links():
                yield status
            while True:
                yield await queue.get()
        finally:
            self._watchers.discard(queue)

    async def keep_health(self) -> None:
        """Tell the health service whether every link is in service, now and after each change."""
        while True:
            self._has_changed.clear()
            await self._process.health.set_links(all(r.is_in_service for r in self.records.values()))
            await self._has_changed.wait()


class _NodeServicer(node_pb2_grpc.NodeServiceServicer):
    def __init__(self, node: NodeContext, board: _Board) -> None:
        self._node = node
        self._board = board

    async def GetNode(self, request: node_pb2.GetNodeRequest, context: Any) -> node_pb2.GetNodeResponse:
        return node_pb2.GetNodeResponse(
            name=self._node.process.name,
            incarnation=self._node.incarnation,
            links=self._board.links(),
            pools=[pool_status(pool) for pool in await self._node.store.pools()],
        )

    async def WatchLinks(
        self, request: node_pb2.WatchLinksRequest, context: Any
    ) -> AsyncIterator[node_pb2.WatchLinksResponse]:
        async for status in self._board.watch():
            yield node_pb2.WatchLinksResponse(link=status)


async def _publish_forever(node: NodeContext, board: _Board, admin: KeyAdminServicer) -> None:
    """Publish the figures of links and pools every two wall seconds."""
    telemetry = node.process.telemetry
    is_failing = False
    while True:
        try:
            pools = await node.store.pools()
            admin.see(node.process.clock.now_ps() / PS_PER_S, pools)
            board.pools = [pool_status(pool) for pool in pools]
            is_failing = False
        except StorageError as error:
            # the figures stay as they were; a node with a broken disk goes on serving what it can
            if not is_failing:
                node.process.log.error("node.pools.unreadable", detail=str(error))
            is_failing = True
        for status in board.links():
            telemetry.publish(f"link/{status.link_id}/metrics", telemetry_of(status))
        for pool in board.pools:
            telemetry.publish(
                f"pool/{pool.peer_node}/metrics",
                {name: getattr(pool, name) for name in POOL_SUMS},
            )
        await asyncio.sleep(_TELEMETRY_S)


@asynccontextmanager
async def serve(process: Process) -> AsyncIterator[None]:
    """Run the node while the block runs.

    Raises:
        BadInputError: The configuration is not a node's.
        StartError: A port is in use or a certificate is not usable.
        StorageError: The key store cannot be opened.
    """
    config = process.config
    if config.WhichOneof("role") != "node":
        raise BadInputError(f"process {config.name}: the configuration is not a node's")
    allocator.keep_small_blocks()
    board = _Board(process, config.node.links)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            open_store(
                process.state_dir / "keys.sqlite",
                reproducible_secret=config.node.reproducible_secret,
                emulated_s=lambda: process.clock.now_ps() / PS_PER_S,
                key_path=Path(config.node.storage_key_path) if config.node.storage_key_path else None,
                audit_limits=audit_limits_of(config.node.audit),
            )
        )
        insecure_hops = {frozenset((hop.first_node, hop.second_node)) for hop in config.node.insecure_hops}
        for block in await withdraw_insecure(store, config.node.links, has_insecure_hops=bool(insecure_hops)):
            process.journal.write("key.block.quarantined", link_id=block.link_id, block_id=block.block_id)
        entropy = Entropy(config.node.reproducible_secret)
        authentications = await authenticated(config.node.links, store)
        node = NodeContext(process, store, entropy, await store.next_incarnation(), authentications)
        admin = KeyAdminServicer(store, authentications)
        peers: dict[str, grpc.aio.Channel] = {}
        for link in config.node.links:
            if link.peer_node not in peers:
                peers[link.peer_node] = await stack.enter_async_context(
                    rpc.dial(link.peer.address, process.credentials, target=link.peer.target)
                )
        directory = Directory(
            process.testbed,
            process.name,
            {place.sae_id: place.node for place in config.node.sae_places},
            frozenset(peers),
        )
        desk, kem = AgreementDesk(), Kem(process.testbed, process.credentials)
        relaying = Relaying.of(
            store,
            directory,
            peers.get,
            answers={"agree": desk.answer},
            kem=kem,
            is_relay=config.node.is_relay,
            relay_nodes=config.node.relay_nodes,
            share_count=max(1, config.node.share_count),
            prefills={one.peer_node: Marks(one.low_bits, one.high_bits) for one in config.node.prefills},
            emulated_s=lambda: process.clock.now_ps() / PS_PER_S,
            insecure_hops=insecure_hops,
        )
        hybrid = HybridKeys(store, directory, kem, relaying.courier, desk)
        await relaying.relays.start()
        paths = InstalledPaths(process.state_dir / "paths.binpb", relaying.book, process.name)
        paths.load()
        quantum = [link for link in config.node.links if not link.HasField("external_kme")]
        receivers = _of_role(quantum, process_pb2.LINK_ROLE_RECEIVER)
        transmitters = _of_role(quantum, process_pb2.LINK_ROLE_TRANSMITTER)
        external = external_links(config.node.links, node, board.records, relaying.courier, desk)
        answering = {link.link_id: ReceiverLink(link, node, board.records[link.link_id]) for link in receivers}
        await _listen(stack, node, board, directory, answering, relaying, admin, paths)
        if config.listeners.https:
            await stack.enter_async_context(serve_saes(process, store, relaying, directory, hybrid, desk))
        process.metrics.register(NodeCollector(board.links, lambda: board.pools))
        start = await stack.enter_async_context(background())
        for link in transmitters:
            start(TransmitterLink(link, node, board.records[link.link_id]).run_forever())
        for end in external:
            start(end.run_forever())
        start(relaying.exchange.run())
        start(relaying.upkeep.run())
        start(relaying.prefill.run())
        if config.node.HasField("controller"):

            async def report() -> controller_pb2.AttendedReport:
                pools = await store.pools()
                return attended_report(
                    config, node.incarnation, board.links(), pools, relaying.courier.is_sound, relaying.book.table
                )

            attending = ControllerLink(config.node.controller, process, paths, report, board.report_is_due)
            start(attending.run_forever())
        start(board.keep_health())
        start(_publish_forever(node, board, admin))
        yield


def _of_role(links: Sequence[process_pb2.NodeLinkConfig], role: int) -> list[process_pb2.NodeLinkConfig]:
    return [link for link in links if link.role == role]


async def _listen(
    stack: AsyncExitStack,
    node: NodeContext,
    board: _Board,
    directory: Directory,
    answering: dict[str, ReceiverLink],
    relaying: Relaying,
    admin: KeyAdminServicer,
    paths: InstalledPaths,
) -> None:
    process = node.process
    listeners = process.config.listeners
    neighbours = [identity.uri(process.testbed, "node", peer) for peer in sorted(directory.neighbours)]
    session = link_session_pb2.DESCRIPTOR.services_by_name["LinkSessionService"].full_name
    peer = [
        rpc.Registration(
            link_session_pb2_grpc.add_LinkSessionServiceServicer_to_server,
            LinkSessionServicer(answering),
            session,
            {"*": neighbours},
        ),
        rpc.Registration(
            key_exchange_pb2_grpc.add_KeyExchangeServiceServicer_to_server,
            relaying.exchange_servicer,
            "qnetem.v1.KeyExchangeService",
            {"*": neighbours},
        ),
        rpc.Registration(
            key_relay_pb2_grpc.add_KeyRelayServiceServicer_to_server,
            relaying.relay_servicer,
            "qnetem.v1.KeyRelayService",
            {"*": neighbours},
        ),
    ]
    management = [
        rpc.Registration(
            node_pb2_grpc.add_NodeServiceServicer_to_server,
            _NodeServicer(node, board),
            "qnetem.v1.NodeService",
            {"*": process.operators},
        ),
        rpc.Registration(
            key_admin_pb2_grpc.add_KeyAdminServiceServicer_to_server,
            admin,
            "qnetem.v1.KeyAdminService",
            {"*": process.operators},
        ),
        rpc.Registration(
            controller_pb2_grpc.add_PathServiceServicer_to_server,
            PathServicer(paths, time.monotonic, has_controller=process.config.node.HasField("controller")),
            "qnetem.v1.PathService",
            {"*": process.operators},
        ),
        *process.health.registrations(["qnetem.v1.NodeService"], process.operators),
    ]
    await stack.enter_async_context(rpc.serve(listeners.peer, process.credentials, peer))
    await stack.enter_async_context(rpc.serve(listeners.management, process.credentials, management))
