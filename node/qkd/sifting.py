"""node.qkd.sifting: from reported clicks to sifted blocks, at either end. Pure.

Both ends feed the same matched events in the same order to a BlockAssembler and get the same blocks, whatever the
parts. A part counts as soon as it was answered; the block under assembly ends with its session.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from node.qkd.bits import Bits, checked
from qnetem.runtime.errors import BadInputError

__all__ = [
    "BlockAssembler",
    "MatchedEvents",
    "RawBlock",
    "ReceiverSift",
    "TransmitterSift",
    "sift_receiver",
    "sift_transmitter",
]

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

# how the assembler codes an event: bit, basis, error in X, intensity
_BIT: Final = 1
_X: Final = 2
_ERROR: Final = 4
_INTENSITY: Final = 3
_MOST_INTENSITIES: Final = 32


@dataclass(frozen=True)
class MatchedEvents:
    """Clicks with equal bases, in the order of the reports.

    Attributes:
        bases: 0 for Z, 1 for X. `intensities`: index into the table. `bits`: this end's. Each uint8[k].
        x_errors: 1 where the two ends' X bits differ; zeros at the transmitter, which does not know. uint8[k].
    """

    bases: U8
    intensities: U8
    bits: Bits = field(repr=False)
    x_errors: U8

    def __len__(self) -> int:
        return len(self.bases)


@dataclass(frozen=True)
class TransmitterSift:
    """The transmitter's answer to a part, and what it keeps: `matches` uint8[n], `disclosed` bits, `events`."""

    matches: Bits
    disclosed: Bits = field(repr=False)
    events: MatchedEvents

    @property
    def z_count(self) -> int:
        """Return how many sifted Z bits the part gave."""
        return len(self.events) - int(np.count_nonzero(self.events.bases))


@dataclass(frozen=True)
class ReceiverSift:
    """What the receiver makes of an answer: `events`, and per basis (Z, X) how many bits were compared and differed."""

    events: MatchedEvents
    compared_counts: tuple[int, int]
    error_counts: tuple[int, int]

    @property
    def z_count(self) -> int:
        """Return how many sifted Z bits the part gave."""
        return len(self.events) - int(np.count_nonzero(self.events.bases))


def sift_transmitter(
    bases: U8,
    intensities: U8,
    bits: Bits,
    receiver_bases: Bits,
    *,
    is_test: bool,
    has_bit: npt.NDArray[np.bool_] | None = None,
) -> TransmitterSift:
    """Return the answer to a part of a train.

    Args:
        bases, intensities, bits: The transmitter's choices at the reported clicks. Each uint8[n].
        receiver_bases: As reported. uint8[n].
        is_test: All bits with equal bases are disclosed, not only those in X.
        has_bit: The transmitter has a bit for the click; None: for each. Shape (n,), bool.

    Raises:
        BadInputError: `receiver_bases` are not n bits.
    """
    receiver_bases = checked(receiver_bases, "bases of a sift report", len(bases))
    is_match = bases == receiver_bases
    if has_bit is not None:
        is_match &= has_bit
    # taking what is where costs a fourth of choosing by a mask
    at = np.flatnonzero(is_match)
    events = MatchedEvents(bases.take(at), intensities.take(at), bits.take(at), np.zeros(len(at), dtype=np.uint8))
    disclosed = events.bits if is_test else events.bits.take(np.flatnonzero(events.bases.view(np.bool_)))
    return TransmitterSift(is_match.view(np.uint8), disclosed, events)


def sift_receiver(
    bases: U8, bits: Bits, matches: Bits, intensities: Bits, disclosed: Bits, *, is_test: bool
) -> ReceiverSift:
    """Return what an answer makes of a reported part.

    Args:
        bases, bits: The receiver's own for the part. Each uint8[n].
        matches, intensities, disclosed: As SiftAnswer: uint8[n], uint8[n], uint8[k].
        is_test: `disclosed` covers all clicks with equal bases, not only those in X.

    Raises:
        BadInputError: The answer does not fit the report.
    """
    at = np.flatnonzero(checked(matches, "matches of a sift answer", len(bases)).view(np.bool_))
    if len(intensities) != len(bases):
        raise BadInputError(f"a sift answer has {len(intensities)} intensities for {len(bases)} clicks")
    matched_bases, matched_bits = bases.take(at), bits.take(at)
    in_x = np.flatnonzero(matched_bases.view(np.bool_))
    compared = np.arange(len(at)) if is_test else in_x
    differs = np.zeros(len(at), dtype=np.uint8)
    disclosed = checked(disclosed, "disclosed bits of a sift answer", len(compared))
    differs[compared] = matched_bits.take(compared) ^ disclosed
    x_errors = differs * matched_bases
    events = MatchedEvents(matched_bases, intensities.take(at), matched_bits, x_errors)
    error_count, x_error_count = int(np.count_nonzero(differs)), int(np.count_nonzero(x_errors))
    return ReceiverSift(events, (len(compared) - len(in_x), len(in_x)), (error_count - x_error_count, x_error_count))


