"""bench.physics: what nature costs: emulated pulses per second through the sockets, beside another simulator. Edge.

`python -m bench.physics [--write] [--peer-python=PATH]`; PATH is a Python >= 3.12 that has `sequence`
(`python3.12 -m venv peer && peer/bin/pip install sequence`). One process is the channel, with one link; another is
both of its ends. Emulated time passes so fast that nobody ever waits for it.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.channel_lab import LINK, Lab, lone_channel
from bench.report import publish, table
from bench.scale import cpu_s
from bench.testbed import pss_mb
from qnetem.runtime.allocator import keep_small_blocks
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import parameters_pb2
from quantum_channel.client import ReceiveStream, TransmitStream

COMMAND = "python -m bench.physics"
_SCALE = 1e3
_WATCH_S = 5.0
_TRAIN_BLOCKS = 1 << 14
_AHEAD = 4
_HOUR_PULSES = 3_600 * 10**9
LOSSES_DB = (0.0, 10.0, 20.0, 30.0)
DEAD_TIMES_PS = (50_000, 10_000_000)


def link(loss_db: float, dead_time_ps: int) -> parameters_pb2.LinkParameters:
    """Return a 1 GHz link with the source and detectors of the superconducting profile, but for the dead time."""
    return parameters_pb2.LinkParameters(
        extra_loss_db=loss_db,
        clock_hz=1e9,
        intensities=(0.40, 0.13),
        intensity_probs=(0.35, 0.65),
        transmitter_p_z=0.78,
        receiver_p_z=0.78,
        misalignment_prob=0.01,
        efficiency=0.85,
        dark_count_hz=100,
        dead_time_ps=dead_time_ps,
        detector_jitter_fwhm_ps=50,
    )


@dataclass
class Passed:
    """What has arrived so far."""

    pulses: int = 0
    clicks: int = 0


async def _flow(lab: Lab, until: Callable[[Passed], Awaitable[bool]]) -> None:
    """Send train after train, and take their clicks, until somebody has seen enough."""
    passed, first_block, start_ps = Passed(), 0, lab.clock.now_ps()
    async with lab.bob.receive(LINK) as receiver, lab.alice.transmit(LINK) as transmitter:
        room = asyncio.Semaphore(_AHEAD)

        async def send() -> None:
            nonlocal first_block, start_ps
            while True:
                await room.acquire()
                await transmitter.send(first_block, _TRAIN_BLOCKS, start_ps)
                first_block += _TRAIN_BLOCKS
                start_ps += _TRAIN_BLOCKS * BLOCK_PULSES * 1000

        async with asyncio.TaskGroup() as tasks:
            tasks_of_flow = [tasks.create_task(send()), tasks.create_task(_drain(transmitter))]
            await _take(receiver, passed, room, until)
            for task in tasks_of_flow:
                task.cancel()


async def _drain(transmitter: TransmitStream) -> None:
    async for _ in transmitter.done():
        pass


async def _take(
    receiver: ReceiveStream, passed: Passed, room: asyncio.Semaphore, until: Callable[[Passed], Awaitable[bool]]
) -> None:
    async for clicks in receiver:
        passed.pulses += len(clicks.block_counts) * BLOCK_PULSES
        passed.clicks += len(clicks.offsets)
        if clicks.is_last:
            room.release()
        if await until(passed):
            return


async def throughput(loss_db: float, dead_time_ps: int) -> list[str]:
    """Return a row: pulses and clicks a second, wall and per second of the channel's CPU; what a click costs."""
    async with lone_channel(link(loss_db, dead_time_ps), _SCALE) as lab:
        began: tuple[float, float, float, int, int] | None = None
        row: list[str] = []

        async def enough(passed: Passed) -> bool:
            nonlocal began
            now_s = time.monotonic()
            if began is None:
                began = now_s, cpu_s(lab.pid), time.process_time(), passed.pulses, passed.clicks
            spent_s = now_s - began[0]
            if spent_s < _WATCH_S:
                return False
            cpu = cpu_s(lab.pid) - began[1]
            ends = time.process_time() - began[2]
            pulses, clicks = passed.pulses - began[3], passed.clicks - began[4]
            row.extend(
                [
                    f"{loss_db:g}",
                    f"{dead_time_ps / 1e6:g}",
                    f"{pulses / spent_s / 1e9:.3g}",
                    f"{pulses / cpu / 1e9:.3g}",
                    f"{clicks / spent_s / 1e6:.3g}",
                    f"{clicks / pulses:.2e}",
                    f"{cpu / clicks * 1e9:.3g}",
                    f"{ends / clicks * 1e9:.3g}",
                ]
            )
            return True

        await _flow(lab, enough)
        return row


async def hour() -> list[str]:
    """Return a row: the channel's memory over an hour of emulated light."""
    async with lone_channel(link(20.0, 10_000_000), _SCALE) as lab:
        readings: list[float] = []
        start_s = time.monotonic()

        async def enough(passed: Passed) -> bool:
            if passed.pulses >= len(readings) * _HOUR_PULSES // 6:
                readings.append(pss_mb(lab.pid))
            return passed.pulses >= _HOUR_PULSES

        await _flow(lab, enough)
        return [f"{time.monotonic() - start_s:.0f}", *(f"{reading:.0f}" for reading in readings[:7])]


def peer(python: str, loss_db: float) -> tuple[str, list[str]]:
    """Return the version of the other simulator, and its row."""
    command = [python, str(Path(__file__).parent / "sequence_peer.py"), f"{loss_db}", "300000"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    pulses = told["pulses"]
    return told["version"], [f"{pulses / told['cpu_s'] / 1e9:.2g}", f"{told['clicks'] / pulses:.2e}"]


def main() -> None:
    """Run all of it."""
    arguments = dict(a[2:].split("=", 1) for a in sys.argv[1:] if "=" in a)
    # as nodes do
    keep_small_blocks()
    rows = [asyncio.run(throughput(loss, dead)) for dead in DEAD_TIMES_PS for loss in LOSSES_DB]
    header = [
        "loss, dB",
        "dead time, us",
        "Gpulse/s",
        "Gpulse per CPU second of the channel",
        "Mclick/s",
        "clicks a pulse",
        "CPU of the channel a click, ns",
        "of both ends, ns",
    ]
    publish("Nature", COMMAND, table(header, rows))
    header = ["an hour takes, s", *(f"PSS at {minutes} min, MB" for minutes in range(0, 61, 10))]
    publish("An hour of light", COMMAND, table(header, [asyncio.run(hour())]))
    if python := arguments.get("peer-python"):
        beside = []
        for loss_db, row in zip(LOSSES_DB, rows, strict=False):
            version, theirs = peer(python, loss_db)
            ratio = float(row[3]) / float(theirs[0])
            beside.append([row[0], row[3], row[5], *theirs, f"{ratio:.1g}"])
        header = [
            "loss, dB",
            "qnetem: Gpulse per CPU second",
            "clicks a pulse",
            f"SeQUeNCe {version}: the same",
            "clicks a pulse",
            "ratio",
        ]
        publish("Beside another simulator", f"{COMMAND} --peer-python=...", table(header, beside))


if __name__ == "__main__":
    main()
