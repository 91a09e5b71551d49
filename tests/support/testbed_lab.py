"""A testbed of real processes for tests, what clients ask of it, and the checker of what it left on its disks."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import aiohttp
from google.protobuf import json_format

from node.keys import material
from node.keys.schema import open_database
from qnetem.testbed.client import TestbedClient
from qnetem.testbed.launching import launch
from qnetem.testbed.layout import Layout
from qnetem.v1 import link_session_pb2, node_pb2, process_pb2, supervisor_pb2

PATIENCE_S = 90.0


class RefusedError(Exception):
    """An answer that is not 200: its status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message


@dataclass
class History:
    """Every key that a party was given: (party, key id) -> value, and whoever was given one twice."""

    given: dict[tuple[str, str], bytes] = field(default_factory=dict)
    twice: list[tuple[str, str]] = field(default_factory=list)

    def add(self, party: str, key_id: str, value: bytes) -> None:
        if (party, key_id) in self.given:
            self.twice.append((party, key_id))
        self.given[party, key_id] = value

    def wrongs(self) -> list[str]:
        """Say what must not be: a key given twice to a party, one that differs, one value under two ids."""
        wrongs = [f"{party} was given {key_id} twice" for party, key_id in self.twice]
        by_id: dict[str, set[bytes]] = {}
        for (_, key_id), value in self.given.items():
            by_id.setdefault(key_id, set()).add(value)
        wrongs += [f"key {key_id} differs" for key_id, values in by_id.items() if len(values) > 1]
        values = [value for values in by_id.values() for value in values]
        return wrongs + ["one value under two ids"] * (len(values) - len(set(values)))


