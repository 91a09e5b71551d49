"""Key managers of nodes in one process: real sockets, mutual TLS between them, HTTPS for their SAEs."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest

from node.keys.agreement import AgreementDesk
from node.keys.directory import Directory
from node.keys.etsi004 import KeyStreams
from node.keys.etsi014 import SaeIdSource, serve_etsi014
from node.keys.etsi014_request import DeliveryLimits
from node.keys.exchange import ExchangeTimes, KeyExchange
from node.keys.hybrid_keys import HybridKeys
from node.keys.kem import Kem
from node.keys.key_delivery import KeyDelivery
from node.keys.policy import Policies
from node.keys.records import BlockRole, StoreLimits
from node.keys.relay_paths import PathTable, RelayPath
from node.keys.relay_times import RelayTimes
from node.keys.relaying import Relaying
from node.keys.store import KeyStore, open_store
from qnetem.runtime import identity, pki, rpc
from qnetem.v1 import key_exchange_pb2_grpc, key_relay_pb2_grpc

TESTBED = "metro"
LIMITS, DELIVERY_LIMITS, TIMES, RELAY_TIMES = StoreLimits(), DeliveryLimits(), ExchangeTimes(), RelayTimes()
# alice - bob - carol in a line: no link between alice and carol
NEIGHBOURS = {"alice": {"bob"}, "bob": {"alice", "carol"}, "carol": {"bob"}}
PLACES = {
    "app-1": "alice",
    "app-1b": "alice",
    "app-2": "bob",
    "app-2b": "bob",
    "app-2c": "bob",
    "app-3": "carol",
    "app 4": "bob",
}


@dataclass
class Kme:
    """One key manager and the doors to it."""

    name: str
    directory: Directory
    store: KeyStore
    relaying: Relaying
    credentials: rpc.Credentials
    peer_port: int
    channels: dict[str, grpc.aio.Channel]
    kem: Kem
    hybrid: HybridKeys
    desk: AgreementDesk
    https_port: int = 0

    @property
    def exchange(self) -> KeyExchange:
        """Issues its keys."""
        return self.relaying.exchange


class Kmes:
    """The key managers of a testbed, and clients of them."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.authority = pki.create_authority(TESTBED)
        self.kmes: dict[str, Kme] = {}
        self._stack = stack
        self._blocks = 0
        self.secrets: dict[str, bytes] = {}
        self._sessions: dict[tuple[str, ssl.TLSVersion | None], aiohttp.ClientSession] = {}
        (folder / "ca.pem").write_bytes(self.authority.pem.certificate)

    def __getitem__(self, name: str) -> Kme:
        return self.kmes[name]

    def write(self, folder: str, issued: pki.CertificateAndKey) -> Any:
        """Write credentials below the test's folder."""
        place = self.folder / folder.replace("/", "_")
        place.mkdir(mode=0o700, exist_ok=True)
        return pki.write_credentials(place, issued, self.folder / "ca.pem")

    def peer_credentials(self, node: str) -> rpc.Credentials:
        """Return what a node shows to other nodes."""
        uri, dns = identity.uri(TESTBED, "node", node), identity.dns_name(TESTBED, "node", node)
        issued = self.authority.issue(uri, [dns])
        return rpc.Credentials(issued.certificate, issued.key, self.authority.pem.certificate)

    def client_tls(self, issued: pki.CertificateAndKey | None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Return the TLS of a client that shows `issued`."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if issued is not None:
            paths = self.write("client", issued)
            context.load_cert_chain(paths.certificate_path, paths.key_path)
        return context

    def session(
        self,
        issued: pki.CertificateAndKey | None,
        version: ssl.TLSVersion | None = None,
        trace: aiohttp.TraceConfig | None = None,
    ) -> aiohttp.ClientSession:
        """Return an HTTPS client that shows `issued`; closed with the testbed."""
        connector = aiohttp.TCPConnector(ssl=self.client_tls(issued, version))
        traces = [trace] if trace is not None else []
        session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(20), trace_configs=traces)
        self._stack.push_async_callback(session.close)
        return session

    def sae(
        self, sae_id: str, version: ssl.TLSVersion | None = None, trace: aiohttp.TraceConfig | None = None
    ) -> aiohttp.ClientSession:
        """Return the HTTPS client of an SAE."""
        if (sae_id, version) not in self._sessions:
            uri = identity.uri(TESTBED, "sae", sae_id)
            issued = self.authority.issue(uri, common_name=sae_id)
            self._sessions[sae_id, version] = self.session(issued, version, trace)
        return self._sessions[sae_id, version]

    def url(self, node: str, path: str) -> str:
        """Return the URL of a path at a node's KME."""
        return f"https://localhost:{self.kmes[node].https_port}{path}"

    async def add_block(self, transmitter: str, receiver: str, bit_count: int = 8192, suffix: str = "") -> str:
        """Give both ends of a link the same secret, as a QKD session does; return the block's id, with that end."""
        self._blocks += 1
        link_id = f"{transmitter}-{receiver}"
        block_id = f"{link_id}/1.1.{self._blocks}{suffix}"
        secret = os.urandom((bit_count + 7) // 8)
        self.secrets[block_id] = secret
        sender, taker = self.kmes[transmitter].store, self.kmes[receiver].store
        await taker.prepare(block_id, link_id, transmitter, secret, bit_count, BlockRole.RECEIVER)
        await sender.prepare(block_id, link_id, receiver, secret, bit_count, BlockRole.TRANSMITTER)
        await sender.commit(block_id)
        await taker.commit(block_id)
        await sender.confirm(block_id)
        return block_id

    def install(self, *paths: str) -> None:
        """Give nodes their paths, each as "alice bob carol", in the order of rank; the way back is given too."""
        ways = [tuple(path.split()) for path in paths]
        for name, kme in self.kmes.items():
            targets: dict[str, tuple[RelayPath, ...]] = {}
            for way in (*ways, *(way[::-1] for way in ways)):
                if way[0] == name:
                    targets[way[-1]] = (*targets.get(way[-1], ()), RelayPath(way, 1 << 20))
            kme.relaying.book.install(PathTable("test", kme.relaying.book.table.version + 1, targets))


Wrap = Callable[[str, object], object]
OpenKmes = Callable[..., AbstractAsyncContextManager[Kmes]]


@pytest.fixture
def open_kmes(tmp_path: Path) -> OpenKmes:
    """Return a context manager that runs the key managers of alice, bob and carol, or of other neighbourhoods."""

    @asynccontextmanager
    async def run(
        *,
        limits: StoreLimits = LIMITS,
        delivery_limits: DeliveryLimits = DELIVERY_LIMITS,
        times: ExchangeTimes = TIMES,
        wrap: Wrap = lambda node, servicer: servicer,
        now_s: Callable[[], float] | None = None,
        with_runs: bool = True,
        wrap_relay: Wrap = lambda node, servicer: servicer,
        neighbourhoods: Mapping[str, set[str]] = NEIGHBOURS,
        places: Mapping[str, str] = PLACES,
        relay_times: RelayTimes = RELAY_TIMES,
        share_count: int = 1,
        endpoints: str = "",
        policies: Policies | None = None,
        wrap_desk: Wrap = lambda node, answer: answer,
        folder: Path | None = None,
        sae_id_from: SaeIdSource = "cn",
        insecure_hops: Collection[frozenset[str]] = (),
    ) -> AsyncIterator[Kmes]:
        async with AsyncExitStack() as stack:
            base = folder or tmp_path
            base.mkdir(exist_ok=True)
            kmes = Kmes(base, stack)
            clock = {} if now_s is None else {"now_s": now_s}
            for name, neighbours in neighbourhoods.items():
                directory = Directory(TESTBED, name, places, frozenset(neighbours))
                store = await stack.enter_async_context(open_store(base / name / "keys.db", limits, **clock))
                channels: dict[str, grpc.aio.Channel] = {}
                credentials = kmes.peer_credentials(name)
                desk, kem = AgreementDesk(), Kem(TESTBED, credentials)
                relaying = Relaying.of(
                    store,
                    directory,
                    channels.get,
                    answers={"agree": wrap_desk(name, desk.answer)},
                    kem=kem,
                    is_relay=True,
                    relay_nodes=neighbours - set(endpoints),
                    share_count=share_count,
                    times=relay_times,
                    exchange_times=times,
                    insecure_hops=insecure_hops,
                    **clock,
                )
                await relaying.relays.start()
                registrations = [
                    rpc.Registration(add, servicer, f"qnetem.v1.{service}", {"*": [identity.uri(TESTBED, "node", "*")]})
                    for add, servicer, service in (
                        (
                            key_exchange_pb2_grpc.add_KeyExchangeServiceServicer_to_server,
                            wrap(name, relaying.exchange_servicer),
                            "KeyExchangeService",
                        ),
                        (
                            key_relay_pb2_grpc.add_KeyRelayServiceServicer_to_server,
                            wrap_relay(name, relaying.relay_servicer),
                            "KeyRelayService",
                        ),
                    )
                ]
                server = await stack.enter_async_context(rpc.serve("localhost:0", credentials, registrations))
                hybrid = HybridKeys(store, directory, kem, relaying.courier, desk)
                kmes.kmes[name] = Kme(
                    name, directory, store, relaying, credentials, server.port, channels, kem, hybrid, desk
                )
            for kme in kmes.kmes.values():
                for peer in kme.directory.neighbours:
                    target = identity.dns_name(TESTBED, "node", peer)
                    address = f"localhost:{kmes[peer].peer_port}"
                    kme.channels[peer] = await stack.enter_async_context(
                        rpc.dial(address, kme.credentials, target=target)
                    )
                uri = identity.uri(TESTBED, "node", kme.name)
                https = kmes.write(f"https-{kme.name}", kmes.authority.issue(uri, ["localhost"], ["127.0.0.1"]))
                delivery = KeyDelivery(
                    kme.store,
                    kme.exchange,
                    kme.directory,
                    delivery_limits,
                    policies,
                    now_s or time.time,
                    kme.hybrid,
                )
                streams = KeyStreams(kme.store, delivery, kme.relaying.courier, kme.desk, now_s or time.time)
                served = serve_etsi014("localhost:0", https, delivery, sae_id_from, streams)
                kme.https_port = await stack.enter_async_context(served)
            running = [kme.relaying for kme in kmes.kmes.values() if with_runs]
            tasks = [asyncio.create_task(run) for one in running for run in (one.exchange.run(), one.upkeep.run())]
            try:
                yield kmes
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended

    return run
