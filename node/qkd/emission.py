"""node.qkd.emission: the transmitter's source at work: commissioning by test trains, then train after train. Edge."""

import asyncio
from collections import Counter
from math import ceil
from typing import Final

from node.control.reasons import ABORTING, CLOCK_LOST, PROBED, QBER, most_telling
from node.control.tuning import IntensityTrim
from node.devices.schedule import TrainSchedule
from node.link_state import LinkState
from node.qkd.authentication import AUTH_STARVED
from node.qkd.errors import LinkTroubleError
from node.qkd.idle_watch import IdleWatch, short_train_blocks
from node.qkd.monitor import CommissioningTally
from node.qkd.receiver_gate import scan_trains_count
from node.qkd.session_transmitter import TransmitterSession
from node.qkd.train import Train
from qnetem.runtime.clock import PS_PER_S
from qnetem.runtime.errors import QnetemError, StorageError, first_known
from qnetem.v1 import link_session_pb2
from quantum_channel.client import PartnerClicks, QuantumChannelClient, TrainDone, TransmitStream

__all__ = ["Emission"]

# trains announced and not yet sifted: one on its way, one behind it, and as many as pass in the time that sifting and a
# busy machine may take, wall seconds; fewer than the receiver and the channel let wait
_IN_FLIGHT: Final = (2, 8)
_IN_FLIGHT_S: Final = 0.25
# between two attempts to put a link into service, wall seconds
_PROBE_S: Final = 0.5
_IDLE_POLL_S: Final = 0.25
# a train that was neither sifted nor refused by then is lost, wall seconds beyond its own length
_TRAIN_LIMIT_S: Final = 15.0
# what is in post-processing may finish when the quantum side fails, wall seconds
_DRAIN_S: Final = 10.0
# or has no prospect: bits of which so many differ are reconciled for long, and in vain
_HOPELESS_DRAIN_S: Final = 1.0
# a train is announced at most so long before its first pulse, wall seconds
_AHEAD_S: Final = 20.0
# steps of setting a receiver up, in their order, and test trains that it may take for its clock, or on top of a scan
_STEPS: Final = ("align", "gate", "clock")
_SETUP_TRAINS: Final = 16


