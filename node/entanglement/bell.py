"""node.entanglement.bell: Bell-diagonal states, and what swapping makes of them. Pure.

A state is the vector of its weights in the order Phi+, Phi-, Psi+, Psi-; shape (..., 4), float64. In that order the
place is two bits, (bit flip, phase flip): a Pauli error and a swap act on places by exclusive or.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from node.ranges import refuse_unless_prob
from qnetem.runtime.errors import BadInputError

__all__ = [
    "BadStateError",
    "checked",
    "fidelity",
    "mixed",
    "noisy_chain_fidelity",
    "swapped",
    "teleportation_fidelity",
    "werner",
    "werner_chain_fidelity",
    "werner_error_prob",
]

F64 = npt.NDArray[np.float64]

_PLACES: Final = np.arange(4)
_ROUNDING: Final = 1e-9


class BadStateError(BadInputError):
    """Four weights that are no state."""

    reason = "BAD_STATE"


def checked(state: npt.ArrayLike) -> F64:
    """Return a state as an array. Shape (..., 4).

    Raises:
        BadStateError: There are not four weights, one is negative or no number, or their sum is not 1.
    """
    weights = np.asarray(state, dtype=np.float64)
    if weights.ndim == 0 or weights.shape[-1] != 4:
        raise BadStateError(f"a state of shape {weights.shape} has not four weights")
    if not (np.all(weights >= 0.0) and np.all(np.abs(weights.sum(axis=-1) - 1.0) <= _ROUNDING)):
        raise BadStateError("weights of a state are 0 or more, and 1 together")
    return weights


def werner(fidelity: float) -> F64:
    """Return the state of that weight of Phi+ in which the others are equal. Shape (4,).

    Raises:
        BadInputError: The fidelity is not in 0 .. 1.
    """
    refuse_unless_prob(fidelity=fidelity)
    rest = (1.0 - fidelity) / 3.0
    return np.array([fidelity, rest, rest, rest])


def fidelity(state: npt.ArrayLike) -> F64:
    """Return the fidelity with Phi+. Shape (..., 4) -> (...)."""
    return np.asarray(checked(state)[..., 0])


def mixed(state: npt.ArrayLike, errors: npt.ArrayLike) -> F64:
    """Return a state after Pauli errors of one of its qubits: the exclusive-or convolution.

    Args:
        state: Shape (..., 4).
        errors: Probabilities of I, Z, X, Y, in this order; for a swap, the other state. Shape (..., 4).
    """
    a, b = checked(state), checked(errors)
    return np.stack([(a * b[..., _PLACES ^ place]).sum(axis=-1) for place in _PLACES], axis=-1)


def swapped(left: npt.ArrayLike, right: npt.ArrayLike) -> F64:
    """Return the state of the outer ends after a perfect Bell measurement in the middle, and its correction.

    Shapes (..., 4).

    Raises:
        BadStateError: One of the two is no state.
    """
    return mixed(left, right)


def werner_chain_fidelity(fidelity: float, link_count: int) -> float:
    """Return the fidelity end to end of equal Werner links joined by perfect swaps.

    Raises:
        BadInputError: The fidelity is not in 0 .. 1, or there is no link.

    Source: W multiplies, W = (4F-1)/3, F = (1 + 3 W^n)/4.
    """
    return noisy_chain_fidelity(fidelity, link_count, 1.0, 1.0)


def noisy_chain_fidelity(fidelity: float, link_count: int, gate_prob: float, readout_prob: float) -> float:
    """Return the fidelity end to end of equal Werner links joined by imperfect swaps.

    Args:
        fidelity: Of each link.
        link_count: n.
        gate_prob: p2: the two-qubit gate works, else it leaves both qubits depolarised.
        readout_prob: eta: a measured bit is right, 1/2 or more.

    Raises:
        BadInputError: A value is out of its range, or there is no link.

    Source: Briegel, Duer, Cirac, Zoller 1998, F = 1/4 {1 + 3 [p2 (4 eta^2 - 1)/3]^(n-1) ((4F-1)/3)^n}.
    """
    refuse_unless_prob(fidelity=fidelity, gate_prob=gate_prob, readout_prob=readout_prob)
    if link_count < 1:
        raise BadInputError(f"a chain of {link_count} links")
    if readout_prob < 0.5:
        raise BadInputError(f"readout_prob {readout_prob:g} is not 1/2 or more")
    swap = gate_prob * (4.0 * readout_prob**2 - 1.0) / 3.0
    return float(0.25 * (1.0 + 3.0 * swap ** (link_count - 1) * ((4.0 * fidelity - 1.0) / 3.0) ** link_count))


def teleportation_fidelity(fidelity: float) -> float:
    """Return the mean fidelity of a qubit teleported over a pair, the mean being over all pure states.

    Raises:
        BadInputError: The fidelity is not in 0 .. 1.

    Source: Horodecki 1999, (2F+1)/3.
    """
    refuse_unless_prob(fidelity=fidelity)
    return (2.0 * fidelity + 1.0) / 3.0


def werner_error_prob(fidelity: float) -> float:
    """Return the error rate of bits that both ends of a Werner pair measure in the same basis, 2(1-F)/3.

    Raises:
        BadInputError: The fidelity is not in 0 .. 1.
    """
    refuse_unless_prob(fidelity=fidelity)
    return 2.0 * (1.0 - fidelity) / 3.0
