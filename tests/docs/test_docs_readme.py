"""The README, run as it is written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qnetem import topology

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_topology_of_the_readme_is_one() -> None:
    (text,) = blocks("yaml")
    assert set(topology.parse(text).links) == {"alice-bob"}


def test_every_page_that_the_readme_names_is_there() -> None:
    pages = re.findall(r"\]\(([^)#]+\.md)\)", README)
    assert len(pages) > 5
    assert [page for page in pages if not (ROOT / page).is_file()] == []


@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the README uses curl")
def test_the_first_five_minutes_of_the_readme_work_as_written(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "topologies", tmp_path / "topologies")
    lines = "".join(blocks("console")).replace("\n$ ", "\n").removeprefix("$ ")
    # the first key takes a block to come
    lines = lines.replace(
        "qnetem keys get", "until qnetem keys get app-1 app-2; do sleep 0.2; done; qnetem keys get", 1
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    try:
        run = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", lines],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert '"key_ID"' in (tmp_path / "lab" / "key.json").read_text()
        assert "link.state.changed" in run.stdout
    finally:
        subprocess.run(
            [Path(sys.executable).parent / "qnetem", "down"], cwd=tmp_path / "lab", capture_output=True, check=False
        )
