"""Twelve nodes, twenty pairs of SAEs, and processes that are killed at random: nothing lost, nothing twice, nothing
differs. A history of what was answered, and a checker of it and of what lies on the disks afterwards.
"""

import asyncio
import base64
import json
import random
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from filled_pools import fill
from testbed_lab import History, Lab, running

from node.keys.records import Pool
from node.keys.relay_conservation import imbalances
from node.keys.store import open_store
from qnetem.runtime.errors import QnetemError
from qnetem.testbed.launching import launch
from qnetem.testbed.layout import Layout

pytestmark = pytest.mark.timeout(600)

ROWS, COLUMNS = 3, 4
NODES: Final = [f"n{row}{column}" for row in range(ROWS) for column in range(COLUMNS)]
PAIRS: Final = 20
LOAD_S: Final = 20.0
KILL_EVERY_S: Final = 1.0
SEED: Final = 20


def grid() -> dict[str, Any]:
    """Three rows of four nodes, an SAE at each; quantum links nearly stand still, their pools are filled."""
    links = [(f"n{r}{c}", f"n{r}{c + 1}") for r in range(ROWS) for c in range(COLUMNS - 1)]
    links += [(f"n{r}{c}", f"n{r + 1}{c}") for r in range(ROWS - 1) for c in range(COLUMNS)]
    return {
        "apiVersion": "qnetem/v1",
        "name": "grid",
        "seed": SEED,
        "time": {"scale": 0.002},
        "topology": {
            "defaults": {
                "profile": "decoy-bb84-1ghz-apd",
                "quantum": {"length": "25km"},
                "classical": {"delay": "0us"},
            },
            "nodes": {node: {"kind": "trusted-relay"} for node in NODES},
            "links": [{"endpoints": list(link)} for link in links],
            "saes": {f"sae-{node}": {"node": node} for node in NODES},
        },
        "control_plane": {"kind": "reference"},
        "quantum_channel": {"placement": "one"},
        "telemetry": {"broker": "none"},
    }


@dataclass
class Story:
    """What happened: every answer that an SAE had, and every one that it may have missed."""

    history: History = field(default_factory=History)
    # key id -> (master, slave): the master has it
    acknowledged: dict[str, tuple[str, str]] = field(default_factory=dict)
    collected: set[str] = field(default_factory=set)
    # an answer to dec_keys did not arrive: the slave may have been given it
    uncertain: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)

    def wrongs(self) -> list[str]:
        """Say what must not be, besides what the history says: a key that its slave was refused, and never had."""
        lost = [
            f"key {key_id} of {self.acknowledged[key_id]} is lost: {why}"
            for key_id, why in self.refused.items()
            if key_id not in self.uncertain
        ]
        return self.history.wrongs() + lost


