"""quantum_channel.source: weak coherent pulses, phase randomised: photon numbers are Poisson. Pure."""

import math
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from quantum_channel.parameters import BadLinkError
from quantum_channel.ranges import refuse_negative

__all__ = ["intensity_ratios", "photon_number_prob"]

F64 = npt.NDArray[np.float64]

_NODES: Final = 40
# a normal beyond is less likely than a word of 32 bits can tell
_REACH_SIGMAS: Final = 8.0


def photon_number_prob(mean_photons: float, photon_count: int) -> float:
    """Return the probability that a pulse of the given mean holds exactly `photon_count` photons.

    Raises:
        BadLinkError: The mean or the count is negative, or not a number.
    """
    if not (mean_photons >= 0.0 and photon_count >= 0):
        raise BadLinkError(f"{photon_count} photons at mean {mean_photons:g}: neither may be negative")
    if mean_photons == 0.0:
        return 1.0 if photon_count == 0 else 0.0
    return math.exp(photon_count * math.log(mean_photons) - mean_photons - math.lgamma(photon_count + 1))


@cache
def intensity_ratios(sigma_ratio: float) -> tuple[F64, F64]:
    """Return intensities of a fluctuating pulse against their mean, and the weight of each, to average over.

    The ratio is normal around 1, cut at 0 and, so that the mean stays, at 2; below a standard deviation of 1/8 nothing
    that counts is cut, and at 1 what is left of it is 0.54.

    Args:
        sigma_ratio: Standard deviation of the ratio before the cut.

    Returns:
        Ratios and weights, which add up to 1. Shapes (nodes,), float64. One node where nothing fluctuates.

    Raises:
        BadLinkError: The deviation is negative or not a number.

    Source: Gauss-Legendre quadrature of the normal density: to 1e-10 for what varies as e^(-m) or slower.
    """
    refuse_negative(sigma_ratio=sigma_ratio)
    if sigma_ratio == 0.0:
        return np.ones(1), np.ones(1)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    normals = min(_REACH_SIGMAS, 1.0 / sigma_ratio) * nodes
    weights = weights * np.exp(-(normals**2) / 2.0)
    return 1.0 + sigma_ratio * normals, weights / weights.sum()
