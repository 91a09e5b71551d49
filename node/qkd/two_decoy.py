"""node.qkd.two_decoy: how many secret bits a block holds: finite-key decoy BB84 with two decoy intensities. Pure.

Source: Lim, Curty, Walenta, Xu, Zbinden, Concise security bounds for practical decoy-state quantum key distribution
(2014), eqs 1-5. The paper takes the key from X and tests in Z; here both go by what they are for, `key` and `test`.
Twenty-one epsilons share eps_sec.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite
from typing import Final

from node.qkd.estimation import Counts, KeyEstimate, decoy_key_estimate, hoeffding_deviation
from qnetem.runtime.errors import BadInputError

__all__ = ["TwoDecoyBounds", "two_decoy_key_estimate"]

_EPSILON_TERMS: Final = 21

_Triple = tuple[float, float, float]


def two_decoy_key_estimate(
    *,
    key_counts: Counts,
    test_counts: Counts,
    test_error_counts: Counts,
    intensities: Sequence[float],
    intensity_probs: Sequence[float],
    eps_sec: float,
    eps_cor: float,
    leaked_bits: float,
) -> KeyEstimate:
    """Return the length of the secret key of a block.

    Args:
        key_counts: Sifted bits of the key's basis, per intensity.
        test_counts, test_error_counts: Sifted bits of the other basis and the errors among them, per intensity.
        intensities, intensity_probs: Mean photon numbers k1 > k2 + k3, k2 > k3 >= 0, and how often each was sent.
        eps_sec, eps_cor: Secrecy and correctness per block.
        leaked_bits: All that was said about the key's bits in the clear.

    Raises:
        BadInputError: A count is negative or smaller than its errors, the intensities are not three of that order with
            probabilities above 0, an epsilon is not in (0, 1), or fewer than 0 bits leaked.
    """
    n_key = _triple("key_counts", key_counts)
    n_test, m_test = _triple("test_counts", test_counts), _triple("test_error_counts", test_error_counts)
    if not all(m <= n for m, n in zip(m_test, n_test, strict=True)):
        raise BadInputError(f"more errors than counts: {m_test} of {n_test}")
    _check(intensities, intensity_probs, eps_sec, eps_cor, leaked_bits)
    bounds = TwoDecoyBounds(tuple(intensities), tuple(intensity_probs), eps_sec / _EPSILON_TERMS)
    vacuum = bounds.vacuum_lower(n_key)
    # no counts of a real source reach these limits; those of a lying peer might
    single_key = min(bounds.single_lower(n_key), sum(n_key) - vacuum)
    single_test = min(bounds.single_lower(n_test), sum(n_test))
    return decoy_key_estimate(
        key_count=sum(n_key),
        vacuum=vacuum,
        single_key=single_key,
        single_test=single_test,
        single_errors=bounds.single_errors_upper(m_test),
        eps_sec=eps_sec,
        eps_cor=eps_cor,
        leaked_bits=leaked_bits,
        epsilon_terms=_EPSILON_TERMS,
    )


@dataclass(frozen=True)
class TwoDecoyBounds:
    """The decoy bounds; counts come per intensity, the largest first. `eps` as for one decoy."""

    intensities: tuple[float, ...]
    probs: tuple[float, ...]
    eps: float

    def _tau(self, photon_count: int) -> float:
        """Return the probability that a pulse holds no photon (0) or one (1)."""
        return sum(p * exp(-k) * k**photon_count for k, p in zip(self.intensities, self.probs, strict=True))

    def _scaled(self, counts: _Triple, index: int, sign: int) -> float:
        """Return n_k+ or n_k-: e^k/p_k (n_k +- d(n))."""
        weight = exp(self.intensities[index]) / self.probs[index]
        return weight * (counts[index] + sign * hoeffding_deviation(sum(counts), self.eps))

    def vacuum_lower(self, counts: _Triple) -> float:
        """Return s0 from below, within 0 .. n (eq 2)."""
        _, k2, k3 = self.intensities
        bound = self._tau(0) * (k2 * self._scaled(counts, 2, -1) - k3 * self._scaled(counts, 1, 1)) / (k2 - k3)
        return min(max(bound, 0.0), sum(counts))

    def single_lower(self, counts: _Triple) -> float:
        """Return s1 from below (eq 3); below 0 when the counts do not bound it."""
        k1, k2, k3 = self.intensities
        crowded = (k2**2 - k3**2) / k1**2
        bright = self._scaled(counts, 0, 1) - self.vacuum_lower(counts) / self._tau(0)
        bound = self._scaled(counts, 1, -1) - self._scaled(counts, 2, 1) - crowded * bright
        return self._tau(1) * k1 * bound / (k1 * (k2 - k3) - k2**2 + k3**2)

    def single_errors_upper(self, errors: _Triple) -> float:
        """Return v1 from above (eq 4)."""
        _, k2, k3 = self.intensities
        bound = self._tau(1) * (self._scaled(errors, 1, 1) - self._scaled(errors, 2, -1)) / (k2 - k3)
        return max(bound, 0.0)


def _triple(name: str, counts: Counts) -> _Triple:
    if len(counts) != 3:
        raise BadInputError(f"{name}: two decoys take counts for three intensities, got {len(counts)}")
    a, b, c = (float(value) for value in counts)
    if not (a >= 0 and b >= 0 and c >= 0 and isfinite(a + b + c)):
        raise BadInputError(f"{name}: {a:g}, {b:g}, {c:g} are not all 0 or more")
    return a, b, c


def _check(
    intensities: Sequence[float], probs: Sequence[float], eps_sec: float, eps_cor: float, leaked_bits: float
) -> None:
    if len(intensities) != 3 or not isfinite(sum(intensities)):
        raise BadInputError(f"intensities {list(intensities)}: two decoys take three")
    k1, k2, k3 = intensities
    if not (k1 > k2 + k3 and k2 > k3 >= 0):
        raise BadInputError(f"intensities {list(intensities)}: must be k1 > k2 + k3 and k2 > k3 >= 0")
    if len(probs) != 3 or not (min(probs) > 0 and sum(probs) <= 1 + 1e-9):
        raise BadInputError(f"intensity probabilities {list(probs)}: must be three, above 0, of sum 1")
    if not (0 < eps_sec < 1 and 0 < eps_cor < 1):
        raise BadInputError(f"eps_sec {eps_sec:g}, eps_cor {eps_cor:g}: must be in (0, 1)")
    if not leaked_bits >= 0:
        raise BadInputError(f"{leaked_bits:g} leaked bits")
