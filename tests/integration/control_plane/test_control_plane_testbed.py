"""Relayed keys on testbeds of real processes: a line with paths given by hand, a square with a controller."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cli_lab import Cli
from testbed_lab import Lab, running

from control_plane.client import ControllerClient
from node.keys.records import Pool
from node.keys.relay_conservation import imbalances
from qnetem.runtime import identity, rpc
from qnetem.runtime.errors import UnavailableError
from qnetem.testbed.credentials import ADMIN

pytestmark = pytest.mark.timeout(300)


def network(name: str, links: list[str], saes: dict[str, str], **more: Any) -> dict[str, Any]:
    """Return a topology whose links make a block of keys a second or so; nodes without SAEs are relays."""
    nodes = sorted({node for link in links for node in link})
    return {
        "apiVersion": "qnetem/v1",
        "name": name,
        "time": {"scale": 2},
        "topology": {
            "defaults": {"profile": "decoy-bb84-1ghz-apd", "quantum": {"length": "10km"}},
            "nodes": {node: {} if node in saes.values() else {"kind": "trusted-relay"} for node in nodes},
            "links": [{"endpoints": [link[0], link[1]], "protocol": {"block_ramp": ["100kbit"]}} for link in links],
            "saes": {sae: {"node": node} for sae, node in saes.items()},
        },
        "telemetry": {"broker": "none"},
        **more,
    }


async def with_channel(lab: Lab, name: str, kind: identity.Kind, ask: Callable[[Any], Awaitable[Any]]) -> Any:
    """Call `ask` with a channel to a process's management side, as an operator."""
    credentials = rpc.Credentials.load(lab.layout.credentials("operator", ADMIN))
    address = (await lab.process(name)).listeners.management
    testbed = lab.layout.root.name
    async with rpc.dial(address, credentials, target=identity.dns_name(testbed, kind, name)) as channel:
        return await ask(channel)


def pools_of(lab: Lab, nodes: str) -> dict[str, list[Pool]]:
    """Return the pools in the stores of nodes that have ended."""
    names = Pool.__dataclass_fields__
    found = {}
    for node in nodes:
        with closing(sqlite3.connect(lab.layout.state(node) / "keys.sqlite")) as db:
            rows = db.execute(f"SELECT {', '.join(names)} FROM pools").fetchall()  # noqa: S608 names of fields
        found[node] = [Pool(*row) for row in rows]
    return found


async def test_a_line_relays_over_paths_that_an_operator_gave(tmp_path: Path) -> None:
    saes = {"app-a": "a", "app-d": "d"}
    keys = {"prefill": [{"between": ["a", "d"], "low": "1kbit", "high": "4kbit"}]}
    async with running(tmp_path, network("line", ["ab", "bc", "cd"], saes, keys=keys)) as lab:
        await lab.in_service()

        cli = Cli(tmp_path)
        written = tmp_path / "paths.yaml"
        written.write_text("paths: [a/b/c/d, [d, c, b, a]]")

        def by_hand() -> None:
            for wrong, why in (
                (("a/c/d",), "path a/c/d: no link joins a and c"),
                (("a/x/d",), "no node 'x'"),
                ((), "either FILE or --path"),
            ):
                options = [word for way in wrong for word in ("--path", way)]
                code, _, err = cli.run("paths", "install", *options)
                assert (code, err.count("\n")) == (3, 1), err
                assert why in err
            assert {one["version"] for one in cli.json("paths", "list")} == {0}
            assert cli.json("paths", "install", str(written)) == {"a": 1, "d": 1}
            # what was printed can be given back; the set is another one then
            written.write_text(cli.fine("paths", "list", "-f", "json"))
            assert cli.json("paths", "install", str(written)) == {"a": 2, "d": 2}
            assert cli.json("paths", "install", "--path", "a/b/c/d", "--both-ways") == {"a": 3, "d": 3}
            [told] = cli.json("paths", "list", "--node", "a")
            assert (told["controller"], told["version"]) == ("operator", 3)
            assert [(one["target"], one["rank"], one["nodes"]) for one in told["paths"]] == [("d", 1, list("abcd"))]
            assert cli.fine("paths", "list").splitlines()[0].startswith("NODE  TARGET  RANK  PATH")

        await asyncio.to_thread(by_hand)
        for master, slave in (("app-a", "app-d"), ("app-d", "app-a")):
            await lab.collect(slave, master, await lab.new_key(master, slave))

        async def is_filled() -> bool:
            report = await lab.client.inspect()
            pools = {(n.name, p.peer_node): p.available_bits for n in report.nodes for p in n.status.pools}
            return min(pools.get(("a", "d"), 0), pools.get(("d", "a"), 0)) >= 1000

        await lab.until(is_filled, "pools of a and d filled")
        # the paths outlive their node; keys from the pool need the relays for one message, and no pads
        waiting = await lab.new_key("app-a", "app-d")
        await lab.act("KILL", "a")
        await lab.healthy_again("a", 0)
        await lab.collect("app-d", "app-a", waiting)
        await lab.act("KILL", "b")
        await lab.collect("app-d", "app-a", await lab.new_key("app-a", "app-d"))
        await lab.act("STOP", "b")
        code, out, _ = await asyncio.to_thread(cli.run, "paths", "list", "-f", "json")
        assert code == 2
        assert [one["node"] for one in json.loads(out) if one["unknown"]] == ["b"]
    assert lab.history.wrongs() == []
    assert imbalances(pools_of(lab, "abcd"), is_settled=False) == []


