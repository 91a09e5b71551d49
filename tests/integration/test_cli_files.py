"""`init validate render schema doctor` as a user runs them, and what they say of bad input."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def qnetem(tmp_path: Path) -> Run:
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QNETEM_")}
        return subprocess.run(
            [sys.executable, "-m", "qnetem.cli", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=clean | environment,
        )

    return run


def test_init_writes_a_topology_that_is_fine_and_overwrites_nothing(qnetem: Run, tmp_path: Path) -> None:
    made = qnetem("init", "--name", "lab")
    assert made.returncode == 0, made.stderr
    text = (tmp_path / "topology.yaml").read_text()
    checked = qnetem("validate")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "topology.yaml: fine: testbed lab, 3 nodes, 2 links, 2 SAEs\n" in checked.stdout
    again = qnetem("init", "--name", "other")
    assert (again.returncode, again.stdout) == (3, "")
    assert again.stderr == "qnetem: topology.yaml: is there already\n"
    assert (tmp_path / "topology.yaml").read_text() == text


def test_init_refuses_a_name_that_is_none(qnetem: Run, tmp_path: Path) -> None:
    refused = qnetem("init", "--name", "My Lab")
    assert refused.returncode == 3
    assert "did you mean 'my-lab'?" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_render_prints_is_the_same_topology(qnetem: Run, tmp_path: Path) -> None:
    qnetem("init", "a.yaml")
    rendered = qnetem("render", "-t", "a.yaml")
    assert rendered.returncode == 0, rendered.stderr
    (tmp_path / "b.yml").write_text(rendered.stdout)
    digests = [
        json.loads(qnetem("validate", "-t", name, "-f", "json").stdout)["digest"] for name in ("a.yaml", "b.yml")
    ]
    assert digests[0] == digests[1]


def test_each_problem_of_a_file_is_a_line_with_its_place(qnetem: Run, tmp_path: Path) -> None:
    qnetem("init", "a.yaml")
    text = (tmp_path / "a.yaml").read_text()
    (tmp_path / "a.yaml").write_text(text.replace("25km", "25").replace("node: bob", "node: bobb"))
    refused = qnetem("validate")
    assert (refused.returncode, refused.stdout) == (3, "")
    lines = refused.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("qnetem: ")
    assert "a.yaml:17:25: " in lines[0]
    assert "'25' has no unit" in lines[0] or "25 has no unit" in lines[0]
    assert "did you mean 'bob'?" in lines[1]


@pytest.mark.parametrize(
    "verb", [["up"], ["inspect"], ["down"], ["validate"], ["render"], ["logs"], ["link", "show", "a"]]
)
def test_a_folder_without_a_topology_is_told(qnetem: Run, verb: list[str]) -> None:
    refused = qnetem(*verb)
    assert refused.returncode == 3
    assert refused.stderr == "qnetem: .: no topology here (`qnetem init` makes one, -t FILE names one)\n"


def test_several_topologies_have_to_be_told_apart(qnetem: Run) -> None:
    qnetem("init", "a.yaml")
    qnetem("init", "b.yaml")
    refused = qnetem("validate")
    assert refused.returncode == 3
    assert "several topologies here: a.yaml, b.yaml" in refused.stderr
    assert qnetem("validate", QNETEM_TOPOLOGY="b.yaml").returncode == 0


def test_what_was_never_brought_up_is_told(qnetem: Run) -> None:
    qnetem("init", "a.yaml")
    refused = qnetem("inspect")
    assert refused.returncode == 3
    assert "a.yaml: was never brought up" in refused.stderr
    assert qnetem("down").returncode == 0


def test_the_schema_is_one_of_json(qnetem: Run) -> None:
    schema = json.loads(qnetem("schema").stdout)
    assert schema["title"] == "qnetem topology"
    assert "topology" in schema["properties"]


def test_the_doctor_finds_nothing_wrong_here_and_says_what_is(qnetem: Run, tmp_path: Path) -> None:
    qnetem("init", "a.yaml")
    found = {one["what"]: one for one in json.loads(qnetem("doctor", "-f", "json").stdout)}
    assert {"python", "system", "open files", "ports", "clock", "disk", "topology", "state"} <= set(found)
    assert found["python"]["verdict"] == "fine"
    assert found["state"]["text"] == "was never brought up"
    (tmp_path / "a.yaml").write_text("apiVersion: qnetem/v1\nname: x\ntopology: 3\n")
    sick = qnetem("doctor")
    assert sick.returncode == 1
    assert "wrong" in sick.stdout


def test_a_reader_that_has_seen_enough_is_no_failure(qnetem: Run, tmp_path: Path) -> None:
    command = f"{sys.executable} -m qnetem.cli schema | head -c 10"
    run = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")


def test_a_full_disk_is_told(qnetem: Run) -> None:
    refused = qnetem("init", "/dev/full/x.yaml")
    assert refused.returncode == 4
    assert refused.stderr == "qnetem: /dev/full/x.yaml: Not a directory\n"
