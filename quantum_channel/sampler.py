"""quantum_channel.sampler: the clicks of a run of blocks, by arrays. Pure.

Cost follows clicks: pulses that do not click are never looked at. `sampler_compiled` draws the same words in the same
order and is tested to give the same bytes.

DRAW LAYOUT (nature is implemented here alone; a change of it changes every replay). Slots count from the first of the
block. Draw d of block b is four words of nature (choice.proto). Candidates j = 0, 1, ... of a block go in groups of 64,
and each draw is of two of them: draw 32 (j >> 6) + (j & 31), by w0 and w1 in the first half of the group, by w2 and w3
in its second.
  gap   (w0 or w2): the candidate's slot is `base` + floor(ln u / ln(1 - p_max)), u = (w + 1/2) / 2^32, where `base` is
        0 for the first candidate, then the slot after the candidate before it. While responses say `is_skipping`, slots
        that are blanked whatever the jitter are passed over: `base` is not below the last blanked slot + 1 - reach.
        The block's candidates end with the first whose slot is 2^20 or more.
  keep  (w1 or w3): kept when below P(click | class) / p_max, the class following from the choices of both ends at that
        pulse.
  A candidate that is kept has draw j + 2^29 to itself. w0: how it clicked, of the ways of the class, whose codes `ways`
  explains, by its alias table (`alias`). w1: its arrival, by the alias table of its way's landing when there was light,
  uniform over the slot for a dark count.
Kept candidates are registered in order, when the slot they land in is not blanked; registering blanks that slot and
the `dead_slots` after it. So a slot registers once, and clicks come in ascending slots.
  Afterpulse of the click that was candidate j: words of draw j + 2^31. w0 below p_ap: it begets one,
  floor(e) + 1 slots after the blanked ones, e = -ln u1 tau; at detector w2 >> 31 (of four: w2 >> 30); arrival in its
  slot: e's fraction. What an eavesdropper forces at blinded detectors begets none.
  An afterpulse is registered as any click is, before the candidates of its slot and later, and begets none.
Blanked slots and afterpulses that are due later are carried to the next block; a train starts without.
  With a source of pairs that w0 tells at once what the transmitter's own detectors registered in that slot. Where a
  click is not its own pulse's, an afterpulse or carried into another slot, that is drawn for slot s of block b that it
  landed in: word 0 of draw s + 2^30 of block b, against what it is where the receiver stays dark.
"""

import math
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from qnetem.runtime.rng import (
    BLOCK_PULSES,
    STREAM_NATURE,
    STREAM_RECEIVER,
    STREAM_TRANSMITTER,
    philox4x32,
    secret_words,
)
from quantum_channel.alias import outcomes
from quantum_channel.response import Response
from quantum_channel.ways import AFTERPULSE_CODES, STRAY, UNIFORM

__all__ = [
    "AFTERPULSE_DRAW",
    "BLOCK_BITS",
    "COLD",
    "GAP_LIMIT",
    "GROUP_BITS",
    "MARK_DRAW",
    "Carry",
    "Keys",
    "Sample",
    "Sampler",
    "explained",
    "log_uniform",
    "pulse_classes",
    "sample",
]

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]

BLOCK_BITS: Final = 20
GROUP_BITS: Final = 6
MARK_DRAW: Final = 1 << 29
AFTERPULSE_DRAW: Final = 1 << 31
_STRAY_DRAW: Final = 1 << 30
# no gap or delay is longer, so that integers of 32 bits hold them
GAP_LIMIT: Final = float(1 << 30)
_LN2: Final = 0.6931471805599453
_ONE: Final = np.uint64(0x3FF0000000000000)  # bits of 1.0
_ROOT_HALF: Final = np.uint64(0x3FE6A09E667F3BCD)  # bits of sqrt(1/2)
_LOG_TERMS: Final = tuple(1.0 / n for n in range(11, 1, -2))


@dataclass(frozen=True, slots=True)
class Keys:
    """The Philox keys and counter words of nature and of both ends' choices: (k0, k1, c2, c3) of each."""

    words: U32  # shape (3, 4): nature (k0, k1, unused, c3), transmitter, receiver

    @classmethod
    def of(cls, nature: bytes, transmitter: bytes, receiver: bytes) -> "Keys":
        """Return the keys of the three secrets of a link (choice.proto).

        Raises:
            BadInputError: A secret is not 16 bytes long.
        """
        n0, n1, _, n3 = secret_words(nature)
        rows = [(n0, n1, 0, n3 ^ STREAM_NATURE)]
        for secret, number in ((transmitter, STREAM_TRANSMITTER), (receiver, STREAM_RECEIVER)):
            s0, s1, s2, s3 = secret_words(secret)
            rows.append((s0, s1, s2 ^ number, s3))
        return cls(np.array(rows, dtype=np.uint32))

    def __repr__(self) -> str:
        """Return a text without the secrets."""
        return "Keys(...)"


