"""What a journal recorded of a link in wind and sun makes the same clicks again: any cut, any kernel, any process.

Drifts, ramps, layers, alignments, gates and trims change while trains pass, and the process is started again between.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from qnetem import topology
from qnetem.v1 import parameters_pb2, process_pb2
from quantum_channel import sampler, sampler_compiled, wire
from quantum_channel.client import Clicks
from quantum_channel.layers import Layer
from quantum_channel.link import Link
from quantum_channel.passage import START, pass_runs
from quantum_channel.sampler import Keys, Sampler
from quantum_channel.train import Train

LINK: Final = "alice-bob"
S: Final = 10**12
BLOCKS: Final = 90
# slow enough for a call to come in the midst of a train
SCALE: Final = 0.04
ARRAYS: Final = ("block_counts", "offsets", "detectors", "arrivals_ps")
Settings = parameters_pb2.LinkSettings
Bytes = tuple[bytes, ...]
COMPILED: Final = sampler_compiled.sample
Life = tuple[list[dict[str, Any]], list[tuple[Train, Bytes]]]


def aerial() -> parameters_pb2.LinkParameters:
    text: dict[str, Any] = topology.ring(2)
    link = text["topology"]["links"][0]
    text["topology"]["defaults"] = {"profile": "decoy-bb84-1ghz-apd"}
    link["environment"] = "aerial"
    # a faster day, so that each of its drifts moves within a second
    link["quantum"] = {"length": "25km", "gate_width": "700ps", "day": "600s", "loss_wander_time": "4s"}
    return topology.from_dict(text).links["n0-n1"].planned


def joined(parts: Sequence[Any]) -> Bytes:
    return tuple(np.concatenate([getattr(part, name) for part in parts]).tobytes() for name in ARRAYS)


async def lived(lab: Any, journal: Path, first_block: int) -> Life:
    """Let two trains pass, telling the devices and the link things meanwhile; return what was recorded and heard."""
    recorded_before, heard = len(changes(journal)), []
    async with (
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        lab.operator() as operator,
        bob.receive(LINK) as receiver,
        alice.transmit(LINK) as transmitter,
    ):

        async def put_gate(aside_ps: float = 0.0) -> None:
            drift = (await operator.get_link(LINK)).drift
            late_ps = drift.clock_offset_ps + drift.delay_ps + aside_ps
            await bob.tune(LINK, gate_offset_ps=(late_ps + 500.0) % 1000.0 - 500.0)

        async def change(number: int) -> None:
            """The n-th thing to happen while a train passes."""
            if number == 0:
                await operator.set_link(LINK, Settings(extra_loss_db=3), ramp_s=0.02, duration_s=0.04)
            elif number == 1:
                await bob.align(LINK)
            elif number == 2:
                await put_gate(aside_ps=60.0)
            elif number == 3:
                await alice.tune(LINK, intensity_trim_ratio=1.2)
            elif number == 4:
                await operator.set_link(LINK, Settings(dark_count_hz=5e4))
                await operator.set_link(LINK, Settings(eve_delay_ps=400), ramp_s=0.05)

        # as the two ends do when they commission
        await alice.tune(LINK, intensity_trim_ratio=0.9)
        await bob.align(LINK)
        await put_gate()
        stretches = aiter(receiver)
        for block in (first_block, first_block + BLOCKS + 7):
            start_ps = lab.clock.now_ps() + S // 100
            await transmitter.send(block, BLOCKS, start_ps)
            train: list[Clicks] = []
            while not train or not train[-1].is_last:
                train.append(await anext(stretches))
                await change(len(train) - 1)
            assert len(train) > 10
            heard.append((Train(block, BLOCKS, start_ps, 1000.0), joined(train)))
            # and while none is on its way
            await bob.align(LINK)
    return changes(journal)[recorded_before:], heard


def changes(journal: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
    return [line for line in lines if line["event"] == "quantum_channel.link.changed"]


def apply(link: Link, line: dict[str, Any]) -> None:
    """Have a link change as a journal says."""
    at_ps = line["effective_since_ps"]
    link.begin(line["effective_from_block"], at_ps)
    if line["how"] == "aligned":
        link.align(at_ps)
    elif line["how"] == "tuned":
        gate_ps, ratio = line["tuned_gate_offset_ps"], line["intensity_trim_ratio"]
        link.tune(at_ps, gate_offset_ps=gate_ps, intensity_trim_ratio=ratio)
    else:
        link.replace(line["settings"], [Layer(**layer) for layer in line["layers"]], at_ps)


def again(
    config: process_pb2.QuantumLinkConfig, life: Life, most_blocks: int, sample: Sampler = COMPILED
) -> list[Bytes]:
    """Make the clicks of a life again, in stretches of so many blocks at most and by one of the kernels."""
    lines, heard = life
    link = Link(LINK, wire.parameters_from_message(config.planned), {}, config.nature_secret)
    keys = Keys.of(config.nature_secret, config.transmitter_secret, config.receiver_secret)
    left_lines, made = list(lines), []
    for train, _ in heard:
        block, left, parts = train.first_block, START, []
        while block < train.end_block:
            while left_lines and left_lines[0]["effective_from_block"] <= block:
                apply(link, left_lines.pop(0))
            borders = [train.end_block, block + most_blocks, *(line["effective_from_block"] for line in left_lines)]
            runs = link.course.runs(train, block, min(borders))
            passed, left = pass_runs(sample, keys, link.course.weather, train, runs, left)
            parts.append(passed.tagged)
            block = runs[-1].end_block
        made.append(joined(parts))
    return made


async def test_recorded_controls_make_the_same_clicks_again(
    serving: Callable[..., Any],
    process_config: Callable[..., process_pb2.ProcessConfig],
    link_config: Callable[..., process_pb2.QuantumLinkConfig],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = link_config()
    config.planned.CopyFrom(aerial())
    process = process_config(config, scale=SCALE)
    lives: list[Life] = []
    for first_block, limit in ((100, 5), (5000, 7)):
        monkeypatch.setattr("quantum_channel.nature.stretch_limit", lambda *_, limit=limit: limit)
        # a process of its own each time: what devices were told is gone with it, nature goes on
        async with serving(process) as lab:
            lives.append(await lived(lab, Path(process.journal_path), first_block))

    for life in lives:
        lines, heard = life
        clicks = [clicks for _, clicks in heard]
        assert all(len(offsets) > 4 * 1000 for _, offsets, _, _ in clicks)
        hows = [line["how"] for line in lines]
        assert (hows.count("aligned"), hows.count("tuned"), hows.count("set")) == (5, 6, 6)
        assert len({borders_of(train, lines) for train, _ in heard} - {()}) > 0
        for most_blocks in (BLOCKS, 17, 4):
            assert again(config, life, most_blocks) == clicks
        # all of it matters, and so does when
        for how in set(hows):
            without = [line for line in lines if line["how"] != how]
            assert again(config, (without, heard), BLOCKS) != clicks
        late = [dict(line) for line in lines]
        brighter = next(line for line in late if line["intensity_trim_ratio"] == 1.2)
        brighter["effective_from_block"] += 2
        assert again(config, (sorted(late, key=lambda line: line["effective_from_block"]), heard), BLOCKS) != clicks

    # arrays take their time: a train up to where some of it has taken effect
    lines, heard = lives[0]
    train, whole = heard[0]
    short = replace(train, block_count=borders_of(train, lines)[:3][-1] - train.first_block + 3)
    (by_arrays,) = again(config, (lines, [(short, whole)]), 11, sampler.sample)
    assert by_arrays == again(config, (lines, [(short, whole)]), BLOCKS)[0]
    assert all(made == heard[: len(made)] for made, heard in zip(by_arrays, whole, strict=True))


def borders_of(train: Train, lines: list[dict[str, Any]]) -> tuple[int, ...]:
    """Return the blocks within a train from which something else held."""
    borders = {line["effective_from_block"] for line in lines}
    return tuple(sorted(block for block in borders if train.first_block < block < train.end_block))
