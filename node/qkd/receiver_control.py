"""node.qkd.receiver_control: the receiver's loops at work, and what its monitors find. Edge."""

import math
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from node.context import NodeContext
from node.control.alignment import AlignmentLoop
from node.control.clock_sync import ClockFollower, Exchange, two_way
from node.control.reasons import ABORTING, CLOCK_LOST, DEGRADING, ROUND_TRIP
from node.control.receiver_watch import ReceiverWatch
from node.control.round_trip import RoundTripWatch
from node.control.tuning import GateScan, gate_step_ps
from node.devices.receiver import Detections, Receiver
from node.devices.retiming import raw_slots, retimed
from node.link_state import LinkRecord
from node.qkd.slot_search import LEAST_COMPARED, SLIPPED_PROB
from node.ranges import refuse_not_positive
from qnetem.runtime.clock import PS_PER_S, from_time
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import link_session_pb2, process_pb2
from quantum_channel.client import Clicks, QuantumChannelClient

__all__ = ["Compared", "ReceiverControl"]

# transfers that are averaged when a link is set up, and later
_EXCHANGES: Final = 8
_EXCHANGES_LATER: Final = 2
# wall seconds from one look at the round trip to the next; between alignments that nothing asks for but bad test trains
_TRANSFER_S: Final = 1.0
_REALIGN_S: Final = 5.0
# at least this for one place of a gate scan
_SCAN_CLICKS: Final = 100
_SCAN_BLOCKS: Final = 16
# thermal delay of a fibre: PHYSICS 2
_PS_PER_KM_K: Final = 33.0
_FWHM_PER_SIGMA: Final = 2.3548


@dataclass(frozen=True)
class Compared:
    """What the answer to a part has shown: bits compared in Z and X, and the errors among them."""

    z: tuple[int, int]
    x: tuple[int, int]


