"""node.devices.retiming: raw time stamps of a receiver's clock as slots of pulses. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qnetem.runtime.rng import BLOCK_PULSES

__all__ = ["Stamps", "raw_slots", "retimed", "sample_slots"]

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Stamps:
    """Clicks of a stretch, given to slots anew, each slot once, ascending.

    Attributes:
        block_counts: Clicks in each block of the stretch. Shape (blocks,), uint32.
        offsets: Slot relative to the first pulse of its block. Shape (n,), int32.
        arrivals_ps: Arrival against the middle of the slot. Shape (n,), int32.
        kept: Which clicks these are. Shape (all,), bool.
        last_slot: The last slot named so far in the train.
    """

    block_counts: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int32]
    arrivals_ps: npt.NDArray[np.int32]
    kept: npt.NDArray[np.bool_]
    last_slot: int


def raw_slots(first_block: int, block_counts: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int32]) -> I64:
    """Return the slot that each click was stamped with, counted from pulse 0; below 0 where a clock is far off.

    Args:
        first_block, block_counts, offsets: As quantum_channel.proto's Clicks.
    """
    starts = (np.arange(len(block_counts), dtype=np.int64) + first_block) * BLOCK_PULSES
    slots: I64 = np.repeat(starts, block_counts) + offsets
    return slots


def sample_slots(
    first_block: int,
    block_counts: npt.NDArray[np.uint32],
    offsets: npt.NDArray[np.int32],
    places: npt.NDArray[np.int64],
) -> I64:
    """Return what `raw_slots` has at some places, without all the others. Shape (places,), int64."""
    blocks = np.searchsorted(np.cumsum(block_counts, dtype=np.int64), places, side="right")
    slots: I64 = (blocks + first_block) * BLOCK_PULSES + offsets[places]
    return slots


def retimed(
    slots: I64,
    arrivals_ps: npt.NDArray[np.int32],
    late_ps: F64,
    period_ps: float,
    blocks: range,
    *,
    after_slot: int,
    before_slot: int,
) -> Stamps:
    """Return clicks in the slots that they belong to when the clock had each late by `late_ps`.

    Args:
        slots, arrivals_ps: As stamped, ascending. Each (n,).
        late_ps: To take off. Shape (n,).
        period_ps: Of the slots.
        blocks: Of the stretch.
        after_slot, before_slot: Slots that may still be named, both ends left out: those before have been, those behind
            have not been emitted.
    """
    true_ps = arrivals_ps - late_ps
    shifts = np.floor(true_ps / period_ps + 0.5).astype(np.int64)
    slots = slots + shifts
    arrivals = np.round(true_ps - shifts * period_ps).astype(np.int32)
    kept = slots < before_slot
    # a clock that is put right, or runs fast, may name a slot twice: the first click keeps it
    highest = np.maximum.accumulate(np.where(kept, slots, after_slot)) if len(slots) else slots
    kept &= slots > np.concatenate(([after_slot], np.maximum(highest, after_slot)[:-1]))
    slots, arrivals = slots[kept], arrivals[kept]
    places = np.clip(slots // BLOCK_PULSES, blocks.start, blocks.stop - 1)
    counts = np.bincount(places - blocks.start, minlength=len(blocks)).astype(np.uint32)
    offsets = (slots - places * BLOCK_PULSES).astype(np.int32)
    return Stamps(counts, offsets, arrivals, kept, int(slots[-1]) if len(slots) else after_slot)
