"""A node that shares no code with ours makes keys with one that does, and what it says wrongly is found out."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from other_make import EXAMPLE, built_agent, copied_agent
from testbed_lab import Lab, RefusedError, running, secrets_of

from qnetem.v1 import link_session_pb2, node_pb2

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.processes("an image of another make needs a registry that its base comes from"),
]

LINK = "alice-bob"
TOPOLOGY: dict[str, Any] = {
    "apiVersion": "qnetem/v1",
    "name": "other",
    "seed": 6,
    "time": {"scale": 4},
    "topology": {
        "defaults": {"profile": "decoy-bb84-1ghz-apd", "protocol": {"block_ramp": ["50kbit", "100kbit"]}},
        "nodes": {"alice": {"command": ["node", "src/main.js"]}, "bob": {}},
        "links": [{"endpoints": ["alice", "bob"], "quantum": {"length": "1km"}}],
        "saes": {"app-1": {"node": "alice"}, "app-2": {"node": "bob"}},
    },
}


@pytest.fixture(scope="module")
def built() -> Path:
    return built_agent()


def test_its_arithmetic_is_that_of_the_vectors(built: Path, tmp_path: Path) -> None:
    copied_agent(built, tmp_path)
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "vectors.test.js").write_bytes((EXAMPLE / "test" / "vectors.test.js").read_bytes())
    vectors = Path(__file__).parents[1] / "contract"

    def run() -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "QNETEM_VECTORS": str(vectors)}
        command = ["node", "--test", "test/"]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)

    done = run()
    assert done.returncode == 0, done.stdout
    assert "# pass 7" in done.stdout
    # planted: each of these is noticed
    for name, right, wrong, where in (
        ("philox.js", "0x9e3779b9", "0x9e3779b8", "not ok 1"),
        ("cascade.js", "prefix[start] ^ prefix[end]", "prefix[start]", "not ok 4"),
        ("hashes.js", "n - 1 - j", "n - j", "not ok 6"),
        ("transcript.js", "writeBigUInt64LE", "writeBigUInt64BE", "not ok 7"),
    ):
        with planted(tmp_path / "src" / name, right, wrong):
            assert where in run().stdout


class planted:  # noqa: N801 (read as a verb)
    """Has a fault in a file of the agent while the block runs."""

    def __init__(self, path: Path, right: str, wrong: str) -> None:
        self.path, self.text = path, path.read_text()
        assert self.text.count(right) >= 1
        self.wrong = self.text.replace(right, wrong)

    def __enter__(self) -> None:
        self.path.write_text(self.wrong)

    def __exit__(self, *_: object) -> None:
        self.path.write_text(self.text)


async def killed(lab: Lab, node: str) -> None:
    before = (await lab.process(node)).restart_count
    await lab.act("KILL", node)
    await lab.healthy_again(node, before)


async def ends(lab: Lab) -> dict[str, node_pb2.NodeLinkStatus]:
    return {node: end for (node, _), end in (await lab.ends()).items()}


async def both_ways(lab: Lab) -> None:
    for master, slave in (("app-1", "app-2"), ("app-2", "app-1")):
        await lab.collect(slave, master, await lab.new_key(master, slave))


async def test_it_makes_keys_with_ours(built: Path, tmp_path: Path) -> None:
    copied_agent(built, tmp_path)
    async with running(tmp_path, TOPOLOGY) as lab:
        await lab.in_service()
        await both_ways(lab)
        # what was given and not collected yet outlives kill -9 of either end, at both; the link comes back by itself
        kept = [("app-2", "app-1"), ("app-1", "app-2")]
        kept_ids = [await lab.new_key(*pair) for pair in kept]
        for node in ("alice", "bob"):
            await killed(lab, node)
            await lab.in_service()
        for (master, slave), key_id in zip(kept, kept_ids, strict=True):
            await lab.collect(slave, master, key_id)
            with pytest.raises(RefusedError, match="400"):
                await lab.collect(slave, master, key_id)
        made = (await ends(lab))["bob"].blocks_made_count

        async def more() -> bool:
            return (await ends(lab))["bob"].blocks_made_count > made

        await lab.until(more, "blocks after both were killed")
        await both_ways(lab)
        assert lab.history.wrongs() == []

        # planted: a parity that is not that of the bits costs the block, and no more
        with planted(
            tmp_path / "src" / "cascade.js",
            "this.disclosed += count;",
            "if (!this.disclosed) parities[0] ^= 1;\n    this.disclosed += count;",
        ):
            before = (await ends(lab))["bob"].blocks_dropped_count
            await killed(lab, "alice")

            async def dropped() -> bool:
                end = (await ends(lab)).get("bob")
                return end is not None and (end.blocks_dropped_count > before or end.reason == "session-refused")

            await lab.until(dropped, "a block with a wrong parity dropped")
            assert (await ends(lab))["alice"].blocks_made_count == 0
        # planted: a tag that is not that of what was said ends the session
        with planted(tmp_path / "src" / "wire.js", "block: xor(hashes.block, ofBlock)", "block: ofBlock"):
            await killed(lab, "alice")
            await lab.end_is("bob", LINK, link_session_pb2.LINK_STATE_DOWN, "authentication")
            assert (await ends(lab))["alice"].blocks_made_count == 0
        await killed(lab, "alice")
        await lab.in_service()
        await both_ways(lab)
        assert lab.history.wrongs() == []
        # what was given is in no log, nor is what it was made from
        values = [*lab.history.given.values(), *secrets_of(lab.layout, ["alice"])]
        said = (lab.layout.log("alice").read_bytes(), lab.layout.journal("alice").read_bytes())
        store = lab.layout.state("alice") / "keys.log"
        assert store.stat().st_mode & 0o777 == 0o600
        for value in values:
            for text in (value, value.hex().encode()):
                assert all(text not in place for place in (*said, store.read_bytes()))


def test_what_it_cannot_do_it_refuses_in_one_line(built: Path, tmp_path: Path) -> None:
    copied_agent(built, tmp_path)
    (tmp_path / "config.json").write_text("{}")
    for arguments, told in (
        (["--config", "nowhere.json"], "qnetem: nowhere.json: cannot be read (ENOENT)"),
        (["--config", "config.json"], "qnetem: config.json: testbed is missing"),
        ([], "qnetem: usage: node src/main.js --config FILE"),
    ):
        command = ["node", "src/main.js", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr.strip()) == (3, told)
