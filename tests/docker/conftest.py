"""An engine, and the image of this checkout. Without an engine these tests skip, unless QNETEM_DOCKER=required."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from qnetem.testbed.containers.engine import image_name

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole testbeds of containers, on engines that are slow to start things."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900))


def why_there_is_no_engine() -> str:
    if shutil.which("docker") is None:
        return "no program docker"
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            return f"{' '.join(command)}: {(done.stderr.strip().splitlines() or ['fails'])[-1]}"
    return ""


@pytest.fixture(scope="session")
def image() -> str:
    """Build the image of this checkout."""
    why = why_there_is_no_engine()
    if why:
        if os.environ.get("QNETEM_DOCKER") == "required":
            pytest.fail(f"QNETEM_DOCKER=required, but {why}")
        pytest.skip(f"tests of containers: {why}")
    command = ["docker", "build", "--quiet", "--tag", image_name(), "--file", "compose/Dockerfile", "."]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=800, env={**os.environ, "DOCKER_BUILDKIT": "1"}
    )
    assert done.returncode == 0, done.stderr
    return image_name()
