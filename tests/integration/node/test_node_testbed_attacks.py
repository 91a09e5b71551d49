"""Every eavesdropper on a link that runs, and a clock that is off: seen with its reason, and the link comes back."""

from pathlib import Path
from typing import Any

import pytest
from testbed_lab import Lab, running

from qnetem.topology import ring
from qnetem.v1 import link_session_pb2, parameters_pb2

pytestmark = pytest.mark.timeout(300)

LINK = "n0-n1"
DOWN, DEGRADED = link_session_pb2.LINK_STATE_DOWN, link_session_pb2.LINK_STATE_DEGRADED

# what an operator sets, and what the link's end says of it
ATTACKS: list[tuple[dict[str, Any], int, str]] = [
    ({"eve_intercept_prob": 1.0}, DOWN, "qber"),
    ({"eve_splitting_prob": 1.0}, DOWN, "decoy-statistics"),
    ({"eve_blinding_prob": 1.0}, DOWN, "detector-blinding"),
    ({"eve_time_shift_ps": 150.0}, DOWN, "detector-imbalance"),
    ({"eve_trojan_photons": 1e-3}, DOWN, "back-reflection"),
    # a whole number of slots: arrivals do not show it
    ({"eve_delay_ps": 60_000.0}, DOWN, "round-trip"),
    ({"dark_count_hz": 20_000.0}, DEGRADED, "dark-counts"),
    ({"is_up": False}, DOWN, "no-light"),
    # light is cut off, and detectors go on clicking in the dark
    ({"extra_loss_db": 150.0}, DOWN, "no-light"),
]


async def seen_and_gone(lab: Lab, settings: dict[str, Any], state: int, reason: str) -> None:
    await lab.client.set_link(LINK, parameters_pb2.LinkSettings(**settings))
    for node in ("n0", "n1"):
        await lab.end_is(node, LINK, state, reason)
    await lab.client.reset_link(LINK, list(settings))
    await lab.in_service()


async def test_each_attack_is_named_and_the_link_comes_back(tmp_path: Path) -> None:
    topology = ring(2, name="eve") | {"time": {"scale": 4}}
    topology["topology"]["defaults"] = {"profile": "decoy-bb84-1ghz-apd"}
    link = topology["topology"]["links"][0]
    link["protocol"] = {"block_ramp": ["100kbit"]}
    link["quantum"] = {
        "length": "50km",
        "clock_offset": "50us",
        "clock_skew": "20ppb",
        "clock_white": "5ps/sqrt(s)",
        "sync_noise": "50ps",
        "efficiency_mismatch": 0.3,
        "intensity_wander": 0.05,
        "intensity_wander_time": "100s",
        "polarisation_time": "2000s",
    }
    async with running(tmp_path, topology) as lab:
        await lab.in_service()
        for settings, state, reason in ATTACKS:
            await seen_and_gone(lab, settings, state, reason)
        receiver, transmitter = (await lab.ends())["n1", LINK], (await lab.ends())["n0", LINK]
    assert receiver.is_clock_locked
    # 20 ppb over the time that has passed, on top of 50 us
    assert receiver.clock_skew_ppb == pytest.approx(20.0, abs=1.0)
    assert receiver.clock_offset_ps > 5.0e7
    # 50 km both ways
    assert receiver.quantum_round_trip_ps == pytest.approx(4.8974e8, rel=1e-3)
    assert receiver.alignments_count >= len(ATTACKS)
    assert transmitter.intensity_trim_ratio > 0.0
    assert [step.name for step in transmitter.steps] == ["align", "clock"]
    assert {monitor.name for monitor in receiver.monitors} == {
        "dark-counts",
        "detector-blinding",
        "detector-imbalance",
        "double-clicks",
        "round-trip",
    }
    assert {monitor.name for monitor in transmitter.monitors} == {"back-reflection", "basis-match", "decoy-statistics"}
