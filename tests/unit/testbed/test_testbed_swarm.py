"""A testbed as a stack: what a swarm refuses is not in it, containers wait for their files, and names are dialled."""

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from qnetem import topology
from qnetem.cli.__main__ import main
from qnetem.runtime.errors import BadInputError
from qnetem.testbed.containers.filling import Places, fill
from qnetem.testbed.containers.networks import default_pool, networks
from qnetem.testbed.containers.rendering import Deployment
from qnetem.testbed.containers.services import ready_path
from qnetem.testbed.containers.swarm import STACK, swarm_files
from qnetem.testbed.plan import BROKER, planned
from qnetem.v1 import process_pb2

ROOT = Path(__file__).parents[3]
METRO = ROOT / "topologies/metro.yaml"
# what `docker stack deploy` refuses or leaves out in silence
NOT_OF_A_STACK = {"build", "depends_on", "network_mode", "profiles", "restart", "security_opt", "tmpfs"}
ENTRYPOINT = ROOT / "compose/entrypoint.sh"


def stack(path: Path = METRO) -> tuple[topology.Topology, dict[str, str], dict[str, Any]]:
    loaded = topology.load(path)
    made = swarm_files(loaded, Deployment("", path.name, path.read_text()))
    return loaded, made, yaml.safe_load(made[STACK])


def test_a_stack_is_stable_and_has_nothing_that_a_swarm_ignores() -> None:
    loaded, made, content = stack()
    assert made == stack()[1]
    assert made[STACK].startswith("# Made by qnetem ")
    assert loaded.digest in made[STACK].splitlines()[0]
    assert set(content["services"]) == {*planned(loaded)[0], "pki", "operator"}
    for name, service in content["services"].items():
        assert not NOT_OF_A_STACK & service.keys(), name
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["deploy"]["endpoint_mode"] == "dnsrr"
        assert service["user"] != "0:0" or name in ("pki", "operator")
    # it comes to its end, and as a job it would outlive the stack
    assert content["services"]["pki"]["deploy"]["restart_policy"]["condition"] == "on-failure"
    assert "mode" not in content["services"]["pki"]["deploy"]
    assert not re.search(r"PRIVATE|password", made[STACK])
    assert topology.parse(made["topology.yaml"], "topology.yaml").digest == loaded.digest


@pytest.mark.parametrize("path", sorted((ROOT / "topologies").glob("*.yaml")), ids=lambda path: path.stem)
def test_its_networks_part_nodes_as_those_of_a_project_do(path: Path) -> None:
    loaded, _, content = stack(path)
    nets = networks(loaded, planned(loaded)[0], default_pool(loaded.name))
    for name, net in nets.items():
        inside = {one for one, service in content["services"].items() if name in service["networks"]}
        assert inside - {"operator"} == set(net.addresses)
        assert content["networks"][name].get("internal", False) == net.is_internal
    # who makes what is secret talks to nobody
    assert [name for name, one in content["services"].items() if "pki" in one["networks"]] == ["pki"]


def test_a_volume_stays_where_its_service_is_bound_to() -> None:
    _, made, content = stack()
    constraints = re.findall(r'constraints: \["\$\{(\w+):-node.role == manager\}"\]', made[STACK])
    assert len(constraints) == len(set(constraints)) == len(content["services"])
    assert "QNETEM_ON_QC_ALICE_BOB" in constraints


def test_another_topology_is_another_config_and_another_file_to_wait_for() -> None:
    def told(length: str) -> set[str]:
        content = topology.ring(2)
        content["topology"]["defaults"]["quantum"] = {"length": length}
        text = swarm_files(topology.from_dict(content), Deployment("", "ring.yaml", ""))[STACK]
        return {*re.findall(r"topology: \{name: ([^,]+)", text), *re.findall(r"QNETEM_AWAIT: (\S+)\}", text)}

    assert len(told("1km")) == 2
    assert not told("1km") & told("2km")


def test_by_name_everybody_is_dialled_by_its_own(tmp_path: Path) -> None:
    loaded = topology.load(METRO)
    processes, _ = planned(loaded)
    for name in (*processes, "operator"):
        (tmp_path / "volumes" / name).mkdir(parents=True)
    home = tmp_path / "home"
    home.mkdir()
    places = Places(home, tmp_path / "volumes", os.getuid(), None, {"alice": 8443})
    plan = fill(loaded, places)
    told = (places.volumes / "alice/.qnetem/metro/processes/alice/config.json").read_text()
    config = json_format.Parse(told, process_pb2.ProcessConfig())
    assert config.telemetry.host == BROKER
    assert {link.peer.address.partition(":")[0] for link in config.node.links} == {"cc"}
    assert {link.quantum_channel.address for link in config.node.links} == {
        "qc-alice-bob:7001",
        "qc-alice-carol:7001",
    }
    assert "0.0.0.0:7001" in told
    assert not re.search(r"\b10\.\d+\.\d+\.\d+:", told)
    # SAEs are told the host's port, or the name where the host has none
    assert plan.processes["alice"].listeners == {"https": "127.0.0.1:8443"}
    assert plan.processes["bob"].listeners == {"https": "bob:8443"}

    # what is waited for is there, and of this topology alone
    ready = places.volumes / "alice" / ready_path("metro", loaded.digest).relative_to("/qnetem")
    assert ready.exists()
    stale = ready.with_name("ready-000000000000")
    stale.touch()
    fill(loaded, places)
    assert ready.exists()
    assert not stale.exists()


def test_a_container_waits_for_its_files(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    environment = {**os.environ, "QNETEM_AWAIT": str(ready), "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    waiting = subprocess.Popen(
        ["sh", str(ENTRYPOINT), "echo", "started"], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)
        ready.touch()
        out, _ = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
    assert (waiting.returncode, out) == (0, "started\n")


def test_a_container_does_not_wait_for_ever(tmp_path: Path) -> None:
    # a clock that runs fast: sleeping takes no time
    quick = tmp_path / "sleep"
    quick.write_text("#!/bin/sh\n")
    quick.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "QNETEM_AWAIT": str(tmp_path / "ready")}
    began_s = time.monotonic()
    done = subprocess.run(
        ["sh", str(ENTRYPOINT), "echo", "started"], env=environment, capture_output=True, text=True, timeout=100
    )
    assert time.monotonic() - began_s < 60
    assert (done.returncode, done.stdout) == (4, "")
    assert "ready: not there within 300 s: pki has not filled this volume" in done.stderr


def test_a_name_that_is_a_scheme_of_addresses_is_refused() -> None:
    content = json.loads(json.dumps(topology.ring(2)).replace('"n0"', '"dns"'))
    with pytest.raises(BadInputError, match="a process is called dns, which as an address means another thing"):
        swarm_files(topology.from_dict(content), Deployment("", "ring.yaml", ""))


def test_the_command_writes_a_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compose", str(METRO), "--target", "swarm", "-o", str(tmp_path)]) == 0
    assert (tmp_path / STACK).read_text() == stack()[1][STACK]
    assert f"docker stack deploy -c {tmp_path / STACK} metro" in capsys.readouterr().out
    assert main(["compose", str(METRO), "--target", "swarm", "--subnet", "10.0.0.0/16", "-o", str(tmp_path)]) == 3
    assert "--subnet: a swarm chooses its addresses itself" in capsys.readouterr().err
    assert main(["compose", str(METRO), "--target", "nomad", "-o", str(tmp_path)]) == 3
    assert "nomad" in capsys.readouterr().err
