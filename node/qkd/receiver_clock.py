"""node.qkd.receiver_clock: the receiver's clock put right: time transfer, arrivals, the round trip. Edge."""

import math
import time
from typing import Final

import numpy as np

from node.context import NodeContext
from node.control.clock_sync import ClockFollower, ClockState, Exchange, sample_places, two_way
from node.control.round_trip import RoundTripWatch
from node.devices.retiming import Stamps, raw_slots, retimed, sample_slots
from node.ranges import refuse_not_positive
from qnetem.runtime.clock import PS_PER_S, from_time
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import link_session_pb2, process_pb2
from quantum_channel.client import Clicks, QuantumChannelClient

__all__ = ["ReceiverClock", "RightedClicks"]

# transfers that are averaged when a link is set up, and later
_EXCHANGES: Final = 8
_EXCHANGES_LATER: Final = 2
# of one such look in what is believed of the ways: about as sharp as the first
_NOT_FIRST_WEIGHT: Final = 0.25
# wall seconds from one look at the round trip to the next
_TRANSFER_S: Final = 1.0
# thermal delay of a fibre: PHYSICS 2
_PS_PER_KM_K: Final = 33.0
_DAY_S: Final = 86_400.0


class RightedClicks:
    """Clicks of a stretch with the clock taken off them.

    Attributes:
        block_counts, offsets, detectors, arrivals_ps: As quantum_channel.proto's Clicks, each slot once.
        epoch: The reading of the clock that was taken off.
        last_slot: The last that was named anew; -1 when none was.
    """

    def __init__(self, clicks: Clicks, epoch: int) -> None:
        """Begin with raw clicks."""
        self.block_counts, self.offsets = clicks.block_counts, clicks.offsets
        self.detectors, self.arrivals_ps = clicks.detectors, clicks.arrivals_ps
        self.epoch = epoch
        self.last_slot = -1

    def take(self, stamps: Stamps) -> None:
        """Take the slots that the clicks belong to."""
        self.block_counts, self.offsets, self.arrivals_ps = stamps.block_counts, stamps.offsets, stamps.arrivals_ps
        self.detectors = self.detectors[stamps.kept]
        self.last_slot = stamps.last_slot


