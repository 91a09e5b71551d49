"""quantum_channel.polarisation: the drift of polarisation as a random walk on SO(3), and the errors it makes. Pure.

A fibre turns the Poincare sphere by one rotation R. It wanders by isotropic rotations, one after the other, sized so
that the mean of R after any time t is e^(-t/tau), however the time is cut into steps. Compensation sets R back.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from quantum_channel.parameters import BadLinkError
from quantum_channel.ranges import refuse_negative, refuse_not_positive

__all__ = ["ALIGNED", "basis_errors", "error_prob_mean", "step_sigma_rad", "turned", "walked"]

F64 = npt.NDArray[np.float64]

ALIGNED: Final[F64] = np.eye(3)
# a longer time takes more than one rotation: a single one cannot bring the mean below 0.036
_LONGEST_STEP_TAUS: Final = 2.0


def error_prob_mean(elapsed_s: float, tau_s: float) -> float:
    """Return the mean error, over drifts, of a bit in a basis that was aligned `elapsed_s` ago.

    Raises:
        BadLinkError: The time is negative or tau not above 0.

    Source: isotropic diffusion on the Poincare sphere, (1 - e^(-t/tau))/2.
    """
    refuse_negative(elapsed_s=elapsed_s)
    refuse_not_positive(tau_s=tau_s)
    return -math.expm1(-elapsed_s / tau_s) / 2.0


def step_sigma_rad(step_taus: float) -> float:
    """Return the sigma of each component of a normal rotation vector whose rotation is e^(-step) in the mean.

    The mean of a rotation by w ~ Normal(0, s^2 I) is (1 + 2 E cos|w|)/3 times unity, and E cos|w| = (1-s^2) e^(-s^2/2).
    """
    low, high = 0.0, 3.0  # s^2; the mean falls until 3
    for _ in range(60):
        middle = (low + high) / 2.0
        is_short = (2.0 / 3.0) * (middle * math.exp(-middle / 2.0) - math.expm1(-middle / 2.0)) < -math.expm1(
            -step_taus
        )
        low, high = (middle, high) if is_short else (low, middle)
    return math.sqrt(low)


def turned(vectors_rad: F64) -> F64:
    """Return the rotations by the given rotation vectors (axis times angle). Shape (..., 3) -> (..., 3, 3).

    Source: Rodrigues, R = I + sinc(a) [w] + (1 - cos a)/a^2 [w]^2.
    """
    w = np.asarray(vectors_rad, dtype=np.float64)
    angle = np.sqrt((w**2).sum(axis=-1))[..., None, None]
    cross = np.zeros((*w.shape, 3))
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -w[..., 2], w[..., 1], -w[..., 0]
    cross = cross - np.swapaxes(cross, -1, -2)
    # numpy's sinc is sin(pi x)/(pi x); (1 - cos a)/a^2 = sinc(a/2)^2/2 keeps its digits at small angles
    return np.asarray(
        ALIGNED + np.sinc(angle / np.pi) * cross + np.sinc(angle / (2 * np.pi)) ** 2 / 2 * (cross @ cross)
    )


def walked(rotation: F64, elapsed_s: float, tau_s: float, normals: F64) -> F64:
    """Return the rotation after a time of drift.

    Args:
        rotation: Before. Shape (..., 3, 3).
        elapsed_s, tau_s: Time of drift and time constant.
        normals: Standard normal numbers of this drift's own. Shape (steps, ..., 3); one step per 2 tau at least.

    Returns:
        Shape (..., 3, 3), orthogonal to rounding (re-orthogonalised at every call).

    Raises:
        BadLinkError: The time is negative, tau not above 0, or there are too few steps.
    """
    refuse_negative(elapsed_s=elapsed_s)
    refuse_not_positive(tau_s=tau_s)
    step_count = len(normals)
    if step_count < max(1.0, elapsed_s / tau_s / _LONGEST_STEP_TAUS):
        raise BadLinkError(f"{step_count} steps are too few for a drift of {elapsed_s / tau_s:g} time constants")
    sigma_rad = step_sigma_rad(elapsed_s / tau_s / step_count)
    for step in normals:
        rotation = turned(sigma_rad * step) @ rotation
    # one Newton step towards the nearest orthogonal matrix: rounding does not build up over a day
    return np.asarray(rotation @ (1.5 * ALIGNED - 0.5 * np.swapaxes(rotation, -1, -2) @ rotation))


def basis_errors(rotation: F64) -> tuple[F64, F64]:
    """Return the error probabilities in Z and in X. Shape (..., 3, 3) -> two of (...); axes X, Y, Z.

    Source: e_Z = (1 - R_zz)/2, e_X = (1 - R_xx)/2.
    """
    return (1.0 - rotation[..., 2, 2]) / 2.0, (1.0 - rotation[..., 0, 0]) / 2.0
