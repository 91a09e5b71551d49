"""node.qkd.study: what a block would be worth if its counts were those of infinitely many pulses. Pure.

For study alone: nothing is proven about a block of finite length, and its bits are not secure. The decoy bounds are
those of node.qkd.estimation and node.qkd.two_decoy without their deviations, and the phase error rate is the single
photons' error rate in X as it is bounded, not as it might be in Z.

Source: the asymptotic key rate of Ma, Qi, Zhao, Lo, Practical decoy state for quantum key distribution (2005), with the
bounds of Rusca et al. 2018 or Lim et al. 2014 at eps = 1, where d(n) = sqrt(n/2 ln(1/eps)) is 0.
"""

from collections.abc import Sequence

from node.qkd.estimation import Counts, KeyEstimate, OneDecoyBounds, binary_entropy
from node.qkd.two_decoy import TwoDecoyBounds
from qnetem.runtime.errors import BadInputError

__all__ = ["asymptotic_key_estimate"]


def asymptotic_key_estimate(
    *,
    z_counts: Counts,
    z_error_counts: Counts,
    x_counts: Counts,
    x_error_counts: Counts,
    intensities: Sequence[float],
    intensity_probs: Sequence[float],
    leaked_bits: float,
) -> KeyEstimate:
    """Return how many secret bits the counts would stand for if they were exact.

    Args:
        z_counts, z_error_counts, x_counts, x_error_counts: Sifted bits and errors per intensity.
        intensities, intensity_probs: Two or three, the largest first.
        leaked_bits: All that was said about the Z bits in the clear.

    Raises:
        BadInputError: There are not as many counts as intensities, two or three; or more errors than counts.
    """
    means, probs = tuple(intensities), tuple(intensity_probs)
    n_z, m_z, n_x, m_x = (
        tuple(float(n) for n in counts) for counts in (z_counts, z_error_counts, x_counts, x_error_counts)
    )
    if {len(n) for n in (n_z, m_z, n_x, m_x, probs)} != {len(means)} or len(means) not in (2, 3):
        raise BadInputError(f"{len(means)} intensities with counts for {len(n_z)}, {len(m_z)}, {len(n_x)}, {len(m_x)}")
    if not all(0 <= m <= n for m, n in zip(m_z + m_x, n_z + n_x, strict=True)):
        raise BadInputError(f"more errors than counts: {m_z + m_x} of {n_z + n_x}")
    if len(means) == 2:
        one = OneDecoyBounds(means, probs, 1.0)
        vacuum = one.vacuum_lower((n_z[0], n_z[1]))
        single_z, single_x = (one.single_lower((n[0], n[1]), (m[0], m[1])) for n, m in ((n_z, m_z), (n_x, m_x)))
        errors = one.single_errors_upper((m_x[0], m_x[1]))
    else:
        two = TwoDecoyBounds(means, probs, 1.0)
        vacuum = two.vacuum_lower((n_z[0], n_z[1], n_z[2]))
        single_z, single_x = (two.single_lower((n[0], n[1], n[2])) for n in (n_z, n_x))
        errors = two.single_errors_upper((m_x[0], m_x[1], m_x[2]))
    single_z, single_x = min(single_z, sum(n_z) - vacuum), min(single_x, sum(n_x))
    if single_z < 1 or single_x < 1:
        reason = "single-photon-bound" if sum(n_z) else "no-counts"
        return KeyEstimate(0, vacuum, max(single_z, 0.0), 0.5, reason)
    phase_error_prob = errors / single_x
    if phase_error_prob >= 0.5:
        return KeyEstimate(0, vacuum, single_z, 0.5, "phase-error-bound")
    length = vacuum + single_z * (1 - binary_entropy(phase_error_prob)) - leaked_bits
    reason = "" if length >= 1 else "leak"
    return KeyEstimate(max(int(length), 0), vacuum, single_z, phase_error_prob, reason)
