"""Keys as their operator looks after them, on a testbed that runs: pools, the audit trail, the storage key."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cli_lab import Cli, until

PAIR = {
    "apiVersion": "qnetem/v1",
    "name": "pair",
    "seed": 7,
    "keys": {"storage_key_file": "operator.key"},
    "topology": {
        "nodes": {"alice": {}, "bob": {}},
        "links": [
            {
                "endpoints": ["alice", "bob"],
                "profile": "decoy-bb84-1ghz-snspd",
                "quantum": {"length": "25km"},
                "protocol": {"block_ramp": ["100kbit"]},
            }
        ],
        "saes": {"app-1": {"node": "alice"}, "app-2": {"node": "bob"}},
    },
}

pytestmark = pytest.mark.timeout(400)
# containers see no file of the operator's
IS_OPERATORS = os.environ.get("QNETEM_RUNTIME", "process") == "process"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    folder = tmp_path_factory.mktemp("admin")
    topology = PAIR if IS_OPERATORS else {name: value for name, value in PAIR.items() if name != "keys"}
    (folder / "topology.yaml").write_text(yaml.safe_dump(topology))
    cli = Cli(folder)
    if not IS_OPERATORS:
        cli.fine("up")
    yield cli
    cli.run("down")
    until(lambda: cli.left_running() == [])


def made_key(cli: Cli) -> str:
    """A key that both SAEs have; its id."""
    found: list[str] = []
    until(
        lambda: (got := cli.run("keys", "get", "app-1", "app-2", "-f", "json"))[0] == 0 and found.append(got[1]) is None
    )
    key_id: str = json.loads(found[0])[0]["key_ID"]
    cli.fine("keys", "get", "app-2", "--from", "app-1", "--id", key_id)
    return key_id


def storage_keys(cli: Cli) -> list[Path]:
    """The files that storage keys lie in."""
    if IS_OPERATORS:
        return [cli.folder / "operator.key"]
    return [cli.folder / f".qnetem/pair/storage-keys/{node}/key" for node in ("alice", "bob")]


@pytest.mark.processes("names a file of the operator's, which containers do not see")
def test_a_storage_key_of_the_operators_is_checked_before_anything_starts(pair: Cli) -> None:
    code, _, err = pair.run("up")
    assert (code, err.count("\n")) == (4, 1), err
    assert f"keys.storage_key_file: {pair.folder / 'operator.key'}: No such file" in err
    path = pair.folder / "operator.key"
    path.write_text("0123456789abcdef" * 4)
    path.chmod(0o644)
    assert "mode 0644 lets others read it" in pair.run("up")[2]
    path.chmod(0o600)
    pair.fine("up")
    assert "0123456789abcdef" * 4 not in b"".join(
        one.read_bytes() for one in pair.folder.glob(".qnetem/**/*") if one.is_file()
    ).decode("latin-1")


@pytest.fixture(scope="module")
def key_id(pair: Cli) -> str:
    """A key that both SAEs have."""
    return made_key(pair)


def test_pools_show_what_became_of_every_bit(pair: Cli, key_id: str) -> None:
    pools = {one["node"]: one for one in pair.json("keys", "status")}
    assert set(pools) == {"alice", "bob"}
    for one in pools.values():
        # the two ends of a block that is under way do not pay at the same moment
        assert abs(one["preshared_bits"] - one["peer_preshared_bits"]) <= 12 * 256
        assert 0 < one["preshared_bits"] < 32_768
        sums = [value for name, value in one.items() if name.endswith("_bits") and "preshared" not in name]
        assert 2 * one["made_bits"] == sum(sums) > 0
    table = pair.fine("keys", "status").splitlines()
    assert table[0].split("  ")[0] == "NODE"
    assert len(table) == 3


def test_a_keys_path_is_told_and_trails_are_whole(pair: Cli, key_id: str) -> None:
    entries = pair.json("audit", "trace", key_id)
    assert [(one["node"], one["event"]) for one in entries] == [
        ("alice", "key.reserved"),
        ("bob", "key.assigned"),
        ("alice", "key.delivered"),
        ("bob", "key.delivered"),
    ]
    assert entries[-1]["party"] == "app-2"
    verdicts = pair.json("audit", "verify")
    assert [(one["node"], one["fault"], one["unknown"]) for one in verdicts] == [("alice", "", ""), ("bob", "", "")]
    assert pair.run("audit", "trace", "00000000-0000-4000-8000-000000000000")[0] == 3
    assert "key_id is not a UUID" in pair.run("audit", "trace", "x")[2]


def test_tampering_with_a_trail_gives_1_and_names_the_entry(pair: Cli) -> None:
    [path] = pair.folder.glob(".qnetem/pair/processes/bob/state/keys.audit.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"app-2", b"app-3", 1))
    code, out, _ = pair.run("audit", "verify")
    assert code == 1
    assert "was altered" in out
    seen = path.read_bytes()[len(whole) :]
    path.write_bytes(whole + seen)
    assert pair.run("audit", "verify")[0] == 0


def test_links_can_be_provisioned_and_storage_keys_rotated_while_keys_flow(pair: Cli) -> None:
    before = {one["node"]: one["preshared_bits"] for one in pair.json("keys", "status")}
    assert "65536 bits" in pair.fine("keys", "provision", "alice-bob")
    after = {one["node"]: one["preshared_bits"] for one in pair.json("keys", "status")}
    assert all(after[node] > before[node] + 30_000 for node in before)
    assert pair.run("keys", "provision", "bob-alice")[0] == 3

    *_, path = storage_keys(pair)
    old = path.read_bytes()
    pair.fine("stop", "bob")
    code, _, err = pair.run("keys", "rotate-storage-key")
    assert code == 2
    assert "bob" in err
    assert path.read_bytes() == old
    # alice starts with the successor, bob with the old one
    pair.fine("restart", "alice")
    pair.fine("start", "bob")
    pair.fine("up", "--no-wait")
    assert pair.fine("keys", "rotate-storage-key").split() == [str(one) for one in storage_keys(pair)]
    assert path.read_bytes() != old
    for one in storage_keys(pair):
        assert one.stat().st_mode & 0o777 == 0o600
        assert not Path(f"{one}.next").exists()
    pair.fine("restart", "bob")
    made_key(pair)
    assert pair.run("audit", "verify")[0] == 0
    pair.fine("down")
    path.write_bytes(old)
    code, _, err = pair.run("up")
    assert code == 4
    assert "is not sealed under the storage key in" in err
