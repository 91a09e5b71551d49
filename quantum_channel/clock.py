"""quantum_channel.clock: a clock that is off: offset, skew, ageing and noise; and how well it can be followed. Pure.

`x` is the time error in picoseconds, `y` the fractional frequency: 1e-9 of it is 1 ns in a second.
"""

import math

import numpy as np
import numpy.typing as npt

from quantum_channel.parameters import BadLinkError
from quantum_channel.ranges import refuse_negative, refuse_not_finite, refuse_not_positive

__all__ = [
    "click_sync_sigma_ps",
    "random_walk_fm_path_ps",
    "random_walk_fm_sigma_ps",
    "time_error_ps",
    "tracking_lag_ps",
    "tracking_rms_ps",
    "two_way_bias_ps",
    "white_fm_sigma_ps",
]

_PS_PER_S = 1e12

F64 = npt.NDArray[np.float64]


def time_error_ps(elapsed_s: float, offset_ps: float, skew: float, ageing_per_s: float = 0.0) -> float:
    """Return the deterministic error of a clock, ps.

    Args:
        elapsed_s: Since the offset held, s.
        offset_ps: x0.
        skew: y0, fractional.
        ageing_per_s: D, fractional per second.

    Raises:
        BadLinkError: The time is negative, or a value not finite.

    Source: x = x0 + y0 t + D t^2/2.
    """
    refuse_negative(elapsed_s=elapsed_s)
    refuse_not_finite(offset_ps=offset_ps, skew=skew, ageing_per_s=ageing_per_s)
    return offset_ps + (skew * elapsed_s + ageing_per_s * elapsed_s**2 / 2.0) * _PS_PER_S


def white_fm_sigma_ps(elapsed_s: float, a1: float) -> float:
    """Return the standard deviation that white frequency noise has made of the time error, ps.

    Raises:
        BadLinkError: The time or a1 (s per root second) is negative.

    Source: sigma_x = a1 sqrt(t).
    """
    refuse_negative(elapsed_s=elapsed_s, a1=a1)
    return a1 * math.sqrt(elapsed_s) * _PS_PER_S


def random_walk_fm_sigma_ps(elapsed_s: float, b: float) -> float:
    """Return the standard deviation that a random walk of frequency has made of the time error, ps.

    Raises:
        BadLinkError: The time or b (fractional per root second) is negative.

    Source: the integral of a Wiener process, b t^1.5/sqrt(3).
    """
    refuse_negative(elapsed_s=elapsed_s, b=b)
    return b * elapsed_s * math.sqrt(elapsed_s / 3.0) * _PS_PER_S


def random_walk_fm_path_ps(step_s: float, b: float, normals: F64) -> F64:
    """Return time errors under a random walk of frequency, from x = y = 0; exact at the steps, whatever their size.

    Args:
        step_s: Time from step to step, s.
        b: Fractional frequency per root second.
        normals: Standard normal numbers. Shape (2, steps, ...).

    Returns:
        Time error at the end of each step, ps. Shape (steps, ...).

    Raises:
        BadLinkError: The step is not above 0, b negative, or there are not two numbers per step.
    """
    refuse_not_positive(step_s=step_s)
    refuse_negative(b=b)
    if normals.ndim < 2 or len(normals) != 2:
        raise BadLinkError(f"normals of shape {normals.shape}: two for each step")
    moves = b * math.sqrt(step_s) * normals[0]
    frequency = np.cumsum(moves, axis=0) - moves
    # over a step a Wiener process and its integral are normal, of variances h and h^3/3 and covariance h^2/2
    within = moves / 2.0 + b * math.sqrt(step_s / 12.0) * normals[1]
    return np.asarray(np.cumsum((frequency + within) * step_s, axis=0) * _PS_PER_S)


def tracking_rms_ps(gain: float, measurement_ps: float, walk_ps: float) -> float:
    """Return the stationary rms, before correction, of the error that a first-order loop x <- x - g (x + n) leaves, ps.

    Args:
        gain: g, in (0, 2), outside of which the loop is unstable.
        measurement_ps: rms of the measurement's noise n.
        walk_ps: rms of what the clock walks from measurement to measurement, a1 sqrt(Ts) for white FM.

    Raises:
        BadLinkError: The gain is out of its range, or a deviation negative.

    Source: sqrt((g^2 m^2 + q)/(1 - (1-g)^2)), q = walk^2.
    """
    _refuse_unstable(gain)
    refuse_negative(measurement_ps=measurement_ps, walk_ps=walk_ps)
    return math.hypot(gain * measurement_ps, walk_ps) / math.sqrt(1.0 - (1.0 - gain) ** 2)


def tracking_lag_ps(gain: float, skew: float, interval_s: float) -> float:
    """Return how far a first-order loop stays behind a clock of constant skew, ps; a second-order loop does not.

    Raises:
        BadLinkError: The gain is not in (0, 2), the interval not above 0, or the skew not finite.

    Source: y0 Ts/g.
    """
    _refuse_unstable(gain)
    refuse_not_positive(interval_s=interval_s)
    refuse_not_finite(skew=skew)
    return skew * interval_s / gain * _PS_PER_S


def two_way_bias_ps(forward_delay_ps: float, reverse_delay_ps: float) -> float:
    """Return by how much two-way time transfer errs over a path that is not symmetric, ps.

    Raises:
        BadLinkError: A delay is negative.

    Source: IEEE 1588: (forward - reverse)/2.
    """
    refuse_negative(forward_delay_ps=forward_delay_ps, reverse_delay_ps=reverse_delay_ps)
    return (forward_delay_ps - reverse_delay_ps) / 2.0


def click_sync_sigma_ps(sigma_ps: float, click_count: int) -> float:
    """Return how well the mean arrival of N clicks of the given jitter fixes the offset, ps.

    Raises:
        BadLinkError: The jitter is negative, or there is no click.

    Source: sigma/sqrt(N).
    """
    refuse_negative(sigma_ps=sigma_ps)
    refuse_not_positive(click_count=click_count)
    return sigma_ps / math.sqrt(click_count)


def _refuse_unstable(gain: float) -> None:
    if not 0.0 < gain < 2.0:
        raise BadLinkError(f"gain {gain:g} is not in (0, 2): the loop is unstable")
