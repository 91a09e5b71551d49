"""node.qkd.slot_search: by how many slots a receiver misses the pulses, from what it measured in a test train. Edge."""

import asyncio
from typing import Final

import numpy as np
import numpy.typing as npt

from node.control.acquisition import slot_shift
from node.devices.transmitter import Transmitter
from node.qkd.bits import Bits
from node.qkd.partners import Partners

__all__ = ["LEAST_COMPARED", "SLIPPED_PROB", "missed_slots"]

# errors that only bits of other pulses make: an eavesdropper who measures every pulse makes 25 %
SLIPPED_PROB: Final = 0.35
LEAST_COMPARED: Final = 60


async def missed_slots(
    device: Transmitter,
    partners: Partners | None,
    train_id: int,
    indices: npt.NDArray[np.uint64],
    receiver_bases: Bits,
    values: Bits,
) -> int:
    """Return by how many slots too late the pulses of a part were named; 0 when that cannot be told.

    Args:
        device: What was sent.
        partners: What the transmitter's own detectors saw, with a source of pairs.
        train_id: The train that the part belongs to.
        indices: Pulses that were named. Shape (n,), uint64.
        receiver_bases, values: What was measured there. Each (n,), uint8.
    """

    def truth(asked: npt.NDArray[np.int64]) -> tuple[Bits, Bits, npt.NDArray[np.bool_]]:
        is_there = asked >= 0
        pulses = np.where(is_there, asked, 0).astype(np.uint64)
        bases, _, bits = device.choices(pulses)
        if partners is not None:
            has_bit, bits = partners.known(train_id, pulses, bits)
            is_there &= has_bit
        return bases, bits, is_there

    shift = await asyncio.to_thread(slot_shift, indices.astype(np.int64), receiver_bases, values, truth)
    return shift or 0
