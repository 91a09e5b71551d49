"""quantum_channel.nature: nature at work on one link: takes trains, lets them pass in time, hands clicks over. Edge."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any, Final

from qnetem.runtime.clock import PS_PER_S, Clock, from_time
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import quantum_channel_pb2
from quantum_channel.chain import Chain
from quantum_channel.course import Cell, Course, Run
from quantum_channel.delivery import Delivery, Parcel
from quantum_channel.drift import Weather
from quantum_channel.link import Link
from quantum_channel.passage import START, Left, Passed, Readings, Sampled, bias_ratio, pass_runs, sample_ahead
from quantum_channel.probe import Probe
from quantum_channel.sampler import Keys, Sampler
from quantum_channel.seat import Seat
from quantum_channel.train import BadTrainError, Train, TrainOrder, stretch_limit
from quantum_channel.wire import ClicksMessage, PartnerClicks, clicks_message, partner_clicks, partner_clicks_message

__all__ = ["Ends", "Nature"]

# trains taken and not yet done; a transmitter that announces more waits
_TRAINS: Final = 16
# a train may be announced this far ahead, wall seconds
_AHEAD_LIMIT_S: Final = 60
# stretches of a train that are begun while it is behind: some are sampled while the one before them is written
_BEGUN: Final = 4


@dataclass(frozen=True, slots=True)
class Ends:
    """The URIs of the parties at the two ends of a link."""

    transmitter: str
    receiver: str


@dataclass(slots=True)
class _Passed:
    """A train that has passed; `last` is its last stretch on the way to the receiver, None when nobody listened."""

    due_ps: int
    train_id: int
    last: Parcel | None
    readings: Readings


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What clicked in a stretch, and what the receiver is told of it."""

    passed: Passed
    message: ClicksMessage


@dataclass(frozen=True, slots=True)
class _Begun:
    """A stretch that is sampled, or that nobody hears."""

    block: int
    end_block: int
    end_ps: int
    due_ps: int
    sampling: "Future[_Stretch] | None"


@dataclass(frozen=True, slots=True)
class _Here:
    """The cell that a course has from a time on."""

    course: Course
    from_ps: int
    cell: Cell

    def holds(self, course: Course, time_ps: int) -> bool:
        """Return whether it is the course's at a time."""
        until_ps = self.cell.until_ps
        return course is self.course and self.from_ps <= time_ps and (until_ps is None or time_ps < until_ps)


_Chain = Chain[Sampled | None, _Stretch, Left]
# what a transmitter is told, in order; None: nothing more
_Told = _Passed | PartnerClicks | None


