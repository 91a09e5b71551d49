"""qnetem.runtime.clock: emulated time, as integers of picoseconds since the testbed's epoch. Edge: the host clock."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from qnetem.runtime.errors import BadInputError
from qnetem.v1 import parameters_pb2, process_pb2

__all__ = ["PS_PER_S", "Clock", "from_time", "to_time"]

PS_PER_S: Final = 10**12
_NOW_NS: dict[int, Callable[[], int]] = {
    process_pb2.ClockConfig.SOURCE_MONOTONIC: time.monotonic_ns,
    process_pb2.ClockConfig.SOURCE_REALTIME: time.time_ns,
}


def to_time(emulated_ps: int) -> parameters_pb2.EmulatedTime:
    """Return the wire form of an emulated time."""
    seconds, picoseconds = divmod(emulated_ps, PS_PER_S)
    return parameters_pb2.EmulatedTime(seconds=seconds, picoseconds=picoseconds)


def from_time(emulated: parameters_pb2.EmulatedTime) -> int:
    """Return emulated picoseconds since the epoch.

    Raises:
        BadInputError: The picoseconds are not in [0, 10^12).
    """
    if not 0 <= emulated.picoseconds < PS_PER_S:
        raise BadInputError(f"picoseconds {emulated.picoseconds} are not in 0 .. 10^12-1")
    return emulated.seconds * PS_PER_S + emulated.picoseconds


class Clock:
    """Emulated time = (host clock - epoch) x scale."""

    def __init__(self, config: process_pb2.ClockConfig) -> None:
        """Read the host clock that `config` names.

        Raises:
            BadInputError: The scale is not above 0 or the source is not known.
        """
        if not 0.0 < config.scale < float("inf"):
            raise BadInputError(f"time scale {config.scale} is not above 0")
        if config.source not in _NOW_NS:
            raise BadInputError("the clock's source is not given")
        self.scale: Final = config.scale
        self._epoch_ns = config.epoch_ns
        self._now_ns = _NOW_NS[config.source]

    def now_ps(self) -> int:
        """Return the emulated time now, picoseconds since the epoch."""
        # integers as long as the scale allows: a float holds only 104 days of picoseconds / 1024
        elapsed_ps = (self._now_ns() - self._epoch_ns) * 1000
        return elapsed_ps if self.scale == 1.0 else int(elapsed_ps * self.scale)

    def wall_s(self, emulated_ps: int) -> float:
        """Return the wall seconds that a span of emulated picoseconds takes."""
        return emulated_ps / PS_PER_S / self.scale

    async def sleep_until(self, emulated_ps: int) -> None:
        """Sleep until the emulated time has come; at once when it has passed. Late by a timer's resolution (1 ms)."""
        # a timer may fire early by its resolution
        while (remaining_s := self.wall_s(emulated_ps - self.now_ps())) > 0:  # noqa: ASYNC110
            await asyncio.sleep(remaining_s)
