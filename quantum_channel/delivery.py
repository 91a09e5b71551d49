"""quantum_channel.delivery: clicks on their way to a receiver, each stretch handed over when it is due. Edge."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from qnetem.runtime.clock import Clock
from quantum_channel.wire import ClicksMessage

__all__ = ["Delivery", "Parcel"]

# stretches sampled and not yet handed over; a receiver that does not read stops the sampling behind them
_STRETCHES: Final = 8


@dataclass(slots=True)
class Parcel:
    """A stretch of clicks, due at the receiver when its last pulse arrives.

    Attributes:
        message: What the receiver is told, but for the lag.
        is_delivered: Resolved when its fate is known.
    """

    message: ClicksMessage
    due_ps: int
    is_delivered: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def settle(self, is_delivered: bool) -> None:
        """Say what became of it; the first word counts."""
        if not self.is_delivered.done():
            self.is_delivered.set_result(is_delivered)


class Delivery:
    """The way to one receiver's stream.

    Attributes:
        is_over: The stream has ended; nothing arrives any more.
    """

    def __init__(self, clock: Clock) -> None:
        """Hand over by `clock`."""
        self._clock = clock
        self._queue: asyncio.Queue[Parcel] = asyncio.Queue(_STRETCHES)
        self.is_over = False
        self._due_ps: int | None = None
        self._last_lag_ps = 0

    async def put(self, parcel: Parcel) -> None:
        """Send a parcel on its way; waits while there are enough of them."""
        if not self.is_over:
            await self._queue.put(parcel)
        if self.is_over:
            parcel.settle(False)

    @property
    def lag_ps(self) -> int:
        """How far behind emulated time the delivery is."""
        waiting_ps = 0 if self._due_ps is None else self._clock.now_ps() - self._due_ps
        return max(0, waiting_ps, self._last_lag_ps)

    async def hand_over_forever(self, write: Callable[[bytes], Awaitable[Any]]) -> None:
        """Hand over parcel after parcel; what is on its way when this is cancelled does not arrive."""
        try:
            while True:
                parcel = await self._queue.get()
                try:
                    self._due_ps = parcel.due_ps
                    await self._clock.sleep_until(parcel.due_ps)
                    lag_ps = max(0, self._clock.now_ps() - parcel.due_ps)
                    await write(parcel.message.handed_over(lag_ps))
                    parcel.settle(True)
                    self._due_ps, self._last_lag_ps = None, lag_ps
                finally:
                    parcel.settle(False)
        finally:
            self.is_over = True
            while not self._queue.empty():
                self._queue.get_nowait().settle(False)
