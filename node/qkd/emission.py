"""node.qkd.emission: the transmitter's source at work: commissioning by test trains, then train after train. Edge."""

import asyncio
from typing import Final

from node.devices.schedule import TrainSchedule
from node.link_state import LinkState
from node.qkd.authentication import AUTH_STARVED
from node.qkd.errors import LinkTroubleError
from node.qkd.monitor import NO_LIGHT, QBER, TOO_FAINT, CommissioningTally
from node.qkd.session_transmitter import Train, TransmitterSession
from qnetem.runtime.clock import PS_PER_S
from qnetem.runtime.errors import QnetemError, StorageError, first_known
from qnetem.v1 import link_session_pb2
from quantum_channel.client import PartnerClicks, TransmitStream

__all__ = ["Emission"]

# trains announced and not yet sifted: one on its way, one behind it
_IN_FLIGHT: Final = 2
# between two attempts to put a link into service, wall seconds
_PROBE_S: Final = 0.5
_IDLE_POLL_S: Final = 0.25
# a train that was neither sifted nor refused by then is lost, wall seconds beyond its own length
_TRAIN_LIMIT_S: Final = 15.0
# what is in post-processing may finish when the quantum side fails, wall seconds
_DRAIN_S: Final = 10.0
# a train is announced at most so long before its first pulse, wall seconds
_AHEAD_S: Final = 20.0
_FROM_COMMISSIONING: Final = (NO_LIGHT, QBER, TOO_FAINT)


class Emission:
    """Emits trains in one session."""

    def __init__(self, session: TransmitterSession, stream: TransmitStream) -> None:
        """Emit through the open `stream` of the quantum channel."""
        self._session = session
        self._stream = stream
        self._protocol = session.config.protocol
        clock = session.node.process.clock
        self._clock = clock
        self._schedule = TrainSchedule(self._protocol.train_blocks, session.device.clock_hz, clock.scale)

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
            async with asyncio.timeout(_DRAIN_S):
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
            self._session.record.lag_s = event.lag_ps / PS_PER_S
            if not event.is_delivered:
                raise LinkTroubleError("receiver-not-listening")
        raise LinkTroubleError("quantum-channel-lost")

    async def _work(self) -> None:
        await self._commission()
        in_flight: list[Train] = []
        record, monitor = self._session.record, self._session.monitor
        while True:
            await self._idle_while_full(in_flight)
            await self._session.has_room()
            if len(in_flight) >= _IN_FLIGHT:
                await self._sifted(in_flight.pop(0))
            if monitor.trouble:
                raise LinkTroubleError(monitor.trouble)
            if (qber_prob := monitor.qber_prob) is not None and not record.blocks_made_count:
                record.qber_prob = qber_prob
            await self._enter(*((LinkState.DEGRADED, AUTH_STARVED) if record.is_auth_starved else monitor.verdict))
            in_flight.append(await self._emit(None))
            # the record outlives the session and its schedule
            record.discarded_trains_count += self._schedule.take_discarded_count()

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
        if record.reason not in _FROM_COMMISSIONING:
            record.enter(LinkState.COMMISSIONING)
        await self._tell()
        while True:
            if not self._session.is_receiving.is_set():
                await self._await_receiver()
            tally = await self._test()
            if not tally.trouble and record.state is LinkState.COMMISSIONING:
                break
            await self._enter(*((LinkState.DOWN, tally.trouble) if tally.trouble else (LinkState.COMMISSIONING, "")))
            self._schedule.pause()
            if tally.trouble:
                await asyncio.sleep(_PROBE_S)
        self._session.qber_prob = record.qber_prob = tally.qber_prob
        self._session.monitor.expect_clicks(tally.click_count / tally.train_count)
        await self._enter(LinkState.OPERATING, "")

    async def _await_receiver(self) -> None:
        try:
            async with asyncio.timeout(_TRAIN_LIMIT_S):
                await self._session.is_receiving.wait()
        except TimeoutError:
            raise LinkTroubleError("receiver-not-listening") from None

    async def _test(self) -> CommissioningTally:
        tally = CommissioningTally(self._protocol.qber_abort_prob)
        while True:
            await self._sifted(await self._emit(tally))
            if not tally.needs_more:
                return tally

    async def _idle_while_full(self, in_flight: list[Train]) -> None:
        session = self._session
        store, peer_node = session.node.store, session.config.peer_node
        try:
            while (await store.pool(peer_node)).held_bits >= self._protocol.pool_high_water_bits:
                while in_flight:
                    await self._sifted(in_flight.pop(0))
                session.record.is_idle = True
                self._schedule.pause()
                await asyncio.sleep(_IDLE_POLL_S)
        finally:
            session.record.is_idle = False

    async def _emit(self, tally: CommissioningTally | None) -> Train:
        session = self._session
        count = self._protocol.train_blocks
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
