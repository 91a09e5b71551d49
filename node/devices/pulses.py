"""node.devices.pulses: which pulse a reported slot is. Pure."""

from typing import Any

import numpy as np
import numpy.typing as npt

from qnetem.runtime.errors import BadInputError
from qnetem.runtime.rng import BLOCK_PULSES

__all__ = ["pulse_indices", "whole_array"]


def whole_array(data: bytes, dtype: str, what: str) -> npt.NDArray[Any]:
    """Return a packed array from the wire.

    Raises:
        BadInputError: The bytes are no whole number of entries.
    """
    if len(data) % np.dtype(dtype).itemsize:
        raise BadInputError(f"{what}: {len(data)} bytes are no whole number of entries")
    return np.frombuffer(data, dtype)


def pulse_indices(
    first_block: int, block_counts: npt.NDArray[np.uint32], offsets: npt.NDArray[np.int32]
) -> npt.NDArray[np.uint64]:
    """Return the pulse index of each slot.

    Args:
        first_block: Block of the first count.
        block_counts: Slots in each block. Shape (blocks,), uint32.
        offsets: Slot relative to the first pulse of its block; jitter may carry it over the border. Shape (n,), int32.

    Returns:
        Pulse indices. Shape (n,), uint64.

    Raises:
        BadInputError: The counts do not add up to n, or a slot lies before pulse 0.
    """
    if int(block_counts.sum(dtype=np.int64)) != len(offsets):
        raise BadInputError(f"block counts add up to {int(block_counts.sum())}, there are {len(offsets)} slots")
    starts = (np.arange(len(block_counts), dtype=np.int64) + first_block) * BLOCK_PULSES
    indices = np.repeat(starts, block_counts) + offsets
    if len(indices) and int(indices.min()) < 0:
        raise BadInputError("a slot lies before pulse 0")
    return indices.view(np.uint64)
