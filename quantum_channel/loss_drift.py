"""quantum_channel.loss_drift: how the loss of a fibre wanders: the day, an Ornstein-Uhlenbeck process, steps. Pure.

What drifts is added to the fibre's own loss and may make the sum smaller; that the sum stays 0 or more is for who adds.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from quantum_channel.parameters import BadLinkError
from quantum_channel.ranges import refuse_negative, refuse_not_finite, refuse_not_positive

__all__ = ["DAY_S", "day_loss_db", "step_loss_db", "wandering_loss_db"]

DAY_S = 86_400.0


def day_loss_db(time_s: float, amplitude_db: float, period_s: float = DAY_S, phase_rad: float = 0.0) -> float:
    """Return the slow sinusoid of the day, dB; 0 at time 0 and phase 0.

    Raises:
        BadLinkError: The amplitude is negative, the period not above 0, or the time not finite.
    """
    refuse_negative(amplitude_db=amplitude_db)
    refuse_not_finite(time_s=time_s, phase_rad=phase_rad)
    refuse_not_positive(period_s=period_s)
    return amplitude_db * math.sin(2.0 * math.pi * time_s / period_s + phase_rad)


def wandering_loss_db(before_db: float, elapsed_s: float, tau_s: float, sigma_db: float, normal: float) -> float:
    """Return an Ornstein-Uhlenbeck loss after some time, dB; exact for any time, so that steps may be cut anyhow.

    Args:
        before_db: The loss at the beginning; stationary when Normal(0, sigma_db).
        elapsed_s: Time since then.
        tau_s, sigma_db: Correlation time, and stationary standard deviation.
        normal: A standard normal number of this step's own.

    Raises:
        BadLinkError: A time or the deviation is negative, or tau not above 0.

    Source: Gillespie 1996: x e^(-t/tau) + sigma sqrt(1 - e^(-2t/tau)) n.
    """
    refuse_negative(elapsed_s=elapsed_s, sigma_db=sigma_db)
    refuse_not_finite(before_db=before_db, normal=normal)
    refuse_not_positive(tau_s=tau_s)
    return (
        before_db * math.exp(-elapsed_s / tau_s) + sigma_db * math.sqrt(-math.expm1(-2.0 * elapsed_s / tau_s)) * normal
    )


def step_loss_db(time_s: float, steps: Sequence[tuple[float, float]]) -> float:
    """Return the sum of the steps that have happened, dB.

    Args:
        time_s: Now.
        steps: (time_s, loss_db) each, in the order of time; a loss may be negative: a repair.

    Raises:
        BadLinkError: Steps are not in the order of time, or not numbers.
    """
    refuse_not_finite(time_s=time_s, **{f"step_{n}_db": loss_db for n, (_, loss_db) in enumerate(steps)})
    if not all(earlier[0] <= later[0] for earlier, later in pairwise(steps)):
        raise BadLinkError("steps of loss are not in the order of time")
    return math.fsum(loss_db for at_s, loss_db in steps if at_s <= time_s)
