"""Two decoys, entangled pairs and a protocol for study on a testbed of real processes, and what a plan says of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from testbed_lab import Lab, RefusedError, running

from node.planning.expected_clicks import expected_clicks
from node.planning.prospect import reconciliation_leak_bits
from node.qkd.protocols import PROTOCOLS, BlockCounts
from qnetem import topology
from qnetem.topology import ring
from quantum_channel.wire import parameters_from_message

pytestmark = pytest.mark.timeout(300)

TWO, PAIRS, STUDY = "two-decoys", "pairs", "study"
BITS = 100_000
# of each link, enough to compare with a plan
BLOCKS = 8
# rates are of the last ten emulated seconds: the first slice may be cut, and the first train that is sifted may lag
WINDOW_S = 13.0


@pytest.fixture
def network() -> dict[str, Any]:
    """A link of each protocol, each between two nodes of its own."""
    content = ring(2, name="protocols")

    def link(ends: list[str], name: str, length: str, profile: str, **protocol: Any) -> dict[str, Any]:
        settings = {"block_ramp": ["100kbit"], **protocol}
        return {
            "endpoints": ends,
            "name": name,
            "profile": profile,
            "quantum": {"length": length},
            "protocol": settings,
        }

    content["topology"] |= {
        "nodes": {name: {} for name in ("alice", "bob", "carol", "dave", "erin", "frank")},
        "links": [
            link(["alice", "bob"], TWO, "100km", "two-decoys-bb84-1ghz-snspd"),
            link(["carol", "dave"], PAIRS, "70km", "bbm92-1ghz-snspd"),
            link(["erin", "frank"], STUDY, "100km", "decoy-bb84-1ghz-snspd", protocol="bb84-asymptotic"),
        ],
        "saes": {f"app-{name}": {"node": name} for name in ("alice", "bob", "carol", "dave", "erin", "frank")},
    }
    return content


def made(lab: Lab, node: str) -> list[dict[str, Any]]:
    """Blocks that the node's journal says it has made."""
    lines = lab.layout.journal(node).read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "key.block.made"]


def check_against_plan(content: dict[str, Any], link_id: str, blocks: list[dict[str, Any]]) -> None:
    """Error rate and secret bits of blocks against what is expected of the link, within 5 sigma of their mean.

    Sigma of a block's length is that of 300 blocks whose counts are drawn, Poisson, around the expected ones. Beside it
    2 % of the leak: what Cascade's own luck makes of a block.
    """
    link = topology.from_dict(content).links[link_id]
    p, protocol = parameters_from_message(link.planned), PROTOCOLS[link.protocol.protocol]
    seen = expected_clicks(p)
    span_s = BITS / sum(seen.z_hz)
    z, z_errors, x, x_errors = (
        np.array(part) * span_s for part in (seen.z_hz, seen.z_errors_hz, seen.x_hz, seen.x_errors_hz)
    )
    rng = np.random.default_rng(17)
    lengths = []
    for _ in range(300):
        # what is right and what is wrong of each intensity
        right, wrong = (rng.poisson(np.array((a, b))) for a, b in ((z - z_errors, x - x_errors), (z_errors, x_errors)))
        counts = BlockCounts(right[0] + wrong[0], wrong[0], right[1] + wrong[1], wrong[1])
        leaked = reconciliation_leak_bits(BITS, wrong[0].sum() / counts.z.sum())  # type: ignore[union-attr]
        lengths.append(
            protocol.key_estimate(
                counts,
                intensities=p.intensities,
                intensity_probs=p.intensity_probs,
                eps_sec=1e-10,
                eps_cor=1e-15,
                leaked_bits=leaked,
            ).secret_bits
        )
    qber_prob = float(z_errors.sum() / z.sum())
    slack = 0.02 * reconciliation_leak_bits(BITS, qber_prob)
    found = float(np.mean([block["secret_bits"] for block in blocks]))
    assert found == pytest.approx(np.mean(lengths), abs=5 * float(np.std(lengths)) / len(blocks) ** 0.5 + slack)
    errors = float(np.mean([block["qber_prob"] for block in blocks]))
    assert errors == pytest.approx(qber_prob, abs=5 * (qber_prob / (BITS * len(blocks))) ** 0.5)


async def test_each_protocol_makes_what_it_is_for_and_what_was_planned(tmp_path: Path, network: dict[str, Any]) -> None:
    async with running(tmp_path, network) as lab:
        await lab.in_service()

        async def enough() -> bool:
            ends = (await lab.ends()).values()
            return all(end.blocks_made_count >= BLOCKS and end.in_state_s > WINDOW_S for end in ends)

        await lab.until(enough, f"{BLOCKS} blocks of each link, and rates of a whole window")
        measured = await lab.ends()
        for master, slave in (("alice", "bob"), ("bob", "alice"), ("carol", "dave"), ("dave", "carol")):
            await lab.collect(f"app-{slave}", f"app-{master}", await lab.new_key(f"app-{master}", f"app-{slave}"))
        with pytest.raises(RefusedError, match="503"):
            await lab.ask("app-erin", "app-frank/enc_keys", {"number": 1, "size": 256})
        ends = await lab.ends()
        pools = {node.name: list(node.status.pools) for node in (await lab.client.inspect()).nodes}
        rates = {name: (await lab.client.get_link(name)).quantum for name in (TWO, PAIRS)}
    assert lab.history.wrongs() == []
    assert {(link, end.protocol, end.is_insecure) for (_, link), end in ends.items()} == {
        (TWO, "bb84-two-decoys", False),
        (PAIRS, "bbm92", False),
        (STUDY, "bb84-asymptotic", True),
    }
    for link_id, transmitter, receiver in ((TWO, "alice", "bob"), (PAIRS, "carol", "dave"), (STUDY, "erin", "frank")):
        blocks = made(lab, transmitter)
        told = {event["block_id"]: event["secret_bits"] for event in made(lab, receiver)}
        shared = [event for event in blocks if event["block_id"] in told]
        assert len(shared) >= BLOCKS
        assert all(told[event["block_id"]] == event["secret_bits"] for event in shared)
        assert {event["is_secure"] for event in blocks} == {link_id != STUDY}
        assert all(event["block_id"].endswith(".insecure") == (link_id == STUDY) for event in blocks)
        check_against_plan(network, link_id, shared)
    # what is for study was made and compared, and is held nowhere
    assert ends["erin", STUDY].secret_bits_total > 0
    assert ends["erin", STUDY].epsilon_total == ends["erin", STUDY].blocks_made_count
    assert all(pool.available_bits == pool.peer_available_bits == 0 for pool in pools["erin"] + pools["frank"])
    # clicks of a pulse: 5 sigma of Poisson, and two trains by which one of the counters is ahead of the other
    for link_id, state in rates.items():
        link = topology.from_dict(network).links[link_id]
        seen, train_pulses = expected_clicks(parameters_from_message(link.planned)), link.protocol.train_blocks << 20
        expected = seen.clicks_hz / link.planned.clock_hz
        bound = 5 / (state.pulse_count * expected) ** 0.5 + 2 * train_pulses / state.pulse_count
        assert state.click_count / state.pulse_count == pytest.approx(expected, rel=bound)
        # sifted bits of a click, over the window: 5 sigma of them; the transmitter counts both in one moment
        end = measured["alice" if link_id == TWO else "carol", link_id]
        bound = 5 / (10 * end.sifted_hz) ** 0.5
        assert end.sifted_hz / end.clicks_hz == pytest.approx(sum(seen.z_hz) / seen.clicks_hz, rel=bound)
