"""qnetem.runtime.intervals: how well a share is known after counting. Pure."""

import math
from statistics import NormalDist

from qnetem.runtime.errors import BadInputError

__all__ = ["wilson_interval"]


def wilson_interval(hit_count: int, trial_count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval that holds a probability, after `hit_count` of `trial_count` independent trials.

    Args:
        hit_count, trial_count: 0 <= hits <= trials, at least one trial.
        confidence: Two-sided, in (0, 1).

    Raises:
        BadInputError: Counts or confidence are out of their range.

    Source: Wilson 1927; unlike p +- 2 sigma it keeps its confidence at few hits and at none.
    """
    if not (0 <= hit_count <= trial_count and trial_count >= 1):
        raise BadInputError(f"{hit_count} of {trial_count} trials")
    if not 0.0 < confidence < 1.0:
        raise BadInputError(f"confidence {confidence:g} is not in (0, 1)")
    z = NormalDist().inv_cdf(0.5 + confidence / 2.0)
    share, weight = hit_count / trial_count, z**2 / trial_count
    centre = (share + weight / 2.0) / (1.0 + weight)
    half = z * math.sqrt(share * (1.0 - share) / trial_count + weight / (4.0 * trial_count)) / (1.0 + weight)
    # where nothing or everything hit, one end is 0 or 1, and rounding must not carry it past
    return (0.0 if hit_count == 0 else centre - half, 1.0 if hit_count == trial_count else centre + half)
