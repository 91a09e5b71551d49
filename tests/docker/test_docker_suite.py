"""A part of the project's own suite on testbeds of containers: the Python API and the plugin, the command line, keys.

The whole of it: `QNETEM_RUNTIME=compose python -m pytest tests/integration examples`, see docs/containers.md.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAILING = """
import subprocess
import pytest
from qnetem.topology import ring

@pytest.mark.topology(ring(2, name="failing"))
def test_it(testbed_sync):
    testbed_sync.disconnect("n0")
    testbed_sync.node("n1").pause()
    form = '{{.Label "com.docker.compose.project"}}'
    found = subprocess.run(["docker", "network", "ls", "--format", form], capture_output=True, text=True).stdout
    print("seen:", *(line for line in found.split() if "-failing-" in line))
    raise ZeroDivisionError
"""
HANDLES = "tests/integration/testbed_api/test_testbed_api_handles.py::test_"
PARTS = (
    (
        f"{HANDLES}both_ends_get_the_same_key_and_it_is_asked_for_once",
        f"{HANDLES}a_fault_outlives_the_channel_and_heals_while_it_is_away",
        f"{HANDLES}a_node_is_killed_paused_stopped_and_serves_again",
        f"{HANDLES}every_process_is_reached_over_grpc_as_an_operator",
        f"{HANDLES}a_node_is_taken_off_a_plane_whatever_restarts_and_joined_again",
        f"{HANDLES}what_cannot_be_disconnected_is_refused_in_a_line",
    ),
    (
        "tests/integration/test_cli_keys_admin.py::test_links_can_be_provisioned_and_storage_keys_rotated_while_keys_flow",
    ),
)


def run(beds: Path, *parts: str) -> "subprocess.CompletedProcess[str]":
    """Run parts of a suite on containers, with the state folders of its testbeds below `beds`."""
    options = ("-q", "-p", "no:cacheprovider", "--qnetem-runtime", "compose", "--basetemp", str(beds))
    command = [sys.executable, "-m", "pytest", *options, *parts]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def left(what: tuple[str, ...], label: str, mark: str) -> list[str]:
    """Return what the engine has of which a label says the mark."""
    form = ["--format", f'{{{{.Label "com.docker.compose.{label}"}}}}']
    command = ["docker", *what, "--filter", f"label=com.docker.compose.{label}", *form]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.split() if mark in line]


@pytest.mark.parametrize("parts", PARTS, ids=("api", "keys"))
def test_what_passes_on_processes_passes_on_containers(image: str, parts: tuple[str, ...], tmp_path: Path) -> None:
    done = run(tmp_path / "beds", *parts)
    assert done.returncode == 0, done.stdout[-20_000:]
    assert " passed" in done.stdout
    assert left(("ps", "-a"), "project.working_dir", str(tmp_path)) == []


def test_nothing_is_left_of_a_test_that_fails_in_the_middle(image: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FAILING)
    done = run(tmp_path / "beds", str(tmp_path / "test_it.py"))
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert "--qnetem-runtime compose" in done.stdout, "how to run it again"
    assert "seen: qnetem-failing-" in done.stdout, "while it ran, the same look found it"
    for what in (("ps", "-a"), ("network", "ls"), ("volume", "ls")):
        assert left(what, "project", "qnetem-failing-") == []
