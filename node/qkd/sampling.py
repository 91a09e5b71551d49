"""node.qkd.sampling: how far the error rate of some bits may be from that of others that were compared. Pure."""

from math import log, sqrt

from node.ranges import refuse_not_positive
from qnetem.runtime.errors import BadInputError

__all__ = ["sampling_deviation"]


def sampling_deviation(key_count: float, test_count: float, eps_sec: float) -> float:
    """Return by how much the error rate of the key bits may exceed that of the test bits.

    Raises:
        BadInputError: A count is not above 0, or the epsilon not in (0, 1).

    Source: Tomamichel et al. 2012, mu = sqrt((n+k)/(n k) (k+1)/k ln(4/eps_sec)), after Serfling 1974: the tested bits
    are a random sample without replacement.
    """
    refuse_not_positive(key_count=key_count, test_count=test_count)
    if not 0 < eps_sec < 1:
        raise BadInputError(f"eps_sec {eps_sec:g}: must be in (0, 1)")
    n, k = key_count, test_count
    return sqrt((n + k) / (n * k) * (k + 1) / k * log(4 / eps_sec))
