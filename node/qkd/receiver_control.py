"""node.qkd.receiver_control: the receiver's loops at work, and what its monitors find. Edge."""

import math
import time
from dataclasses import dataclass
from typing import Final

from node.context import NodeContext
from node.control.alignment import AlignmentLoop
from node.control.reasons import ABORTING, CLOCK_LOST, DEGRADING, ROUND_TRIP
from node.control.receiver_watch import ReceiverWatch, open_blocks
from node.devices.receiver import Detections, Receiver
from node.link_state import LinkRecord
from node.qkd.receiver_clock import ReceiverClock, RightedClicks
from node.qkd.receiver_gate import ReceiverGate
from node.qkd.slot_search import LEAST_COMPARED, SLIPPED_PROB
from qnetem.runtime.clock import PS_PER_S, from_time
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import link_session_pb2, process_pb2
from quantum_channel.client import Clicks, QuantumChannelClient

__all__ = ["Answered", "ReceiverControl"]

# wall seconds between alignments that nothing but bad test trains asks for
_REALIGN_S: Final = 1.0
_FWHM_PER_SIGMA: Final = 2.3548
# arrivals that spread more over a slot have no phase
_SHARP_SHARE: Final = 0.35


@dataclass(frozen=True)
class Answered:
    """What the answer to a part has shown.

    Attributes:
        blocks: The blocks of pulses that it is of.
        z, x: Bits compared in the open, and errors among them.
        slot_shift: As SiftAnswer.
        epoch: As `ReceiverControl.detect` gave it.
        is_test: The part is of a test train.
        is_last: It is the last part of its train.
    """

    blocks: range
    z: tuple[int, int]
    x: tuple[int, int]
    slot_shift: int
    epoch: int
    is_test: bool
    is_last: bool

    @property
    def compared_count(self) -> int:
        """Bits compared."""
        return self.z[0] + self.x[0]

    @property
    def error_count(self) -> int:
        """Errors among them."""
        return self.z[1] + self.x[1]


