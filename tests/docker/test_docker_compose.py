"""The shipped compose project, with Docker and curl alone: as docs/containers.md says, line by line."""

import json
import os
import re
import shlex
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/containers.md"
FILE = "compose/metro/docker-compose.yml"
WITHIN_S = 240.0


def lines(section: str) -> list[str]:
    """Return the commands of a section of the page."""
    text = PAGE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def run(command: str, folder: Path) -> str:
    done = subprocess.run(
        shlex.split(command), cwd=folder, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def asked(what: str, entries: str, labels: str, label: str) -> set[str]:
    """Return the values of a label in what Prometheus answers; none while it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:9090/api/v1/{what}", timeout=10) as answer:
            return {entry[labels][label] for entry in json.load(answer)["data"][entries]}
    except OSError:
        return set()


@pytest.fixture
def project(image: str, tmp_path: Path) -> Iterator[Path]:
    """A copy of the shipped project, which builds no image: the one of this checkout is there."""
    copy = tmp_path / "compose" / "metro"
    shutil.copytree(ROOT / "compose" / "metro", copy, ignore=shutil.ignore_patterns("app-*"))
    try:
        yield tmp_path
    finally:
        run(f"docker compose -f {FILE} --profile prometheus --profile operator down --volumes --timeout 5", tmp_path)


def test_a_user_with_docker_alone_gets_the_same_key_at_both_ends(project: Path) -> None:
    up, export_1, export_2, change, enc, dec = lines("With Docker alone")[:6]
    run(up, project)
    run(export_1, project)
    run(export_2, project)
    folder = project / change.removeprefix("cd ")
    assert oct((folder / "app-1/key.pem").stat().st_mode & 0o777) == "0o600"
    deadline_s = time.monotonic() + WITHIN_S
    while "keys" not in (given := json.loads(run(f"{enc} --silent", folder))):
        assert time.monotonic() < deadline_s, given
        time.sleep(1)
    [key] = given["keys"]
    [same] = json.loads(run(f"{dec} --silent".replace("...", key["key_ID"]), folder))["keys"]
    assert same == key

    # nothing secret in the image, the file or an environment
    told = subprocess.run(
        ["docker", "compose", "-f", FILE, "config"], cwd=project, capture_output=True, text=True, timeout=60
    ).stdout
    assert "PRIVATE" not in told
    names = run(f"docker compose -f {FILE} ps --all --format {{{{.Name}}}}", project).split()
    for name in names:
        [about] = json.loads(run(f"docker inspect {name}", project))
        assert about["HostConfig"]["ReadonlyRootfs"]
        assert not [
            entry for entry in about["Config"]["Env"] or [] if re.search("secret|password|key=", entry, re.IGNORECASE)
        ]
    # a container that dies comes back, and so does the key
    pid = json.loads(run("docker inspect qnetem-metro-alice-1", project))[0]["State"]["Pid"]
    os.kill(pid, 9)
    while True:
        [about] = json.loads(run("docker inspect qnetem-metro-alice-1", project))
        if about["RestartCount"] and about["State"].get("Health", {}).get("Status") == "healthy":
            break
        assert time.monotonic() < deadline_s, about["State"]
        time.sleep(1)


def test_prometheus_reads_every_process_and_the_health_check_fails_for_one_that_hangs(project: Path) -> None:
    [up] = [line for line in re.findall(r"`(docker compose [^`]* up)`", PAGE.read_text()) if "--profile" in line]
    run(up.replace("...", f"-f {FILE}") + " --wait", project)
    processes = {"alice", "bob", "carol", "cc", "qc-alice-bob", "qc-bob-carol", "qc-alice-carol"}
    deadline_s = time.monotonic() + WITHIN_S
    while (seen := asked("targets", "activeTargets", "labels", "process")) != processes or (
        asked("query?query=up==1", "result", "metric", "process") != processes
    ):
        assert time.monotonic() < deadline_s, seen
        time.sleep(1)

    [about] = json.loads(run("docker inspect qnetem-metro-cc-1", project))
    # the container goes on, the process in it stands still: tini is the first of them
    children = Path(f"/proc/{about['State']['Pid']}/task/{about['State']['Pid']}/children").read_text().split()
    os.kill(int(children[0]), 19)
    deadline_s = time.monotonic() + WITHIN_S
    while json.loads(run("docker inspect qnetem-metro-cc-1", project))[0]["State"]["Health"]["Status"] != "unhealthy":
        assert time.monotonic() < deadline_s
        time.sleep(1)
    os.kill(int(children[0]), 18)
