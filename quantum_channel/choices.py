"""quantum_channel.choices: which class a pulse falls into, by the choices of both ends. Pure."""

import numpy as np
import numpy.typing as npt

from qnetem.runtime.rng import philox4x32
from quantum_channel.response import Response
from quantum_channel.sampler import Keys

__all__ = ["pulse_classes"]


def pulse_classes(response: Response, keys: Keys, pulses: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
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
