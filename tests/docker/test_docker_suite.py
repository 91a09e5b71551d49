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
PARTS = (
    "tests/integration/testbed_api/test_testbed_api_handles.py",
    "tests/integration/test_cli_keys_admin.py::test_links_can_be_provisioned_and_storage_keys_rotated_while_keys_flow",
)


def run(part: str | Path, beds: Path) -> "subprocess.CompletedProcess[str]":
    """Run a part of a suite on containers, with the state folders of its testbeds below `beds`."""
    options = ("-q", "-p", "no:cacheprovider", "--qnetem-runtime", "compose", "--basetemp", str(beds))
    command = [sys.executable, "-m", "pytest", *options, str(part)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def left(what: tuple[str, ...], label: str, mark: str) -> list[str]:
    """Return what the engine has of which a label says the mark."""
    form = ["--format", f'{{{{.Label "com.docker.compose.{label}"}}}}']
    command = ["docker", *what, "--filter", f"label=com.docker.compose.{label}", *form]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.split() if mark in line]


@pytest.mark.parametrize("part", PARTS, ids=("api", "keys"))
def test_what_passes_on_processes_passes_on_containers(image: str, part: str, tmp_path: Path) -> None:
    done = run(part, tmp_path / "beds")
    assert done.returncode == 0, done.stdout[-20_000:]
    assert " passed" in done.stdout
    assert left(("ps", "-a"), "project.working_dir", str(tmp_path)) == []


def test_nothing_is_left_of_a_test_that_fails_in_the_middle(image: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FAILING)
    done = run(tmp_path / "test_it.py", tmp_path / "beds")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "ZeroDivisionError" in done.stdout
    assert "--qnetem-runtime compose" in done.stdout, "how to run it again"
    assert "seen: qnetem-failing-" in done.stdout, "while it ran, the same look found it"
    for what in (("ps", "-a"), ("network", "ls"), ("volume", "ls")):
        assert left(what, "project", "qnetem-failing-") == []
