"""node.entanglement.distillation: one better pair out of two, with some probability. Pure. States as in `bell`."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from node.entanglement.bell import F64, BadStateError, checked
from node.ranges import refuse_unless_prob

__all__ = ["Distilled", "bbpssw", "dejmps"]


@dataclass(frozen=True, slots=True)
class Distilled:
    """What a round gives: success_prob: the measured bits agree; state: of the pair kept then, shape (4,)."""

    success_prob: float
    state: F64


def dejmps(kept: npt.ArrayLike, measured: npt.ArrayLike | None = None) -> Distilled:
    """Return the outcome of a round of DEJMPS on two Bell-diagonal pairs.

    Args:
        kept: State of the pair that is kept. Shape (4,).
        measured: State of the pair that is measured; None: the same.

    Raises:
        BadStateError: One of them is no state, or the measured bits never agree.

    Source: Deutsch et al. 1996. With A = Phi+, B = Psi-, C = Psi+, D = Phi- of like pairs N = (A+B)^2 + (C+D)^2,
    A' = (A^2+B^2)/N, B' = 2CD/N, C' = (C^2+D^2)/N, D' = 2AB/N; products of the two pairs when they differ.
    """
    a1, d1, c1, b1 = _one(kept)
    a2, d2, c2, b2 = _one(kept if measured is None else measured)
    agree = (a1 + b1) * (a2 + b2) + (c1 + d1) * (c2 + d2)
    if not agree > 0.0:
        raise BadStateError("the measured bits of these pairs never agree")
    better = np.array([a1 * a2 + b1 * b2, a1 * b2 + b1 * a2, c1 * c2 + d1 * d2, c1 * d2 + d1 * c2])
    return Distilled(agree, better / agree)


def bbpssw(fidelity: float) -> tuple[float, float]:
    """Return success probability and new fidelity of a round of BBPSSW on two like Werner pairs, twirled after it.

    Raises:
        BadInputError: The fidelity is not in 0 .. 1.

    Source: Bennett et al. 1996, g = (1-F)/3, N = F^2 + 2Fg + 5g^2, F' = (F^2 + g^2)/N.
    """
    refuse_unless_prob(fidelity=fidelity)
    g = (1.0 - fidelity) / 3.0
    agree = fidelity**2 + 2.0 * fidelity * g + 5.0 * g**2
    return agree, (fidelity**2 + g**2) / agree


def _one(state: npt.ArrayLike) -> tuple[float, float, float, float]:
    weights = checked(state)
    if weights.shape != (4,):
        raise BadStateError(f"a round takes one state, not those of shape {weights.shape}")
    first, second, third, fourth = weights.tolist()
    return first, second, third, fourth
