"""classical_channel.path: what befalls bytes sent one way over a link. Pure.

`Transit` is the one place where conditions act on traffic: whether a connection is let in, and how long a chunk of
bytes takes. Loss, partitions and other faults belong there and nowhere else.
"""

import struct
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from qnetem.runtime.rng import derive_secret, philox4x32, secret_words
from qnetem.v1 import parameters_pb2

__all__ = ["SHORTEST_SLEEP_S", "Conditions", "Source", "Transit", "default_nature_secret"]

_PS_PER_S: Final = 10**12
# an event-loop timer cannot make less
SHORTEST_SLEEP_S: Final = 1e-3
_DRAWN: Final = 1024
# A chunk that is lost is sent again after a time-out, which doubles (RFC 6298); 200 ms at least and two minutes at most
# are what Linux takes.
_RETRANSMISSION_S: Final = 0.2
_LONGEST_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds one way of a link now, seen at a time scale.

    Attributes:
        effective: Delay, jitter and loss in force.
        is_up: Whether anything passes.
        scale: Emulated seconds in a wall second.
    """

    effective: parameters_pb2.ClassicalParameters
    is_up: bool
    scale: float

    @property
    def delay_s(self) -> float:
        """The mean delay one way, wall seconds."""
        return self.effective.delay_ps / _PS_PER_S / self.scale

    @property
    def jitter_s(self) -> float:
        """Half the width of the delay's spread, wall seconds."""
        return self.effective.jitter_ps / _PS_PER_S / self.scale

    @property
    def is_slept(self) -> bool:
        """Whether the delay is long enough to be made on the wall clock."""
        return self.delay_s >= SHORTEST_SLEEP_S

    @property
    def unslept_delay_ps(self) -> int:
        """The delay that is only told, emulated picoseconds: all of it, or nothing."""
        return 0 if self.is_slept else self.effective.delay_ps

    def time_out_s(self, lost_count: int) -> float:
        """Return the wall seconds until a chunk is sent again that was lost so many times before, and once more now."""
        # emulated, but for the delay
        emulated_s = min(_RETRANSMISSION_S * 2.0 ** min(lost_count, 20), _LONGEST_S)
        return emulated_s / self.scale + 2 * self.delay_s


class Source(Protocol):
    """Who knows what holds now."""

    @property
    def conditions(self) -> Conditions:
        """What holds now."""


class _Uniforms:
    """Uniform numbers in (0, 1) from nature's counter-based stream."""

    def __init__(self, secret: bytes) -> None:
        self._words = secret_words(secret)
        self._count = 0
        self._left: list[float] = []

    def next(self) -> float:
        if not self._left:
            s0, s1, s2, s3 = self._words
            counters = np.arange(self._count, self._count + _DRAWN, dtype=np.uint64)
            words, _, _, _ = philox4x32(counters & np.uint64(0xFFFFFFFF), counters >> np.uint64(32), s2, s3, s0, s1)
            self._left = ((words + 0.5) / 2**32).tolist()[::-1]
            self._count += _DRAWN
        return self._left.pop()


class Transit:
    """What befalls traffic one way of a path under the conditions in force.

    Jitter is uniform in delay +- jitter, never below 0, drawn for each chunk of bytes from nature's counter-based
    stream; order is kept by the delay line. Where the delay is not slept there is no jitter either. A lost chunk
    comes a retransmission later, as TCP would bring it.
    """

    def __init__(self, source: Source, nature_secret: bytes, stream: str) -> None:
        """Follow the conditions of `source`; `nature_secret` (16 bytes) and `stream` key what is drawn."""
        self._source = source
        self._spreads = _Uniforms(derive_secret(nature_secret, "classical-jitter", stream))
        self._losses = _Uniforms(derive_secret(nature_secret, "classical-loss", stream))
        self.lost_count = 0

    @property
    def is_open(self) -> bool:
        """Whether a connection is let in, and those there are stay."""
        return self._source.conditions.is_up

    @property
    def is_immediate(self) -> bool:
        """Whether bytes pass without being kept."""
        conditions = self._source.conditions
        return not conditions.is_slept and conditions.effective.loss_prob == 0.0

    def next_delay_s(self) -> float:
        """Return the wall seconds that the next chunk is under way when it is not lost."""
        conditions = self._source.conditions
        delay_s = conditions.delay_s if conditions.is_slept else 0.0
        if conditions.is_slept and conditions.effective.jitter_ps:
            delay_s = max(0.0, delay_s + conditions.jitter_s * (2.0 * self._spreads.next() - 1.0))
        return delay_s

    def next_loss_s(self, lost_count: int = 0) -> float | None:
        """Return after how many wall seconds more a chunk is due again, when it is lost now; None: it arrives.

        Args:
            lost_count: How often it was lost before.
        """
        conditions = self._source.conditions
        loss_prob = conditions.effective.loss_prob
        if loss_prob == 0.0 or self._losses.next() >= loss_prob:
            return None
        self.lost_count += 1
        return conditions.time_out_s(lost_count)


def default_nature_secret(link_id: str) -> bytes:
    """Return what keys the jitter of a link whose configuration brings no secret: its own name."""
    return derive_secret(struct.pack("<Q", 0), "nature", "", link_id)
