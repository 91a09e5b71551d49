"""`make demo`, as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def left_over() -> list[str]:
    """Command lines of processes of a demo's testbed."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # has ended meanwhile
            continue
        if "qnetem-demo-" in line:
            found.append(line)
    return found


@pytest.mark.timeout(300)
def test_the_demo_ends_well_and_leaves_nothing() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo.py"], capture_output=True, text=True, timeout=240, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("both ends hold the same 256 bits") == 3
    assert "killed by SIGKILL" in run.stdout
    assert left_over() == []