class ReceiverClock:
    """Follows the receiver's clock on one link.

    What is known of the ways between the two ends (asymmetry, round trip) outlives sessions.

    Attributes:
        epoch: One more each time that slots were named anew: what was reported before tells nothing of them.
        round_trip: Watches the two ways.
    """

    def __init__(self, config: process_pb2.NodeLinkConfig, node: NodeContext) -> None:
        """Follow a clock of the planned quality.

        Raises:
            BadInputError: The link has no clock rate.
        """
        planned = config.planned
        refuse_not_positive(clock_hz=planned.clock_hz)
        self._link_id, self._node = config.link_id, node
        self._sync_noise_ps = planned.sync_noise_ps
        self.period_ps: Final = PS_PER_S / planned.clock_hz
        self._follower = ClockFollower(self.period_ps, white_ps=planned.clock_white_ps, walk_ppb=planned.clock_walk_ppb)
        # air does not warm as glass does
        swing_k = 0.0 if planned.divergence_rad else planned.temperature_swing_k
        self.round_trip: Final = RoundTripWatch(
            2.0 * planned.sync_noise_ps / math.sqrt(_EXCHANGES_LATER),
            _PS_PER_KM_K * planned.length_km * swing_k,
            planned.day_s or _DAY_S,
        )
        self._asymmetry_ps = 0.0
        self._transferred_s = 0.0
        self._train_id, self._last_slot = -1, -1
        self.epoch = 0

    @property
    def state(self) -> ClockState:
        """Return what is believed of the clock."""
        return self._follower.state

    @property
    def is_lost(self) -> bool:
        """Whether arrivals have looked uniform for a while, though they did not before."""
        return self._follower.is_lost

    async def synchronise(self, channel: QuantumChannelClient) -> None:
        """Forget what was believed, and learn the offset from time transfer alone.

        Raises:
            QnetemError: The channel does not answer.
        """
        self._follower.forget()
        at_s, exchange = await self._exchange(channel, _EXCHANGES)
        sigma_ps = max(self._sync_noise_ps / math.sqrt(_EXCHANGES), 1.0)
        self._follower.transfer(at_s, exchange.ahead_ps + self._asymmetry_ps, sigma_ps)
        self.epoch += 1

    def slipped(self, slot_count: int) -> None:
        """Take note that slots were named too late by so many."""
        self._follower.slip(slot_count)
        self.epoch += 1

    async def righted(
        self, clicks: Clicks, train: link_session_pb2.TrainNotice, channel: QuantumChannelClient, *, is_confirmed: bool
    ) -> RightedClicks:
        """Return a stretch of raw clicks with the clock taken off it.

        Args:
            clicks: Of the stretch.
            train: That they are of.
            channel: To ask for the time after a pause, in which the clock went its own way.
            is_confirmed: The slots were right before.

        Raises:
            BadInputError: The train starts at no time.
            QnetemError: The channel does not answer.
        """
        start_ps = from_time(train.start)
        first_slot = train.train_id * BLOCK_PULSES
        if train.train_id != self._train_id:
            self._train_id, self._last_slot = train.train_id, first_slot - 1
        places = sample_places(len(clicks.offsets))
        if not len(places):
            return RightedClicks(clicks, self.epoch)
        slots = sample_slots(clicks.first_block, clicks.block_counts, clicks.offsets, places)
        start_s, period_s = start_ps / PS_PER_S, self.period_ps / PS_PER_S
        times_s = (slots - first_slot).astype(np.float64) * period_s + start_s
        if is_confirmed and not self._follower.is_sure_at(float(times_s[0])):
            at_s, exchange = await self._exchange(channel, _EXCHANGES)
            sigma_ps = max(self._sync_noise_ps / math.sqrt(_EXCHANGES), self.period_ps / 50.0)
            self._follower.transfer(at_s, exchange.ahead_ps + self._asymmetry_ps, sigma_ps)
        found = RightedClicks(clicks, self.epoch)
        knots = self._follower.look(times_s, clicks.arrivals_ps[places])
        if knots is None and int(slots[0]) > self._last_slot:
            # a clock that keeps its time names each slot once
            self._last_slot = int(slots[-1])
            return found
        slots = raw_slots(clicks.first_block, clicks.block_counts, clicks.offsets)
        late_ps = np.zeros(len(slots))
        if knots is not None:
            late_ps = np.interp((slots - first_slot) * period_s + start_s, *knots)
        emitted = max(int((self._node.process.clock.now_ps() - start_ps) / self.period_ps), 0)
        found.take(
            retimed(
                slots,
                clicks.arrivals_ps,
                late_ps,
                self.period_ps,
                range(clicks.first_block, clicks.first_block + len(clicks.block_counts)),
                after_slot=self._last_slot,
                before_slot=first_slot + min(train.block_count * BLOCK_PULSES, emitted + 1),
            )
        )
        self._last_slot = max(self._last_slot, found.last_slot)
        return found

    async def watch_round_trip(self, channel: QuantumChannelClient, *, is_first: bool) -> None:
        """Look at the round trip, when it is due or the first after slots were named; the clock being followed.

        Raises:
            QnetemError: The channel does not answer.
        """
        if not is_first and time.monotonic() - self._transferred_s < _TRANSFER_S:
            return
        at_s, exchange = await self._exchange(channel, _EXCHANGES if is_first else _EXCHANGES_LATER)
        asymmetry_ps = self._follower.offset_at_ps(at_s) - exchange.ahead_ps
        was_alarmed = self.round_trip.is_alarmed
        is_trusted = self.round_trip.see(at_s, exchange.round_trip_ps, asymmetry_ps, is_verified=is_first)
        if is_trusted:
            # a fibre that warms takes it along, and the next pause needs it as it is then
            weight = 1.0 if is_first else _NOT_FIRST_WEIGHT
            self._asymmetry_ps += weight * (asymmetry_ps - self._asymmetry_ps)
        if self.round_trip.is_alarmed and not was_alarmed:
            self._node.process.journal.write(
                "link.round_trip.changed",
                link_id=self._link_id,
                round_trip_ps=round(exchange.round_trip_ps, 1),
                asymmetry_ps=round(asymmetry_ps, 1),
            )

    async def _exchange(self, channel: QuantumChannelClient, count: int) -> tuple[float, Exchange]:
        """Return the mean of some transfers, and when they were made, emulated seconds."""
        found, at_ps = [], 0
        for _ in range(count):
            stamps = await channel.transfer_time(self._link_id)
            found.append(two_way(stamps.t1_ps, stamps.t2_ps, stamps.t3_ps, stamps.t4_ps))
            at_ps += stamps.t1_ps
        self._transferred_s = time.monotonic()
        ahead_ps = sum(one.ahead_ps for one in found) / count
        return at_ps / count / PS_PER_S, Exchange(ahead_ps, sum(one.round_trip_ps for one in found) / count)
