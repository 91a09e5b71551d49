"""quantum_channel.isolated_bins: jitter in a time-bin symbol that has no neighbours. Pure.

Two bins of a width w, their centres T apart, bit 0 in the earlier one. A click outside both is not kept. Beside it
`timing` has contiguous slots, where a click that leaves its own is kept as another's.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantum_channel.parameters import BadLinkError
from quantum_channel.ranges import refuse_negative, refuse_not_finite, refuse_not_positive
from quantum_channel.timing import Landing, landing_table, normal_share

__all__ = ["BinOutcome", "bin_landing", "bin_outcome", "bin_shares"]

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BinOutcome:
    """What jitter does. kept_prob: a click falls into a bin; error_prob: into the wrong one, among those kept."""

    kept_prob: float
    error_prob: float


def bin_outcome(sigma_ps: float, separation_ps: float, width_ps: float, offset_ps: float = 0.0) -> BinOutcome:
    """Return what Gaussian jitter does to symbols of equally likely bits.

    Args:
        sigma_ps: Standard deviation of the arrival.
        separation_ps: T, from the centre of one bin to that of the other.
        width_ps: w, at most T.
        offset_ps: Mean arrival relative to the centre of the bin: what the receiver's clock is off.

    Raises:
        BadLinkError: A width is not above 0, the bins overlap, sigma is negative, or practically no click is kept.

    Source: the Gaussian integral over each bin.
    """
    shares = bin_shares(sigma_ps, separation_ps, width_ps, offset_ps)
    right, wrong = float(np.trace(shares)) / 2.0, float(shares[0, 1] + shares[1, 0]) / 2.0
    if not right + wrong > 0.0:
        raise BadLinkError(f"at an offset of {offset_ps:g} ps no click falls into a bin")
    return BinOutcome(right + wrong, wrong / (right + wrong))


def bin_shares(sigma_ps: float, separation_ps: float, width_ps: float, offset_ps: float = 0.0) -> F64:
    """Return where a detected photon of each bit falls: row = its bit, column = the bit read; the rest is not kept.

    Args and errors as of `bin_outcome`. Shape (2, 2), float64.
    """
    _check(separation_ps, width_ps)
    refuse_negative(sigma_ps=sigma_ps)
    refuse_not_finite(offset_ps=offset_ps)
    own, later, earlier = (
        normal_share(centre_ps - offset_ps, width_ps, sigma_ps) for centre_ps in (0.0, separation_ps, -separation_ps)
    )
    return np.array([[own, later], [earlier, own]])


def bin_landing(sigma_ps: float, separation_ps: float, width_ps: float, offset_ps: float = 0.0) -> Landing:
    """Return where in its bin a kept click arrives, relative to the bin's centre: it never leaves its symbol.

    Args and errors as of `bin_outcome`.

    Source: photons of both bins, the other one as far before as behind, cut to the width.
    """
    _check(separation_ps, width_ps)
    half_ps = max(1, math.floor(width_ps / 2.0))
    times_ps = np.arange(-half_ps, half_ps + 1, dtype=np.int64)
    # what is told as one picosecond, at the borders as far as the bin goes
    low = np.maximum(times_ps - 0.5, -width_ps / 2.0)
    high = np.minimum(times_ps + 0.5, width_ps / 2.0)
    weights = [
        sum(
            share * normal_share(centre_ps - offset_ps + apart_ps, span_ps, sigma_ps)
            for share, apart_ps in ((1.0, 0.0), (0.5, separation_ps), (0.5, -separation_ps))
        )
        for centre_ps, span_ps in zip(((low + high) / 2.0).tolist(), (high - low).tolist(), strict=True)
    ]
    below = np.cumsum(weights)
    if not below[-1] > 0.0:
        raise BadLinkError(f"at an offset of {offset_ps:g} ps no click falls into a bin")
    return landing_table(times_ps, below[:-1] / below[-1], math.inf)


def _check(separation_ps: float, width_ps: float) -> None:
    refuse_not_positive(separation_ps=separation_ps, width_ps=width_ps)
    if width_ps > separation_ps:
        raise BadLinkError(f"bins of {width_ps:g} ps overlap, {separation_ps:g} ps apart")
