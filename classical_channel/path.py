"""classical_channel.path: what holds on a link, and what befalls bytes sent over it. Pure.

`Transit` is the one place where conditions act on traffic: whether a connection is let in, and how long a chunk of
bytes takes. Loss, partitions and other faults belong there and nowhere else.
"""

import difflib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnetem.runtime.errors import BadInputError
from qnetem.runtime.rng import derive_secret, philox4x32, secret_words
from qnetem.v1 import parameters_pb2

__all__ = [
    "MAX_DELAY_PS",
    "SHORTEST_SLEEP_S",
    "Conditions",
    "Transit",
    "check_parameters",
    "check_settings",
    "default_nature_secret",
    "merged_settings",
    "reset_settings",
]

_PS_PER_S: Final = 10**12
MAX_DELAY_PS: Final = 3600 * _PS_PER_S
# an event-loop timer cannot make less
SHORTEST_SLEEP_S: Final = 1e-3
_JITTER_BLOCK: Final = 1024
_SETTINGS: Final = tuple(field.name for field in parameters_pb2.ClassicalSettings.DESCRIPTOR.fields)


def _check_span(link_id: str, name: str, value_ps: int) -> None:
    if not 0 <= value_ps <= MAX_DELAY_PS:
        raise BadInputError(f"link {link_id}: {name} {value_ps} is not in 0 .. {MAX_DELAY_PS} (one hour)")


def check_parameters(link_id: str, planned: parameters_pb2.ClassicalParameters) -> None:
    """Refuse parameters that no link can have.

    Raises:
        BadInputError: Names link, field, value and range.
    """
    _check_span(link_id, "delay_ps", planned.delay_ps)
    _check_span(link_id, "jitter_ps", planned.jitter_ps)
    if not 0.0 <= planned.loss_prob <= 1.0:
        raise BadInputError(f"link {link_id}: loss_prob {planned.loss_prob} is not in 0 .. 1")


def check_settings(link_id: str, settings: parameters_pb2.ClassicalSettings) -> None:
    """Refuse settings that no link can have.

    Raises:
        BadInputError: Names link, field, value and range.
    """
    if settings.HasField("delay_ps"):
        _check_span(link_id, "delay_ps", settings.delay_ps)


def merged_settings(
    held: parameters_pb2.ClassicalSettings, new: parameters_pb2.ClassicalSettings
) -> parameters_pb2.ClassicalSettings:
    """Return the settings in force after `new` came on top of `held`."""
    merged = parameters_pb2.ClassicalSettings()
    merged.CopyFrom(held)
    merged.MergeFrom(new)
    return merged


def reset_settings(
    link_id: str, held: parameters_pb2.ClassicalSettings, fields: Iterable[str]
) -> parameters_pb2.ClassicalSettings:
    """Return `held` without `fields`; without any when none is named.

    Raises:
        BadInputError: A name is not a setting; the nearest one is suggested.
    """
    rest = parameters_pb2.ClassicalSettings()
    rest.CopyFrom(held)
    names = tuple(fields)
    for name in names:
        if name not in _SETTINGS:
            near = difflib.get_close_matches(name, _SETTINGS, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_SETTINGS)}"
            raise BadInputError(f"link {link_id}: no setting {name!r}; {hint}")
    for name in names or _SETTINGS:
        rest.ClearField(name)  # type: ignore[arg-type]  # the stub wants literals
    return rest


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds on a link now: the planned parameters with the settings over them, seen at a time scale.

    Attributes:
        effective: Delay, jitter and loss in force.
        is_up: Whether anything passes.
        scale: Emulated seconds in a wall second.
    """

    effective: parameters_pb2.ClassicalParameters
    is_up: bool
    scale: float

    @classmethod
    def of(
        cls, planned: parameters_pb2.ClassicalParameters, settings: parameters_pb2.ClassicalSettings, scale: float
    ) -> "Conditions":
        """Return the conditions that parameters and settings make together."""
        effective = parameters_pb2.ClassicalParameters()
        effective.CopyFrom(planned)
        if settings.HasField("delay_ps"):
            effective.delay_ps = settings.delay_ps
        return cls(effective, settings.is_up if settings.HasField("is_up") else True, scale)

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


class Transit:
    """What befalls traffic of one path under the conditions in force.

    Jitter is uniform in delay +- jitter, never below 0, drawn for each chunk of bytes from nature's counter-based
    stream; order is kept by the delay line. Where the delay is not slept there is no jitter either.
    """

    def __init__(self, conditions: Conditions, nature_secret: bytes, from_node: str) -> None:
        """Draw the jitter of the path that `from_node` dials; `nature_secret` has 16 bytes."""
        self.conditions = conditions
        self._words = secret_words(derive_secret(nature_secret, "classical-jitter", from_node))
        self._drawn_count = 0
        self._spread: list[float] = []

    @property
    def is_open(self) -> bool:
        """Whether a connection is let in, and those there are stay."""
        return self.conditions.is_up

    @property
    def is_immediate(self) -> bool:
        """Whether bytes pass without being kept."""
        return not self.conditions.is_slept

    def next_delay_s(self) -> float:
        """Return the wall seconds that the next chunk is under way."""
        conditions = self.conditions
        if not conditions.is_slept:
            return 0.0
        if conditions.effective.jitter_ps == 0:
            return conditions.delay_s
        return max(0.0, conditions.delay_s + conditions.jitter_s * self._next_spread())

    def _next_spread(self) -> float:
        if not self._spread:
            s0, s1, s2, s3 = self._words
            counters = np.arange(self._drawn_count, self._drawn_count + _JITTER_BLOCK, dtype=np.uint64)
            words, _, _, _ = philox4x32(counters & np.uint64(0xFFFFFFFF), counters >> np.uint64(32), s2, s3, s0, s1)
            self._spread = ((words + 0.5) / 2**31 - 1.0).tolist()[::-1]
            self._drawn_count += _JITTER_BLOCK
        return self._spread.pop()


def default_nature_secret(link_id: str) -> bytes:
    """Return what keys the jitter of a link whose configuration brings no secret: its own name."""
    return derive_secret(struct.pack("<Q", 0), "nature", "", link_id)
