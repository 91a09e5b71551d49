"""A testbed as containers: networks that part nodes, files that stay the same, and to each container its own."""

import ipaddress
import json
import os
import re
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format

from qnetem import __version__, topology
from qnetem.runtime.errors import BadInputError
from qnetem.testbed.containers.filling import Places, fill
from qnetem.testbed.containers.networks import CARRIERS, ServiceAddresses, default_pool, networks, service_ports
from qnetem.testbed.containers.rendering import Deployment, compose_files
from qnetem.testbed.plan import BROKER, planned
from qnetem.v1 import process_pb2

ROOT = Path(__file__).parents[3]
POOL = "10.200.0.0/16"
SHIPPED = sorted((ROOT / "topologies").glob("*.yaml"))
CONTROLLED = {**topology.ring(4), "control_plane": {"kind": "reference"}}


def members(loaded: topology.Topology) -> dict[str, set[str]]:
    processes, _ = planned(loaded)
    return {name: set(net.addresses) for name, net in networks(loaded, processes, POOL).items()}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_no_two_nodes_share_a_network_and_all_addresses_are_apart(path: Path) -> None:
    loaded = topology.load(path)
    processes, _ = planned(loaded)
    nets = networks(loaded, processes, default_pool(loaded.name))
    for net in nets.values():
        assert len(loaded.nodes.keys() & net.addresses.keys()) <= 1
        subnet, dynamic = ipaddress.ip_network(net.subnet), ipaddress.ip_network(net.dynamic)
        fixed = [ipaddress.ip_address(address) for address in net.addresses.values()]
        assert len(set(fixed)) == len(fixed)
        # the first host is the gateway's
        assert all(one in subnet and one not in dynamic and one - 1 > subnet.network_address for one in fixed)
        assert dynamic.subnet_of(subnet)
    subnets = [ipaddress.ip_network(net.subnet) for net in nets.values()]
    assert not any(one.overlaps(other) for one, other in combinations(subnets, 2))


def test_whoever_is_dialled_is_in_a_network_of_the_caller() -> None:
    loaded = topology.from_dict(CONTROLLED)
    processes, links = planned(loaded)
    nets = networks(loaded, processes, POOL)
    addresses = ServiceAddresses(nets, service_ports(loaded, processes))

    def shared(by: str, address: str) -> list[str]:
        host = address.rpartition(":")[0]
        return [name for name, net in nets.items() if by in net.addresses and host in net.addresses.values()]

    for link in links.values():
        for near, far in (link.endpoints, link.endpoints[::-1]):
            assert shared(near, addresses.dialled(f"{link.quantum_channel}/peer", near)) == [f"{near}-quantum"]
            path = f"{link.classical_channel}/{link.id}/{near}"
            assert shared(near, addresses.dialled(path, near)) == [f"{near}-classical"]
            assert shared(link.classical_channel, addresses.dialled(f"{far}/peer", link.classical_channel)) == [
                f"{far}-classical"
            ]
        assert shared(near, addresses.dialled("controller/management", near)) == [f"{near}-management"]
    assert addresses.dialled("broker/mqtt", "n0") == "broker:8883"
    assert members(loaded)[CARRIERS] >= {"broker", "controller", "cc"}
    assert not members(loaded)[CARRIERS] & loaded.nodes.keys()


def test_a_pool_that_is_none_or_too_small_is_refused() -> None:
    loaded = topology.from_dict(topology.ring(4))
    processes, _ = planned(loaded)
    with pytest.raises(BadInputError, match=r"subnet pool 10\.0\.0\.0/26: too small"):
        networks(loaded, processes, "10.0.0.0/26")
    with pytest.raises(BadInputError, match="subnet pool 'ten'"):
        networks(loaded, processes, "ten")


