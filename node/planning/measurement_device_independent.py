"""node.planning.measurement_device_independent: key rates with a Bell measurement half-way, trusted by nobody. Pure.

Source: Lo, Curty, Qi, Measurement-device-independent quantum key distribution (2012); Ma, Razavi (2012), whose
phase-randomised gains these are. Rates are secret bits per pulse pair, in the formula's terms: below 0 means no key.
"""

import math
from dataclasses import dataclass

import numpy as np

from node.planning.optimum import best
from node.qkd.asymptotic import SinglePhotonBounds
from node.qkd.estimation import binary_entropy
from node.ranges import refuse_not_positive, refuse_unless_prob
from qnetem.runtime.errors import BadInputError

__all__ = ["MdiLink"]


@dataclass(frozen=True, slots=True)
class MdiLink:
    """Two arms that meet at a station of four detectors, two of which must click.

    Attributes:
        arm_survival_probs: From each end to a click at the station.
        dark_prob: Per detector and gate.
        misalignment_prob: e_d, of the two together.
        reconciliation_efficiency: f, 1 or more.

    Raises:
        BadInputError: A value is out of its range.
    """

    arm_survival_probs: tuple[float, float]
    dark_prob: float
    misalignment_prob: float
    reconciliation_efficiency: float = 1.16

    def __post_init__(self) -> None:
        eta_a, eta_b = self.arm_survival_probs
        refuse_unless_prob(eta_a=eta_a, eta_b=eta_b, dark_prob=self.dark_prob, misalignment_prob=self.misalignment_prob)
        if not 1.0 <= self.reconciliation_efficiency < math.inf:
            raise BadInputError(f"reconciliation_efficiency {self.reconciliation_efficiency:g} is not 1 or more")

    @property
    def single(self) -> SinglePhotonBounds:
        """Yield and error when both ends send one photon.

        Source: Y11 = (1-p)^2 (ea eb/2 + (2ea + 2eb - 3ea eb) p + 4 (1-ea)(1-eb) p^2),
        e11 Y11 = Y11/2 - (1/2 - ed)(1-p)^2 ea eb/2.
        """
        (ea, eb), p = self.arm_survival_probs, self.dark_prob
        quiet = (1.0 - p) ** 2
        y11 = quiet * (ea * eb / 2.0 + (2.0 * ea + 2.0 * eb - 3.0 * ea * eb) * p + 4.0 * (1.0 - ea) * (1.0 - eb) * p**2)
        if not y11 > 0.0:
            raise BadInputError("a station at which two detectors never click has no error rate")
        return SinglePhotonBounds(y11, 0.5 - (0.5 - self.misalignment_prob) * quiet * ea * eb / 2.0 / y11)

    def gain_and_error(self, mean_photons: float) -> tuple[float, float]:
        """Return Q and E in the key's basis, both ends sending the same intensity.

        Raises:
            BadInputError: The intensity is not above 0, or nothing ever clicks.

        Source: mu' = (ea+eb) mu, x = mu sqrt(ea eb)/2,
        Q_C = 2 (1-p)^2 e^(-mu'/2) (1-(1-p) e^(-ea mu/2)) (1-(1-p) e^(-eb mu/2)),
        Q_E = 2p (1-p)^2 e^(-mu'/2) (I0(2x) - (1-p) e^(-mu'/2)), E = (ed Q_C + (1-ed) Q_E)/Q.
        """
        refuse_not_positive(mean_photons=mean_photons)
        (ea, eb), p = self.arm_survival_probs, self.dark_prob
        dim = math.exp(-(ea + eb) * mean_photons / 2.0)
        bessel = float(np.i0(mean_photons * math.sqrt(ea * eb)))
        # 1 - (1-p) e^-m without cancellation
        clicks = [p - (1.0 - p) * math.expm1(-eta * mean_photons / 2.0) for eta in (ea, eb)]
        correct = 2.0 * (1.0 - p) ** 2 * dim * clicks[0] * clicks[1]
        wrong = 2.0 * p * (1.0 - p) ** 2 * dim * (bessel - (1.0 - p) * dim)
        gain = correct + wrong
        if not gain > 0.0:
            raise BadInputError("a station at which two detectors never click has no error rate")
        return gain, (self.misalignment_prob * correct + (1.0 - self.misalignment_prob) * wrong) / gain

    def rate(self, mean_photons: float) -> float:
        """Return R = mu^2 e^(-2mu) Y11 (1 - h(e11)) - Q f h(E).

        Raises:
            BadInputError: The intensity is not above 0, or nothing ever clicks.
        """
        gain, error = self.gain_and_error(mean_photons)
        single = self.single
        ones = mean_photons**2 * math.exp(-2.0 * mean_photons)
        worth = ones * single.yield_prob * (1.0 - binary_entropy(single.error_prob))
        return worth - gain * self.reconciliation_efficiency * binary_entropy(error)

    def best_rate(self) -> tuple[float, float]:
        """Return the best intensity, within 0.001 .. 1, and its rate."""
        return best(self.rate, 1e-3, 1.0)
