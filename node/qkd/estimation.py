"""node.qkd.estimation: how many secret bits a block holds: finite-key decoy BB84 with one decoy intensity. Pure.

Source: Rusca, Boaron, Gruenenfelder, Martin, Zbinden, Finite-key analysis for the 1-decoy state QKD protocol (2018),
eqs A16-A25; PHYSICS 6. Key from Z, at both intensities; X is disclosed. Nineteen epsilons share eps_sec.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log, log2, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from qnetem.runtime.errors import BadInputError

__all__ = [
    "Counts",
    "KeyEstimate",
    "OneDecoyBounds",
    "binary_entropy",
    "decoy_key_estimate",
    "hoeffding_deviation",
    "one_decoy_key_estimate",
    "phase_error_bound",
]

_EPSILON_TERMS: Final = 19

Counts = Sequence[float] | npt.NDArray[np.int64]


@dataclass(frozen=True)
class KeyEstimate:
    """What a block is worth.

    Attributes:
        secret_bits: Length of the secret key; 0 with a `reason`.
        vacuum_count, single_count: Lower bounds on the Z bits that came from no photon and from one.
        phase_error_prob: Upper bound on the phase error rate of the single-photon bits.
        reason: Why there is no key; empty when there is one.
    """

    secret_bits: int
    vacuum_count: float
    single_count: float
    phase_error_prob: float
    reason: str = ""


def binary_entropy(prob: float) -> float:
    """Return h(prob) in bits, prob in [0, 1]."""
    if prob in (0.0, 1.0):
        return 0.0
    return -prob * log2(prob) - (1 - prob) * log2(1 - prob)


def hoeffding_deviation(count: float, eps: float) -> float:
    """Return d(n) = sqrt(n/2 ln(1/eps)): a sum of n independent bits strays further with probability eps at most."""
    return sqrt(count / 2 * log(1 / eps))


def one_decoy_key_estimate(
    *,
    z_counts: Counts,
    z_error_counts: Counts,
    x_counts: Counts,
    x_error_counts: Counts,
    intensities: Sequence[float],
    intensity_probs: Sequence[float],
    eps_sec: float,
    eps_cor: float,
    leaked_bits: float,
) -> KeyEstimate:
    """Return the length of the secret key of a block.

    Args:
        z_counts, z_error_counts: Sifted Z bits and the errors among them, per intensity.
        x_counts, x_error_counts: The same in X.
        intensities, intensity_probs: Mean photon numbers, the larger first, and how often each was sent.
        eps_sec, eps_cor: Secrecy and correctness per block.
        leaked_bits: All that was said about the Z bits in the clear: every parity, every bit of a tag.

    Raises:
        BadInputError: A count is negative or smaller than its errors; there are not two intensities mu1 > mu2 > 0
            with probabilities above 0; an epsilon is not in (0, 1).
    """
    counts = _checked_counts(z_counts, z_error_counts, "Z") + _checked_counts(x_counts, x_error_counts, "X")
    _check_parameters(intensities, intensity_probs, eps_sec, eps_cor, leaked_bits)
    bounds = OneDecoyBounds(tuple(intensities), tuple(intensity_probs), eps_sec / _EPSILON_TERMS)
    n_z, m_z, n_x, m_x = counts
    vacuum = bounds.vacuum_lower(n_z)
    # no counts of a real source reach these limits; those of a lying peer might
    single_z = min(bounds.single_lower(n_z, m_z), sum(n_z) - vacuum)
    single_x = min(bounds.single_lower(n_x, m_x), sum(n_x))
    return decoy_key_estimate(
        key_count=sum(n_z),
        vacuum=vacuum,
        single_key=single_z,
        single_test=single_x,
        single_errors=bounds.single_errors_upper(m_x),
        eps_sec=eps_sec,
        eps_cor=eps_cor,
        leaked_bits=leaked_bits,
        epsilon_terms=_EPSILON_TERMS,
    )


def decoy_key_estimate(
    *,
    key_count: float,
    vacuum: float,
    single_key: float,
    single_test: float,
    single_errors: float,
    eps_sec: float,
    eps_cor: float,
    leaked_bits: float,
    epsilon_terms: int,
) -> KeyEstimate:
    """Return the length of the secret key that the bounds of a block give.

    Args:
        key_count: Sifted bits of the key's basis.
        vacuum: Of those, from empty pulses at least.
        single_key, single_test: From single photons at least, in the key's basis and in the other.
        single_errors: Errors of single photons in the other basis at most.
        eps_sec, eps_cor, leaked_bits: As of the block.
        epsilon_terms: Into how many parts eps_sec is divided.
    """
    if single_key < 1 or single_test < 1:
        reason = "single-photon-bound" if key_count else "no-counts"
        return KeyEstimate(0, vacuum, max(single_key, 0.0), 0.5, reason)
    phase_error_prob = phase_error_bound(single_errors, single_key, single_test, eps_sec, epsilon_terms)
    if phase_error_prob >= 0.5:
        return KeyEstimate(0, vacuum, single_key, 0.5, "phase-error-bound")
    length = (
        vacuum
        + single_key * (1 - binary_entropy(phase_error_prob))
        - leaked_bits
        - 6 * log2(epsilon_terms / eps_sec)
        - log2(2 / eps_cor)
    )
    if length < 1:
        return KeyEstimate(0, vacuum, single_key, phase_error_prob, "leak")
    return KeyEstimate(int(length), vacuum, single_key, phase_error_prob)


_Pair = tuple[float, float]


@dataclass(frozen=True)
class OneDecoyBounds:
    """The decoy bounds; counts come per intensity. Index 0 is the signal, 1 the decoy.

    `eps`: of each deviation; 1 takes the counts for exact, as those of infinitely many pulses are.
    """

    intensities: tuple[float, ...]
    probs: tuple[float, ...]
    eps: float

    def _tau(self, photon_count: int) -> float:
        """Return the probability that a pulse holds no photon (0) or one (1)."""
        return sum(p * exp(-k) * k**photon_count for k, p in zip(self.intensities, self.probs, strict=True))

    def _scaled(self, counts: _Pair, index: int, sign: int) -> float:
        """Return n_k+ or n_k-: e^k/p_k (n_k +- d(n)); n_k- may be below 0, which only weakens what it bounds."""
        weight = exp(self.intensities[index]) / self.probs[index]
        return weight * (counts[index] + sign * hoeffding_deviation(sum(counts), self.eps))

    def vacuum_lower(self, counts: _Pair) -> float:
        """Return s0 from below, within 0 .. n."""
        mu1, mu2 = self.intensities
        bound = self._tau(0) / (mu1 - mu2) * (mu1 * self._scaled(counts, 1, -1) - mu2 * self._scaled(counts, 0, 1))
        return min(max(bound, 0.0), sum(counts))

    def vacuum_upper(self, counts: _Pair, errors: _Pair) -> float:
        """Return s0 from above: the vacuum errs half of the time, so its errors are among those seen."""
        deviation = hoeffding_deviation(sum(counts), self.eps)
        seen = min(self._scaled(errors, index, 1) for index in (0, 1))
        return min(2 * (self._tau(0) * seen + deviation), sum(counts))

    def single_lower(self, counts: _Pair, errors: _Pair) -> float:
        """Return s1 from below; below 0 when the counts do not bound it."""
        mu1, mu2 = self.intensities
        ratio = (mu2 / mu1) ** 2
        bound = (
            self._scaled(counts, 1, -1)
            - ratio * self._scaled(counts, 0, 1)
            - (1 - ratio) * self.vacuum_upper(counts, errors) / self._tau(0)
        )
        return self._tau(1) * mu1 / (mu2 * (mu1 - mu2)) * bound

    def single_errors_upper(self, errors: _Pair) -> float:
        """Return v1 from above, within 0 .. m."""
        mu1, mu2 = self.intensities
        bound = self._tau(1) / (mu1 - mu2) * (self._scaled(errors, 0, 1) - self._scaled(errors, 1, -1))
        return max(bound, 0.0)


def phase_error_bound(
    errors: float, single_key: float, single_test: float, eps_sec: float, epsilon_terms: int
) -> float:
    """Return phi = v/s + gamma(eps_sec, v/s, s_key, s_test) from above, at most 0.5.

    Args:
        errors: v, upper bound on the errors of single photons in the test basis.
        single_key, single_test: Lower bounds on the single-photon bits of the key's basis and of the other, 1 and more.
        eps_sec, epsilon_terms: Secrecy, and by how many it is shared.
    """
    # gamma is 0 at 0: one error, which is more than none, keeps the sampling's own deviation in
    rate = max(errors, 1.0) / single_test
    if rate >= 0.5:
        return 0.5
    total = single_key + single_test
    product = single_key * single_test * (1 - rate) * rate
    argument = total / product * (epsilon_terms / eps_sec) ** 2
    spread = total * (1 - rate) * rate / (single_key * single_test * log(2)) * log2(argument)
    return min(rate + sqrt(max(spread, 0.0)), 0.5)


def _checked_counts(counts: Counts, errors: Counts, basis: str) -> tuple[_Pair, _Pair]:
    if len(counts) != 2 or len(errors) != 2:
        raise BadInputError(f"{basis}: one decoy takes counts for two intensities, got {len(counts)}, {len(errors)}")
    n0, n1, m0, m1 = (float(value) for value in (*counts, *errors))
    if not (0 <= m0 <= n0 and 0 <= m1 <= n1 and isfinite(n0 + n1)):
        raise BadInputError(f"{basis}: counts {n0:g}, {n1:g} with {m0:g}, {m1:g} errors")
    return (n0, n1), (m0, m1)


def _check_parameters(
    intensities: Sequence[float], probs: Sequence[float], eps_sec: float, eps_cor: float, leaked_bits: float
) -> None:
    if len(intensities) != 2 or not intensities[0] > intensities[1] > 0 or not isfinite(intensities[0]):
        raise BadInputError(f"intensities {list(intensities)}: one decoy takes two, the larger first, above 0")
    if len(probs) != 2 or not (probs[0] > 0 and probs[1] > 0 and probs[0] + probs[1] <= 1 + 1e-9):
        raise BadInputError(f"intensity probabilities {list(probs)}: must be two, above 0, of sum 1")
    if not (0 < eps_sec < 1 and 0 < eps_cor < 1):
        raise BadInputError(f"eps_sec {eps_sec:g}, eps_cor {eps_cor:g}: must be in (0, 1)")
    if not leaked_bits >= 0:
        raise BadInputError(f"{leaked_bits:g} leaked bits")
