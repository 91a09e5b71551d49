"""quantum_channel.timing: when, and so in which slot, a click is registered. Pure.

Slots are contiguous: a click that jitter carries out of its slot lands in a neighbour's and is taken for a click of
that one, with that one's bases, intensity and bit.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from quantum_channel.alias import alias_table
from quantum_channel.parameters import BadLinkError

__all__ = ["FWHM_PER_SIGMA", "Landing", "landing", "landing_table", "normal_share", "sigma_ps"]

FWHM_PER_SIGMA: Final = 2.0 * math.sqrt(2.0 * math.log(2.0))  # 2.3548 of a Gaussian
# beyond this a uniform of 32 bits does not reach
_REACH_SIGMAS: Final = 6.4


def sigma_ps(fwhms_ps: Iterable[float], sigmas_ps: Iterable[float] = ()) -> float:
    """Return the standard deviation of independent contributions together, picoseconds.

    Args:
        fwhms_ps: Contributions given by their full width at half maximum (Gaussian): source, detector, electronics.
        sigmas_ps: Contributions given by their standard deviation: dispersion, clocks.
    """
    squares = [(fwhm / FWHM_PER_SIGMA) ** 2 for fwhm in fwhms_ps] + [sigma**2 for sigma in sigmas_ps]
    if not all(square >= 0.0 for square in squares):
        raise BadLinkError("jitter: a contribution is not a number")
    return math.sqrt(sum(squares))


def normal_share(centre_ps: float, width_ps: float, sigma_ps: float) -> float:
    """Return the probability that Normal(0, sigma) falls into a window, from its tails: no digits are lost."""
    near, far = abs(centre_ps) - width_ps / 2.0, abs(centre_ps) + width_ps / 2.0
    if sigma_ps == 0.0:
        return 1.0 if near < 0.0 else 0.0
    root2 = sigma_ps * math.sqrt(2.0)
    return (math.erfc(near / root2) - math.erfc(far / root2)) / 2.0


@dataclass(frozen=True, slots=True)
class Landing:
    """Where clicks land, as a table over whole picoseconds.

    Attributes:
        shifts: Slots by which the click leaves its own. Shape (n,), int32.
        arrivals_ps: Arrival relative to the centre of the slot it lands in. Shape (n,), int32.
        cells: Which of them a word stands for (alias.py). Shape (2^bits,), uint64.
        reach_slots: Largest absolute shift.
    """

    shifts: npt.NDArray[np.int32]
    arrivals_ps: npt.NDArray[np.int32]
    cells: npt.NDArray[np.uint64]
    reach_slots: int


# what drifts seldom changes when clicks come
@lru_cache(maxsize=256)
def landing(sigma_ps: float, period_ps: float, offset_ps: float = 0.0) -> Landing:
    """Return the landing table of a Gaussian arrival, rounded to picoseconds.

    Args:
        sigma_ps: Standard deviation of the arrival.
        period_ps: Time from slot to slot.
        offset_ps: Mean arrival relative to the slot's centre: what the receiver's clock is off.
    """
    reach_ps = math.ceil(_REACH_SIGMAS * sigma_ps)
    centre_ps = round(offset_ps)
    times_ps = np.arange(centre_ps - reach_ps, centre_ps + reach_ps + 1, dtype=np.int64)
    root2 = sigma_ps * math.sqrt(2.0)
    below = [0.5 * math.erfc(-(time_ps + 0.5 - offset_ps) / root2) for time_ps in times_ps[:-1].tolist()]
    return landing_table(times_ps, np.array(below), period_ps)


def landing_table(times_ps: npt.NDArray[np.int64], below_prob: npt.NDArray[np.float64], period_ps: float) -> Landing:
    """Return the landing table of arrivals at whole picoseconds.

    Args:
        times_ps: Relative to the centre of the slot that they belong to, ascending. Shape (n,), int64.
        below_prob: Probability of each and those before it, but for the last. Shape (n-1,), float64.
        period_ps: Time from slot to slot; infinite where no click leaves its slot.
    """
    before = np.round(below_prob * 2.0**32).astype(np.int64)
    shifts = np.floor(times_ps / period_ps + 0.5).astype(np.int32)
    counts = np.diff(before, prepend=0, append=1 << 32)
    return Landing(
        shifts=shifts,
        arrivals_ps=np.round(times_ps - (shifts * period_ps if shifts.any() else 0)).astype(np.int32),
        cells=alias_table(counts.tolist()),
        reach_slots=int(np.abs(shifts).max()),
    )