class ReceiverControl:
    """Sets a receiver up and keeps it so. It lives as long as the link; each session lends it the channel."""

    def __init__(self, config: process_pb2.NodeLinkConfig, node: NodeContext, record: LinkRecord) -> None:
        """Control the receiver of one link."""
        planned = config.planned
        self._config, self._planned, self._node, self._record = config, planned, node, record
        self._figures = record.loops
        refuse_not_positive(clock_hz=planned.clock_hz)
        self._period_ps = PS_PER_S / planned.clock_hz
        self._device = Receiver(config)
        self._clock = ClockFollower(self._period_ps, white_ps=planned.clock_white_ps, walk_ppb=planned.clock_walk_ppb)
        warming_k_per_s = planned.temperature_swing_k * math.tau / (planned.day_s or 86_400.0)
        self._round_trip = RoundTripWatch(
            2.0 * planned.sync_noise_ps / math.sqrt(_EXCHANGES_LATER),
            _PS_PER_KM_K * planned.length_km * warming_k_per_s,
        )
        self._asymmetry_ps = 0.0
        self._begin()

    def _begin(self) -> None:
        self._alignment = AlignmentLoop()
        self._watch = ReceiverWatch(self._planned)
        self._scan: GateScan | None = None
        self._scan_from = 0
        self._scanned = [0, 0]
        self._is_confirmed = self._is_measured = False
        self._train_id, self._last_slot = -1, -1
        self._aligned_s = self._transferred_s = 0.0
        # what was reported before the slots were put right tells nothing about them afterwards
        self.epoch = 0

    async def prepare(self, channel: QuantumChannelClient) -> None:
        """Set the receiver up: what can be done without light; the rest takes test trains.

        Raises:
            QnetemError: The channel does not do what it is asked.
        """
        self._begin()
        self._channel = channel
        self._figures.steps_s = {}
        self._step_since_ps = self._node.process.clock.now_ps()
        self._clock.forget()
        await self._align("commissioning")
        self._ended("align")
        if self._planned.gate_width_ps > 0.0:
            self._scan = GateScan(self._period_ps, self._planned.gate_width_ps)
            await self._tune_gate(self._scan.places_ps[0])
        await self._synchronise()

    @property
    def step(self) -> str:
        """What the receiver is being set up in; empty when it is ready."""
        if self._scan is not None:
            return "gate"
        return "" if self._is_confirmed else "clock"

    @property
    def verdict(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Reasons to end service, and reasons that only degrade it."""
        found = set(self._watch.alarms)
        if self._round_trip.is_alarmed:
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

    async def detect(self, clicks: Clicks, train: link_session_pb2.TrainNotice) -> tuple[Detections, int]:
        """Return what a stretch of raw clicks is, once the clock is taken off it, and the epoch that it was read in.

        Raises:
            BadInputError: The arrays do not fit together.
            QnetemError: The channel does not do what it is asked.
        """
        start_ps = from_time(train.start)
        first_slot = train.train_id * BLOCK_PULSES
        slots = raw_slots(clicks.first_block, clicks.block_counts, clicks.offsets)
        times_s = (slots - first_slot).astype(np.float64) * (self._period_ps / PS_PER_S) + start_ps / PS_PER_S
        if len(slots) and self._is_confirmed and not self._clock.is_sure_at(float(times_s[0])):
            # the source was off for long
            await self._resynchronise()
        late_ps, epoch = self._clock.follow(times_s, clicks.arrivals_ps), self.epoch
        block_counts, offsets = clicks.block_counts, clicks.offsets
        detectors, arrivals_ps = clicks.detectors, clicks.arrivals_ps
        if train.train_id != self._train_id:
            self._train_id, self._last_slot = train.train_id, first_slot - 1
        if late_ps is not None:
            emitted = int((self._node.process.clock.now_ps() - start_ps) / self._period_ps)
            blocks = range(clicks.first_block, clicks.first_block + len(block_counts))
            end_slot = first_slot + min(train.block_count * BLOCK_PULSES, max(emitted, 0) + 1)
            stamps = retimed(
                slots,
                arrivals_ps,
                late_ps,
                self._period_ps,
                blocks,
                after_slot=self._last_slot,
                before_slot=end_slot,
            )
            block_counts, offsets, arrivals_ps = stamps.block_counts, stamps.offsets, stamps.arrivals_ps
            detectors, self._last_slot = detectors[stamps.kept], stamps.last_slot
        elif len(slots):
            kept = slots > self._last_slot
            if not kept.all():
                blocks_of = np.repeat(np.arange(len(block_counts)), block_counts)[kept]
                block_counts = np.bincount(blocks_of, minlength=len(block_counts)).astype(np.uint32)
                slots, offsets = slots[kept], offsets[kept]
                detectors, arrivals_ps = detectors[kept], arrivals_ps[kept]
            self._last_slot = int(slots[-1]) if len(slots) else self._last_slot
        within = range(train.train_id, train.train_id + train.block_count)
        detections = self._device.detect(clicks.first_block, block_counts, offsets, detectors, within)
        await self._after(clicks, detections.double_click_count, detectors, arrivals_ps)
        return detections, epoch

    async def _after(
        self,
        clicks: Clicks,
        double_click_count: int,
        detectors: npt.NDArray[np.uint8],
        arrivals_ps: npt.NDArray[np.int32],
    ) -> None:
        pulse_count = len(clicks.block_counts) * BLOCK_PULSES
        if self._scan is not None:
            await self._scan_on(clicks, len(detectors), pulse_count)
            return
        if not self._is_confirmed:
            return
        self._watch.see(
            pulse_count,
            detectors,
            arrivals_ps,
            double_click_count,
            sigma_ps=self._sigma_ps,
            bias_ratio=clicks.bias_ratio,
        )
        if clicks.is_last and time.monotonic() - self._transferred_s >= _TRANSFER_S:
            await self._look_at_round_trip(_EXCHANGES_LATER)
        if self._planned.gate_width_ps > 0.0:
            await self._follow_gate()
        self._show()

    async def answered(
        self,
        train_id: int,
        compared: Compared,
        slot_shift: int,
        epoch: int,
        key_block: int,
        *,
        is_test: bool,
        is_last: bool,
    ) -> None:
        """Take note of the answer to a part.

        Args:
            train_id: Its train.
            compared: What it has shown.
            slot_shift: Of the answer; 0 in service.
            epoch: That of this control when the part was reported.
            key_block: Number of the key block under assembly.
            is_test: The part is of a test train.
            is_last: It is the last part of its train.
        """
        bits = compared.z[0] + compared.x[0]
        errors = compared.z[1] + compared.x[1]
        if is_test and epoch == self.epoch:
            if slot_shift:
                self._clock.slip(slot_shift)
                self.epoch += 1
            elif bits >= LEAST_COMPARED and self._scan is None:
                if errors < SLIPPED_PROB * bits:
                    self._confirm()
                elif self._clock.is_locked:
                    # two-way transfer told of another clock
                    self._clock.forget()
                    await self._synchronise()
        if self._is_confirmed and epoch == self.epoch:
            self._alignment.see_train(train_id, compared.z, compared.x)
            degraded_prob = self._config.protocol.qber_degraded_prob
            is_bad = is_test and bits >= 2 * LEAST_COMPARED and errors >= degraded_prob * bits
            if self._alignment.is_due:
                await self._align("errors", key_block)
            elif is_bad and time.monotonic() - self._aligned_s >= _REALIGN_S:
                await self._align("test", key_block)
        if is_test and is_last and self._is_confirmed and not self._is_measured:
            await self._look_at_round_trip(_EXCHANGES)
            self._is_measured = True
        self._show()

    def see_key_block(self, number: int, bit_count: int, error_count: int) -> None:
        """Take note of the errors that the reconciliation of a key block has found."""
        self._alignment.see_key_block(number, bit_count, error_count)

    def _confirm(self) -> None:
        if not self._is_confirmed and (self._clock.is_locked or not self._can_lock):
            self._is_confirmed = True
            self._ended("clock")

    @property
    def _can_lock(self) -> bool:
        """Whether arrivals are sharp enough for a phase."""
        return self._planned_sigma_ps < 0.35 * self._period_ps

    @property
    def _planned_sigma_ps(self) -> float:
        p = self._planned
        fwhm = math.hypot(p.source_jitter_fwhm_ps, p.detector_jitter_fwhm_ps, p.link_jitter_fwhm_ps)
        return fwhm / _FWHM_PER_SIGMA

    @property
    def _sigma_ps(self) -> float:
        """Standard deviation of the arrivals: as planned, or as they spread."""
        visibility = self._clock.state.visibility
        spread = math.sqrt(-2.0 * math.log(visibility)) if 0.0 < visibility < 1.0 else 0.0
        return max(self._planned_sigma_ps, spread * self._period_ps / math.tau)

    async def _align(self, cause: str, key_block: int = -1) -> None:
        before = self._alignment.x.now_prob
        from_block = await self._channel.align(self._config.link_id)
        self._alignment.aligned(from_block, key_block + 1)
        self._aligned_s = time.monotonic()
        self._figures.alignments_count += 1
        self._node.process.journal.write(
            "link.aligned",
            link_id=self._config.link_id,
            cause=cause,
            qber_prob=None if before is None else round(before, 6),
            effective_from_block=from_block,
        )

    async def _exchange(self, count: int) -> tuple[float, Exchange]:
        """Return the mean of some transfers, and when they were made, emulated seconds."""
        found, at_ps = [], 0
        for _ in range(count):
            stamps = await self._channel.transfer_time(self._config.link_id)
            found.append(two_way(stamps.t1_ps, stamps.t2_ps, stamps.t3_ps, stamps.t4_ps))
            at_ps += stamps.t1_ps
        self._transferred_s = time.monotonic()
        ahead_ps = sum(one.ahead_ps for one in found) / count
        return at_ps / count / PS_PER_S, Exchange(ahead_ps, sum(one.round_trip_ps for one in found) / count)

    async def _synchronise(self) -> None:
        """Learn the offset from nothing but time transfer."""
        at_s, exchange = await self._exchange(_EXCHANGES)
        sigma_ps = max(self._planned.sync_noise_ps / math.sqrt(_EXCHANGES), 1.0)
        self._clock.transfer(at_s, exchange.ahead_ps + self._asymmetry_ps, sigma_ps)
        self.epoch += 1

    async def _resynchronise(self) -> None:
        """Refresh the offset after a pause, in which the clock went its own way."""
        at_s, exchange = await self._exchange(_EXCHANGES)
        sigma_ps = max(self._planned.sync_noise_ps / math.sqrt(_EXCHANGES), self._period_ps / 50.0)
        self._clock.transfer(at_s, exchange.ahead_ps + self._asymmetry_ps, sigma_ps)

    async def _look_at_round_trip(self, count: int) -> None:
        at_s, exchange = await self._exchange(count)
        asymmetry_ps = self._clock.offset_at_ps(at_s) - exchange.ahead_ps
        was_alarmed = self._round_trip.is_alarmed
        self._round_trip.see(at_s, exchange.round_trip_ps, asymmetry_ps)
        if not self._round_trip.is_alarmed:
            self._asymmetry_ps = asymmetry_ps
        if self._round_trip.is_alarmed and not was_alarmed:
            self._node.process.journal.write(
                "link.round_trip.changed",
                link_id=self._config.link_id,
                round_trip_ps=round(exchange.round_trip_ps, 1),
                asymmetry_ps=round(asymmetry_ps, 1),
            )

    async def _tune_gate(self, offset_ps: float) -> None:
        tuned = offset_ps - self._planned.gate_offset_ps
        self._scan_from = await self._channel.tune(self._config.link_id, gate_offset_ps=tuned)
        self._figures.gate_offset_ps = tuned
        self._scanned = [0, 0]

    async def _scan_on(self, clicks: Clicks, click_count: int, pulse_count: int) -> None:
        scan = self._scan
        if scan is None or clicks.first_block < self._scan_from:
            return
        self._scanned[0] += click_count
        self._scanned[1] += pulse_count
        if self._scanned[0] < _SCAN_CLICKS and self._scanned[1] < _SCAN_BLOCKS * BLOCK_PULSES:
            return
        scan.measured(self._scanned[0] / self._scanned[1])
        place_ps = scan.next_ps
        if place_ps is not None:
            await self._tune_gate(place_ps)
            return
        await self._tune_gate(scan.best_ps)
        self._scan = None
        self._ended("gate")
        self._clock.forget()
        await self._synchronise()

    async def _follow_gate(self) -> None:
        late_ps = self._clock.state.offset_ps
        middle_ps = late_ps - round(late_ps / self._period_ps) * self._period_ps
        now_ps = self._figures.gate_offset_ps + self._planned.gate_offset_ps
        step_ps = gate_step_ps(middle_ps, now_ps, self._planned.gate_width_ps)
        if step_ps is not None:
            await self._tune_gate(step_ps)

    def _ended(self, step: str) -> None:
        now_ps = self._node.process.clock.now_ps()
        self._figures.steps_s[step] = (now_ps - self._step_since_ps) / PS_PER_S
        self._step_since_ps = now_ps

    def _show(self) -> None:
        clock, figures = self._clock.state, self._figures
        figures.clock_offset_ps = clock.offset_ps
        figures.clock_skew_ppb = clock.skew_ps_per_s / 1e3
        figures.is_clock_locked = clock.is_locked and not self._clock.is_lost
        figures.quantum_round_trip_ps = self._round_trip.round_trip_ps
        figures.qber_baseline_prob = self._alignment.x.baseline_prob or 0.0
        figures.qber_now_prob = self._alignment.x.now_prob or 0.0
        figures.readings = [*self._watch.readings, self._round_trip.reading]
