"""node.planning.single_photon: finite keys of BB84 with true single photons. Pure."""

from math import floor, log2

from node.qkd.estimation import binary_entropy
from node.qkd.sampling import sampling_deviation
from node.ranges import refuse_unless_prob
from qnetem.runtime.errors import BadInputError

__all__ = ["sampling_deviation", "single_photon_key_bits"]


def single_photon_key_bits(
    key_count: float, test_count: float, error_prob: float, *, efficiency: float, eps_sec: float, eps_cor: float
) -> int:
    """Return the length of the secret key, whole bits; as the formula gives it, below 0 means no key.

    Args:
        key_count, test_count: Bits of the raw key, and bits disclosed to test it.
        error_prob: Error rate of the test bits, and of the key.
        efficiency: f of the reconciliation, 1 or more.
        eps_sec, eps_cor: Secrecy and correctness.

    Raises:
        BadInputError: A value is out of its range.

    Source: Tomamichel, Lim, Gisin, Renner, Tight finite-key analysis for quantum cryptography (2012):
    l = n (1 - h(Q + mu)) - f n h(Q) - log2(2/(eps_sec^2 eps_cor)); h is 1 from an error of 1/2 on.
    """
    refuse_unless_prob(error_prob=error_prob)
    _refuse_epsilons(eps_sec, eps_cor)
    if not efficiency >= 1.0:
        raise BadInputError(f"reconciliation efficiency {efficiency:g} is not 1 or more")
    worst = error_prob + sampling_deviation(key_count, test_count, eps_sec)
    secret = 0.0 if worst >= 0.5 else key_count * (1 - binary_entropy(worst))
    return floor(secret - efficiency * key_count * binary_entropy(error_prob) - log2(2 / (eps_sec**2 * eps_cor)))


def _refuse_epsilons(eps_sec: float, eps_cor: float) -> None:
    if not (0 < eps_sec < 1 and 0 < eps_cor < 1):
        raise BadInputError(f"eps_sec {eps_sec:g}, eps_cor {eps_cor:g}: must be in (0, 1)")