class Client:
    """One pair of SAEs."""

    def __init__(self, story: Story, lab: Lab, sessions: dict[str, aiohttp.ClientSession], pair: tuple[str, str]):
        self._story, self._lab, self._sessions = story, lab, sessions
        self._master, self._slave = pair

    async def _post(self, sae: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Return status and body; None when no answer came."""
        url = f"https://{ADDRESSES[self._lab.saes[sae]]}/api/v1/keys/{path}"
        try:
            async with self._sessions[sae].post(url, json=body) as response:
                return response.status, await response.json()
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def key(self) -> str | None:
        """Have one key made, and fetch it at the other end, however long its KME takes to come back."""
        answer = await self._post(self._master, f"{self._slave}/enc_keys", {"size": 128})
        if answer is None or answer[0] != 200:
            assert answer is None or answer[0] == 503, answer
            return None
        [made] = answer[1]["keys"]
        key_id, story = str(made["key_ID"]), self._story
        story.acknowledged[key_id] = (self._master, self._slave)
        story.history.add(self._master, key_id, base64.b64decode(made["key"]))
        async with asyncio.timeout(60):
            while not await self._collect(key_id):  # noqa: ASYNC110 - a KME that comes back tells nobody
                await asyncio.sleep(0.05)
        return key_id

    async def _collect(self, key_id: str) -> bool:
        answer = await self._post(self._slave, f"{self._master}/dec_keys", {"key_IDs": [{"key_ID": key_id}]})
        story = self._story
        if answer is None:
            story.uncertain.add(key_id)
            return False
        status, body = answer
        if status == 200:
            story.history.add(self._slave, key_id, base64.b64decode(body["keys"][0]["key"]))
            story.collected.add(key_id)
        elif status == 503:
            return False
        else:
            story.refused[key_id] = f"{status} {body['message']}"
        return True

    async def run(self, until_s: float) -> None:
        """Ask again and again."""
        while time.monotonic() < until_s:
            if await self.key() is None:
                await asyncio.sleep(0.1)

    async def once_more(self) -> None:
        """All is well again: one more key comes about."""
        async with asyncio.timeout(60):
            while await self.key() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.2)


ADDRESSES: dict[str, str] = {}


async def kill_at_random(lab: Lab, story: Story, chance: random.Random, until_s: float) -> None:
    """Kill a process a second: a node mostly, the line between them or the controller at times."""
    others = [one.name for one in (await lab.client.get()).processes if one.name not in NODES]
    while time.monotonic() < until_s:
        name = chance.choice(NODES) if chance.random() < 0.85 else chance.choice(others)
        try:
            await lab.act("KILL", name)
            story.killed.append(name)
        except QnetemError:
            pass  # it is down already
        await asyncio.sleep(KILL_EVERY_S)


@asynccontextmanager
async def sessions_of(lab: Lab) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    async with AsyncExitStack() as stack:
        found = {}
        for sae in lab.saes:
            paths = lab.layout.credentials("sae", sae)
            tls = ssl.create_default_context(cafile=paths.authority_path)
            tls.load_cert_chain(paths.certificate_path, paths.key_path)
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls), timeout=aiohttp.ClientTimeout(total=10)
            )
            found[sae] = await stack.enter_async_context(session)
        yield found


async def left_behind(layout: Layout) -> tuple[dict[str, list[Pool]], list[str], dict[str, set[str]]]:
    """Return the pools of all stores, the faults of their audit trails, and who was given each key by those."""
    pools: dict[str, list[Pool]] = {}
    faults: list[str] = []
    given: dict[str, set[str]] = {}
    for node in NODES:
        key_path = layout.storage_key(node)
        path = layout.state(node) / "keys.sqlite"
        async with open_store(path, key_path=key_path) as store:
            pools[node] = await store.pools()
            verdict = await store.audit.verify()
            faults += [f"{node}: {verdict.fault}"] if verdict.fault else []
        for line in path.with_suffix(".audit.jsonl").read_bytes().splitlines():
            entry = json.loads(line)
            if entry["event"] == "key.delivered":
                assert entry["party"] not in given.setdefault(entry["key_id"], set()), "delivered twice"
                given[entry["key_id"]].add(entry["party"])
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return pools, faults, given


async def test_nothing_is_lost_nothing_twice_nothing_differs_while_processes_die(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    topology = grid()
    (tmp_path / "topology.yaml").write_text(json.dumps(topology))
    async with launch(tmp_path / "topology.yaml", is_held=True):
        pass
    layout = Layout.beside(tmp_path / "topology.yaml", "grid")
    await fill(layout, NODES, 1 << 21)
    story = Story()
    saes = [f"sae-{node}" for node in NODES]
    pairs = [tuple(chance.sample(saes, 2)) for _ in range(PAIRS)]
    async with running(tmp_path, topology) as lab, sessions_of(lab) as sessions:
        ADDRESSES.update({one.name: one.listeners.https for one in (await lab.client.get()).processes})
        clients = [Client(story, lab, sessions, (master, slave)) for master, slave in pairs]
        until_s = time.monotonic() + LOAD_S
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kill_at_random(lab, story, chance, until_s))
            for client in clients:
                tasks.create_task(client.run(until_s))
        await asyncio.gather(*(client.once_more() for client in clients))
    assert story.wrongs() == []
    assert len(story.killed) >= LOAD_S / KILL_EVERY_S / 2
    assert len(story.collected) >= 2 * PAIRS
    pools, faults, given = await left_behind(layout)
    assert imbalances(pools, is_settled=False) == []
    assert faults == []
    # the trails tell what the SAEs were told, and of no more than answers that were lost on the way
    for key_id, (master, slave) in story.acknowledged.items():
        told = {party for party in (master, slave) if (party, key_id) in story.history.given}
        assert told <= given[key_id] <= {master, slave}


@pytest.mark.parametrize("fault", ["twice", "differs", "lost", "one value"])
def test_the_checker_sees_a_planted_fault(fault: str) -> None:
    story = Story()
    for number in range(3):
        key_id = f"k{number}"
        story.acknowledged[key_id] = ("a", "b")
        for party in ("a", "b"):
            story.history.add(party, key_id, bytes([number]) * 16)
    # an answer that was lost on the way is no loss of the KME's
    story.acknowledged["k3"] = ("a", "b")
    story.uncertain.add("k3")
    story.refused["k3"] = "400 not found"
    assert story.wrongs() == []
    match fault:
        case "twice":
            story.history.add("b", "k1", bytes([1]) * 16)
        case "differs":
            story.history.given["b", "k1"] = b"x" * 16
        case "lost":
            story.refused["k1"] = "400 not found"
        case "one value":
            story.history.given["a", "k1"] = story.history.given["b", "k1"] = bytes([2]) * 16
    assert len(story.wrongs()) == 1