@dataclass
class Lab:
    """A running testbed."""

    client: TestbedClient
    layout: Layout
    saes: dict[str, str]
    history: History = field(default_factory=History)

    async def until(self, condition: Callable[[], Awaitable[Any]], what: str, within_s: float = PATIENCE_S) -> Any:
        """Return the condition's first true value."""
        seen: Any = None
        try:
            async with asyncio.timeout(within_s):
                while not (seen := await condition()):  # noqa: ASYNC110 - watched from outside
                    await asyncio.sleep(0.05)
        except TimeoutError:
            report = await self.client.inspect()
            logs = {path.name: path.read_text()[-1500:] for path in self.layout.logs.glob("*.log")}
            raise AssertionError(f"{what}: not within {within_s} s; {seen}\n{report}\n{logs}") from None
        return seen

    async def ends(self) -> dict[tuple[str, str], node_pb2.NodeLinkStatus]:
        """Return what each node that answers says of each of its links."""
        report = await self.client.inspect()
        return {(node.name, link.link_id): link for node in report.nodes for link in node.status.links}

    async def in_service(self) -> None:
        """Wait until every end of every link is OPERATING."""

        async def all_operating() -> bool:
            report = await self.client.inspect()
            states = [link.state for node in report.nodes for link in node.status.links]
            answered = all(node.HasField("status") for node in report.nodes)
            return answered and bool(states) and set(states) == {link_session_pb2.LINK_STATE_OPERATING}

        await self.until(all_operating, "every link in service")

    async def end_is(self, node: str, link_id: str, state: int, reason: str | None = None) -> None:
        """Wait until an end is in a state, for a reason."""

        async def there() -> bool:
            end = (await self.ends()).get((node, link_id))
            return end is not None and end.state == state and reason in (None, end.reason)

        await self.until(there, f"{link_id} at {node} {link_session_pb2.LinkState.Name(state)} {reason}")

    async def process(self, name: str) -> supervisor_pb2.ProcessStatus:
        return next(p for p in (await self.client.get()).processes if p.name == name)

    async def act(self, action: str, name: str) -> None:
        await self.client.act(supervisor_pb2.ProcessAction.Value(f"PROCESS_ACTION_{action}"), [name])

    async def healthy_again(self, name: str, restart_count: int) -> None:
        """Wait until a process has been restarted that often and serves."""

        async def there() -> bool:
            status = await self.process(name)
            return status.restart_count > restart_count and status.state == supervisor_pb2.PROCESS_STATE_HEALTHY

        await self.until(there, f"{name} restarted")

    def arm(self, node: str, point: str) -> None:
        """Have the node die at a crash point when it has been restarted."""
        (self.layout.state(node) / "crash-at").write_text(point)

    def is_armed(self, node: str) -> bool:
        return (self.layout.state(node) / "crash-at").exists()

    def tls(self, sae: str) -> ssl.SSLContext:
        """Return what an SAE shows to its KME."""
        paths = self.layout.credentials("sae", sae)
        tls = ssl.create_default_context(cafile=paths.authority_path)
        tls.load_cert_chain(paths.certificate_path, paths.key_path)
        return tls

    async def ask(self, sae: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST as an SAE to its own KME.

        Raises:
            RefusedError: The answer is not 200.
            aiohttp.ClientError: There was none.
        """
        tls = self.tls(sae)
        address = (await self.process(self.saes[sae])).listeners.https
        url = f"https://{address}/api/v1/keys/{path}"
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
            session.post(url, json=body, ssl=tls) as response,
        ):
            answer: dict[str, Any] = await response.json()
            if response.status != 200:
                raise RefusedError(response.status, answer["message"])
            return answer

    async def new_key(self, master: str, slave: str) -> str:
        """Have a key made; wait for the pool to hold one."""

        async def made() -> str | None:
            try:
                key = (await self.ask(master, f"{slave}/enc_keys", {"number": 1, "size": 256}))["keys"][0]
            except (RefusedError, aiohttp.ClientError) as error:
                if isinstance(error, RefusedError) and error.status != 503:
                    raise
                return None
            self.history.add(master, key["key_ID"], base64.b64decode(key["key"]))
            return str(key["key_ID"])

        return str(await self.until(made, f"a key for {master}"))

    async def collect(self, slave: str, master: str, key_id: str) -> None:
        """Fetch a key at the other end, once.

        Raises:
            RefusedError: It is not there for this party.
            aiohttp.ClientError: There was no answer.
        """
        key = (await self.ask(slave, f"{master}/dec_keys", {"key_IDs": [{"key_ID": key_id}]}))["keys"][0]
        self.history.add(slave, key["key_ID"], base64.b64decode(key["key"]))


@asynccontextmanager
async def running(folder: Path, topology: dict[str, Any]) -> AsyncIterator[Lab]:
    """Run a testbed while the block runs; its state stays in `folder`."""
    path = folder / "topology.yaml"
    path.write_text(json.dumps(topology))
    async with launch(path, is_held=True) as client:
        layout = Layout.beside(path, topology["name"])
        yield Lab(client, layout, {sae: place["node"] for sae, place in topology["topology"]["saes"].items()})


def blocks_of(layout: Layout, node: str) -> dict[str, tuple[str, bytes]]:
    """Return state and secret of each block in the store of a node that has ended; what has no value is zero."""
    key_path = json.loads(layout.config(node).read_text())["node"].get("storageKeyPath")
    found: dict[str, tuple[str, bytes]] = {}
    with closing(open_database(layout.state(node) / "keys.sqlite", Path(key_path) if key_path else None)) as db:
        for row, block_id, state, bit_count in db.execute("SELECT id, block_id, state, bit_count FROM blocks"):
            secret = bytearray((bit_count + 7) // 8)
            chunks = db.execute("SELECT id, sealed FROM secrets WHERE id >> 20 = ?", (row,)).fetchall()
            for chunk, sealed in chunks:
                plain = db.vault.open(sealed, material.place_of(chunk))
                at = (chunk & (1 << 20) - 1) * material.CHUNK_BYTES
                secret[at : at + len(plain)] = plain
            found[block_id] = (state, bytes(secret))
    return found


def differences(one: dict[str, tuple[str, bytes]], other: dict[str, tuple[str, bytes]]) -> list[str]:
    """Compare the stores of two ends. Bytes that were used are zero in either; all others must be equal.

    One block may be in doubt: the word that made it available at one end was on its way when both ended.
    """
    wrongs, in_doubt = [], []
    for block_id in one.keys() | other.keys():
        (state_1, secret_1), (state_2, secret_2) = one.get(block_id, ("", b"")), other.get(block_id, ("", b""))
        states = {state_1, state_2}
        if states == {"available", "prepared"}:
            in_doubt.append(f"{block_id}: {state_1} here, {state_2} there")
        elif states - {"", "aborted", "prepared"} and state_1 != state_2:
            wrongs.append(f"{block_id}: {state_1} here, {state_2} there")
        # bytes of both ends, zero where they were used
        pairs = zip_longest(secret_1, secret_2, fillvalue=-1)
        if "available" in states and any(a != b for a, b in pairs if a and b):
            wrongs.append(f"{block_id}: the secrets differ")
    return wrongs + (in_doubt if len(in_doubt) > 1 else [])


def secrets_of(layout: Layout, topology_nodes: list[str]) -> list[bytes]:
    """Return what must be in no log: the testbed secret, device secrets, MQTT passwords."""
    found = [layout.secret.read_bytes()]
    for node in topology_nodes:
        config = json_format.Parse(layout.config(node).read_text(), process_pb2.ProcessConfig())
        found += [secret for link in config.node.links for secret in (link.device_secret, link.authentication_secret)]
        found += [path.read_bytes().strip() for path in layout.state(node).glob("*.key")]
    return found + [path.read_bytes().strip() for path in (layout.pki / "mqtt").iterdir() if "." not in path.name]
