"""node.planning.comparison: what other protocols, and any protocol, could make over the loss of a link. Pure.

Rates are secret bits per second at the link's clock with its own detectors: keys of infinite length, the best
intensities, bases that always match, and dead time after each click. They bound what blocks of finite length make.
"""

import math
from dataclasses import dataclass
from typing import Final

from node.planning.measurement_device_independent import MdiLink
from node.planning.optimum import best
from node.planning.twin_field import PhaseMatchingLink, repeaterless_bound
from node.qkd.asymptotic import DecoyLink
from quantum_channel.conditions import conditions
from quantum_channel.parameters import Parameters

__all__ = ["Comparison", "comparison"]

_EFFICIENCY: Final = 1.06


@dataclass(frozen=True, slots=True)
class Comparison:
    """Secret bits per second.

    Attributes:
        decoy_hz: BB84 with infinitely many decoys and pulses, over the link.
        mdi_hz: Measurement-device-independent, the station half-way.
        twin_field_hz: Phase matching, the station half-way.
        repeaterless_hz: The bound on all protocols without a station (Pirandola et al. 2017), over the fibre alone.
    """

    decoy_hz: float
    mdi_hz: float
    twin_field_hz: float
    repeaterless_hz: float


def comparison(parameters: Parameters) -> Comparison:
    """Return what the loss of a link, and devices as it has them, would allow."""
    p, nature = parameters, conditions(parameters)
    survival_prob = sum(nature.detection_probs) / 2
    receiver_prob = sum(nature.receiver_probs) / 2
    fibre_prob = survival_prob / receiver_prob if receiver_prob > 0 else 0.0
    wrong = sum(nature.wrong_probs) / 2
    dark = max(*nature.dark_probs, 1e-15)
    arm_prob = receiver_prob * math.sqrt(fibre_prob)

    def live(click_prob: float) -> float:
        return 1 / (1 + nature.dead_slots * click_prob)

    decoy = DecoyLink(survival_prob, 2 * dark, wrong, _EFFICIENCY, 1.0)
    mdi = MdiLink((arm_prob, arm_prob), dark, 2 * wrong * (1 - wrong), _EFFICIENCY)
    twin = PhaseMatchingLink(arm_prob, dark, reconciliation_efficiency=_EFFICIENCY)

    def at_station(mean: float) -> float:
        return 2 * dark - math.expm1(-2 * arm_prob * mean)

    rates = (
        best(lambda mu: decoy.decoy_rate(mu) * live(decoy.gain_prob(mu)), 1e-3, 1.5)[1],
        best(lambda mu: mdi.rate(mu) * live(at_station(mu)), 1e-3, 1.0)[1],
        best(lambda mu: twin.rate(mu) * live(twin.gain_prob(mu)), 1e-3, 1.0)[1],
    )
    decoy_hz, mdi_hz, twin_field_hz = (p.clock_hz * max(rate, 0.0) for rate in rates)
    bound_hz = p.clock_hz * repeaterless_bound(fibre_prob) if fibre_prob < 1 else math.inf
    return Comparison(decoy_hz, mdi_hz, twin_field_hz, bound_hz)