class Nature:
    """One link: its state, its two ends, and what happens between them.

    A receiver is given whole trains: those that start while it listens. Clicks of a stretch of blocks are sampled when
    its first pulse is emitted, off the event loop, and handed over when its last pulse arrives.
    """

    def __init__(self, link: Link, keys: Keys, ends: Ends, clock: Clock, sampler: Sampler, pool: Executor) -> None:
        """Sample with `sampler` in `pool`."""
        self.link = link
        self.ends = ends
        self.transmitter = Seat(f"transmitter of link {link.link_id}")
        self.receiver = Seat(f"receiver of link {link.link_id}")
        self._keys = keys
        self._clock = clock
        self._sampler = sampler
        self._pool = pool
        self._delivery: Delivery | None = None
        self._here: _Here | None = None
        self.probe = Probe(keys, sampler, pool)

    @property
    def has_receiver(self) -> bool:
        """Whether a receiver listens."""
        return self._delivery is not None

    @property
    def lag_ps(self) -> int:
        """How far behind emulated time the clicks are that a receiver gets."""
        return 0 if self._delivery is None else self._delivery.lag_ps

    async def deliver_forever(
        self, write: Callable[[quantum_channel_pb2.ReceiveResponse | bytes], Awaitable[Any]]
    ) -> None:
        """Hand the clicks of every train that starts from now on to a receiver."""
        delivery = Delivery(self._clock)
        self._delivery = delivery
        try:
            await write(quantum_channel_pb2.ReceiveResponse(ready=quantum_channel_pb2.ReceiveReady()))
            await delivery.hand_over_forever(write)
        finally:
            self._delivery = None

    async def carry_trains(
        self,
        requests: AsyncIterator[quantum_channel_pb2.TransmitRequest],
        write: Callable[[quantum_channel_pb2.TransmitResponse], Awaitable[Any]],
    ) -> None:
        """Let the trains of a transmitter pass until it ends its stream, and say when each is done.

        Raises:
            BadTrainError: A train cannot be taken.
        """
        ahead_ps = round(_AHEAD_LIMIT_S * self._clock.scale * PS_PER_S)
        order = TrainOrder(ahead_ps)
        trains: asyncio.Queue[Train | None] = asyncio.Queue(_TRAINS)
        told: asyncio.Queue[_Told] = asyncio.Queue(_TRAINS)
        ready = quantum_channel_pb2.TransmitReady(has_receiver=self.has_receiver)
        await write(quantum_channel_pb2.TransmitResponse(ready=ready))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pass_all(trains, told))
            tasks.create_task(self._report_all(told, write))
            async for request in requests:
                await trains.put(self._taken(request, order))
            await trains.put(None)

    def _taken(self, request: quantum_channel_pb2.TransmitRequest, order: TrainOrder) -> Train:
        if request.WhichOneof("event") != "train":
            raise BadTrainError("a stream goes on with trains")
        asked = request.train
        period_ps = self.link.timeline.planned.period_ps
        train = Train(asked.first_block, asked.block_count, from_time(asked.start), period_ps)
        order.take(train, asked.train_id, self._clock.now_ps())
        return train

    async def _pass_all(self, trains: "asyncio.Queue[Train | None]", told: "asyncio.Queue[_Told]") -> None:
        try:
            while (train := await trains.get()) is not None:
                await told.put(await self._pass(train, told))
                if trains.empty():
                    self.link.rest()
            await told.put(None)
        finally:
            self.link.rest()

    async def _pass(self, train: Train, told: "asyncio.Queue[_Told]") -> _Passed:
        """Let one train pass; its clicks go to the receiver that listens as it starts, if it goes on listening."""
        link = self.link
        link.begin(train.first_block, train.start_ps)
        await self._clock.sleep_until(train.start_ps)
        delivery, readings, block = self._delivery, Readings(train.first_block), train.first_block
        parcel: Parcel | None = None
        due_ps = train.start_ps
        chain: _Chain = Chain(self._pool, START)
        begun: deque[_Begun] = deque()
        try:
            while begun or block < train.end_block:
                is_free = not begun or (len(begun) < _BEGUN and self._clock.now_ps() >= begun[-1].end_ps)
                if block < train.end_block and is_free:
                    is_heard = delivery is not None and not delivery.is_over
                    begun.append(await self._begin(train, block, chain, readings, is_heard=is_heard))
                    block = begun[-1].end_block
                    continue
                part = begun.popleft()
                due_ps = part.due_ps
                parcel = await self._hand_over(train, part, delivery, told) if delivery is not None else None
                link.pulse_count += (part.end_block - part.block) * BLOCK_PULSES
                await self._clock.sleep_until(part.end_ps)
        finally:
            for part in begun:
                if part.sampling is not None:
                    part.sampling.cancel()
        return _Passed(due_ps, train.first_block, parcel, readings)

    async def _hand_over(
        self, train: Train, part: _Begun, delivery: Delivery, told: "asyncio.Queue[_Told]"
    ) -> Parcel | None:
        """Send a stretch on its way when it is sampled; None where nobody hears it."""
        if part.sampling is None:
            return None
        stretch = await asyncio.wrap_future(part.sampling)
        parcel = Parcel(stretch.message, part.due_ps)
        await delivery.put(parcel)
        self.link.click_count += len(stretch.passed.tagged.offsets)
        if stretch.passed.has_partners:
            await self._clock.sleep_until(part.end_ps)
            is_last = part.end_block == train.end_block
            await told.put(partner_clicks(train.first_block, part.block, stretch.passed.sample, is_last=is_last))
        return parcel

    async def _begin(self, train: Train, block: int, chain: _Chain, readings: Readings, *, is_heard: bool) -> _Begun:
        """Have the next stretch of a train sampled, behind the one before it; changes hold from the next one on."""
        link = self.link
        runs = await self._runs(train, block, is_heard)
        end_block = runs[-1].end_block
        end_ps = train.time_ps(end_block)
        link.begin(end_block, end_ps)
        for run in runs:
            readings.add(run)
        sampling = None
        if is_heard:
            weather = link.course.weather
            sampling = chain.add(
                lambda: sample_ahead(self._sampler, self._keys, runs),
                lambda left, ahead: self._stretch(train, weather, runs, left, ahead),
            )
        return _Begun(block, end_block, end_ps, end_ps + link.latency_ps(end_ps), sampling)

    def _stretch(
        self, train: Train, weather: Weather, runs: list[Run], left: Left, ahead: Sampled | None
    ) -> tuple[_Stretch, Left]:
        """Return a stretch, and what it leaves to the next one, in a thread of the pool."""
        passed, left = pass_runs(self._sampler, self._keys, weather, train, runs, left, ahead)
        first, is_last = runs[0].first_block, runs[-1].end_block == train.end_block
        message = clicks_message(train.first_block, first, passed.tagged, is_last=is_last, bias_ratio=bias_ratio(runs))
        return _Stretch(passed, message), left

    async def _runs(self, train: Train, block: int, is_heard: bool) -> list[Run]:
        """Return what the next stretch of a train is like. What nobody hears is one run, as it is when it begins."""
        while True:
            course, time_ps = self.link.course, train.time_ps(block)
            if self._here is None or not self._here.holds(course, time_ps):
                self._here = _Here(course, time_ps, course.cell(time_ps))
            cell = self._here.cell
            count = train.end_block - block
            if not is_heard:
                return [Run(block, count, cell)]
            most = stretch_limit(cell.response, train.period_ps, self._clock.scale)
            end_block = block - (-count // -(-count // most))  # as many to each of the stretches that are left
            if cell.until_ps is None or train.first_from(cell.until_ps) >= end_block:
                return [Run(block, end_block - block, cell)]
            runs = await asyncio.get_running_loop().run_in_executor(self._pool, course.runs, train, block, end_block)
            # a change that came meanwhile holds from this stretch on
            if self.link.course is course:
                return runs

    async def _report_all(
        self, told: "asyncio.Queue[_Told]", write: Callable[[quantum_channel_pb2.TransmitResponse], Awaitable[Any]]
    ) -> None:
        while (event := await told.get()) is not None:
            if isinstance(event, _Passed):
                await write(await self._done(event))
            else:
                await write(partner_clicks_message(event))

    async def _done(self, train: _Passed) -> quantum_channel_pb2.TransmitResponse:
        if train.last is None:
            await self._clock.sleep_until(train.due_ps)
        is_delivered = train.last is not None and await train.last.is_delivered
        done = quantum_channel_pb2.TrainDone(
            train_id=train.train_id,
            is_delivered=is_delivered,
            lag_ps=max(0, self._clock.now_ps() - train.due_ps),
            back_reflection_photons=train.readings.back_reflection_photons,
            power_ratio=train.readings.power_ratio(self.link.course.weather.chance),
        )
        return quantum_channel_pb2.TransmitResponse(done=done)
