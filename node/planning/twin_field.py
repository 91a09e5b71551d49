"""node.planning.twin_field: phase-matching (twin-field) key rates, and the bound that they beat. Pure.

Both ends send to a station half-way, so the rate falls with the root of the loss of the whole. Rates are secret bits
per pulse, as the formulas give them: below 0 means no key.
"""

import math
from dataclasses import dataclass

from node.planning.optimum import best
from node.qkd.estimation import binary_entropy
from node.ranges import refuse_not_positive, refuse_unless_prob
from qnetem.runtime.errors import BadInputError

__all__ = ["PhaseMatchingLink", "repeaterless_bound"]


def repeaterless_bound(survival_prob: float) -> float:
    """Return the secret bits per pulse that no protocol without a station on the way exceeds; 0 over no light at all.

    Raises:
        BadInputError: The probability is not in [0, 1): without any loss there is no bound.

    Source: Pirandola, Laurenza, Ottaviani, Banchi 2017, -log2(1 - eta).
    """
    if not 0.0 <= survival_prob < 1.0:
        raise BadInputError(f"survival_prob {survival_prob:g} is not in [0, 1)")
    return -math.log1p(-survival_prob) / math.log(2.0)


@dataclass(frozen=True, slots=True)
class PhaseMatchingLink:
    """Two ends with one interfering station in the middle.

    Attributes:
        arm_survival_prob: From an end to a click at the station: half the fibre, and the detector.
        dark_prob: Per detector and pulse.
        phase_slices: M, into which the ends cut the circle; even, 4 or more.
        reconciliation_efficiency: f, 1 or more.

    Raises:
        BadInputError: A value is out of its range.

    Source: Ma, Zeng, Zhou, Phase-matching quantum key distribution (2018).
    """

    arm_survival_prob: float
    dark_prob: float
    phase_slices: int = 16
    reconciliation_efficiency: float = 1.15

    def __post_init__(self) -> None:
        refuse_unless_prob(arm_survival_prob=self.arm_survival_prob, twice_the_dark_prob=2.0 * self.dark_prob)
        if self.phase_slices < 4 or self.phase_slices % 2:
            raise BadInputError(f"phase_slices {self.phase_slices} is not even, 4 or more")
        if not 1.0 <= self.reconciliation_efficiency < math.inf:
            raise BadInputError(f"reconciliation_efficiency {self.reconciliation_efficiency:g} is not 1 or more")

    @property
    def misalignment_prob(self) -> float:
        """Error that the width of the slices makes: e_d = pi/M - (M/pi)^2 sin^3(pi/M)."""
        slice_rad = math.pi / self.phase_slices
        return slice_rad - math.sin(slice_rad) ** 3 / slice_rad**2

    def gain_prob(self, mean_photons: float) -> float:
        """Return Q = 1 - (1-2p) e^(-eta mu), mu being that of both ends together."""
        refuse_not_positive(mean_photons=mean_photons)
        gain = 2.0 * self.dark_prob - (1.0 - 2.0 * self.dark_prob) * math.expm1(-self.arm_survival_prob * mean_photons)
        if not gain > 0.0:
            raise BadInputError("a link on which nothing ever clicks has no error rate")
        return gain

    def error_prob(self, mean_photons: float) -> float:
        """Return E_Z = (p + eta mu e_d) e^(-eta mu)/Q."""
        light = self.arm_survival_prob * mean_photons
        return (self.dark_prob + light * self.misalignment_prob) * math.exp(-light) / self.gain_prob(mean_photons)

    def phase_error_prob(self, mean_photons: float) -> float:
        """Return E_X = q_0/2 + sum_odd q_k e_k + max(0, 1 - q_0 - sum_odd q_k), at most 1/2.

        q_k is the share of the clicks that came from k photons; even numbers of them count as errors altogether.
        """
        gain = self.gain_prob(mean_photons)
        q_0 = math.exp(-mean_photons) * 2.0 * self.dark_prob / gain
        odd = wrong = 0.0
        poisson = math.exp(-mean_photons)
        for k in range(1, 40 + int(8.0 * mean_photons)):
            poisson *= mean_photons / k
            if k % 2 == 0:
                continue
            lost = math.exp(k * math.log1p(-self.arm_survival_prob)) if self.arm_survival_prob < 1.0 else 0.0
            click = 1.0 - (1.0 - 2.0 * self.dark_prob) * lost
            odd += poisson * click / gain
            # q_k e_k, in which Y_k cancels
            wrong += poisson * (self.dark_prob + self.misalignment_prob * (1.0 - lost)) / gain
        return min(q_0 / 2.0 + wrong + max(0.0, 1.0 - q_0 - odd), 0.5)

    def rate(self, mean_photons: float) -> float:
        """Return R = 2/M Q (1 - f h(E_Z) - h(E_X)).

        Raises:
            BadInputError: The intensity is not above 0, or nothing ever clicks.
        """
        error = binary_entropy(self.error_prob(mean_photons))
        phase = binary_entropy(self.phase_error_prob(mean_photons))
        sifted = 2.0 / self.phase_slices * self.gain_prob(mean_photons)
        return sifted * (1.0 - self.reconciliation_efficiency * error - phase)

    def best_rate(self) -> tuple[float, float]:
        """Return the best intensity of both ends together, within 0.001 .. 1, and its rate."""
        return best(self.rate, 1e-3, 1.0)