class ReceiverControl:
    """Sets a receiver up and keeps it so. It lives as long as the link; each session lends it the channel."""

    def __init__(self, config: process_pb2.NodeLinkConfig, node: NodeContext, record: LinkRecord) -> None:
        """Control the receiver of one link.

        Raises:
            BadInputError: The link has no clock rate.
        """
        self._config, self._node, self._figures = config, node, record.loops
        self._device = Receiver(config)
        self._clock = ReceiverClock(config, node)
        self._gate = ReceiverGate(config)
        self._begin()

    def _begin(self) -> None:
        planned = self._config.planned
        self._alignment = AlignmentLoop(BLOCK_PULSES / planned.clock_hz, planned.polarisation_tau_s)
        self._watch = ReceiverWatch(self._config.planned)
        self._is_confirmed = self._is_measured = False
        self._aligned_s = 0.0
        self._train_end_s: float | None = None

    async def prepare(self, channel: QuantumChannelClient) -> None:
        """Set the receiver up: what can be done without light; the rest takes test trains.

        Raises:
            QnetemError: The channel does not do what it is asked.
        """
        self._begin()
        self._channel = channel
        self._figures.steps_s = {}
        self._step_since_ps = self._node.process.clock.now_ps()
        await self._align("commissioning")
        self._ended("align")
        await self._gate.begin(channel)
        await self._clock.synchronise(channel)

    @property
    def step(self) -> str:
        """What the receiver is being set up in; empty when it is ready."""
        if self._gate.is_scanning:
            return "gate"
        return "" if self._is_confirmed else "clock"

    @property
    def verdict(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Reasons to end service, and reasons that only degrade it."""
        found = set(self._watch.alarms)
        if self._clock.round_trip.is_alarmed:
            found.add(ROUND_TRIP)
        if self._is_confirmed and self._clock.is_lost:
            found.add(CLOCK_LOST)
        return tuple(r for r in ABORTING if r in found), tuple(r for r in DEGRADING if r in found)

    def findings(self, train_id: int) -> link_session_pb2.ReceiverFindings:
        """Return what the transmitter is told."""
        aborting, degrading = self.verdict
        return link_session_pb2.ReceiverFindings(
            train_id=train_id,
            step=self.step,
            aborting=aborting,
            degrading=degrading,
            steps_s=self._figures.steps_s,
        )

    @property
    def alignments_behind_count(self) -> int:
        """How many alignments had taken effect when the last part that was answered was sent."""
        return self._alignment.behind_count

    async def expect(self, train: link_session_pb2.TrainNotice, key_block: int) -> None:
        """Take note of a train that is about to be sent; after a pause nobody has followed what drifts.

        Raises:
            BadInputError: The train starts at no time.
            QnetemError: The channel does not do what it is asked.
        """
        start_s, ended_s = from_time(train.start) / PS_PER_S, self._train_end_s
        self._train_end_s = start_s + train.block_count * BLOCK_PULSES / self._config.planned.clock_hz
        if self._is_confirmed and ended_s is not None and self._alignment.is_stale_after(start_s - ended_s):
            await self._align("ahead", key_block)

    async def detect(self, clicks: Clicks, train: link_session_pb2.TrainNotice) -> tuple[Detections, int]:
        """Return what a stretch of raw clicks is, once the clock is taken off it, and the epoch that it was read in.

        Raises:
            BadInputError: The arrays do not fit together.
            QnetemError: The channel does not do what it is asked.
        """
        righted = await self._clock.righted(clicks, train, self._channel, is_confirmed=self._is_confirmed)
        within = range(train.train_id, train.train_id + train.block_count)
        detections = self._device.detect(
            clicks.first_block, righted.block_counts, righted.offsets, righted.detectors, within
        )
        await self._look(clicks, righted, detections.double_click_count)
        return detections, righted.epoch

    async def _look(self, clicks: Clicks, righted: RightedClicks, double_click_count: int) -> None:
        pulse_count = len(clicks.block_counts) * BLOCK_PULSES
        if self._gate.is_scanning:
            if await self._gate.scan(clicks.first_block, len(righted.detectors), pulse_count, self._channel):
                self._ended("gate")
                await self._clock.synchronise(self._channel)
        elif self._is_confirmed:
            self._watch.see(
                open_blocks(righted.block_counts) * BLOCK_PULSES,
                righted.detectors,
                righted.arrivals_ps,
                double_click_count,
                sigma_ps=self._sigma_ps,
                bias_ratio=clicks.bias_ratio,
            )
            if clicks.is_last and self._is_measured:
                await self._clock.watch_round_trip(self._channel, is_first=False)
            await self._gate.follow(self._clock.state, self._channel)
        self._show()

    async def answered(self, part: Answered, key_block: int) -> None:
        """Take note of the answer to a part, `key_block` being the number of the key block under assembly.

        Raises:
            QnetemError: The channel does not do what it is asked.
        """
        if part.is_test and part.epoch == self._clock.epoch:
            await self._name_slots(part)
        if self._is_confirmed and part.epoch == self._clock.epoch:
            await self._keep_aligned(part, key_block)
        if part.is_test and part.is_last and self._is_confirmed and not self._is_measured:
            await self._clock.watch_round_trip(self._channel, is_first=True)
            self._is_measured = True
        self._show()

    async def _name_slots(self, part: Answered) -> None:
        """Learn from a test train whether slots are named rightly."""
        if part.slot_shift:
            self._clock.slipped(part.slot_shift)
        elif part.compared_count < LEAST_COMPARED or self._gate.is_scanning:
            return
        elif part.error_count >= SLIPPED_PROB * part.compared_count:
            # another clock than two-way transfer told of, or a polarisation that has turned round since it was aligned
            if self._clock.state.is_locked:
                await self._realign()
                await self._clock.synchronise(self._channel)
        elif not self._is_confirmed and (self._clock.state.is_locked or not self._is_sharp):
            self._is_confirmed = True
            self._ended("clock")

    async def _keep_aligned(self, part: Answered, key_block: int) -> None:
        self._alignment.see_part(part.blocks, part.z, part.x)
        degraded_prob = self._config.protocol.qber_degraded_prob
        is_many = part.compared_count >= 2 * LEAST_COMPARED
        is_bad = part.is_test and is_many and part.error_count >= degraded_prob * part.compared_count
        if self._alignment.is_due:
            await self._align("errors" if self._alignment.has_errors else "ahead", key_block)
        elif is_bad:
            await self._realign(key_block)

    async def _realign(self, key_block: int = -1) -> None:
        """Align because test trains are bad, if the last time is not just over."""
        if time.monotonic() - self._aligned_s >= _REALIGN_S:
            await self._align("test", key_block)

    def see_key_block(self, number: int, bit_count: int, error_count: int) -> None:
        """Take note of the errors that the reconciliation of a key block has found."""
        self._alignment.see_key_block(number, bit_count, error_count)

    @property
    def _is_sharp(self) -> bool:
        return self._planned_sigma_ps < _SHARP_SHARE * self._clock.period_ps

    @property
    def _planned_sigma_ps(self) -> float:
        p = self._config.planned
        fwhm_ps = math.hypot(p.source_jitter_fwhm_ps, p.detector_jitter_fwhm_ps, p.link_jitter_fwhm_ps)
        return fwhm_ps / _FWHM_PER_SIGMA

    @property
    def _sigma_ps(self) -> float:
        """Standard deviation of the arrivals: as planned, or as they spread."""
        return max(self._planned_sigma_ps, self._clock.state.spread_ps)

    async def _align(self, cause: str, key_block: int = -1) -> None:
        before = self._alignment.x.now_prob
        from_block = await self._channel.align(self._config.link_id)
        self._alignment.aligned(from_block, key_block + 1, is_anew=cause in ("commissioning", "test"))
        self._aligned_s = time.monotonic()
        self._figures.alignments_count += 1
        if cause == "ahead":
            # as often as it takes; counted
            return
        self._node.process.journal.write(
            "link.aligned",
            link_id=self._config.link_id,
            cause=cause,
            qber_prob=None if before is None else round(before, 6),
            effective_from_block=from_block,
        )

    def _ended(self, step: str) -> None:
        now_ps = self._node.process.clock.now_ps()
        self._figures.steps_s[step] = (now_ps - self._step_since_ps) / PS_PER_S
        self._step_since_ps = now_ps

    def _show(self) -> None:
        clock, figures = self._clock.state, self._figures
        figures.clock_offset_ps = clock.offset_ps
        figures.clock_skew_ppb = clock.skew_ps_per_s / 1e3
        figures.is_clock_locked = clock.is_locked and not self._clock.is_lost
        figures.quantum_round_trip_ps = self._clock.round_trip.round_trip_ps
        figures.gate_offset_ps = self._gate.offset_ps
        figures.qber_baseline_prob = self._alignment.x.baseline_prob or 0.0
        figures.qber_now_prob = self._alignment.x.now_prob or 0.0
        figures.readings = [*self._watch.readings, self._clock.round_trip.reading]
