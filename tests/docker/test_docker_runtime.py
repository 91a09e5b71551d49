"""A testbed of containers under the Python API: the same as one of processes, and nothing left behind."""

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qnetem import Testbed, topology
from qnetem.runtime.errors import BadInputError
from qnetem.testbed.containers.networks import networks
from qnetem.testbed.containers.project import project_name
from qnetem.testbed.plan import planned
from qnetem.testbed.planes import Plane
from qnetem.testbed.state import State

WITHIN = "180s"
CONTENT: dict[str, Any] = {
    **topology.ring(3),
    "topology": {**topology.ring(3)["topology"], "saes": {"app-0": {"node": "n0"}, "app-1": {"node": "n1"}}},
    "control_plane": {"kind": "reference"},
}
REACH = """
import socket, sys
for address in sys.argv[1:]:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        print(address, "open")
    except OSError:
        print(address, "closed")
"""


def docker(*arguments: str, told: str | None = None) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=120, input=told)
    assert done.returncode == 0, done.stderr
    return done.stdout


def left_of(project: str) -> list[str]:
    label = f"label=com.docker.compose.project={project}"
    found = [docker(*kind, "-q", "--filter", label) for kind in (("ps", "-a"), ("network", "ls"), ("volume", "ls"))]
    return "".join(found).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("containers")


@pytest.fixture
async def testbed(image: str, folder: Path) -> AsyncIterator[Testbed]:
    async with Testbed.from_dict(CONTENT, folder=folder, runtime="compose") as up:
        await up.wait_in_service(within=WITHIN)
        yield up
    assert left_of(project_of(folder)) == []


def project_of(folder: Path) -> str:
    return project_name(CONTENT["name"], folder / ".qnetem" / CONTENT["name"])


async def has_key(testbed: Testbed) -> bool:
    return bool(await testbed.eventually(lambda: _has_key(testbed), within=WITHIN))


async def _has_key(testbed: Testbed) -> bool:
    [key] = await testbed.sae("app-0").enc_keys("app-1")
    [same] = await testbed.sae("app-1").dec_keys("app-0", [key.key_id])
    return bool(key.material == same.material)


def addresses(folder: Path) -> dict[str, dict[str, str]]:
    """Return the addresses in each network, as the engine has them."""
    found = json.loads((folder / ".qnetem" / CONTENT["name"] / "compose.json").read_text())["services"]
    nets: dict[str, dict[str, str]] = {}
    for service, content in found.items():
        for net, where in content["networks"].items():
            nets.setdefault(net, {})[service] = where["ipv4_address"]
    return nets


