"""node.devices.receiver: the receiving end of a quantum link: its clicks and its own choices, no more. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from node.devices.pulses import pulse_indices
from qnetem.runtime.rng import BLOCK_PULSES, receiver_choices
from qnetem.v1 import process_pb2

__all__ = ["Detections", "Receiver"]

U8 = npt.NDArray[np.uint8]
_DOUBLE: Final = 3
_Z_DETECTORS: Final = 3


@dataclass(frozen=True)
class Detections:
    """What the receiver registered in a stretch of one train.

    Attributes:
        first_block: Block of the first count.
        block_counts: Clicks in each block. Shape (blocks,), uint32.
        offsets: Slots relative to the first pulse of their blocks. Shape (n,), int32.
        bases: 0 for Z, 1 for X. Shape (n,), uint8.
        bits: What was measured. Shape (n,), uint8.
        double_click_count: Clicks of both detectors of a basis, each given a random bit and kept.
        cross_click_count: Clicks in both bases of a passive receiver, each given one of them and kept.
        detectors: Of these clicks. Shape (n,), uint8.
    """

    first_block: int
    block_counts: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int32]
    bases: U8
    bits: U8
    double_click_count: int
    cross_click_count: int
    detectors: U8


class Receiver:
    """A receiver: an active one chooses its basis for every slot; to a passive one the detector that clicks tells it.

    Of a click in both bases a passive receiver takes that which it would have chosen, were it active.
    """

    def __init__(self, config: process_pb2.NodeLinkConfig) -> None:
        """Use the device secret and the planned basis choice."""
        self._secret = config.device_secret
        self._p_z = config.planned.receiver_p_z
        self._is_passive = config.planned.is_passive

    def detect(
        self,
        first_block: int,
        block_counts: npt.NDArray[np.uint32],
        offsets: npt.NDArray[np.int32],
        detectors: U8,
        train: range,
    ) -> Detections:
        """Return bases and bits of the clicks whose slots lie in the train.

        Args:
            first_block, block_counts, offsets: As quantum_channel.proto's Clicks.
            detectors: Bit mask: 1 and 2 for the bits of an active receiver, or of Z in a passive one; 4 and 8 for those
                of X. Shape (n,), uint8.
            train: The blocks of the train. A click that jitter carried out of it belongs to no pulse.

        Raises:
            BadInputError: The arrays do not fit together.
        """
        indices = pulse_indices(first_block, block_counts, offsets)
        first, end = train.start * BLOCK_PULSES, train.stop * BLOCK_PULSES
        if len(indices) and not (first <= int(indices.min()) and int(indices.max()) < end):
            inside = (indices >= np.uint64(first)) & (indices < np.uint64(end))
            blocks = np.repeat(np.arange(len(block_counts)), block_counts)[inside]
            block_counts = np.bincount(blocks, minlength=len(block_counts)).astype(np.uint32)
            indices, offsets, detectors = indices[inside], offsets[inside], detectors[inside]
        bases, double_bits = receiver_choices(self._secret, indices, self._p_z)
        masks, cross_click_count = detectors, 0
        if self._is_passive:
            in_z, in_x = detectors & _Z_DETECTORS, detectors >> 2
            is_cross = (in_z > 0) & (in_x > 0)
            cross_click_count = int(is_cross.sum())
            bases = np.where(is_cross, bases, in_z == 0).astype(np.uint8)
            masks = np.where(bases == 1, in_x, in_z)
        bits, doubles = masks >> np.uint8(1) & np.uint8(1), np.flatnonzero(masks == _DOUBLE)
        bits[doubles] = double_bits[doubles]
        return Detections(first_block, block_counts, offsets, bases, bits, len(doubles), cross_click_count, detectors)
