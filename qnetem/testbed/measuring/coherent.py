"""qnetem.testbed.measuring.coherent: what detectors show of weak coherent pulses. Pure.

Source: a detector clicks with 1 - (1-p_d) e^-m; means split m(1-e) and me, half and half in the other basis.
"""

import math

import numpy as np
import numpy.typing as npt

from qnetem.testbed.measuring.reaching import Reach
from qnetem.v1 import parameters_pb2

__all__ = ["across_prob", "table"]

F64 = npt.NDArray[np.float64]
# right, wrong, both detectors of a basis; and neither
_Arm = tuple[F64, float]


def table(p: parameters_pb2.LinkParameters, reach: Reach, mean: float) -> F64:
    """Return the probability of each pair of bases and (right, wrong, both), for pulses of a mean photon number.

    Returns:
        Shape (2 transmitter's, 2 receiver's, 3).
    """
    found = np.zeros((2, 2, 3))
    sent, arms = _shares(p)
    for b_t in (0, 1):
        for bit in (0, 1):
            cells = [_arm(p, reach, mean, b_t, b_r, bit) for b_r in (0, 1)]
            for b_r in (0, 1):
                # a passive receiver counts what shows in one arm alone as that basis
                weight = cells[1 - b_r][1] if p.is_passive else arms[b_r]
                found[b_t, b_r] += sent[b_t] / 2.0 * weight * cells[b_r][0]
    return found


def across_prob(p: parameters_pb2.LinkParameters, reach: Reach, mean: float) -> float:
    """Return the probability that both arms of a passive receiver show something."""
    if not p.is_passive:
        return 0.0
    sent, _ = _shares(p)
    return sum(
        sent[b_t] / 2.0 * math.prod(1.0 - _arm(p, reach, mean, b_t, b_r, bit)[1] for b_r in (0, 1))
        for b_t in (0, 1)
        for bit in (0, 1)
    )


def _shares(p: parameters_pb2.LinkParameters) -> tuple[tuple[float, float], tuple[float, float]]:
    return (p.transmitter_p_z, 1.0 - p.transmitter_p_z), (p.receiver_p_z, 1.0 - p.receiver_p_z)


def _arm(p: parameters_pb2.LinkParameters, reach: Reach, mean: float, b_t: int, b_r: int, bit: int) -> _Arm:
    split = _shares(p)[1][b_r] if p.is_passive else 1.0
    wrong = reach.wrong_probs[b_t] if b_t == b_r else 0.5
    taken = np.zeros(2)
    taken[bit], taken[1 - bit] = 1.0 - wrong, wrong
    # photons of a bit, and what of them each detector sees: those of another time bin too
    seen = mean * split * (taken @ reach.read) * np.asarray(reach.etas)
    noise = reach.noise_photons * split / 2.0 * np.asarray(reach.uneven)
    quiet = reach.dark_free_prob * np.exp(-seen - noise)
    right, wrong_one = float(quiet[bit]), float(quiet[1 - bit])
    shows = np.array(
        [(1.0 - right) * wrong_one, right * (1.0 - wrong_one), (1.0 - right) * (1.0 - wrong_one)], dtype=np.float64
    )
    return shows, right * wrong_one
