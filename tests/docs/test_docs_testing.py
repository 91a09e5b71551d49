"""docs/testing.md, run as it is written, and held to what there is."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from qnetem.testbed.api.links import LinkHandle
from qnetem.testbed.api.processes import NodeHandle
from qnetem.testbed.api.saes import SaeHandle
from qnetem.testbed.api.testbed import Testbed

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`\n```\w+\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^\$ (.*)$", PAGE, flags=re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    """Run a command in the folder; return what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_the_ten_minutes_work_as_written(folder: Path) -> None:
    assert FILES.keys() == {"network.yaml", "controller.py", "test_controller.py"}
    install, test = COMMANDS
    assert shlex.split(install) == ["python", "-m", "pip", "install", "qnetem[pytest]"]
    python, *arguments = shlex.split(test)
    assert python == "python"
    said = run(folder, sys.executable, *arguments, "-p", "no:cacheprovider")
    assert re.search(r"\b2 passed\b", said)


@pytest.mark.timeout(300)
def test_the_example_of_the_reference_works_as_written(folder: Path) -> None:
    (example,) = re.findall(r"^```python\n(import asyncio\n.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    (folder / "example.py").write_text(example)
    said = run(folder, sys.executable, "example.py")
    assert re.fullmatch(r"Key\([0-9a-f-]{36}\) True\n", said)


@pytest.mark.parametrize("of", [Testbed, LinkHandle, NodeHandle, SaeHandle])
def test_every_public_name_is_on_the_page(of: type) -> None:
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))
    # attributes that say nothing new
    plain = {"name", "seed", "layout", "connection", "topology"}
    assert {name for name in vars(of) if not name.startswith("_")} - plain - words == set()


def test_every_fixture_and_option_is_on_the_page_and_no_other(pytester: pytest.Pytester) -> None:
    arguments = ("-o", "asyncio_default_fixture_loop_scope=function")
    listed = pytester.runpytest_subprocess("--fixtures", *arguments).stdout.str()
    fixtures = set(re.findall(r"^(testbed\w*) ", listed, flags=re.MULTILINE))
    assert fixtures == set(re.findall(r"`(testbed(?:_session)?(?:_sync)?)`", PAGE))
    shown = pytester.runpytest_subprocess("--help", *arguments).stdout.str()
    assert set(re.findall(r"--qnetem-\w+", shown)) == set(re.findall(r"--qnetem-\w+", PAGE))
