"""node.devices.transmitter: the sending end of a quantum link: it knows what it sent. Pure."""

import numpy as np
import numpy.typing as npt

from qnetem.runtime.rng import transmitter_choices
from qnetem.v1 import process_pb2

__all__ = ["Transmitter"]

U8 = npt.NDArray[np.uint8]


class Transmitter:
    """A source with choices of basis, intensity and bit.

    With a source of pairs there is one intensity, and the bit is what a click of both detectors of its own is given.
    """

    def __init__(self, config: process_pb2.NodeLinkConfig) -> None:
        """Use the device secret and the planned settings of the source."""
        self._secret = config.device_secret
        self._p_z = config.planned.transmitter_p_z
        has_pairs = config.planned.pair_brightness > 0
        self.intensities = (0.0,) if has_pairs else tuple(config.planned.intensities)
        self.intensity_probs = (1.0,) if has_pairs else tuple(config.planned.intensity_probs)
        self.clock_hz = config.planned.clock_hz

    def choices(self, indices: npt.NDArray[np.uint64]) -> tuple[U8, U8, U8]:
        """Return (bases, intensities, bits) at the pulses `indices`. Each (n,), uint8."""
        return transmitter_choices(self._secret, indices, self._p_z, self.intensity_probs)
