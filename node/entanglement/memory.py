"""node.entanglement.memory: what waiting does to a pair. Pure.

The Bell-diagonal engine takes relaxation as Pauli errors, towards I/2. Memories that decay to |0> leave the
Bell-diagonal states; for those there are density matrices, in the order 00, 01, 10, 11. States as in `bell`.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from node.entanglement.bell import F64, BadStateError, checked, mixed
from node.ranges import refuse_negative
from qnetem.runtime.errors import BadInputError

__all__ = ["damped", "density", "dephased", "phi_plus_fidelity", "relaxation_errors", "stored"]

C128 = npt.NDArray[np.complex128]

_HALF: Final = math.sqrt(0.5)
# rows: Phi+, Phi-, Psi+, Psi-
_BELL: Final = np.array([[1, 0, 0, 1], [1, 0, 0, -1], [0, 1, 1, 0], [0, 1, -1, 0]]) * _HALF


def relaxation_errors(elapsed_s: float, t1_s: float, t2_s: float) -> F64:
    """Return the probabilities of I, Z, X, Y that stand for a time in a memory. Shape (4,).

    Args:
        elapsed_s: Time in the memory.
        t1_s, t2_s: Relaxation and coherence time, above 0, maybe infinite; T2 <= 2 T1.

    Raises:
        BadInputError: The time is negative, or T1, T2 out of their range.

    Source: px = py = (1-x)/4, pz = (1+x)/4 - y/2, x = e^(-t/T1), y = e^(-t/T2).
    """
    _check(elapsed_s, t1_s, t2_s)
    # 1-x and 1-y keep their digits at short times; pz, a difference of them, is 0 or more as T2 <= 2 T1
    lost_x, lost_y = -math.expm1(-elapsed_s / t1_s), -math.expm1(-elapsed_s / t2_s)
    p_z = max(lost_y / 2.0 - lost_x / 4.0, 0.0)
    return np.array([1.0 - lost_x / 2.0 - p_z, p_z, lost_x / 4.0, lost_x / 4.0])


def stored(state: npt.ArrayLike, elapsed_s: tuple[float, float], t1_s: float, t2_s: float) -> F64:
    """Return a Bell-diagonal state after its two qubits were stored, each for its own time. Shape (..., 4).

    Raises:
        BadInputError: A time is negative, T1, T2 out of their range, or the state is none.
    """
    left, right = (relaxation_errors(time_s, t1_s, t2_s) for time_s in elapsed_s)
    return mixed(mixed(state, left), right)


def dephased(state: npt.ArrayLike, qubit_seconds_s: float, t2_s: float) -> F64:
    """Return a state after pure dephasing. Shape (..., 4).

    Args:
        state: Shape (..., 4).
        qubit_seconds_s: Times of the two qubits together: 2t when both wait for t.
        t2_s: Coherence time.

    Raises:
        BadInputError: The time is negative, T2 not above 0, or the state is none.

    Source: lam = (1 - e^(-t/T2))/2 swaps Phi+ with Phi-, and Psi+ with Psi-.
    """
    return mixed(state, relaxation_errors(qubit_seconds_s, math.inf, t2_s))


def density(state: npt.ArrayLike) -> C128:
    """Return the density matrix of a Bell-diagonal state. Shape (4,) -> (4, 4), complex128.

    Raises:
        BadStateError: The state is none, or more than one.
    """
    weights = checked(state)
    if weights.shape != (4,):
        raise BadStateError(f"one state makes a density matrix, not those of shape {weights.shape}")
    return np.asarray(_BELL.T @ np.diag(weights) @ _BELL, dtype=np.complex128)


def phi_plus_fidelity(rho: C128) -> float:
    """Return <Phi+| rho |Phi+>. Shape (4, 4)."""
    return float((_BELL[0] @ rho @ _BELL[0]).real)


def damped(rho: C128, elapsed_s: tuple[float, float], t1_s: float, t2_s: float) -> C128:
    """Return a density matrix after its two qubits were stored in memories that decay to |0>. Shape (4, 4).

    Args:
        rho: Shape (4, 4).
        elapsed_s: Time of the first and of the second qubit.
        t1_s, t2_s: As of `relaxation_errors`.

    Raises:
        BadInputError: A time is negative, or T1, T2 out of their range.

    Source: amplitude damping e^(-t/T1), then dephasing, so that coherence falls as e^(-t/T2) altogether.
    """
    for qubit, time_s in enumerate(elapsed_s):
        _check(time_s, t1_s, t2_s)
        kept = math.exp(-time_s / t1_s)
        coherence = math.exp(-time_s * (1.0 / t2_s - 0.5 / t1_s))
        kraus = [
            math.sqrt((1.0 + sign * coherence) / 2.0) * np.diag([1.0, sign * math.sqrt(kept)]) for sign in (1.0, -1.0)
        ]
        kraus.append(np.array([[0.0, math.sqrt(-math.expm1(-time_s / t1_s))], [0.0, 0.0]]))
        wide = [np.kron(k, np.eye(2)) if qubit == 0 else np.kron(np.eye(2), k) for k in kraus]
        rho = np.asarray(sum(k @ rho @ k.T for k in wide), dtype=np.complex128)
    return rho


def _check(elapsed_s: float, t1_s: float, t2_s: float) -> None:
    refuse_negative(elapsed_s=elapsed_s)
    if not (t1_s > 0.0 and 0.0 < t2_s <= 2.0 * t1_s):
        raise BadInputError(f"t1_s {t1_s:g}, t2_s {t2_s:g}: must be above 0, and T2 at most 2 T1")
