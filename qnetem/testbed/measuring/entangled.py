"""qnetem.testbed.measuring.entangled: what the detectors of both ends show of entangled pulses. Pure.

Source: the pairs of Ma, Fung, Lo 2007, P(n) = (n+1) l^n/(1+l)^(n+2) with m of n in one polarisation, m uniform, are two
modes of P(k) = l^k/(1+l)^(k+1) that do not depend on each other. Of one mode neither end's detectors see anything, each
photon being seen by a and b, with sum_k P(k) ((1-a)(1-b))^k = 1/(1 + l (1 - (1-a)(1-b))).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qnetem.testbed.measuring.reaching import Reach
from qnetem.v1 import parameters_pb2

__all__ = ["Pairs", "pairs"]

F64 = npt.NDArray[np.float64]
_SETS = range(4)


@dataclass(frozen=True, slots=True)
class Pairs:
    """What pulses of pairs show, in a live slot; indices 0 = Z, 1 = X.

    Attributes:
        clicks: The receiver's in a basis: one detector, both. Shape (2, 2).
        across_prob: In both bases of a passive receiver.
        coincidence_probs: A click in a basis, and one at the transmitter, which measures in the same.
        coincidence_errors: Of these, the share of unlike bits; where both detectors of an end click, half.
        transmitter_prob, transmitter_double_prob: The transmitter's own detectors, whatever the receiver's do; both.
        transmitter_dark_prob: The same with the source off.
    """

    clicks: F64
    across_prob: float
    coincidence_probs: tuple[float, float]
    coincidence_errors: tuple[float, float]
    transmitter_prob: float
    transmitter_double_prob: float
    transmitter_dark_prob: float


def pairs(p: parameters_pb2.LinkParameters, reach: Reach, brightness: float) -> Pairs:
    """Return what pulses of a brightness show."""
    dark_free = float(np.exp(-p.transmitter_dark_count_hz / p.clock_hz))
    arms = (p.receiver_p_z, 1.0 - p.receiver_p_z)
    clicks, coincidences, errors = np.zeros((2, 2)), [], []
    unlike = np.full((4, 4), 0.5)
    unlike[1:3, 1:3] = [[0.0, 1.0], [1.0, 0.0]]
    for basis in (0, 1):
        weight = 1.0 if p.is_passive else arms[basis]
        sets = weight * _sets(p, reach, brightness, basis, dark_free)
        clicks[basis] = sets[:, 1:3].sum(), sets[:, 3].sum()
        both = sets[1:, 1:]
        coincidences.append(float(both.sum()))
        errors.append(float((both * unlike[1:, 1:]).sum() / both.sum()) if both.any() else 0.5)
    quiet = [_quiet(p, reach, brightness, 0, dark_free, (mine, 0, 0)) for mine in _SETS]
    neither, one = quiet[3], quiet[1] + quiet[2]
    return Pairs(
        clicks=clicks,
        across_prob=_across_prob(p, reach, brightness, dark_free),
        coincidence_probs=(coincidences[0], coincidences[1]),
        coincidence_errors=(errors[0], errors[1]),
        transmitter_prob=1.0 - neither,
        transmitter_double_prob=1.0 - one + neither,
        transmitter_dark_prob=1.0 - dark_free**2,
    )


def _quiet(
    p: parameters_pb2.LinkParameters,
    reach: Reach,
    brightness: float,
    basis: int,
    dark_free: float,
    silent: tuple[int, int, int],
) -> float:
    """Return the probability that sets of detectors see nothing: the transmitter's and the receiver's in the same
    basis, and the receiver's in the other, all of them or none.
    """
    mine, theirs, other = silent
    arms = (p.receiver_p_z, 1.0 - p.receiver_p_z) if p.is_passive else (1.0, 1.0)
    in_set = np.array([theirs & 1, theirs >> 1])
    own = p.transmitter_efficiency * np.array([mine & 1, mine >> 1])
    seen = arms[basis] * reach.read @ (np.asarray(reach.etas) * in_set)
    noise = reach.noise_photons * arms[basis] * float(in_set @ np.asarray(reach.uneven)) / 2.0
    if other:
        # photons of either bit go to both detectors of the other basis alike
        elsewhere = arms[1 - basis]
        seen = seen + elsewhere * float((reach.read @ np.asarray(reach.etas)).mean())
        noise += reach.noise_photons * elsewhere * sum(reach.uneven) / 2.0
    wrong = reach.wrong_probs[basis]
    # a pulse is misaligned as a whole
    light = sum(
        share * float(np.prod(1.0 / (1.0 + brightness * (1.0 - (1.0 - own) * (1.0 - theirs_seen)))))
        for share, theirs_seen in ((1.0 - wrong, seen), (wrong, seen[::-1]))
    )
    count = int(in_set.sum()) + (2 if other else 0)
    return light * dark_free ** ((mine & 1) + (mine >> 1)) * reach.dark_free_prob**count * float(np.exp(-noise))


def _sets(p: parameters_pb2.LinkParameters, reach: Reach, brightness: float, basis: int, dark_free: float) -> F64:
    """Return the probability of each set of lit detectors in a basis, nothing being lit in the other. Shape (4, 4)."""
    other = int(p.is_passive)
    quiet = np.array(
        [[_quiet(p, reach, brightness, basis, dark_free, (mine, theirs, other)) for theirs in _SETS] for mine in _SETS]
    )
    # lit are those that are not silent: inclusion and exclusion, end by end
    change = np.array([[0, 0, 0, 1], [0, 0, 1, -1], [0, 1, 0, -1], [1, -1, -1, 1]], dtype=np.float64)
    return np.asarray(change @ quiet @ change.T)


def _across_prob(p: parameters_pb2.LinkParameters, reach: Reach, brightness: float, dark_free: float) -> float:
    if not p.is_passive:
        return 0.0
    in_z, in_x = (_quiet(p, reach, brightness, basis, dark_free, (0, 3, 0)) for basis in (0, 1))
    return 1.0 - in_z - in_x + _quiet(p, reach, brightness, 0, dark_free, (0, 3, 1))