@dataclass(frozen=True, slots=True)
class Carry:
    """What a block leaves to the next, slots counted from the next one's first.

    Attributes:
        blanked_to: Last blanked slot.
        due_slots: Slots of afterpulses to come, ascending. Shape (n,), int64.
        due_detectors: Number of the detector. Shape (n,), uint8.
        due_arrivals_ps: Shape (n,), int32.
    """

    blanked_to: int
    due_slots: I64
    due_detectors: U8
    due_arrivals_ps: I32


_NEVER: Final = -(1 << 31)
# the receiver's gate opens with the train: nothing lands before its first slot
COLD: Final = Carry(-1, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8), np.zeros(0, dtype=np.int32))


@dataclass(frozen=True, slots=True)
class Sample:
    """What the detectors registered in a run of blocks, in order: the arrays of quantum_channel.proto's Clicks.

    Attributes:
        block_counts: Clicks in each block. Shape (blocks,), uint32.
        offsets: Slot relative to the block's first. Shape (clicks,), int32.
        detectors: 1 = detector 0, 2 = detector 1, 3 = both; with four, 4 = detector 2, 8 = detector 3. Shape (clicks,),
            uint8.
        arrivals_ps: Arrival relative to the centre of the slot. Shape (clicks,), int32.
        partners: What the transmitter's own detectors registered in that slot: 0 = none, 1 = detector 0, 2 = detector
            1, 3 = both. Without a source of pairs 0. Shape (clicks,), uint8; by default of no clicks.
    """

    block_counts: U32
    offsets: I32
    detectors: U8
    arrivals_ps: I32
    partners: U8 = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))


class Sampler(Protocol):
    """Samples a run of blocks; the compiled and the array implementation are called alike."""

    def __call__(
        self, response: Response, keys: Keys, first_block: int, block_count: int, carry: Carry
    ) -> tuple[Sample, Carry]:
        """Return the clicks of the blocks and what they leave to the next."""


