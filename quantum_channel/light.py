"""quantum_channel.light: what the light of a weak coherent pulse does to a receiver's detectors, class by class. Pure.

Classes are (intensity, transmitter basis, receiver basis, bit); bases 0 = Z, 1 = X. A passive receiver chooses no
basis: a splitter does, photon by photon, and its second axis repeats itself.
"""

import math

import numpy as np
import numpy.typing as npt

from quantum_channel.detector import lit_sets, photon_sets

__all__ = ["coherent_sets", "photon_shares", "polar_shares", "split_sets"]

F64 = npt.NDArray[np.float64]


def polar_shares(wrong_probs: tuple[float, float], bins: F64) -> F64:
    """Return the probability of what a photon is taken for that is measured in a basis.

    Args:
        wrong_probs: It is at the wrong detector though the bases match, in Z and in X; in others it takes either.
        bins: What is read of each bit (isolated_bins.bin_shares); the unit matrix without time bins. Shape (2, 2).

    Returns:
        Shape (2, 2, 2, 2), float64: transmitter basis, measured basis, bit, bit read.
    """
    wrong = np.full((2, 2), 0.5)
    wrong[0, 0], wrong[1, 1] = wrong_probs
    right = 1.0 - wrong
    return np.asarray(np.stack((np.stack((right, wrong), -1), np.stack((wrong, right), -1)), -2) @ bins)


def photon_shares(polar: F64, probs: tuple[float, float], splitter_p_z: float | None) -> F64:
    """Return the probability that a photon of each class is detected at each detector.

    Args:
        polar: Of `polar_shares`.
        probs: A photon that was sent is detected, if it goes to the detector of bit 0, of bit 1.
        splitter_p_z: Share that a passive receiver's splitter sends to Z; None: the receiver is active.

    Returns:
        Shape (2, 2, 2, detectors), float64: transmitter basis, receiver basis, bit.
    """
    detected: F64 = polar * np.asarray(probs)
    if splitter_p_z is None:
        return detected
    split = np.array([splitter_p_z, 1.0 - splitter_p_z])
    at_once = (np.moveaxis(detected, 1, 2) * split[:, None]).reshape(2, 2, 4)
    return np.repeat(at_once[:, None], 2, axis=1)


def coherent_sets(means: F64, weights: F64, shares: F64) -> F64:
    """Return the probability of each set of lit detectors.

    Args:
        means: Photons sent. Shape (nodes, intensities): what fluctuates is averaged over the nodes by `weights`.
        shares: Of `photon_shares`.

    Returns:
        Shape (intensities, 2, 2, 2, 2^detectors), float64.
    """
    return np.asarray(np.einsum("n,n...->...", weights, lit_sets(means[:, :, None, None, None, None] * shares)))


def split_sets(means: F64, weights: F64, shares: F64) -> F64:
    """Return the same when an eavesdropper splits photon numbers.

    She blocks single photons; of two and more she keeps one, and the rest goes to the receiver without loss.

    Args:
        means, weights: Of `coherent_sets`.
        shares: Without the fibre.

    Source: P_n(mu) photons sent leave n - 1 for n >= 2 and none otherwise; photon by photon, never drawn.
    """
    top = float(means.max())
    most = 20 + int(top + 12.0 * math.sqrt(top))
    numbers = np.arange(most + 1)
    factorials = np.array([math.lgamma(n + 1) for n in range(most + 1)])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(numbers > 0, numbers * np.log(means[..., None]), 0.0)
    sent = np.einsum("n,nkp->kp", weights, np.exp(logs - means[..., None] - factorials))
    left = np.concatenate((sent[:, :2].sum(axis=1, keepdims=True), sent[:, 2:]), axis=1)
    return np.asarray(np.einsum("kp,p...->k...", left, photon_sets(shares, most - 1)))
