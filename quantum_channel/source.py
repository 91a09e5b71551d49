"""quantum_channel.source: weak coherent pulses, phase randomised: photon numbers are Poisson. Pure."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from quantum_channel.parameters import BadLinkError

__all__ = ["arriving_means", "photon_number_prob"]


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


def arriving_means(intensities: Sequence[float], survival_prob: float) -> npt.NDArray[np.float64]:
    """Return the mean photon numbers that are left of each intensity. Shape (intensities,), float64.

    A Poisson number of photons, each surviving by itself, stays Poisson.

    Raises:
        BadLinkError: A mean is negative or the probability not in 0 .. 1.
    """
    means = np.asarray(intensities, dtype=np.float64)
    if not (np.all(means >= 0.0) and 0.0 <= survival_prob <= 1.0):
        raise BadLinkError(f"mean photon numbers {list(intensities)} at survival {survival_prob:g}")
    return means * survival_prob
