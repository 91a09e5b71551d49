"""node.devices.receiver: the receiving end of a quantum link: its clicks and its own choices, no more. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from node.devices.pulses import pulse_indices
from qnetem.runtime.rng import BLOCK_PULSES, receiver_choices
from qnetem.v1 import process_pb2

__all__ = ["Detections", "Receiver"]

U8 = npt.NDArray[np.uint8]
_DOUBLE = 3


@dataclass(frozen=True)
class Detections:
    """What the receiver registered in a stretch of one train.

    Attributes:
        first_block: Block of the first count.
        block_counts: Clicks in each block. Shape (blocks,), uint32.
        offsets: Slots relative to the first pulse of their blocks. Shape (n,), int32.
        bases: 0 for Z, 1 for X. Shape (n,), uint8.
        bits: What was measured. Shape (n,), uint8.
        double_click_count: Clicks of both detectors, each given a random bit and kept.
    """

    first_block: int
    block_counts: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int32]
    bases: U8
    bits: U8
    double_click_count: int


class Receiver:
    """An active receiver: it chooses its basis for every slot."""

    def __init__(self, config: process_pb2.NodeLinkConfig) -> None:
        """Use the device secret and the planned basis choice."""
        self._secret = config.device_secret
        self._p_z = config.planned.receiver_p_z

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
            detectors: 1, 2, or 3 for a double click. Shape (n,), uint8.
            train: The blocks of the train. A click that jitter carried out of it belongs to no pulse.

        Raises:
            BadInputError: The arrays do not fit together.
        """
        indices = pulse_indices(first_block, block_counts, offsets)
        inside = (indices >= np.uint64(train.start * BLOCK_PULSES)) & (indices < np.uint64(train.stop * BLOCK_PULSES))
        if not inside.all():
            blocks = np.repeat(np.arange(len(block_counts)), block_counts)[inside]
            block_counts = np.bincount(blocks, minlength=len(block_counts)).astype(np.uint32)
            indices, offsets, detectors = indices[inside], offsets[inside], detectors[inside]
        bases, double_bits = receiver_choices(self._secret, indices, self._p_z)
        is_double = detectors == _DOUBLE
        bits = np.where(is_double, double_bits, detectors == 2).astype(np.uint8)
        return Detections(first_block, block_counts, offsets, bases, bits, int(is_double.sum()))
