"""node.qkd.asymptotic: BB84 with weak coherent pulses and infinitely many of them, for study and for planning. Pure.

Source: Ma, Qi, Zhao, Lo, Practical decoy state for quantum key distribution (2005); without decoys Gottesman, Lo,
Luetkenhaus, Preskill (2004). Rates are secret bits per pulse, as the formulas give them: below 0 means no key.
"""

import math
from dataclasses import dataclass

from node.qkd.estimation import binary_entropy
from node.ranges import refuse_negative, refuse_not_positive, refuse_unless_prob
from qnetem.runtime.errors import BadInputError

__all__ = ["DecoyLink", "SinglePhotonBounds"]


@dataclass(frozen=True, slots=True)
class SinglePhotonBounds:
    """Single photons. yield_prob: a click, given one was sent; error_prob: the bit is wrong, given that click."""

    yield_prob: float
    error_prob: float


@dataclass(frozen=True, slots=True)
class DecoyLink:
    """A link as these formulas know it.

    Attributes:
        survival_prob: eta: a photon that was sent is detected, fibre, receiver and detector together.
        dark_yield: Y0: any detector clicks without light; such a bit is random. Above 0.
        misalignment_prob: A detected photon is at the wrong detector.
        reconciliation_efficiency: f, 1 or more.
        sifting_prob: q, share of the clicks whose bases match.

    Raises:
        BadInputError: A value is out of its range.
    """

    survival_prob: float
    dark_yield: float
    misalignment_prob: float
    reconciliation_efficiency: float = 1.0
    sifting_prob: float = 0.5

    def __post_init__(self) -> None:
        refuse_unless_prob(
            survival_prob=self.survival_prob,
            dark_yield=self.dark_yield,
            misalignment_prob=self.misalignment_prob,
            sifting_prob=self.sifting_prob,
        )
        refuse_not_positive(dark_yield=self.dark_yield)
        if not 1.0 <= self.reconciliation_efficiency < math.inf:
            raise BadInputError(f"reconciliation_efficiency {self.reconciliation_efficiency:g} is not 1 or more")

    def gain_prob(self, mean_photons: float) -> float:
        """Return Q = Y0 + 1 - e^(-eta k), a click per pulse; to first order in Y0, as in the paper."""
        refuse_negative(mean_photons=mean_photons)
        return self.dark_yield - math.expm1(-self.survival_prob * mean_photons)

    def error_prob(self, mean_photons: float) -> float:
        """Return E of E Q = Y0/2 + ed (1 - e^(-eta k))."""
        seen = -math.expm1(-self.survival_prob * mean_photons)
        return (self.dark_yield / 2.0 + self.misalignment_prob * seen) / self.gain_prob(mean_photons)

    @property
    def single(self) -> SinglePhotonBounds:
        """What infinitely many decoys find: Y1 = Y0 + eta, e1 = (Y0/2 + ed eta)/Y1."""
        y1 = self.dark_yield + self.survival_prob
        return SinglePhotonBounds(y1, (self.dark_yield / 2.0 + self.misalignment_prob * self.survival_prob) / y1)

    def vacuum_weak(self, signal: float, decoy: float) -> SinglePhotonBounds:
        """Return what vacuum and one weak decoy prove: Y1 from below, e1 from above (at most 1/2).

        Raises:
            BadInputError: Not 0 < decoy < signal.

        Source: Y1 = mu/(mu nu - nu^2) (Q_nu e^nu - Q_mu e^mu nu^2/mu^2 - (mu^2-nu^2)/mu^2 Y0),
        e1 = (E_nu Q_nu e^nu - Y0/2)/(Y1 nu).
        """
        if not 0.0 < decoy < signal < math.inf:
            raise BadInputError(f"decoy {decoy:g} and signal {signal:g} are not 0 < decoy < signal")
        ratio = (decoy / signal) ** 2
        weak, bright = self.gain_prob(decoy) * math.exp(decoy), self.gain_prob(signal) * math.exp(signal)
        y1 = signal / (signal * decoy - decoy**2) * (weak - bright * ratio - (1.0 - ratio) * self.dark_yield)
        if not y1 > 0.0:
            return SinglePhotonBounds(0.0, 0.5)
        return SinglePhotonBounds(y1, min((self.error_prob(decoy) * weak - self.dark_yield / 2.0) / (y1 * decoy), 0.5))

    def decoy_rate(self, signal: float, decoy: float | None = None) -> float:
        """Return R = q {-Q f h(E) + Q1 [1 - h(e1)]}, Q1 = Y1 mu e^-mu; decoy None: infinitely many.

        Raises:
            BadInputError: An intensity is negative, or not decoy < signal.
        """
        single = self.single if decoy is None else self.vacuum_weak(signal, decoy)
        worth = single.yield_prob * signal * math.exp(-signal) * (1.0 - binary_entropy(single.error_prob))
        return self.sifting_prob * (worth - self._correction(signal))

    def plain_rate(self, signal: float) -> float:
        """Return the rate without decoys: Eve is granted that every pulse of two and more photons arrives.

        Raises:
            BadInputError: The intensity is negative.

        Source: GLLP, D = P(n >= 2)/Q, R = q Q {-f h(E) + (1-D)(1 - h(E/(1-D)))}.
        """
        gain, error = self.gain_prob(signal), self.error_prob(signal)
        several = _several_prob(signal)
        kept = 1.0 - several / gain
        worth = kept * (1.0 - binary_entropy(error / kept)) if kept > 2.0 * error else 0.0
        return self.sifting_prob * gain * worth - self.sifting_prob * self._correction(signal)

    def _correction(self, signal: float) -> float:
        """Return what reconciliation takes per sifted pulse, Q f h(E)."""
        return self.gain_prob(signal) * self.reconciliation_efficiency * binary_entropy(self.error_prob(signal))


def _several_prob(mean_photons: float) -> float:
    """Return the probability of two photons and more, 1 - e^-k - k e^-k; of a faint pulse without cancellation."""
    if mean_photons > 1.0:
        return -math.expm1(-mean_photons) - mean_photons * math.exp(-mean_photons)
    return math.exp(-mean_photons) * math.fsum(mean_photons**n / math.factorial(n) for n in range(2, 20))
