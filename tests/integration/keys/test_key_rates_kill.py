"""kill -9 and a new start, again and again: a pair gets what its policy says, and no restart fills its bucket."""

import asyncio
import importlib.util
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("rate_worker.py")
RATE_HZ, BURST_BITS, KEY_BITS = 1000.0, 1024, 128
Life = Callable[[float], Awaitable[list[str]]]


@pytest.fixture
def life(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Life:
    """A life of the KME at an emulated second, to its orderly end: what its master was told."""
    spec = importlib.util.spec_from_file_location("qnetem_test_rate_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)

    async def lived(emulated_s: float) -> list[str]:
        capsys.readouterr()
        await worker.run(tmp_path, emulated_s)
        return capsys.readouterr().out.split()

    return lived


def killed(folder: Path, emulated_s: float, point: str) -> list[str]:
    (folder / "crash-at").write_text(point)
    arguments = [sys.executable, str(WORKER), str(folder), str(emulated_s)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("point", ["rates.note.before", "rates.note.after", "keys.deliver.after"])
async def test_a_loop_of_kills_gives_no_more_than_the_policy(tmp_path: Path, life: Life, point: str) -> None:
    *keys, _ = await life(1000.0)
    given, lost_bits = len(keys), 0
    assert given == BURST_BITS // KEY_BITS
    for number in (1, 2):
        # of the 333 bits that have come, the first key is given; killed at the second
        given += len(await asyncio.to_thread(killed, tmp_path, 1000.0 + number / 3, f"{point}:2"))
        lost_bits += 0 if point.endswith("before") else KEY_BITS  # taken durably, and nobody was given it
    *keys, reason = await life(1001.0)
    given += len(keys)
    assert reason == "RATE_EXCEEDED"
    granted_bits = BURST_BITS + RATE_HZ * 1.0
    assert granted_bits - KEY_BITS < given * KEY_BITS + lost_bits <= granted_bits


async def test_what_is_left_is_left_after_an_orderly_end(life: Life) -> None:
    assert len(await life(1000.0)) == BURST_BITS // KEY_BITS + 1
    assert await life(1000.0) == ["RATE_EXCEEDED"]
    assert len(await life(1000.5)) == int(0.5 * RATE_HZ) // KEY_BITS + 1
    assert await life(10.0) == ["RATE_EXCEEDED"]  # time that goes back fills nothing