async def test_a_square_goes_around_dead_and_frozen_relays_without_its_controller(tmp_path: Path) -> None:
    saes = {"app-a": "a", "app-d": "d"}
    topology = network("square", ["ab", "bd", "ac", "cd"], saes, control_plane={"kind": "reference"})
    async with running(tmp_path, topology) as lab:
        await lab.in_service()

        async def told() -> dict[str, list[str]]:
            found = await with_channel(lab, "controller", "controller", lambda one: ControllerClient(one).get_network())
            return {
                node.report.node: ["".join(path.nodes) for target in node.paths.targets for path in target.paths]
                for node in found.nodes
                if node.report.installed_version == node.paths.version
            }

        async def has_paths() -> bool:
            try:
                paths = await told()
            except UnavailableError:
                return False
            return set(paths.get("a", [])) == {"abd", "acd"} and set(paths.get("d", [])) == {"dba", "dca"}

        await lab.until(has_paths, "both ways in both ends")
        code, _, err = await asyncio.to_thread(Cli(tmp_path).run, "paths", "install", "--path", "a/b/d")
        assert (code, err.count("\n")) == (3, 1), err
        assert "take their paths from their controller" in err
        await lab.collect("app-d", "app-a", await lab.new_key("app-a", "app-d"))
        await lab.act("STOP", "controller")
        figures = {}
        for action, node in (("PAUSE", "b"), ("KILL", "c")):
            # the pool of the pair is spent, so that the key has to be relayed
            await drained(lab)
            await lab.until(lambda: has_stock(lab), "key bits on both ways")
            restarts = (await lab.process(node)).restart_count
            await lab.act(action, node)
            started_s = time.monotonic()
            key_id = await lab.new_key("app-a", "app-d")
            figures[action, node] = time.monotonic() - started_s
            await lab.collect("app-d", "app-a", key_id)
            if action == "PAUSE":
                await lab.act("RESUME", node)
            else:
                await lab.healthy_again(node, restarts)
            await lab.in_service()
        print({f"{action} {node}": round(took_s, 2) for (action, node), took_s in figures.items()})
        assert max(figures.values()) < 5
        await lab.act("START", "controller")
        await lab.until(has_paths, "the controller tells anew")
        await lab.collect("app-a", "app-d", await lab.new_key("app-d", "app-a"))
    assert lab.history.wrongs() == []
    assert imbalances(pools_of(lab, "abcd"), is_settled=False) == []


async def has_stock(lab: Lab) -> bool:
    report = await lab.client.inspect()
    pools = {(n.name, p.peer_node): p.available_bits for n in report.nodes for p in n.status.pools}
    return all(pools.get(hop, 0) >= 2048 for hop in (("a", "b"), ("b", "d"), ("a", "c"), ("c", "d")))


async def drained(lab: Lab) -> None:
    """Take what the pool of a and d holds at a, so that the next key is relayed."""
    for _ in range(8):
        report = await lab.client.inspect()
        stored = next(
            (p.available_bits for n in report.nodes if n.name == "a" for p in n.status.pools if p.peer_node == "d"), 0
        )
        if stored < 256:
            return
        answer = await lab.ask("app-a", "app-d/enc_keys", {"number": min(stored // 256, 64), "size": 256})
        assert answer["keys"]
