"""The receiver's gate: however narrow, a scan of it ends within the test trains that the transmitter allows."""

import math
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from node.qkd.receiver_gate import ReceiverGate, scan_trains_count
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import parameters_pb2, process_pb2

PERIOD_PS = 1000.0


@dataclass
class Channel:
    """Moves the gate from the next block on, as a quantum channel does."""

    next_block: int = 0
    places_ps: list[float] = field(default_factory=list)

    async def tune(self, link_id: str, *, gate_offset_ps: float) -> int:
        assert link_id == "a-b"
        self.places_ps.append(gate_offset_ps)
        return self.next_block


@pytest.mark.parametrize("train_blocks", [1, 7, 64])
@pytest.mark.parametrize("width_ps", [2.0, 15.0, 400.0])
async def test_a_scan_takes_no_more_trains_than_it_is_given(width_ps: float, train_blocks: int) -> None:
    config = process_pb2.NodeLinkConfig(
        link_id="a-b",
        planned=parameters_pb2.LinkParameters(clock_hz=1e9, gate_width_ps=width_ps),
        protocol=parameters_pb2.ProtocolParameters(train_blocks=train_blocks),
    )
    gate, channel, light_ps, trains = ReceiverGate(config), Channel(), -333.0, 0
    await gate.begin(cast(Any, channel))
    while gate.is_scanning:
        first, channel.next_block = channel.next_block, channel.next_block + train_blocks
        off_ps = (light_ps - gate.offset_ps + PERIOD_PS / 2) % PERIOD_PS - PERIOD_PS / 2
        pulses = train_blocks * BLOCK_PULSES
        # faint: never so many clicks that a place is done before its pulses are
        share = max(0.0, 1.0 - abs(off_ps) / (width_ps / 2 + 5.0))
        clicks = math.floor(50 * share * train_blocks / 16) if width_ps < 100 else math.floor(1e-4 * pulses * share)
        await gate.scan(first, clicks, pulses, cast(Any, channel))
        trains += 1
    assert trains <= scan_trains_count(config)
    # half a period's worth of half gates was twice as much
    if train_blocks >= 16:
        assert trains <= PERIOD_PS / width_ps + 3
    assert abs((gate.offset_ps - light_ps + PERIOD_PS / 2) % PERIOD_PS - PERIOD_PS / 2) < width_ps / 2 + 3.0


def test_a_receiver_without_gates_scans_nothing() -> None:
    assert scan_trains_count(process_pb2.NodeLinkConfig()) == 0
