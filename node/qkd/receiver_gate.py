"""node.qkd.receiver_gate: the receiver's gates put where the light is, and kept there. Edge."""

from typing import Final

from node.control.clock_sync import ClockState
from node.control.tuning import GateScan, gate_step_ps
from qnetem.runtime.clock import PS_PER_S
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import process_pb2
from quantum_channel.client import QuantumChannelClient

__all__ = ["ReceiverGate", "scan_trains_count"]

# at least this for one place of a scan
_SCAN_CLICKS: Final = 100
_SCAN_PULSES: Final = 16 * BLOCK_PULSES


def scan_trains_count(config: process_pb2.NodeLinkConfig) -> int:
    """Return how many test trains the receiver of a link takes, at most, to find the light with its gates."""
    planned = config.planned
    if planned.gate_width_ps <= 0.0:
        return 0
    each = -(-_SCAN_PULSES // (max(1, config.protocol.train_blocks) * BLOCK_PULSES))
    return each * GateScan(PS_PER_S / planned.clock_hz, planned.gate_width_ps).place_count


class ReceiverGate:
    """The gates of one receiver; without gates there is nothing to do.

    Attributes:
        offset_ps: Where they were put, on top of what is planned.
    """

    def __init__(self, config: process_pb2.NodeLinkConfig) -> None:
        """Begin where they were planned."""
        planned = config.planned
        self._link_id = config.link_id
        self._period_ps = PS_PER_S / planned.clock_hz
        self._width_ps, self._planned_ps = planned.gate_width_ps, planned.gate_offset_ps
        self.offset_ps = 0.0
        self._scan: GateScan | None = None
        self._from_block = 0
        self._clicks = self._pulses = 0

    @property
    def is_scanning(self) -> bool:
        """Whether the light is being looked for."""
        return self._scan is not None

    async def begin(self, channel: QuantumChannelClient) -> None:
        """Begin a scan, if there are gates.

        Raises:
            QnetemError: The channel does not do what it is asked.
        """
        if self._width_ps > 0.0:
            self._scan = GateScan(self._period_ps, self._width_ps)
            await self._put(self._scan.gate_ps, channel)

    async def scan(self, first_block: int, click_count: int, pulse_count: int, channel: QuantumChannelClient) -> bool:
        """Take the clicks of a stretch while scanning; return whether the scan is over now.

        Raises:
            QnetemError: The channel does not do what it is asked.
        """
        scan = self._scan
        # stretches that were sampled before the gate was moved
        if scan is None or first_block < self._from_block:
            return False
        self._clicks += click_count
        self._pulses += pulse_count
        if self._clicks < _SCAN_CLICKS and self._pulses < _SCAN_PULSES:
            return False
        scan.measured(self._clicks / self._pulses)
        await self._put(scan.gate_ps, channel)
        if scan.is_over:
            self._scan = None
        return scan.is_over

    async def follow(self, clock: ClockState, channel: QuantumChannelClient) -> None:
        """Keep the light in the middle of the gates: it comes late by the receiver's own clock as that is.

        Raises:
            QnetemError: The channel does not do what it is asked.
        """
        if self._width_ps <= 0.0:
            return
        middle_ps = clock.offset_ps - round(clock.offset_ps / self._period_ps) * self._period_ps
        place_ps = gate_step_ps(middle_ps, self.offset_ps + self._planned_ps, self._width_ps)
        if place_ps is not None:
            await self._put(place_ps, channel)

    async def _put(self, place_ps: float, channel: QuantumChannelClient) -> None:
        offset_ps = place_ps - self._planned_ps
        self._from_block = await channel.tune(self._link_id, gate_offset_ps=offset_ps)
        self.offset_ps = offset_ps
        self._clicks = self._pulses = 0
