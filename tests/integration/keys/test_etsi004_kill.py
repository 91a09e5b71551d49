"""kill -9 at every crash point of key streams: an index is one key, at both sides, given once to each."""

import asyncio
import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import node.keys.etsi004  # noqa: F401 declares the crash points
from qnetem.runtime import crashpoint
from qnetem.runtime.errors import BadInputError

WORKER = Path(__file__).with_name("stream_worker.py")
POINTS = [name for name in crashpoint.names() if name.startswith("stream.")]
CASES = POINTS + [f"{name}:{nth}" for name in POINTS if "close" not in name for nth in (2, 3) if "open" not in name]


@pytest.fixture(scope="module")
def worker() -> ModuleType:
    """The worker's own functions."""
    spec = importlib.util.spec_from_file_location("qnetem_test_stream_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ran(folder: Path, status: int) -> list[Any]:
    done = subprocess.run([sys.executable, str(WORKER), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("case", CASES)
async def test_killed_at_a_point_of_streams(tmp_path: Path, worker: ModuleType, case: str) -> None:
    (tmp_path / "crash-at").write_text(case)
    told = await asyncio.to_thread(ran, tmp_path, -signal.SIGKILL)
    async with worker.opened(tmp_path) as streams:
        # a side that was open still is; one that was not can be opened
        assert set(await worker.open_both(streams)) <= {0, 1, 5}
        digests: dict[int, str] = {}
        had: dict[str, set[int]] = {"app-1": set(), "app-1b": set()}
        for line in told:
            assert digests.setdefault(line["Index"], line["digest"]) == line["digest"]
            assert line["Index"] not in had[line["app"]]
            had[line["app"]].add(line["Index"])
        lost = 0
        for app, indices in had.items():
            for index in range(4):
                body = await worker.get(streams, app, index)
                if index in indices:
                    assert body["Status"] == 2, "given twice"
                elif body["Status"] == 2:
                    lost += 1  # consumed durably, and the answer was lost by the kill
                else:
                    assert digests.setdefault(index, body["digest"]) == body["digest"]
        assert lost == (1 if case.startswith("stream.collect.after") else 0)
        assert len(set(digests.values())) == len(digests)
        # and goes on behind all that was given
        following = [await worker.get(streams, app) for app in had]
        assert following[0] == following[1]
        assert following[0]["Index"] == 4


async def test_the_worker_of_streams_reaches_its_end(tmp_path: Path, worker: ModuleType) -> None:
    *told, end = await asyncio.to_thread(ran, tmp_path, 0)
    assert (len(told), end) == (6, "end")
    async with worker.opened(tmp_path) as streams:
        with pytest.raises(BadInputError, match="no such stream open"):
            await worker.get(streams, "app-1")
        assert (await worker.get(streams, "app-1b"))["Status"] == 3
