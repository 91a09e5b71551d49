"""A stack on a swarm of one machine, for real: keys at both ends by name, also after a container has died."""

import functools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qnetem import topology
from qnetem.testbed.containers.rendering import Deployment
from qnetem.testbed.containers.swarm import STACK, swarm_files

WITHIN_S = 240.0
NAME = "qnetem-swarm-test"
PROCESSES = ("broker", "cc", "qc-n0-n1", "n0", "n1")
LABEL = f"label=com.docker.stack.namespace={NAME}"
OPERATING = 2
# who shows a certificate of the testbed is one of it: gateways of some machines take every connection to the outside
REACH = """
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
context.check_hostname = False
for address in sys.argv[3:]:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=float(sys.argv[2])) as raw, context.wrap_socket(raw):
            print("open")
    except OSError:
        print("closed")
"""
AUTHORITY = f"/qnetem/.qnetem/{topology.ring(2)['name']}/pki/ca.pem"
CONTENT: dict[str, Any] = {
    **topology.ring(2),
    "topology": {
        **topology.ring(2)["topology"],
        # no other test of this machine publishes them
        "nodes": {"n0": {"ports": {"https": 18643}}, "n1": {"ports": {"https": 18644}}},
        "links": [
            {
                "endpoints": ["n0", "n1"],
                "quantum": {"length": "25km"},
                # small blocks, and no pool that is full: that keys are made shows soon
                "protocol": {"block_ramp": ["100kbit"], "pool_high_water": "64Mbit"},
            }
        ],
        "saes": {"app-0": {"node": "n0"}, "app-1": {"node": "n1"}},
    },
}


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def eventually(condition: Callable[[], Any], what: str) -> Any:
    deadline_s = time.monotonic() + WITHIN_S
    while not (found := condition()):
        if time.monotonic() > deadline_s:
            told = subprocess.run(
                ["docker", "stack", "ps", "--no-trunc", NAME], capture_output=True, text=True, timeout=60
            )
            pytest.fail(f"{what}\n{told.stdout}{told.stderr}")
        time.sleep(0.5)
    return found


def left_of_stack() -> list[str]:
    """Return what is left but for the volumes, which a stack never takes with it."""
    kinds = (("ps", "-a"), ("network", "ls"), ("config", "ls"), ("service", "ls"))
    return "".join(docker(*kind, "-q", "--filter", LABEL) for kind in kinds).split()


@pytest.fixture
def swarm(image: str) -> Iterator[None]:
    """A swarm of this machine alone, for as long as a test lasts."""
    state = docker("info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}").strip()
    if state != "inactive false":
        pytest.skip(f"this engine is in a swarm already, which is not ours to change: {state}")
    bridges = docker("network", "ls", "--format", "{{.Name}}").split()
    docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1")
    try:
        yield
    finally:
        docker("swarm", "leave", "--force")
        for volume in docker("volume", "ls", "-q", "--filter", LABEL).split():
            docker("volume", "rm", volume)
        # the engine makes it with its first swarm, and keeps it
        if "docker_gwbridge" not in bridges:
            docker("network", "rm", "docker_gwbridge")


@pytest.fixture
def folder(swarm: None, tmp_path: Path) -> Iterator[Path]:
    """Deploy, and remove again."""
    loaded = topology.from_dict(CONTENT)
    for name, text in swarm_files(loaded, Deployment("", "t.yaml", topology.render(loaded))).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    try:
        docker("stack", "deploy", "--resolve-image", "never", "-c", str(tmp_path / STACK), NAME)
        yield tmp_path
    finally:
        docker("stack", "rm", NAME)
        eventually(lambda: not left_of_stack(), "something is left")


def container(service: str) -> str:
    """Return the running container of a service, or nothing."""
    return docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={NAME}_{service}").strip()


def is_healthy(service: str) -> bool:
    found = container(service)
    if not found:
        return False
    [about] = json.loads(docker("inspect", found))
    return bool(about["State"].get("Health", {}).get("Status") == "healthy")


def curl(folder: Path, sae: str, url: str, *data: str) -> dict[str, Any]:
    own = folder / "credentials" / sae
    proof = ("--cert", str(own / "cert.pem"), "--key", str(own / "key.pem"), "--cacert", str(own / "ca.pem"))
    done = subprocess.run(
        ["curl", "--silent", "--max-time", "20", *proof, *data, url],
        capture_output=True,
        text=True,
        timeout=60,
    )
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
    return answer


def key(folder: Path) -> dict[str, Any]:
    """Return a key that both ends have, or nothing."""
    given = curl(folder, "app-0", "https://127.0.0.1:18643/api/v1/keys/app-1/enc_keys", "-d", '{"number": 1}')
    if "keys" not in given:
        return {}
    [one] = given["keys"]
    taken = curl(folder, "app-1", f"https://127.0.0.1:18644/api/v1/keys/app-0/dec_keys?key_ID={one['key_ID']}")
    assert taken["keys"] == [one]
    return dict(one)


def figure(name: str) -> float:
    """Return a figure of the link, as n0 tells it where the operator is; -1 when it does not."""
    asking = "import urllib.request; print(urllib.request.urlopen('http://n0:9100/metrics', timeout=5).read().decode())"
    done = subprocess.run(
        ["docker", "exec", container("operator"), "python", "-c", asking], capture_output=True, text=True, timeout=60
    )
    found = re.search(rf'^qnetem_link_{name}{{link_id="n0-n1"}} (\S+)$', done.stdout, re.MULTILINE)
    return float(found[1]) if found else -1.0


def is_back(service: str, before: str) -> bool:
    return container(service) not in ("", before) and is_healthy(service)


def makes_more_than(count: float) -> bool:
    return figure("blocks_made_total") > count and figure("state") == OPERATING


def test_a_stack_makes_keys_and_does_so_again_after_a_death(folder: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no program curl")
    eventually(lambda: all(is_healthy(one) for one in PROCESSES), "not all are healthy")
    for sae in ("app-0", "app-1"):
        docker("exec", container("operator"), "qnetem", "sae", "export", sae)
    eventually(lambda: key(folder), "no key")

    # a node reaches what carries it, and of its peer neither the name nor an address
    [about] = json.loads(docker("inspect", container("n1")))
    peers = [f"{net['IPAddress']}:7002" for net in about["NetworkSettings"]["Networks"].values() if net["IPAddress"]]
    assert len(peers) >= len(("quantum", "classical", "management"))

    def reached(timeout_s: str, *addresses: str) -> list[str]:
        return docker("exec", container("n0"), "python", "-c", REACH, AUTHORITY, timeout_s, *addresses).split()

    assert reached("3", *peers, "n1:7002") == ["closed"] * (len(peers) + 1)
    # through the classical channel to its peer, and to the quantum channel; a busy machine may take long
    assert reached("30", "cc:20000", "qc-n0-n1:7001") == ["open", "open"]

    # who comes back is another container with another address: its name leads there
    for service in ("n1", "qc-n0-n1", "cc"):
        before = container(service)
        docker("kill", "--signal", "KILL", before)
        eventually(functools.partial(is_back, service, before), f"{service} is not back")
        made = eventually(lambda: max(0.0, figure("blocks_made_total")), "n0 tells no figures")
        eventually(functools.partial(makes_more_than, made), f"no keys are made since {service} came back")
    eventually(lambda: key(folder), "no key after the deaths")
