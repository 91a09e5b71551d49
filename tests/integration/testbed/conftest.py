"""A testbed of real processes in a folder of its own, and the certainty that none is left."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from qnetem.testbed.client import TestbedClient
from qnetem.testbed.launching import down, launch, state_of
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import ROOMS
from qnetem.testbed.state import State
from qnetem.topology import ring

ROOM = "qnetem_test_room"
ROOMS_DIR = Path(__file__).parent / "rooms"


def processes_of(folder: Path) -> dict[int, str]:
    """Return pid and command line of every process that has to do with a folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            if str(folder).encode() in command + (entry / "environ").read_bytes():
                found[int(entry.name)] = command.replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


class Lab:
    """One topology file, what was brought up from it, and what it left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "topology.yaml"
        self.layout = Layout.beside(self.path, "ring")
        self.write()

    def write(self, node_count: int = 2, **changes: Any) -> dict[str, Any]:
        """Write the topology: a ring."""
        topology = ring(node_count) | {"telemetry": {"broker": "none"}} | changes
        self.path.write_text(json.dumps(topology))
        return topology

    def behave(self, process: str, what: str) -> None:
        """Have a process misbehave from its next start."""
        folder = self.layout.state(process)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "behave").write_text(what)

    def up(self, rooms: Mapping[int, str] | None = None, **options: Any) -> AbstractAsyncContextManager[TestbedClient]:
        """Launch it, with rooms that serve nothing."""
        return launch(self.path, rooms=rooms or dict.fromkeys(ROOMS, ROOM), timeout_s=30, **options)

    @property
    def state(self) -> State:
        """The state of the testbed."""
        return state_of(self.path)

    def processes(self) -> dict[int, str]:
        """Return pid and command line of every process of this lab."""
        return processes_of(self.folder)

    def journal(self) -> list[dict[str, Any]]:
        """Return the supervisor's journal."""
        return [json.loads(line) for line in self.layout.journal("supervisor").read_text().splitlines()]


async def until(reached: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait until something holds."""
    deadline_s = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline_s, "did not happen in time"
        await asyncio.sleep(0.01)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What these tests are about."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.processes("runs rooms of its own, which are in no image, and looks at pids"))


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Wait until something holds: await eventually(lambda: ...)."""
    return until


@pytest.fixture
def python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes import the rooms of these tests."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOMS_DIR), *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.fixture
async def lab(tmp_path: Path, python_path: None) -> AsyncIterator[Lab]:
    """A lab of two nodes; after the test nothing of it runs, and no socket is left."""
    lab = Lab(tmp_path)
    try:
        yield lab
        for root in lab.folder.glob(".qnetem/*"):
            state = State(Layout(root))
            await down(state)
            assert not state.run_folder.path.exists()
        await until(lambda: not lab.processes())
    finally:
        for pid in lab.processes():
            os.kill(pid, signal.SIGKILL)
