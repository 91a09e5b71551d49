"""node.planning.thresholds: error rates above which a protocol of single photons or pairs gives no key. Pure.

Fractions are secret bits per sifted bit, as the formulas give them: below 0 means no key.
"""

import math
from collections.abc import Sequence

from node.planning.optimum import last_positive
from node.qkd.estimation import binary_entropy
from node.ranges import refuse_unless_prob
from qnetem.runtime.errors import BadInputError

__all__ = [
    "CLASSICAL_CHSH",
    "QUANTUM_CHSH",
    "bb84_fraction",
    "bb84_threshold_prob",
    "device_independent_fraction",
    "six_state_fraction",
    "six_state_threshold_prob",
    "werner_chsh",
]

CLASSICAL_CHSH = 2.0
QUANTUM_CHSH = 2.0 * math.sqrt(2.0)


def bb84_fraction(error_prob: float, efficiency: float = 1.0) -> float:
    """Return the secret fraction of BB84 at a reconciliation efficiency f.

    Raises:
        BadInputError: The error is not in 0 .. 1, or f below 1.

    Source: Shor, Preskill 2000, 1 - h(Q) - f h(Q).
    """
    refuse_unless_prob(error_prob=error_prob)
    _refuse_efficiency(efficiency)
    return 1.0 - (1.0 + efficiency) * binary_entropy(error_prob)


def bb84_threshold_prob(efficiency: float = 1.0) -> float:
    """Return the error rate at which BB84 ends: 11.003 % at f = 1, 9.811 % at f = 1.16.

    Raises:
        BadInputError: f is below 1.
    """
    return last_positive(lambda error: bb84_fraction(error, efficiency), 0.0, 0.5, tolerance=1e-12)


def six_state_fraction(error_prob: float) -> float:
    """Return the secret fraction of the six-state protocol, reconciliation at the Shannon limit.

    Raises:
        BadInputError: The error is not in 0 .. 2/3, of which a depolarised pair can have no more.

    Source: Lo 2001, 1 - H(1 - 3Q/2, Q/2, Q/2, Q/2).
    """
    if not 0.0 <= error_prob <= 2.0 / 3.0:
        raise BadInputError(f"error_prob {error_prob:g} is not in 0 .. 2/3")
    return 1.0 - _entropy((1.0 - 1.5 * error_prob, *(error_prob / 2.0,) * 3))


def six_state_threshold_prob() -> float:
    """Return the error rate at which the six-state protocol ends: 12.619 %."""
    return last_positive(six_state_fraction, 0.0, 0.5, tolerance=1e-12)


def werner_chsh(werner: float) -> float:
    """Return the CHSH value of a Werner pair at the best angles.

    Raises:
        BadInputError: The weight is not in 0 .. 1.

    Source: S = 2 sqrt2 W.
    """
    refuse_unless_prob(werner=werner)
    return QUANTUM_CHSH * werner


def device_independent_fraction(chsh: float, error_prob: float) -> float:
    """Return the secret fraction of device-independent E91, below 0 already when the violation is too small.

    Args:
        chsh: Measured S, above the classical 2, at most 2 sqrt2.
        error_prob: Measured Q.

    Raises:
        BadInputError: S is not in (2, 2 sqrt2], where nothing is proven, or Q not in 0 .. 1.

    Source: Acin et al. 2007, 1 - h(Q) - h((1 + sqrt((S/2)^2 - 1))/2).
    """
    refuse_unless_prob(error_prob=error_prob)
    if not CLASSICAL_CHSH < chsh <= QUANTUM_CHSH:
        raise BadInputError(f"chsh {chsh:g} is not in (2, 2 sqrt2]")
    known_prob = (1.0 + math.sqrt((chsh / 2.0) ** 2 - 1.0)) / 2.0
    return 1.0 - binary_entropy(error_prob) - binary_entropy(min(known_prob, 1.0))


def _entropy(probs: Sequence[float]) -> float:
    return -sum(p * math.log2(p) for p in probs if p > 0.0)


def _refuse_efficiency(efficiency: float) -> None:
    if not 1.0 <= efficiency < math.inf:
        raise BadInputError(f"reconciliation efficiency {efficiency:g} is not 1 or more")
