"""quantum_channel.nature: nature at work on one link: takes trains, lets them pass in time, hands clicks over. Edge."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from qnetem.runtime.clock import PS_PER_S, Clock, from_time
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import quantum_channel_pb2
from quantum_channel.delivery import Delivery, Parcel
from quantum_channel.link import Link
from quantum_channel.sampler import COLD, Keys, Sample, Sampler
from quantum_channel.seat import Seat
from quantum_channel.train import BadTrainError, Train, TrainOrder, stretch_limit

__all__ = ["Ends", "Nature"]

# trains taken and not yet done; a transmitter that announces more waits
_TRAINS: Final = 16
# a train may be announced this far ahead, wall seconds
_AHEAD_LIMIT_S: Final = 60


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


def _dark(block_count: int) -> Sample:
    return Sample(
        np.zeros(block_count, dtype=np.uint32),
        np.zeros(0, dtype=np.int32),
        np.zeros(0, dtype=np.uint8),
        np.zeros(0, dtype=np.int32),
    )


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

    @property
    def has_receiver(self) -> bool:
        """Whether a receiver listens."""
        return self._delivery is not None

    @property
    def lag_ps(self) -> int:
        """How far behind emulated time the clicks are that a receiver gets."""
        return 0 if self._delivery is None else self._delivery.lag_ps

    async def deliver_forever(self, write: Callable[[quantum_channel_pb2.ReceiveResponse], Awaitable[Any]]) -> None:
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
        passed: asyncio.Queue[_Passed | None] = asyncio.Queue(_TRAINS)
        ready = quantum_channel_pb2.TransmitReady(has_receiver=self.has_receiver)
        await write(quantum_channel_pb2.TransmitResponse(ready=ready))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pass_all(trains, passed))
            tasks.create_task(self._report_all(passed, write))
            async for request in requests:
                await trains.put(self._taken(request, order))
            await trains.put(None)

    def _taken(self, request: quantum_channel_pb2.TransmitRequest, order: TrainOrder) -> Train:
        if request.WhichOneof("event") != "train":
            raise BadTrainError("a stream goes on with trains")
        asked = request.train
        period_ps = self.link.effective.period_ps
        train = Train(asked.first_block, asked.block_count, from_time(asked.start), period_ps)
        order.take(train, asked.train_id, self._clock.now_ps())
        return train

    async def _pass_all(self, trains: "asyncio.Queue[Train | None]", passed: "asyncio.Queue[_Passed | None]") -> None:
        try:
            while (train := await trains.get()) is not None:
                await passed.put(await self._pass(train))
                if trains.empty():
                    self.link.rest()
            await passed.put(None)
        finally:
            self.link.rest()

    async def _pass(self, train: Train) -> _Passed:
        """Let one train pass; its clicks go to the receiver that listens as it starts, if it goes on listening."""
        link, loop = self.link, asyncio.get_running_loop()
        link.begin(train.first_block, train.start_ps)
        await self._clock.sleep_until(train.start_ps)
        delivery, carry = self._delivery, COLD
        parcel: Parcel | None = None
        block, due_ps = train.first_block, train.start_ps
        while block < train.end_block:
            count = train.end_block - block
            is_heard = delivery is not None and not delivery.is_over
            if is_heard:
                most = stretch_limit(link.response, train.period_ps, self._clock.scale)
                count = -(-count // -(-count // most))  # as many to each of the stretches that are left
            response, is_up = link.response, link.effective.is_up
            end_ps = train.time_ps(block + count)
            due_ps = end_ps + link.latency_ps
            # from here on changes hold from the next stretch on
            link.begin(block + count, end_ps)
            parcel = None
            if delivery is not None and is_heard:
                # what is dark leaves nothing behind
                sample = _dark(count)
                if not is_up:
                    carry = COLD
                else:
                    sample, carry = await loop.run_in_executor(
                        self._pool, self._sampler, response, self._keys, block, count, carry
                    )
                is_last = block + count == train.end_block
                parcel = Parcel(train.first_block, block, sample, due_ps, is_last)
                await delivery.put(parcel)
                link.click_count += len(sample.offsets)
            link.pulse_count += count * BLOCK_PULSES
            block += count
            await self._clock.sleep_until(end_ps)
        return _Passed(due_ps, train.first_block, parcel)

    async def _report_all(
        self,
        passed: "asyncio.Queue[_Passed | None]",
        write: Callable[[quantum_channel_pb2.TransmitResponse], Awaitable[Any]],
    ) -> None:
        while (train := await passed.get()) is not None:
            if train.last is None:
                await self._clock.sleep_until(train.due_ps)
            is_delivered = train.last is not None and await train.last.is_delivered
            done = quantum_channel_pb2.TrainDone(
                train_id=train.train_id,
                is_delivered=is_delivered,
                lag_ps=max(0, self._clock.now_ps() - train.due_ps),
                power_ratio=1.0,
            )
            await write(quantum_channel_pb2.TransmitResponse(done=done))
