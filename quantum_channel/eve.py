"""quantum_channel.eve: what an eavesdropper does to gain and errors, and so what gives her away. Pure.

Intercept-resend measures in a basis chosen uniformly and sends what she found. Photon-number splitting blocks single
photons and keeps one of every other pulse; beam splitting takes what the fibre would have lost.
"""

import math

import numpy as np
import numpy.typing as npt

from quantum_channel.ranges import refuse_negative, refuse_unless_prob
from quantum_channel.source import photon_number_prob

__all__ = [
    "beam_splitting_prob",
    "honest_match_prob",
    "intercept_resend_chsh",
    "intercept_resend_correlation",
    "intercept_resend_error_prob",
    "photon_number_splitting_gain_prob",
    "resent",
]

U8 = npt.NDArray[np.uint8]


def resent(bases: U8, bits: U8, eve_bases: U8, random_bits: U8) -> U8:
    """Return the bits that Eve finds, and sends on in her basis. Shapes (pulses,), uint8.

    Args:
        bases, bits: What was sent.
        eve_bases: What she measures in.
        random_bits: What she finds where the bases differ.
    """
    return np.where(bases == eve_bases, bits, random_bits)


def intercept_resend_error_prob(fraction: float, honest_error_prob: float = 0.0) -> float:
    """Return the error rate of sifted bits when a fraction of the pulses is intercepted.

    Raises:
        BadLinkError: A value is not in 0 .. 1.

    Source: (1-p) e0 + p (e0/2 + 1/4).
    """
    refuse_unless_prob(fraction=fraction, honest_error_prob=honest_error_prob)
    return (1.0 - fraction) * honest_error_prob + fraction * (honest_error_prob / 2.0 + 0.25)


def intercept_resend_correlation(angle_a_rad: float, angle_b_rad: float, fraction: float, werner: float = 1.0) -> float:
    """Return the correlation of two ends of a Phi+ pair when a fraction of one end's photons is intercepted.

    Args:
        angle_a_rad, angle_b_rad: Measured directions in the plane of Z (at 0) and X (at pi/2) of the Bloch sphere.
        fraction: Intercepted, in Z or X, uniformly: each leaves the correlation along itself and kills the other.
        werner: Weight W of the pair in white noise.

    Raises:
        BadLinkError: The fraction or the weight is not in 0 .. 1.
    """
    refuse_unless_prob(fraction=fraction, werner=werner)
    return werner * (1.0 - fraction / 2.0) * math.cos(angle_a_rad - angle_b_rad)


def intercept_resend_chsh(fraction: float, werner: float = 1.0) -> float:
    """Return the CHSH value under intercept-resend; 2 and less is no sign of entanglement.

    Raises:
        BadLinkError: The fraction or the weight is not in 0 .. 1.

    Source: 2 sqrt2 W (1 - p/2).
    """
    refuse_unless_prob(fraction=fraction, werner=werner)
    return 2.0 * math.sqrt(2.0) * werner * (1.0 - fraction / 2.0)


def photon_number_splitting_gain_prob(
    mean_photons: float, receiver_efficiency: float, dark_yield: float = 0.0
) -> float:
    """Return the gain of an intensity under full photon-number splitting.

    Single photons are blocked; of two and more one is kept, and the rest goes to the receiver without loss.

    Args:
        mean_photons: Intensity of the pulse as sent.
        receiver_efficiency: Of receiver and detectors, without the fibre.
        dark_yield: Y0.

    Raises:
        BadLinkError: The intensity is negative, another value not in 0 .. 1.

    Source: Q = Y0 e^-k + sum_n P_n(k) (Y_n + Y0 - Y_n Y0), Y_n = 1 - (1-eta)^(n-1) for n >= 2, summed over n:
    the receiver stays dark with (1-Y0) (P_0 + P_1 + sum_(n>=2) P_n (1-eta)^(n-1)). A blocked photon leaves the dark.
    """
    refuse_negative(mean_photons=mean_photons)
    refuse_unless_prob(receiver_efficiency=receiver_efficiency, dark_yield=dark_yield)
    # term by term from n = 2: what they add up to is small against 1, and would lose its digits there
    crowded = math.fsum(
        photon_number_prob(mean_photons, n) * (1.0 - (1.0 - receiver_efficiency) ** (n - 1))
        for n in range(2, 20 + int(mean_photons + 12.0 * math.sqrt(mean_photons)))
    )
    return dark_yield + (1.0 - dark_yield) * crowded


def beam_splitting_prob(mean_photons: float, survival_prob: float) -> float:
    """Return the probability that Eve holds a photon of a pulse, having taken what the fibre would have lost.

    Nothing can be observed; the accounting of single photons covers it.

    Raises:
        BadLinkError: The intensity is negative, or the probability not in 0 .. 1.

    Source: 1 - e^(-(1-eta) mu).
    """
    refuse_negative(mean_photons=mean_photons)
    refuse_unless_prob(survival_prob=survival_prob)
    return -math.expm1(-(1.0 - survival_prob) * mean_photons)


def honest_match_prob(transmitter_p_z: float, receiver_p_z: float) -> float:
    """Return the share of clicks whose bases match on an honest link, p_Z p_Z' + p_X p_X'.

    Raises:
        BadLinkError: A probability is not in 0 .. 1.
    """
    refuse_unless_prob(transmitter_p_z=transmitter_p_z, receiver_p_z=receiver_p_z)
    return transmitter_p_z * receiver_p_z + (1.0 - transmitter_p_z) * (1.0 - receiver_p_z)
