"""node.entanglement.waiting: how long a chain of heralded links waits, and what waiting costs. Pure.

Links try in step; times count attempts. Each link succeeds in the first attempt or later: geometric from 1.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from node.ranges import refuse_not_positive, refuse_unless_prob
from qnetem.runtime.errors import BadInputError

__all__ = ["CutoffWait", "attempt_counts", "chain_rate_hz", "longest_wait", "pair_decay", "wait_with_cutoff"]

# from here on the tail of the sum is short enough to be summed
_SUMMED_FROM: Final = 1e-3
# up to here inclusion and exclusion leave ten digits
_EXCLUDED_TO: Final = 20


def attempt_counts(success_prob: float, uniforms: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return in which attempt links succeed, by inversion.

    Args:
        success_prob: Per attempt.
        uniforms: In (0, 1]. Any shape.

    Returns:
        1 and more. The same shape, int64.

    Raises:
        BadInputError: The probability is not in (0, 1], or a uniform number out of its range.
    """
    _refuse_never(success_prob)
    if not np.all((uniforms > 0.0) & (uniforms <= 1.0)):
        raise BadInputError("a uniform number is not in (0, 1]")
    if success_prob == 1.0:
        return np.ones(uniforms.shape, dtype=np.int64)
    return 1 + np.floor(np.log(uniforms) / math.log1p(-success_prob)).astype(np.int64)


def longest_wait(link_count: int, success_prob: float) -> float:
    """Return how many attempts it takes in the mean until each of n links has succeeded once.

    Raises:
        BadInputError: There is no link, or the probability is not in (0, 1].

    Source: E[max of n geometrics] = sum_(m>=0) 1 - (1-q^m)^n (Bernardes et al. 2011); for rare success by inclusion and
    exclusion, and for many links by Euler and Maclaurin, whose terms after H_n/ln(1/q) + 1/2 vanish.
    """
    if link_count < 1:
        raise BadInputError(f"a chain of {link_count} links")
    _refuse_never(success_prob)
    if success_prob == 1.0:
        return 1.0
    log_q = math.log1p(-success_prob)
    if success_prob >= _SUMMED_FROM:
        m = np.arange(int((40.0 + math.log(link_count)) / -log_q) + 1)
        # 0 attempts are never enough: the first term is 1
        return 1.0 + float(-np.expm1(link_count * np.log1p(-np.exp(m[1:] * log_q))).sum())
    if link_count <= _EXCLUDED_TO:
        return math.fsum(
            (-1) ** (k + 1) * math.comb(link_count, k) / -math.expm1(k * log_q) for k in range(1, link_count + 1)
        )
    return math.fsum(1.0 / k for k in range(1, link_count + 1)) / -log_q + 0.5


def pair_decay(success_prob: float, decay: float) -> float:
    """Return the mean of a^wait of the pair of two links that is made first, and waits for the other without cutoff.

    Args:
        success_prob: Per attempt, of each link.
        decay: a, what an attempt's time leaves of the pair, in 0 .. 1.

    Raises:
        BadInputError: A value is out of its range.

    Source: E[a^|G1-G2|] = p/(2-p) (1+aq)/(1-aq).
    """
    _refuse_never(success_prob)
    refuse_unless_prob(decay=decay)
    left = decay * (1.0 - success_prob)
    return success_prob / (2.0 - success_prob) * (1.0 + left) / (1.0 - left)


@dataclass(frozen=True, slots=True)
class CutoffWait:
    """Two links with a cutoff. mean_attempts: until both pairs are there; mean_decay: a^wait of the older one then."""

    mean_attempts: float
    mean_decay: float


def wait_with_cutoff(success_prob: float, cutoff_attempts: int, decay: float = 1.0) -> CutoffWait:
    """Return the wait of two links, both made again when the second does not come within m attempts of the first.

    Args:
        success_prob: Per attempt, of each link.
        cutoff_attempts: m, 0 or more.
        decay: a, what an attempt's time leaves of a pair, in 0 .. 1.

    Raises:
        BadInputError: A value is out of its range.

    Source: renewal. q = 1-p, p_any = 1-q^2, s = p^2/p_any, ok = s + (1-s)(1-q^m):
    mean = [1/p_any + (1-s)(sum_(j=1..m) j q^(j-1) p + m q^m)]/ok,
    E[a^wait] = (s + (1-s) sum_(j=1..m) a^j q^(j-1) p)/ok. The first sum with its rest is (1-q^m)/p.
    """
    _refuse_never(success_prob)
    refuse_unless_prob(decay=decay)
    if cutoff_attempts < 0:
        raise BadInputError(f"cutoff_attempts {cutoff_attempts} is not 0 or more")
    p, q, m = success_prob, 1.0 - success_prob, cutoff_attempts
    p_any = p * (2.0 - p)
    at_once = p**2 / p_any
    in_time = -math.expm1(m * math.log1p(-p)) if p < 1.0 else 1.0 if m else 0.0
    ok = at_once + (1.0 - at_once) * in_time
    left = decay * q
    # sum_(j=1..m) a^j q^(j-1) p, geometric; without decay it is in_time
    decayed = decay * p * (1.0 - left**m) / (1.0 - left)
    mean = (1.0 / p_any + (1.0 - at_once) * in_time / p) / ok
    return CutoffWait(mean, (at_once + (1.0 - at_once) * decayed) / ok)


def chain_rate_hz(link_count: int, success_prob: float, swap_prob: float, period_s: float) -> float:
    """Return the pairs per second end to end of a chain that swaps as soon as it can and restarts on a failed swap.

    Args:
        link_count: n.
        success_prob: Per attempt, of each link.
        swap_prob: Of each swap.
        period_s: From attempt to attempt.

    Raises:
        BadInputError: A value is out of its range.

    Source: p_swap^(n-1)/(E[max] period).
    """
    refuse_unless_prob(swap_prob=swap_prob)
    refuse_not_positive(period_s=period_s)
    return float(swap_prob ** (link_count - 1) / (longest_wait(link_count, success_prob) * period_s))


def _refuse_never(success_prob: float) -> None:
    if not 0.0 < success_prob <= 1.0:
        raise BadInputError(f"success_prob {success_prob:g} is not in (0, 1]")
