"""quantum_channel.pair_clicks: what an entangled pulse does to the detectors of both ends, in closed form. Pure.

The source makes two pairs of modes, alike in every basis of the plane of Z and X: |psi> ~ exp(t (a0 b0 + a1 b1))|0>
of raising operators, t^2 = l/(1+l), so that bits of matching bases agree; pairs a pulse are those of Ma, Fung, Lo 2007.
Detectors that see no photon stand for an operator Gamma(X) x Gamma(Y) with 2 x 2 matrices X = 1 - P and Y = 1 - M,
what the others of an arm let pass of one photon, and its expectation is

  G = (1 - t^2)^2 / det(1 - t^2 X Y) = 1/(1 + d),
  d = l(1+l) (tr P + tr M - tr PM) + l^2 (u w - u - w),   u = tr P - det P, w = tr M - det M,

whose alternating sums over sets of detectors are the sets that light reaches. Nothing is expanded in photon numbers.
"""

import math
from itertools import product

import numpy as np
import numpy.typing as npt

__all__ = ["PARTNER_SETS", "arm_operators", "dark_partner_sets", "pair_sets"]

F64 = npt.NDArray[np.float64]

# of the transmitter's two detectors
PARTNER_SETS = 4


def arm_operators(
    wrong_probs: tuple[float, float], bins: F64, probs: tuple[float, float], splitter_p_z: float | None
) -> list[tuple[F64, F64, F64]]:
    """Return the operators M_d = alpha_d + beta_d . (sigma_Z, sigma_X) of the receiver's detectors.

    A pulse is misaligned as a whole: its bits are exchanged in a basis with the probability of that basis, as in Ma,
    Fung, Lo. So there are several cases.

    Args:
        wrong_probs: Bits of a pulse are exchanged, in Z and in X.
        bins, probs, splitter_p_z: As of light.polar_shares and photon_shares.

    Returns:
        (weight, shape (2,): by the receiver's basis; alpha, shape (2, detectors); beta, shape (2, detectors, 2)).
    """
    read = np.stack(((bins[0] + bins[1]) / 2.0, (bins[0] - bins[1]) / 2.0)) * np.asarray(probs)
    cases = []
    if splitter_p_z is None:
        for flip in (0, 1):
            weight = np.array([wrong if flip else 1.0 - wrong for wrong in wrong_probs])
            beta = np.zeros((2, 2, 2))
            beta[0, :, 0] = beta[1, :, 1] = -read[1] if flip else read[1]
            cases.append((weight, np.stack((read[0], read[0])), beta))
        return cases
    split = np.array([splitter_p_z, 1.0 - splitter_p_z])
    for flips in product((0, 1), repeat=2):
        both = math.prod(wrong if flip else 1.0 - wrong for wrong, flip in zip(wrong_probs, flips, strict=True))
        beta = np.zeros((2, 4, 2))
        for basis in (0, 1):
            sign = -split[basis] if flips[basis] else split[basis]
            beta[:, 2 * basis : 2 * basis + 2, basis] = sign * read[1]
        cases.append((np.full(2, both), np.tile((split[:, None] * read[0]).reshape(4), (2, 1)), beta))
    return cases


def _sums(values: F64) -> F64:
    """Return the sum over each set of detectors; detectors on axis 1."""
    sums = np.zeros_like(values[:, :1])
    for d in range(values.shape[1]):
        sums = np.concatenate((sums, sums + values[:, d : d + 1]), axis=1)
    return sums


def _quiet_excess(brightness: F64, transmitter_prob: float, alpha: F64, beta: F64, is_intercepted: bool) -> F64:
    """Return G - 1 of each set of detectors at both ends that stay dark; the rest may do as it likes.

    Returns:
        Shape (nodes, 2, 2, 4, 2^detectors): transmitter basis, receiver basis, sets.
    """
    bright = brightness[:, None, None, None, None]
    single, square = bright * (1.0 + bright), bright**2
    p = transmitter_prob * np.array([0.0, 0.5, 0.5, 1.0])[:, None]
    tilt = transmitter_prob * np.array([0.0, 0.5, -0.5, 0.0])[:, None]
    m, tilts = _sums(alpha), _sums(beta)
    u = 2.0 * p - (p**2 - tilt**2)
    w = (2.0 * m - (m**2 - (tilts**2).sum(axis=-1)))[:, None]
    m = m[:, None]
    common = 2.0 * tilt * np.moveaxis(tilts, -1, 0)[:, :, None]
    excess = single * (2.0 * p + 2.0 * m - 2.0 * p * m) + square * (u * w - u - w)
    if is_intercepted:
        # averaged over the phase that she leaves unknown: of 1/(A - B cos phi) remains 1/sqrt(A^2 - B^2)
        return np.asarray(np.expm1(-0.5 * np.log1p(excess * (2.0 + excess) - (single * common) ** 2)))
    excess = excess - single * common
    return np.asarray(-excess / (1.0 + excess))


def _lit(excess: F64) -> F64:
    """Return the probability of each set of lit detectors from G - 1 of those that stay dark."""
    size = excess.shape[-2] * excess.shape[-1]
    lit = excess.reshape(*excess.shape[:-2], size).copy()
    for d in range(size.bit_length() - 1):
        pairs = lit.reshape(*lit.shape[:-1], size >> (d + 1), 2, 1 << d)
        any_lit, quiet = pairs[..., 0, :].copy(), pairs[..., 1, :].copy()
        pairs[..., 0, :], pairs[..., 1, :] = quiet, any_lit - quiet
    lit[..., 0] += 1.0
    # what rounding leaves of the improbable
    return np.maximum(lit, 0.0).reshape(excess.shape)


def pair_sets(
    brightness: F64,
    weights: F64,
    transmitter_prob: float,
    operators: list[tuple[F64, F64, F64]],
    intercept_prob: float = 0.0,
) -> F64:
    """Return the probability of each set of lit detectors at both ends.

    Args:
        brightness: l of Ma, Fung, Lo; what fluctuates is averaged over by `weights`. Shapes (nodes,).
        transmitter_prob: A photon of the transmitter's arm is detected.
        operators: Of `arm_operators`.
        intercept_prob: An eavesdropper measures so many of the receiver's pulses, in Z or X, uniformly, and sends the
            photons on as she found them: nothing changes where the transmitter measures in her basis.

    Returns:
        Shape (2, 2, 4, 2^detectors), float64: transmitter basis, receiver basis, set of the transmitter's, of the
        receiver's detectors.
    """
    total: F64 | float = 0.0
    for share, is_intercepted in ((1.0 - intercept_prob / 2.0, False), (intercept_prob / 2.0, True)):
        for weight, alpha, beta in operators if share else ():
            sets = _lit(_quiet_excess(brightness, transmitter_prob, alpha, beta, is_intercepted))
            total = total + share * weight[:, None, None] * np.einsum("n,n...->...", weights, sets)
    return np.asarray(total)


def dark_partner_sets(sets: F64, class_probs: F64) -> F64:
    """Return what the transmitter's detectors register in a slot in which the receiver's do not.

    Args:
        sets: Probability of each set at both ends. Shape (..., 4, 2^detectors).
        class_probs: Of each class. Shape (...).

    Returns:
        Probabilities of its sets. Shape (4,), float64.
    """
    quiet = (sets[..., 0] * class_probs[..., None]).reshape(-1, PARTNER_SETS).sum(axis=0)
    return np.asarray(quiet / quiet.sum())