def test_rendering_is_stable_and_holds_no_secret() -> None:
    loaded = topology.load(ROOT / "topologies/metro.yaml")
    deployment = Deployment(default_pool("metro"), "metro.yaml", (ROOT / "topologies/metro.yaml").read_text(), "../..")
    made = compose_files(loaded, deployment)
    assert made == compose_files(topology.load(ROOT / "topologies/metro.yaml"), deployment)
    project = yaml.safe_load(made["docker-compose.yml"])
    assert made["docker-compose.yml"].startswith(
        f"# Made by qnetem {__version__} from metro.yaml (digest {loaded.digest})"
    )
    assert set(project["services"]) == {*planned(loaded)[0], "pki", "operator", "prometheus"}
    for name, service in project["services"].items():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["user"] != "0:0" or name in ("pki", "operator")
    assert [port for one in project["services"].values() for port in one.get("ports", ())] == [
        "127.0.0.1:8443:8443",
        "127.0.0.1:8444:8443",
        "127.0.0.1:8445:8443",
        "127.0.0.1:9090:9090",
    ]
    assert not re.search(r"[0-9a-f]{32}(?![0-9a-f]*\))|PRIVATE|password", made["docker-compose.yml"])
    # what the pki service reads is the topology itself
    assert topology.parse(made["topology.yaml"], "topology.yaml").digest == loaded.digest


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_checked_in_is_what_the_command_writes(path: Path) -> None:
    loaded = topology.load(path)
    made = compose_files(loaded, Deployment(default_pool(loaded.name), path.name, path.read_text(), "../.."))
    there = ROOT / "compose" / path.stem
    assert {name: (there / name).read_text() for name in made} == made, f"qnetem compose {path} -o {there}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": {"storage_key_file": "key"}}, "keys.storage_key_file: key is a file of this machine"),
        (
            {
                "name": "t",
                "topology": {
                    "defaults": {"profile": "decoy-bb84-1ghz-apd"},
                    "nodes": {"pki": {}, "b": {}},
                    "links": [{"endpoints": ["pki", "b"], "quantum": {"length": "1km"}}],
                },
            },
            "a process is called pki",
        ),
    ],
)
def test_what_containers_cannot_have_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        compose_files(topology.from_dict({**topology.ring(2), **change}), Deployment(POOL, "t.yaml", ""))


@pytest.fixture
def filled(tmp_path: Path) -> tuple[topology.Topology, Places]:
    loaded = topology.from_dict(CONTROLLED)
    for name in (*planned(loaded)[0], "operator"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
    (tmp_path / "home").mkdir()
    places = Places(tmp_path / "home", tmp_path / "volumes", os.getuid(), POOL, {"n0": 8443})
    fill(loaded, places)
    return loaded, places


def test_each_container_gets_its_own_and_nothing_of_another(filled: tuple[topology.Topology, Places]) -> None:
    loaded, places = filled
    processes, _ = planned(loaded)
    for name, plan in processes.items():
        root = places.volumes / name / ".qnetem" / loaded.name
        config = json_format.Parse((root / f"processes/{name}/config.json").read_text(), process_pb2.ProcessConfig())
        assert config.name == name
        keys = sorted(str(path.relative_to(root / "pki")) for path in (root / "pki").rglob("*key.pem"))
        kind = {"node": "node", "broker": "broker"}.get(process_pb2.ProcessKind.Name(plan.kind)[13:].lower())
        if kind == "node":
            assert keys == [f"node/{name}/https-key.pem", f"node/{name}/key.pem"]
            assert config.telemetry.host == BROKER
            assert config.clock.source == process_pb2.ClockConfig.SOURCE_REALTIME
        else:
            assert len(keys) == 1
        assert not (root / "pki/ca-key.pem").exists()
        # what its configuration names is there, at the same place of its container
        text = json.dumps(json_format.MessageToDict(config))
        for path in re.findall(r"/qnetem/[^\"]+\.(?:pem|key)", text):
            assert (places.volumes / name / Path(path).relative_to("/qnetem")).exists(), path
        for file in (places.volumes / name).rglob("*"):
            assert file.stat().st_mode & 0o077 == 0, file
    conf = (places.volumes / BROKER / ".qnetem" / loaded.name / "processes/broker/state/mosquitto.conf").read_text()
    assert "require_certificate true" in conf


def test_filling_again_changes_nothing_that_is_secret(filled: tuple[topology.Topology, Places]) -> None:
    loaded, places = filled

    def seen() -> dict[str, bytes]:
        files = (path for path in places.volumes.rglob("*") if path.is_file())
        # password lines are salted anew
        return {str(path): path.read_bytes() for path in files if not path.name.startswith("users.")}

    before = seen()
    fill(loaded, places)
    assert seen() == before


def test_the_operator_exports_an_sae_for_the_host(filled: tuple[topology.Topology, Places]) -> None:
    loaded, places = filled
    root = places.volumes / "operator/.qnetem" / loaded.name
    plan = json.loads((root / "plan.json").read_text())
    assert plan["processes"]["n0"]["listeners"] == {"https": "127.0.0.1:8443"}
    assert sorted(path.name for path in (root / "pki").iterdir()) == [
        "ca.pem",
        "mqtt",
        "operator",
        *(["sae"] if loaded.saes else []),
    ]
    assert not list(root.rglob("secret"))