@dataclass(frozen=True)
class RawBlock:
    """A block whose sifting is complete.

    Attributes:
        number: From 0 in its session.
        z_bits, z_intensities: The key bits and their intensities. Each uint8[sifted].
        z_counts, x_counts, x_error_counts: Per intensity; the errors are known to the receiver alone. Each int64[k].
    """

    number: int
    z_bits: Bits = field(repr=False)
    z_intensities: U8 = field(repr=False)
    z_counts: I64
    x_counts: I64
    x_error_counts: I64


class BlockAssembler:
    """Cuts the matched events of a session into blocks.

    A block ends with the very Z bit that completes its size. X events before that bit belong to it.
    """

    def __init__(self, ramp_bits: Sequence[int], intensity_count: int) -> None:
        """Take the sizes of the first block, the second, ...; the last one stays.

        Raises:
            BadInputError: There is no size, or one below 1, or not 1 .. 32 intensities.
        """
        if not ramp_bits or min(ramp_bits) < 1 or not 1 <= intensity_count <= _MOST_INTENSITIES:
            raise BadInputError(f"block ramp {list(ramp_bits)} with {intensity_count} intensities")
        self._ramp_bits = tuple(ramp_bits)
        self._intensity_count = intensity_count
        self._number = 0
        self._begin()

    def _begin(self) -> None:
        # Z bits with their intensities, one to a byte: a block of 10^7 bits is long under way
        self._parts: list[U8] = []
        self._z_count = 0
        self._z_counts, self._x_counts, self._x_error_counts = (self._counts(np.zeros(0, np.uint8)) for _ in range(3))

    @property
    def number(self) -> int:
        """Return the number of the block under assembly."""
        return self._number

    @property
    def pending_bits(self) -> int:
        """Return how many sifted bits wait for their block to fill."""
        return self._z_count

    @property
    def block_bits(self) -> int:
        """Return the size of the block under assembly."""
        return self._ramp_bits[min(self._number, len(self._ramp_bits) - 1)]

    def add(self, events: MatchedEvents) -> list[RawBlock]:
        """Add a part's events; return the blocks that they complete.

        Raises:
            BadInputError: An intensity is not in the table.
        """
        if len(events) and int(events.intensities.max()) >= self._intensity_count:
            raise BadInputError(f"intensity {int(events.intensities.max())} of {self._intensity_count}")
        codes = _coded(events)
        z_positions = np.flatnonzero(events.bases == 0)
        blocks = []
        start = used = 0
        while len(z_positions) - used >= (missing := self.block_bits - self._z_count):
            used += missing
            end = int(z_positions[used - 1]) + 1
            self._take(codes[start:end])
            blocks.append(self._finished())
            start = end
        self._take(codes[start:])
        return blocks

    def _take(self, codes: U8) -> None:
        """Sort events of the block under assembly by basis, so that little is left to do when it is complete."""
        is_x = codes & np.uint8(_X) > 0
        in_z, in_x = codes.take(np.flatnonzero(~is_x)), codes.take(np.flatnonzero(is_x))
        self._parts.append(in_z)
        self._z_count += len(in_z)
        self._z_counts += self._counts(in_z)
        self._x_counts += self._counts(in_x)
        self._x_error_counts += self._counts(in_x.compress(in_x & np.uint8(_ERROR)))

    def _finished(self) -> RawBlock:
        codes = np.concatenate(self._parts)
        block = RawBlock(
            self._number,
            codes & np.uint8(_BIT),
            codes >> np.uint8(_INTENSITY),
            self._z_counts,
            self._x_counts,
            self._x_error_counts,
        )
        self._begin()
        self._number += 1
        return block

    def _counts(self, codes: U8) -> I64:
        # bincount would make eight bytes of each
        intensities = codes >> _INTENSITY
        counts = [np.count_nonzero(intensities == number) for number in range(self._intensity_count)]
        return np.array(counts, dtype=np.int64)


def _coded(events: MatchedEvents) -> U8:
    codes = events.intensities << _INTENSITY | events.x_errors * _ERROR | events.bases * _X | events.bits
    return codes.astype(np.uint8, copy=False)
