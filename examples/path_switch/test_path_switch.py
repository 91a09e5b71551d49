"""The path switch in a process of its own, against a network of real processes that loses fibres and nodes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from qnetem import SyncTestbed

HERE = Path(__file__).parent
NORTH, SOUTH = ["alice", "north", "bob"], ["alice", "south", "bob"]
pytestmark = [pytest.mark.topology("ring.yaml"), pytest.mark.timeout(300)]


@pytest.fixture
def network(testbed_session_sync: SyncTestbed) -> SyncTestbed:
    """The ring, every link of it making keys."""
    testbed_session_sync.wait_in_service()
    return testbed_session_sync


@pytest.fixture
def route(network: SyncTestbed, tmp_path: Path) -> Iterator[Path]:
    """The file in which the controller, which runs meanwhile, says the path from alice to bob."""
    route = tmp_path / "route.json"
    access = network.write_access(tmp_path / "access.json")
    command = [sys.executable, str(HERE / "path_switch.py"), str(access), str(route), "alice", "bob"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as controller:
        try:
            yield route
        finally:
            controller.terminate()
            said, _ = controller.communicate(timeout=10)
            print(said)  # pytest shows it when the test fails


def path_of(route: Path) -> list[str] | None:
    """The path that the controller says."""
    path: list[str] | None = json.loads(route.read_text())["path"] if route.exists() else None
    return path


def send(network: SyncTestbed, path: list[str], message: bytes) -> bytes:
    """Carry a message along a path, under a new key on every hop; return what arrives."""
    for here, there in pairwise(path):
        sender, receiver = network.sae(f"app-{here}"), network.sae(f"app-{there}")
        key = network.eventually(lambda: sender.enc_keys(receiver.sae_id, size=8 * len(message)))[0]  # noqa: B023
        wire = bytes(a ^ b for a, b in zip(message, key.value, strict=True))
        same = receiver.dec_keys(sender.sae_id, [key.key_id])[0]
        message = bytes(a ^ b for a, b in zip(wire, same.value, strict=True))
    return message


def test_traffic_moves_when_a_fibre_is_cut_and_stays_where_it_is(network: SyncTestbed, route: Path) -> None:
    network.eventually(lambda: path_of(route) == NORTH)
    assert send(network, NORTH, b"over north") == b"over north"

    with network.link("north-bob").cut("quantum"):
        network.eventually(lambda: path_of(route) == SOUTH)
        assert send(network, SOUTH, b"over south") == b"over south"

    network.wait_in_service()
    assert path_of(route) == SOUTH, "a path that works is not left"
    with network.link("alice-south").fault(misalignment=0.3):
        network.eventually(lambda: path_of(route) == NORTH)
        with network.link("alice-north").cut():
            network.eventually(lambda: path_of(route) is None)


def test_traffic_moves_when_a_node_dies_or_freezes(network: SyncTestbed, route: Path) -> None:
    network.eventually(lambda: path_of(route) == NORTH)
    with network.node("north").stopped():
        network.eventually(lambda: path_of(route) == SOUTH)
    network.wait_in_service()
    # a frozen node closes no connection: its peers notice the silence
    with network.node("south").paused():
        network.eventually(lambda: path_of(route) == NORTH)
    network.wait_in_service()
