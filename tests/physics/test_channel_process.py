"""Replay of the listed cases about what varies, on a channel process, over its sockets.

Samples are of the listed size, 5 sigma, fixed secrets. Only the large ensemble of drifts of polarisation is drawn by
what the process draws with, since each would need an alignment of its own; the process shows some hundred of them.
"""

import json
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from channel_process import LINK, NATURE, RECEIVER, TRANSMITTER, Ends, channel_process

from qnetem.runtime.clock import from_time
from qnetem.runtime.rng import BLOCK_PULSES, receiver_choices, transmitter_choices
from qnetem.v1 import parameters_pb2, process_pb2
from quantum_channel.client import Clicks
from quantum_channel.drift_chance import Chance
from quantum_channel.drift_rotation import Rotation, step_level
from quantum_channel.polarisation import error_prob_mean

CASES: Final = {
    case["id"]: case for case in json.loads((Path(__file__).parent / "physics-cases.json").read_text())["cases"]
}
REPLAYED: Final = {"pol-walk-0.1tau", "raman-mc-forward-50km", "clock-rwfm"}
S: Final = 10**12
Serving = Callable[[parameters_pb2.LinkParameters, float], AbstractAsyncContextManager[Ends]]


def agrees(case: dict[str, Any], value: float) -> None:
    scale = abs(case["expected"]) if case["tolerance_kind"].startswith("rel") else 1.0
    assert value == pytest.approx(case["expected"], abs=case["tolerance"] * scale, rel=0)


def link(**changes: Any) -> parameters_pb2.LinkParameters:
    """One intensity in one basis over no fibre at 1 GHz, without any fault of its own."""
    given = {"clock_hz": 1e9, "intensities": (0.0,), "intensity_probs": (1.0,), "efficiency": 1.0}
    return parameters_pb2.LinkParameters(**{**given, "transmitter_p_z": 1.0, "receiver_p_z": 1.0, **changes})


@pytest.fixture
def serving(
    short_dir: Path, credential_paths_of: Callable[..., process_pb2.CredentialPaths], free_port: Callable[[], int]
) -> Serving:
    """Run a channel process with one link at a time scale."""
    return lambda planned, scale: channel_process(
        planned, scale, folder=short_dir, credential_paths_of=credential_paths_of, free_port=free_port
    )


async def next_train(receiver: Any) -> list[Clicks]:
    stretches = []
    async for clicks in receiver:
        stretches.append(clicks)
        if clicks.is_last:
            break
    return stretches


async def test_classical_light_makes_detectors_click_as_listed(serving: Serving) -> None:
    case = CASES["raman-mc-forward-50km"]
    given = case["inputs"]
    blocks = -(-case["sample_size"] // BLOCK_PULSES)
    planned = link(
        length_km=given["L_km"],
        attenuation_db_per_km=0.2,
        coexisting_forward_mw=given["P_launch_mW"],
        raman_per_km_nm=given["beta_per_km_nm"],
        filter_nm=given["filter_nm"],
        efficiency=given["eta_rx"],
    )
    assert 1e9 / planned.clock_hz == given["gate_ns"]
    async with serving(planned, 1.0) as ends, ends.bob.receive(LINK) as receiver, ends.alice.transmit(LINK) as sender:
        await sender.send(0, blocks, ends.clock.now_ps())
        clicks = sum(len(stretch.offsets) for stretch in await next_train(receiver))
    agrees(case, clicks / (blocks * BLOCK_PULSES))


async def test_a_random_walk_of_frequency_takes_the_clock_as_far_as_listed(serving: Serving) -> None:
    case = CASES["clock-rwfm"]
    given = case["inputs"]
    apart_ps = round(given["t_s"] * S)
    # neighbours are correlated by 1/4, so that more are needed for the listed deviation
    readings = round(case["sample_size"] * (1 + 2 / 16)) + 2
    # each train is one click of a certain pulse: its tag is what the clock is off
    planned = link(intensities=(100.0,), dead_time_ps=10**10, clock_walk_ppb=given["b"] * 1e9)
    read_ps = []
    async with serving(planned, 2e4) as ends, ends.bob.receive(LINK) as receiver, ends.alice.transmit(LINK) as sender:
        first_ps = (ends.clock.now_ps() // apart_ps + 1) * apart_ps
        sent = 0
        while len(read_ps) < readings:
            while sent < min(readings, len(read_ps) + 12):
                await sender.send(sent, 1, first_ps + sent * apart_ps)
                sent += 1
            (stretch,) = await next_train(receiver)
            assert len(stretch.offsets) == 1
            read_ps.append(int(stretch.offsets[0]) * 1000 + int(stretch.arrivals_ps[0]))
    # second differences know neither position nor frequency of the beginning; their variance is 2/3 t^3, twice that of
    # the walk from rest
    moved_ps = np.diff(np.array(read_ps, dtype=np.float64), n=2)
    agrees(case, float(np.sqrt((moved_ps**2).mean() / 2)))
    assert float(np.abs(np.array(read_ps)).max()) > 1e5


def test_polarisation_that_drifts_makes_the_listed_errors() -> None:
    case = CASES["pol-walk-0.1tau"]
    drift_count, steps = 16_000, 13
    tau_s = steps * 2.0**-6 / case["inputs"]["t_over_tau"]
    assert step_level(tau_s) == -6
    # one walk, cut into independent pieces by an alignment at the beginning of each
    rotation = Rotation(Chance(NATURE), tau_s)
    errors = np.array([rotation.errors((n + 1) * steps, n * steps) for n in range(drift_count)])
    rng = np.random.default_rng(20_070_601)
    trials = case["sample_size"] // errors.size + 1
    wrong = int(rng.binomial(trials, errors).sum())
    agrees(case, wrong / (trials * errors.size))


async def test_polarisation_drifts_on_the_process_as_it_should(serving: Serving) -> None:
    taus = CASES["pol-walk-0.1tau"]["inputs"]["t_over_tau"]
    steps, step_ps = 13, S // 64
    planned = link(
        intensities=(0.5,), efficiency=0.1, transmitter_p_z=0.5, receiver_p_z=0.5, polarisation_tau_s=steps / 64 / taus
    )
    drift_count, errors = 150, []
    async with serving(planned, 20.0) as ends, ends.bob.receive(LINK) as receiver, ends.alice.transmit(LINK) as sender:
        for block in range(drift_count):
            await ends.bob.align(LINK)
            state = await ends.operator.get_link(LINK)
            aligned = from_time(state.effective_since) // step_ps
            # in the middle of the step, so that the block lies in it
            await sender.send(block, 1, (aligned + steps) * step_ps + step_ps // 2)
            errors.append(error_share(await next_train(receiver)))
    found = np.array(errors)
    assert float(found.mean()) == pytest.approx(
        error_prob_mean(taus, 1.0), abs=5 * float(found.std()) / math.sqrt(drift_count)
    )
    # drifts differ: their errors are spread as widely as they are large
    assert 0.4 < float(found.std() / found.mean()) < 1.3


def error_share(stretches: list[Clicks]) -> float:
    """Return the share of wrong bits where bases match, both bases alike."""
    (stretch,) = stretches
    pulses = (stretch.first_block * BLOCK_PULSES + stretch.offsets.astype(np.int64)).astype(np.uint64)
    bases, _, bits = transmitter_choices(TRANSMITTER, pulses, 0.5, (1.0,))
    others, random_bits = receiver_choices(RECEIVER, pulses, 0.5)
    measured = np.where(stretch.detectors == 3, random_bits, stretch.detectors == 2)
    return float((measured != bits)[bases == others].mean())