async def test_a_testbed_of_containers_does_what_one_of_processes_does(testbed: Testbed, folder: Path) -> None:
    assert await has_key(testbed)

    # a direct connection to a peer fails on every plane; what carries the plane answers
    nets, project = addresses(folder), project_of(folder)
    peers = [
        f"{nets[f'n1-{plane}']['n1']}:{port}"
        for plane in ("quantum", "classical", "management")
        for port in (7001, 7002, 8443)
    ]
    carriers = [f"{nets['n0-classical']['cc']}:20000", f"{nets['n0-quantum']['qc-n0-n1']}:7001"]
    said = docker("exec", "-i", f"{project}-n0-1", "python", "-", *peers, *carriers, told=REACH).splitlines()
    assert said == [*(f"{peer} closed" for peer in peers), *(f"{carrier} open" for carrier in carriers)]
    # planted: with a network in common the same connection works
    docker("network", "connect", f"{project}_n1-management", f"{project}-n0-1")
    planted = docker("exec", "-i", f"{project}-n0-1", "python", "-", f"{nets['n1-management']['n1']}:7002", told=REACH)
    assert planted.strip().endswith("open")
    docker("network", "disconnect", f"{project}_n1-management", f"{project}-n0-1")

    # kill -9 under load, from us and from the engine: it comes back, and so does the link
    for kill in ("ours", "engine"):
        if kill == "ours":
            view = await testbed.node("n0").kill()
            assert view.restart_count >= 1 or view.state != "HEALTHY"
        else:
            docker("kill", "--signal", "KILL", f"{project}-n0-1")
        await testbed.eventually(lambda: testbed.wait_in_service(within="5s"), within=WITHIN)
        assert await has_key(testbed)

    # frozen: its links go down; resumed, they come back
    await testbed.node("n1").pause()
    await testbed.eventually(lambda: _is_down(testbed, "n0-n1"), within=WITHIN)
    await testbed.node("n1").resume()
    await testbed.wait_in_service(within=WITHIN)

    # off one plane after another: what is not on it goes on, and a restart changes nothing
    legs: list[tuple[Plane, list[str]]] = [
        ("classical", ["management", "quantum"]),
        ("quantum", ["classical", "management"]),
    ]
    for plane, others in legs:
        await testbed.disconnect("n2", plane)
        assert engine_planes(project, "n2") == others
        await testbed.eventually(lambda: _is_down(testbed, "n1-n2"), within=WITHIN)
        if plane == "quantum":
            view = await testbed.node("n2").kill()
            assert list(view.disconnected) == ["quantum"]
            await testbed.node("n2").wait_healthy(WITHIN)
            assert engine_planes(project, "n2") == others
        assert (await testbed.link("n0-n1").state()).is_in_service
        await testbed.connect("n2", plane)
        assert engine_planes(project, "n2") == ["classical", "management", "quantum"]
        assert addresses_in(project, "n2") == {net: where["n2"] for net, where in nets.items() if "n2" in where}
        await testbed.wait_in_service(within=WITHIN)

    # off the management plane: it serves and makes keys as its peers see it, and nobody at the host can ask it
    async with testbed.node("n2").disconnected("management"):
        assert (await testbed.node("n2").status()).is_healthy
        ends = (await testbed.link("n1-n2").state()).ends
        assert ends["n2"].state == "UNKNOWN"
        assert ends["n2"].reason == "n2: is disconnected from the management plane"
        assert ends["n1"].state == "OPERATING"
        # what a channel is told while it cannot be asked holds when it can
        async with testbed.process("cc").disconnected("management"):
            assert not (await testbed.link("n1-n2").set(**{"classical.delay": "7ms"}))["classical"]["is_running"]
        await testbed.eventually(lambda: _has_delay(testbed, 7 * 10**9), within=WITHIN)
        await testbed.link("n1-n2").reset()
    await testbed.wait_in_service(within=WITHIN)
    with pytest.raises(BadInputError, match=r"^qc-n1-n2: is not on the classical plane \(quantum, management\)$"):
        await testbed.disconnect("qc-n1-n2", "classical")

    async with testbed.link("n0-n1").fault(loss="3dB"):
        assert await has_key(testbed)
    await testbed.node("n2").restart()
    await testbed.wait_in_service(within=WITHIN)
    log = (folder / ".qnetem" / CONTENT["name"] / "logs/n2.log").read_text()
    assert "process.started" in log


def networks_in(project: str, service: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", f"{project}-{service}-1")
    )
    return {name.removeprefix(f"{project}_"): one for name, one in found.items()}


def engine_planes(project: str, node: str) -> list[str]:
    return sorted(name.removeprefix(f"{node}-") for name in networks_in(project, node))


def addresses_in(project: str, service: str) -> dict[str, str]:
    return {name: one["IPAddress"] for name, one in networks_in(project, service).items()}


async def _has_delay(testbed: Testbed, delay_ps: int) -> bool:
    report = await testbed.client.get_link("n1-n2")
    return report.HasField("classical") and report.classical.effective.delay_ps == delay_ps


async def _is_down(testbed: Testbed, link_id: str) -> bool:
    # the other end may not answer: then the link is in no state that is known
    return (await testbed.link(link_id).state()).state in ("DOWN", "UNKNOWN")


async def test_a_supervisor_that_is_killed_takes_its_containers_with_it(image: str, folder: Path) -> None:
    testbed = Testbed.from_dict(CONTENT, folder=folder, runtime="compose", keep=True)
    await testbed.up(within_s=180)
    state = State(testbed.connection().layout)
    launch = state.launch()
    assert launch is not None
    assert left_of(project_of(folder))
    os.kill(launch.supervisor_pid, signal.SIGKILL)
    await testbed.down()
    async with Testbed.from_dict(CONTENT, folder=folder, runtime="compose") as again:
        assert again.name == CONTENT["name"]
    assert left_of(project_of(folder)) == []


def test_the_networks_of_the_project_are_those_of_the_plan(image: str) -> None:
    loaded = topology.from_dict(CONTENT)
    nets = networks(loaded, planned(loaded)[0], "10.128.0.0/21")
    assert {net.name for net in nets.values() if "n0" in net.addresses} == {
        "n0-quantum",
        "n0-classical",
        "n0-management",
    }