class Emission:
    """Emits trains in one session."""

    def __init__(self, session: TransmitterSession, channel: QuantumChannelClient, stream: TransmitStream) -> None:
        """Emit through the open `stream` of the quantum channel."""
        self._session = session
        self._channel = channel
        self._stream = stream
        self._trim = IntensityTrim()
        self._protocol = session.config.protocol
        clock = session.node.process.clock
        self._clock = clock
        self._schedule = TrainSchedule(self._protocol.train_blocks, session.device.clock_hz, clock.scale)
        fewest, most = _IN_FLIGHT
        train_s = clock.wall_s(self._schedule.duration_ps)
        self._most_in_flight = min(max(fewest, ceil(_IN_FLIGHT_S / train_s)), most)
        self._setup_trains = {"gate": scan_trains_count(session.config) + _SETUP_TRAINS, "clock": _SETUP_TRAINS}
        self._usual_clicks = 0.0

    async def run(self) -> None:
        """Commission the link and make key until there is trouble.

        Raises:
            LinkTroubleError: The link has to leave service; says why. What was in post-processing has been finished.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_channel())
                tasks.create_task(self._work())
        except* QnetemError as group:
            error = first_known(group)
            why = error.why if isinstance(error, LinkTroubleError) else "quantum-channel-lost"
            if isinstance(error, StorageError):
                why = "storage"
            log, link_id = self._session.node.process.log, self._session.config.link_id
            log.warning("link.left.service", link_id=link_id, reason=why, detail=str(error))
            await self._leave(why)
            raise LinkTroubleError(why) from None

    async def _leave(self, why: str) -> None:
        try:
            async with asyncio.timeout(_HOPELESS_DRAIN_S if why in (CLOCK_LOST, QBER) else _DRAIN_S):
                await self._enter(LinkState.DOWN, why)
                await self._session.drained()
        except TimeoutError:
            self._session.node.process.log.warning("session.blocks.abandoned", link_id=self._session.config.link_id)

    async def _watch_channel(self) -> None:
        async for event in self._stream.events():
            if isinstance(event, PartnerClicks):
                if self._session.partners is not None:
                    self._session.partners.take(event)
                continue
            await self._read_own(event)
            if not event.is_delivered:
                raise LinkTroubleError("receiver-not-listening")
        raise LinkTroubleError("quantum-channel-lost")

    async def _read_own(self, done: TrainDone) -> None:
        """Take what the transmitter's own monitors read over a train."""
        session = self._session
        session.record.lag_s = done.lag_ps / PS_PER_S
        session.watch.see_reflection(done.back_reflection_photons)
        trim_ratio = self._trim.see(done.power_ratio)
        if trim_ratio is not None:
            await self._set_trim(trim_ratio)

    async def _set_trim(self, ratio: float) -> None:
        session = self._session
        await self._channel.tune(session.config.link_id, intensity_trim_ratio=ratio)
        session.record.loops.intensity_trim_ratio = ratio

    async def _work(self) -> None:
        # a channel that went on while this node was away holds the last trim
        await self._set_trim(self._trim.ratio)
        await self._commission()
        in_flight: list[Train] = []
        record = self._session.record
        while True:
            await self._idle_while_full(in_flight)
            await self._session.has_room()
            if len(in_flight) >= self._most_in_flight:
                await self._sifted(in_flight.pop(0))
            await self._judge()
            in_flight.append(await self._emit(None))
            # the record outlives the session and its schedule
            record.discarded_trains_count += self._schedule.take_discarded_count()

    async def _judge(self) -> None:
        """Leave service, or stay in it as the monitors say.

        Raises:
            LinkTroubleError: They say that it has to end.
        """
        record, monitor, watch = self._session.record, self._session.monitor, self._session.watch
        monitor.see_alarms(watch.alarms)
        record.loops.readings = watch.readings
        if monitor.trouble:
            raise LinkTroubleError(monitor.trouble)
        if (qber_prob := monitor.qber_prob) is not None and not record.blocks_made_count:
            record.qber_prob = qber_prob
        await self._enter(*((LinkState.DEGRADED, AUTH_STARVED) if record.is_auth_starved else monitor.verdict))

    async def _enter(self, state: LinkState, reason: str) -> None:
        record = self._session.record
        if (state, reason) != (record.state, record.reason):
            record.enter(state, reason)
            await self._tell()

    async def _tell(self) -> None:
        record = self._session.record
        state = link_session_pb2.LinkState.ValueType(record.state)
        notice = link_session_pb2.LinkStateNotice(state=state, reason=record.reason)
        await self._session.wire.send(link_state=notice)

    async def _commission(self) -> None:
        record = self._session.record
        # a link that is known to be dark stays DOWN while it is probed
        if record.reason not in PROBED:
            record.enter(LinkState.COMMISSIONING)
        await self._tell()
        while True:
            if not self._session.is_receiving.is_set():
                await self._await_receiver()
            tally, findings, trouble = await self._test()
            if not trouble and record.state is LinkState.COMMISSIONING:
                break
            await self._enter(*((LinkState.DOWN, trouble) if trouble else (LinkState.COMMISSIONING, "")))
            self._schedule.pause()
            if trouble:
                await asyncio.sleep(_PROBE_S)
        self._session.qber_prob = record.qber_prob = tally.qber_prob
        self._usual_clicks = tally.click_count / tally.train_count
        self._session.monitor.expect_clicks(self._usual_clicks)
        record.loops.steps_s = {name: findings.steps_s[name] for name in _STEPS if name in findings.steps_s}
        await self._enter(LinkState.OPERATING, "")
        session = self._session
        session.node.process.journal.write(
            "link.commissioned",
            link_id=session.config.link_id,
            time_to_service_s=round(record.time_to_service_s, 6),
            qber_prob=round(record.qber_prob, 6),
            **{f"{name}_s": round(value, 6) for name, value in record.loops.steps_s.items()},
        )

    async def _await_receiver(self) -> None:
        try:
            async with asyncio.timeout(_TRAIN_LIMIT_S):
                await self._session.is_receiving.wait()
        except TimeoutError:
            raise LinkTroubleError("receiver-not-listening") from None

    async def _test(self) -> tuple[CommissioningTally, link_session_pb2.ReceiverFindings, str]:
        """Emit test trains until they allow a verdict.

        Returns:
            What they showed, what the receiver found, and why there is no service; empty when there is.
        """
        session = self._session
        tally, setup_trains = self._new_tally(), Counter[str]()
        while True:
            train = await self._emit(tally)
            await self._sifted(train)
            findings = await self._findings_after(train)
            has_light = tally.click_count > 0 or findings.step == "gate"
            step = "clock" if train.is_slipped else findings.step
            if has_light and setup_trains[step] < self._setup_trains.get(step, 0):
                setup_trains[step] += 1
                # what was measured in other slots, or at a shut gate, is no verdict on the link
                tally = self._new_tally()
                continue
            session.monitor.see_alarms(session.watch.alarms)
            if session.monitor.found or not tally.needs_more:
                break
        trouble = tally.trouble or (CLOCK_LOST if findings.step else "")
        session.record.loops.readings = session.watch.readings
        return tally, findings, most_telling({trouble, *session.monitor.found}, ABORTING) or trouble

    def _new_tally(self) -> CommissioningTally:
        return CommissioningTally.after(self._session.record.reason, self._protocol.qber_abort_prob)

    async def _findings_after(self, train: Train) -> link_session_pb2.ReceiverFindings:
        try:
            async with asyncio.timeout(_TRAIN_LIMIT_S):
                return await self._session.findings_after(train.blocks.start)
        except TimeoutError:
            raise LinkTroubleError("train-lost") from None

    async def _idle_while_full(self, in_flight: list[Train]) -> None:
        """Make no key while there is enough of it, and watch the link all the same.

        Raises:
            LinkTroubleError: It has to leave service.
        """
        session, clock = self._session, self._clock
        store, peer_node = session.node.store, session.config.peer_node
        share = self._idle_blocks / self._protocol.train_blocks
        idle = IdleWatch(self._protocol.qber_abort_prob, clock.scale, clock.now_ps())
        try:
            while (await store.pool(peer_node)).held_bits >= self._protocol.pool_high_water_bits:
                while in_flight:
                    await self._sifted(in_flight.pop(0))
                session.record.is_idle = True
                session.monitor.expect_clicks(share * self._usual_clicks)
                self._schedule.pause()
                if clock.now_ps() >= idle.due_ps:
                    await self._test_idle(idle)
                await asyncio.sleep(min(_IDLE_POLL_S, max(0.0, clock.wall_s(idle.due_ps - clock.now_ps()))))
        finally:
            session.record.is_idle = False
            session.monitor.expect_clicks(self._usual_clicks)

    @property
    def _idle_blocks(self) -> int:
        return short_train_blocks(self._protocol.train_blocks, self._usual_clicks)

    async def _test_idle(self, idle: IdleWatch) -> None:
        train = await self._emit(idle.tally, self._idle_blocks)
        await self._sifted(train)
        await self._findings_after(train)
        self._schedule.pause()
        idle.see(self._clock.now_ps())
        if idle.trouble:
            raise LinkTroubleError(idle.trouble)
        await self._judge()

    async def _emit(self, tally: CommissioningTally | None, block_count: int | None = None) -> Train:
        session = self._session
        count = block_count or self._protocol.train_blocks
        first = await session.node.store.reserve_blocks(session.config.link_id, count)
        start_ps = self._schedule.next_start_ps(self._clock.now_ps())
        # the channel takes no train that is far ahead, and at a slow scale the next one is
        await self._clock.sleep_until(start_ps - int(_AHEAD_S * self._clock.scale * PS_PER_S))
        train = await session.announce(range(first, first + count), start_ps, tally)
        await self._stream.send(first, count, start_ps)
        return train

    async def _sifted(self, train: Train) -> None:
        try:
            async with asyncio.timeout(_TRAIN_LIMIT_S + self._clock.wall_s(self._schedule.duration_ps)):
                await train.is_sifted.wait()
        except TimeoutError:
            raise LinkTroubleError("train-lost") from None
