"""quantum_channel.train: trains of pulses: which ones are taken, when they pass, how they are cut. Pure."""

import math
from dataclasses import dataclass
from typing import Final

from qnetem.runtime.errors import BadInputError
from qnetem.runtime.rng import BLOCK_PULSES
from quantum_channel.response import Response

__all__ = [
    "CLICK_BYTES",
    "MAX_TRAIN_BLOCKS",
    "PROBE_BLOCK",
    "STRETCH_BYTES",
    "BadTrainError",
    "Train",
    "TrainOrder",
    "expected_bytes",
    "stretch_limit",
]

MAX_TRAIN_BLOCKS: Final = 1 << 16
CLICK_BYTES: Final = 6  # int32 offset, int16 tag; slots of over 4 ns have wider tags
# pulse indices are of 64 bits; blocks of the upper half are for probes, and no key is made of them
PROBE_BLOCK: Final = 1 << 43
# of clicks in one message, about
STRETCH_BYTES: Final = 900_000
_STRETCH_S: Final = 0.25


class BadTrainError(BadInputError):
    """A train cannot be taken; the text names it."""

    reason = "BAD_TRAIN"


@dataclass(frozen=True, slots=True)
class Train:
    """A run of whole blocks.

    Attributes:
        first_block, block_count: Which ones; the first is the train's id.
        start_ps: Emission of the first pulse, emulated picoseconds.
        period_ps: From pulse to pulse.
    """

    first_block: int
    block_count: int
    start_ps: int
    period_ps: float

    def time_ps(self, block: int) -> int:
        """Return when the first pulse of a block of the train, or of the block behind its last, is emitted."""
        return self.start_ps + round((block - self.first_block) * BLOCK_PULSES * self.period_ps)

    def first_from(self, time_ps: int) -> int:
        """Return the first block that begins at a time or later; blocks behind the last count on."""
        block = self.first_block + max(0, math.ceil((time_ps - self.start_ps) / (BLOCK_PULSES * self.period_ps)))
        # a double does not hold every picosecond
        while block > self.first_block and self.time_ps(block - 1) >= time_ps:
            block -= 1
        while self.time_ps(block) < time_ps:
            block += 1
        return block

    @property
    def end_block(self) -> int:
        """The block behind the last."""
        return self.first_block + self.block_count

    @property
    def end_ps(self) -> int:
        """When the pulse behind the last would be emitted."""
        return self.time_ps(self.end_block)


class TrainOrder:
    """Takes trains in the order of their blocks and of time: no block twice, no two trains at once."""

    def __init__(self, ahead_limit_ps: int) -> None:
        """Refuse trains that start more than `ahead_limit_ps` from now."""
        self._ahead_limit_ps = ahead_limit_ps
        self._next_block = 0
        self._free_from_ps = 0

    def take(self, train: Train, train_id: int, now_ps: int) -> None:
        """Take the next train.

        Raises:
            BadTrainError: It cannot follow what was taken, or is not well formed.
        """
        name = f"train {train_id}"
        if train_id != train.first_block:
            raise BadTrainError(f"{name}: its id is not its first block, {train.first_block}")
        if not 1 <= train.block_count <= MAX_TRAIN_BLOCKS:
            raise BadTrainError(f"{name}: block_count {train.block_count} is not in 1 .. {MAX_TRAIN_BLOCKS}")
        if train.end_block > PROBE_BLOCK:
            raise BadTrainError(f"{name}: block {train.end_block} is beyond the last, {PROBE_BLOCK - 1}")
        if train.first_block < self._next_block:
            raise BadTrainError(f"{name}: blocks up to {self._next_block - 1} have been used")
        # two parties round to picoseconds in their own ways
        if train.start_ps < self._free_from_ps - train.period_ps:
            raise BadTrainError(f"{name}: starts at {train.start_ps} ps, before {self._free_from_ps} ps")
        if train.start_ps > now_ps + self._ahead_limit_ps:
            raise BadTrainError(f"{name}: starts {train.start_ps - now_ps} ps from now, over {self._ahead_limit_ps} ps")
        self._next_block, self._free_from_ps = train.end_block, train.end_ps


def expected_bytes(response: Response) -> float:
    """Return the size of a block's clicks in a message, about."""
    return response.registered_prob * BLOCK_PULSES * CLICK_BYTES


def stretch_limit(response: Response | None, period_ps: float, scale: float) -> int:
    """Return how many blocks are sampled and delivered at a time, at most.

    About a megabyte of clicks, so that a message stays small, and a quarter of a second, so that sifting flows at the
    cost of few messages: of emulated time, or of wall time where that passes more slowly. None: nothing clicks.
    """
    block_s = BLOCK_PULSES * period_ps / 1e12
    by_time = _STRETCH_S * max(1.0, scale) / block_s
    by_size = STRETCH_BYTES / max(1.0, expected_bytes(response) if response else 0.0)
    return max(1, int(min(by_time, by_size, MAX_TRAIN_BLOCKS)))
