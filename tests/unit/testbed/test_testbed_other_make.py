"""Nodes of another make: what processes and containers run in the place of ours, and what cannot be is refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from qnetem.runtime.errors import BadInputError
from qnetem.testbed.containers.kubernetes import kubernetes_files
from qnetem.testbed.containers.project import ProjectFiles, project_text
from qnetem.testbed.containers.rendering import Deployment, compose_files
from qnetem.testbed.containers.swarm import swarm_files
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import ProcessPlan, TestbedPlan, planned
from qnetem.testbed.prepare import prepare
from qnetem.testbed.state import State
from qnetem.testbed.supervisor.heartbeat_file import HeartbeatFile
from qnetem.topology import Topology, TopologyError, from_dict, load, parse, render, ring

COMMAND = ["node", "src/main.js"]
IMAGE = "registry.example:5000/agents/theirs:1.2"
DEPLOYMENT = Deployment("10.1.0.0/16", "lab.yaml", "name: lab\n")


def content(**node: Any) -> dict[str, Any]:
    made = ring(2)
    made["topology"]["nodes"] = {"n0": node, "n1": {}}
    return made


def test_a_command_is_executed_in_the_folder_of_the_topology(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(json.dumps(content(command=COMMAND)))
    topology = load(path)
    processes, _ = planned(topology)
    assert (processes["n0"].command, processes["n0"].folder) == (tuple(COMMAND), str(tmp_path))
    assert topology.nodes["n0"].spawn == "exec"
    assert (processes["n1"].command, processes["n1"].folder, processes["n1"].image) == (None, "", None)
    # one that a caller gives runs where the caller is
    given, _ = planned(topology, commands={"n0": ["./theirs"]})
    assert (given["n0"].command, given["n0"].folder) == (("./theirs",), "")


def test_the_file_that_says_everything_means_the_same() -> None:
    topology = from_dict(content(command=COMMAND, image=IMAGE))
    assert parse(render(topology)).digest == topology.digest
    others = [content(), content(command=["node"]), content(command=COMMAND), content(image=IMAGE)]
    assert len({from_dict(each).digest for each in others} | {topology.digest}) == 5


@pytest.mark.parametrize(
    ("node", "told"),
    [
        ({"command": []}, "command"),
        ({"command": "node src/main.js"}, "command"),
        ({"command": ["node", ""]}, "expected a word of a command"),
        ({"command": ["node\n"]}, "expected a word of a command"),
        ({"command": ["node"], "spawn": "zygote"}, "a command is executed, never forked from the zygote"),
        ({"image": ""}, "expected the name of an image, got ''"),
        ({"image": "theirs: {evil: true}"}, "expected the name of an image"),
    ],
)
def test_what_is_no_command_and_no_image_is_refused(node: dict[str, Any], told: str) -> None:
    with pytest.raises(TopologyError, match=told):
        from_dict(content(**node))


def test_an_image_alone_needs_containers_and_a_command_alone_none(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(json.dumps(content(image=IMAGE)))
    topology = load(path)
    with pytest.raises(BadInputError, match=f"node n0: {IMAGE} is an image; without containers a command is needed"):
        prepare(State(Layout.beside(path, topology.name)), topology, {}, {})
    with pytest.raises(BadInputError, match="node n0: a command is of this machine; in containers an image is needed"):
        compose_files(from_dict(content(command=COMMAND)), DEPLOYMENT)


def services_of(topology: Topology) -> dict[str, Any]:
    # anchors of the file are merge keys, which the safe loader knows
    found: dict[str, Any] = yaml.safe_load(compose_files(topology, DEPLOYMENT)["docker-compose.yml"])["services"]
    return found


def test_in_a_project_an_image_takes_the_place_of_ours_and_nothing_else_changes() -> None:
    ours, theirs = services_of(from_dict(content()))["n0"], services_of(from_dict(content(image=IMAGE)))["n0"]
    changed = {key for key in theirs if theirs[key] != ours.get(key)}
    assert changed == {"image", "command", "environment"}
    assert (theirs["image"], theirs["command"]) == (IMAGE, ours["command"][-2:])
    assert theirs["environment"] == {"QNETEM_HEARTBEAT": "/run/qnetem/heartbeat"}
    both = services_of(from_dict(content(image=IMAGE, command=COMMAND)))["n0"]
    assert both == theirs | {"entrypoint": COMMAND}


def test_a_stack_tells_it_what_to_wait_for_and_manifests_what_to_touch() -> None:
    topology = from_dict(content(image=IMAGE, command=COMMAND))
    service = yaml.safe_load(swarm_files(topology, DEPLOYMENT)["docker-stack.yml"])["services"]["n0"]
    assert (service["image"], service["entrypoint"]) == (IMAGE, COMMAND)
    assert service["environment"].keys() == {"QNETEM_HEARTBEAT", "QNETEM_AWAIT"}
    ours = yaml.safe_load(swarm_files(topology, DEPLOYMENT)["docker-stack.yml"])["services"]["n1"]
    assert service["environment"]["QNETEM_AWAIT"] == ours["environment"]["QNETEM_AWAIT"]
    documents = list(yaml.safe_load_all(kubernetes_files(topology, "lab.yaml", "name: lab\n")["40-processes.yaml"]))
    pods = {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in documents if one}
    [container] = pods["n0"]["containers"]
    assert (container["image"], container["command"]) == (IMAGE, COMMAND)
    assert container["args"][0] == "--config"
    assert container["env"] == [{"name": "QNETEM_HEARTBEAT", "value": "/run/qnetem/heartbeat"}]
    # what fills its volume is ours
    assert pods["n0"]["initContainers"][0]["image"] == pods["n1"]["containers"][0]["image"] != IMAGE


def test_under_a_supervisor_its_container_touches_a_file_of_this_machine(tmp_path: Path) -> None:
    topology = from_dict(content(image=IMAGE))
    processes, links = planned(topology)
    plan = TestbedPlan("lab", "", "", 0, False, 0, 1.0, processes, links, "compose")
    places = {name: tmp_path / name for name in processes}
    files = ProjectFiles(places, places, {name: tmp_path / f"h-{name}" for name in processes})
    layout = Layout(tmp_path)
    services = json.loads(project_text(topology, plan, {}, {}, layout, files, "ours", "1:1"))["services"]
    heartbeat = str(tmp_path / "h-n0")
    assert services["n0"]["image"] == IMAGE
    assert services["n0"]["environment"]["QNETEM_HEARTBEAT"] == heartbeat
    assert heartbeat in [bind["source"] for bind in services["n0"]["volumes"]]
    assert "QNETEM_HEARTBEAT" not in services["n1"]["environment"]


def test_a_plan_of_it_survives_being_text() -> None:
    processes, links = planned(from_dict(content(image=IMAGE, command=COMMAND)))
    plan = TestbedPlan("lab", "", "", 0, False, 0, 1.0, processes, links)
    assert TestbedPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert isinstance(plan.processes["n0"], ProcessPlan)


def test_a_heartbeat_file_is_heard_when_it_was_touched_and_only_then(tmp_path: Path) -> None:
    heard: list[bool] = []
    say: Callable[[bool], None] = heard.append
    beat = HeartbeatFile(tmp_path / "h0", say)
    beat.look()
    assert heard == []
    os.utime(beat.path)
    beat.look()
    beat.look()
    assert heard == [True]
    # what a process that has ended said last says nothing of the next one
    beat.reset()
    beat.look()
    assert heard == [True]
    beat.path.unlink()
    beat.look()
    assert heard == [True]
    beat.reset()
    os.utime(beat.path)
    beat.look()
    assert heard == [True, True]
    assert beat.path.stat().st_mode & 0o777 == 0o600
