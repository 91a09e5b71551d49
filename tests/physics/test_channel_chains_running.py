"""Replay of the cases about chains of links: how long they wait for each other, attempts being pulses of a channel.

A link of the running channel process succeeds at a pulse that clicks. The pulses of all links of a chain go side by
side; whoever has succeeded waits for the others, and then, or once a cutoff is over, all begin again. What a node would
hold meanwhile, and how that decays, is on the functions (`test_physics_entanglement`).
"""

import asyncio
import json
import math
import tempfile
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from channel_process import Ends, channel_process

from qnetem.runtime import pki
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import parameters_pb2

pytestmark = pytest.mark.timeout(300)

CASES: Final = {
    case["id"]: case for case in json.loads((Path(__file__).parent / "physics-cases.json").read_text())["cases"]
}
REPLAYED: Final = {"chain-wait-n4-p0.05", "chain-wait-n4-p0.0001", "chain-cutoff-2link"}
_SCALE: Final = 2e4
# more than the trials take, on the whole
_SPARE: Final = 1.05


def link(click_prob: float) -> parameters_pb2.LinkParameters:
    """Light that clicks so often, of which nothing is lost."""
    return parameters_pb2.LinkParameters(
        clock_hz=1e9,
        intensities=(-math.log1p(-click_prob),),
        intensity_probs=(1.0,),
        efficiency=1.0,
        transmitter_p_z=1.0,
        receiver_p_z=1.0,
    )


def links_of(name: str) -> list[str]:
    return [f"{name}-{number}" for number in range(CASES[name]["inputs"].get("n_links", 2))]


async def _successes(ends: Ends, name: str, block_count: int) -> list[int]:
    """Return the pulses of one train that click."""
    async with ends.bob.receive(name) as receiver, ends.alice.transmit(name) as sender:
        await sender.send(0, block_count, ends.clock.now_ps())
        found = []
        async for stretch in receiver:
            blocks = stretch.first_block + np.arange(len(stretch.block_counts))
            found.append(np.repeat(blocks * BLOCK_PULSES, stretch.block_counts) + stretch.offsets)
            if stretch.is_last:
                break
    slots: list[int] = np.concatenate(found).tolist()
    return slots


@pytest.fixture(scope="module")
def successes(authority: pki.Authority) -> dict[str, list[int]]:
    """Run one process, and all its links at once."""
    found: dict[str, list[int]] = {}

    async def take(ends: Ends, name: str, link_id: str) -> None:
        attempts = CASES[name]["expected"] * CASES[name]["sample_size"] * _SPARE
        found[link_id] = await _successes(ends, link_id, math.ceil(attempts / BLOCK_PULSES))

    async def run(folder: Path) -> None:
        links = {link_id: link(CASES[name]["inputs"]["p"]) for name in REPLAYED for link_id in links_of(name)}
        async with (
            channel_process(links, _SCALE, folder=folder, authority=authority) as ends,
            asyncio.TaskGroup() as tasks,
        ):
            for name in REPLAYED:
                for link_id in links_of(name):
                    tasks.create_task(take(ends, name, link_id))

    with tempfile.TemporaryDirectory(prefix="qn-") as folder:
        asyncio.run(run(Path(folder)))
    return found


def first_successes(slots: list[list[int]], begin: int) -> list[int] | None:
    """Return how many attempts each link takes from a pulse on; None where one has too few pulses."""
    places = [bisect_left(own, begin) for own in slots]
    if any(place == len(own) for place, own in zip(places, slots, strict=True)):
        return None
    return [own[place] - begin + 1 for place, own in zip(places, slots, strict=True)]


def trials(slots: list[list[int]], cutoff: float = math.inf) -> Iterator[int]:
    """Yield how many attempts a chain takes, time after time, until its pulses are used up."""
    begin = spent = 0
    while (counts := first_successes(slots, begin)) is not None:
        is_met = max(counts) - min(counts) <= cutoff
        used = max(counts) if is_met else min(counts) + round(cutoff)
        begin += used
        spent += used
        if is_met:
            yield spent
            spent = 0


def agrees(case: dict[str, Any], value: float) -> None:
    assert case["tolerance_kind"] == "abs_5sigma"
    assert value == pytest.approx(case["expected"], abs=case["tolerance"], rel=0)


@pytest.mark.parametrize("name", ["chain-wait-n4-p0.05", "chain-wait-n4-p0.0001", "chain-cutoff-2link"])
def test_a_chain_of_the_running_channel_waits_as_long_as_listed(successes: dict[str, list[int]], name: str) -> None:
    case = CASES[name]
    slots = [successes[link_id] for link_id in links_of(name)]
    taken = list(trials(slots, case["inputs"].get("cutoff", math.inf)))
    assert len(taken) >= case["sample_size"]
    agrees(case, float(np.mean(taken[: case["sample_size"]])))


def test_a_chain_that_knows_no_cutoff_would_be_seen(successes: dict[str, list[int]]) -> None:
    slots = [successes[link_id] for link_id in links_of("chain-cutoff-2link")]
    case = CASES["chain-cutoff-2link"]
    found = float(np.mean(list(trials(slots))))
    assert abs(found - case["expected"]) > 2 * case["tolerance"]