def log_uniform(words: U32) -> F64:
    """Return ln((w + 1/2) / 2^32), to 1e-10 of itself. Any shape.

    Written out in additions, multiplications and one division, since logarithms of libraries differ in the last bit.
    """
    # exponent and mantissa in [sqrt(1/2), sqrt(2)), taken from the bits of the double
    bits = (words.astype(np.float64) + 0.5).view(np.uint64) + (_ONE - _ROOT_HALF)
    power = ((bits >> np.uint64(52)).astype(np.int32) - np.int32(1023 + 32)).astype(np.float64)
    mantissa = ((bits & np.uint64(0xFFFFFFFFFFFFF)) + _ROOT_HALF).view(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = np.full_like(s, _LOG_TERMS[0])
    for term in _LOG_TERMS[1:]:
        series = series * square + term
    return power * _LN2 + (2.0 * s) * (series * square + 1.0)


def _looked_up(meaning: U8, codes: U8) -> U8:
    """Return meaning[codes], ten times as fast."""
    return np.frombuffer(bytearray(codes).translate(meaning.tobytes().ljust(256, b"\0")), dtype=np.uint8)


def explained(
    response: Response, keys: Keys, first_block: int, block_counts: U32, offsets: I32, codes: U8, arrivals_ps: I32
) -> Sample:
    """Return the sample of clicks of which the codes of their ways are known."""
    detectors = _looked_up(response.ways.detectors, codes)
    if not response.has_partners:
        return Sample(block_counts, offsets, detectors, arrivals_ps, np.zeros(len(codes), dtype=np.uint8))
    partners = _looked_up(response.ways.partners, codes)
    strays = np.flatnonzero(partners == STRAY)
    blocks = np.repeat(np.arange(len(block_counts), dtype=np.uint64), block_counts)[strays] + np.uint64(first_block)
    # offsets may be negative: as integers modulo 2^64
    pulses = (blocks << np.uint64(BLOCK_BITS)) + offsets[strays].astype(np.int64).astype(np.uint64)
    draws = (pulses & np.uint64(BLOCK_PULSES - 1)) + np.uint64(_STRAY_DRAW)
    blocks = pulses >> np.uint64(BLOCK_BITS)
    k0, k1, _, c3 = (int(word) for word in keys.words[0])
    words, *_ = philox4x32(draws, blocks & np.uint64(0xFFFFFFFF), blocks >> np.uint64(32), c3, k0, k1)
    partners[strays] = (words[:, None] >= response.stray_thresholds).sum(axis=1)
    return Sample(block_counts, offsets, detectors, arrivals_ps, partners)


def pulse_classes(response: Response, keys: Keys, pulses: U64) -> I64:
    """Return the class of each pulse: ((intensity x 2 + transmitter basis) x 2 + receiver basis) x 2 + bit.

    Args:
        response: What the choices are made with.
        keys: Secrets of the link.
        pulses: Indices. Shape (n,), uint64.
    """
    low, high = pulses & np.uint64(0xFFFFFFFF), pulses >> np.uint64(32)
    (t0, t1, t2, t3), (r0, r1, r2, r3) = (tuple(int(word) for word in row) for row in keys.words[1:])
    base, level, bit, _ = philox4x32(low, high, t2, t3, t0, t1)
    other, *_ = philox4x32(low, high, r2, r3, r0, r1)
    intensity = (level[:, None] >= response.intensity_thresholds).sum(axis=1)
    transmitter = (base >= response.basis_thresholds[0]).astype(np.int64)
    receiver = (other >= response.basis_thresholds[1]).astype(np.int64)
    return np.asarray(((intensity * 2 + transmitter) * 2 + receiver) * 2 + (bit >> np.uint32(31)), dtype=np.int64)


def _uniform_arrival(words: U32, slot_ps: int) -> I32:
    return ((words.astype(np.uint64) * np.uint64(slot_ps)) >> np.uint64(32)).astype(np.int32) - np.int32(slot_ps // 2)


@dataclass(slots=True)
class _Candidates:
    """Candidates j, j+1, ... of a block by array; what depends on the candidate's slot follows in `classify`."""

    numbers: U64
    gaps: I64
    keep: U32

    @classmethod
    def draw(cls, response: Response, keys: Keys, block: int, first: int, count: int) -> "_Candidates":
        numbers = np.arange(first, first + count, dtype=np.uint64)
        half = np.uint64(1 << GROUP_BITS >> 1)
        draws = (numbers >> np.uint64(GROUP_BITS)) * half + (numbers & (half - np.uint64(1)))
        words = cls._words(keys, block, draws)
        is_second = numbers & half > 0
        gap, keep = (np.where(is_second, words[n + 2], words[n]) for n in (0, 1))
        return cls(numbers, np.minimum(log_uniform(gap) * response.gap_scale, GAP_LIMIT).astype(np.int64), keep)

    @staticmethod
    def _words(keys: Keys, block: int, draws: U64) -> tuple[U32, U32, U32, U32]:
        k0, k1, _, c3 = (int(word) for word in keys.words[0])
        return philox4x32(draws, block & 0xFFFFFFFF, block >> 32, c3, k0, k1)

    def classify(
        self, response: Response, keys: Keys, block: int, slots: I64
    ) -> tuple[npt.NDArray[np.bool_], U8, I64, I32]:
        """Return (is kept, code of the way, landing slot, arrival) of these candidates at `slots` of the block."""
        way, arrival, *_ = self._words(keys, block, self.numbers + np.uint64(MARK_DRAW))
        pulses = (np.uint64(block) << np.uint64(BLOCK_BITS)) + slots.astype(np.uint64)
        classes = pulse_classes(response, keys, pulses)
        is_kept = self.keep < response.accept[classes]
        codes = AFTERPULSE_CODES + outcomes(response.cells, classes, way)
        shifts = np.zeros(len(codes), dtype=np.int32)
        arrivals = _uniform_arrival(arrival, response.slot_ps)
        landings, number = response.landings, response.ways.landings[codes]
        lit = np.flatnonzero(number != UNIFORM)
        tables = landings.cells.reshape(-1, 1 << landings.bits)
        outcome = (number[lit].astype(np.int64) << landings.bits) + outcomes(tables, number[lit], arrival[lit])
        shifts[lit], arrivals[lit] = landings.shifts[outcome], landings.arrivals_ps[outcome]
        codes = np.where(shifts == 0, codes, response.ways.strays[codes])
        return is_kept, codes.astype(np.uint8), slots + shifts, arrivals


class _Register:
    """The receiver's electronics: blanks after every click, and lets afterpulses come."""

    def __init__(self, response: Response, keys: Keys, carry: Carry) -> None:
        self._response = response
        self._nature = [int(word) for word in keys.words[0]]
        self.blanked_to = carry.blanked_to
        due = zip(carry.due_slots.tolist(), carry.due_detectors.tolist(), carry.due_arrivals_ps.tolist(), strict=True)
        self._due: list[tuple[int, int, int]] = list(due)
        self.clicks: list[tuple[int, int, int]] = []
        self.block_counts: list[int] = []

    def _click(self, slot: int, code: int, arrival_ps: int) -> bool:
        if slot <= self.blanked_to:
            return False
        self.clicks.append((slot, code, arrival_ps))
        self.blanked_to = slot + self._response.dead_slots
        return True

    def let_come(self, slot: int) -> None:
        """Register the afterpulses due up to and in `slot`."""
        while self._due and self._due[0][0] <= slot:
            self._click(*self._due.pop(0))

    def candidate(self, block: int, number: int, slot: int, landing_slot: int, code: int, arrival_ps: int) -> None:
        """Register a kept candidate."""
        response = self._response
        self.let_come(slot)
        is_click = self._click(landing_slot, code, arrival_ps)
        if is_click and response.afterpulse_threshold and response.ways.begets[code]:
            k0, k1, _, c3 = self._nature
            begets, delay, detector, _ = philox4x32(
                number + AFTERPULSE_DRAW, block & 0xFFFFFFFF, block >> 32, c3, k0, k1
            )
            if int(begets) < response.afterpulse_threshold:
                wait = min(-float(log_uniform(delay)) * response.afterpulse_tau_slots, GAP_LIMIT)
                whole = math.floor(wait)
                arrival = math.floor((wait - whole) * response.slot_ps) - response.slot_ps // 2
                # the codes of afterpulses are the numbers of their detectors
                daughter = (self.blanked_to + 1 + whole, int(detector) >> response.detector_shift, arrival)
                place = len(self._due)
                while place and self._due[place - 1][0] > daughter[0]:
                    place -= 1
                self._due.insert(place, daughter)

    def end_block(self) -> None:
        """Let the rest of the block pass."""
        self.let_come(BLOCK_PULSES - 1)
        self.block_counts.append(len(self.clicks) - sum(self.block_counts))
        self.blanked_to = max(self.blanked_to - BLOCK_PULSES, _NEVER)
        self._due = [(slot - BLOCK_PULSES, code, arrival) for slot, code, arrival in self._due]

    def carry(self) -> Carry:
        slots, codes, arrivals = zip(*self._due, strict=True) if self._due else ((), (), ())
        return Carry(
            self.blanked_to,
            np.array(slots, dtype=np.int64),
            np.array(codes, dtype=np.uint8),
            np.array(arrivals, dtype=np.int32),
        )


def _all_candidates(response: Response, keys: Keys, block: int, register: _Register) -> None:
    """Draw every candidate of the block, by array, then register the kept ones in order."""
    expected = response.candidate_prob * BLOCK_PULSES
    step = int(expected + 6.0 * math.sqrt(expected)) + 16
    base = number = 0
    while base < BLOCK_PULSES:
        drawn = _Candidates.draw(response, keys, block, number, step)
        slots = base + np.cumsum(drawn.gaps + 1) - 1
        is_kept, codes, landing_slots, arrivals = drawn.classify(response, keys, block, np.minimum(slots, BLOCK_PULSES))
        for j in np.flatnonzero(is_kept & (slots < BLOCK_PULSES)).tolist():
            register.candidate(block, number + j, int(slots[j]), int(landing_slots[j]), int(codes[j]), int(arrivals[j]))
        base = int(slots[-1]) + 1
        number += step


def _live_candidates(response: Response, keys: Keys, block: int, register: _Register) -> None:
    """Draw the candidates of the block one by one, passing over what is blanked."""
    base = number = 0
    while True:
        drawn = _Candidates.draw(response, keys, block, number, 1)
        live = register.blanked_to + 1 - response.landings.reach_slots
        slot = max(base, live) + int(drawn.gaps[0])
        if slot >= BLOCK_PULSES:
            return
        is_kept, codes, landing_slots, arrivals = drawn.classify(
            response, keys, block, np.array([slot], dtype=np.int64)
        )
        if is_kept[0]:
            register.candidate(block, number, slot, int(landing_slots[0]), int(codes[0]), int(arrivals[0]))
        base = slot + 1
        number += 1


def sample(response: Response, keys: Keys, first_block: int, block_count: int, carry: Carry) -> tuple[Sample, Carry]:
    """Return what the detectors register in `block_count` blocks from `first_block` on, and what is left to the next.

    The result does not depend on how a train is cut into runs, as long as each gets the carry of the one before.
    """
    register = _Register(response, keys, carry)
    candidates = _live_candidates if response.is_skipping else _all_candidates
    for block in range(first_block, first_block + block_count):
        if response.candidate_prob > 0.0:
            candidates(response, keys, block, register)
        register.end_block()
    clicks = np.array(register.clicks, dtype=np.int64).reshape(-1, 3)
    columns = (clicks[:, 0].astype(np.int32), clicks[:, 1].astype(np.uint8), clicks[:, 2].astype(np.int32))
    block_counts = np.array(register.block_counts, dtype=np.uint32)
    return explained(response, keys, first_block, block_counts, *columns), register.carry()
