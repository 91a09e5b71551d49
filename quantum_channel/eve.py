"""quantum_channel.eve: what an eavesdropper does to gain and errors, and so what gives her away. Pure.

Intercept-resend measures in a basis chosen uniformly and sends what she found. Photon-number splitting blocks single
photons and keeps one of every other pulse; beam splitting takes what the fibre would have lost. Who blinds detectors
intercepts, then forces the one click that she wants; a time shift leaves the pulse as it is and moves it to where one
detector is worse than the other.
"""

import math

import numpy as np
import numpy.typing as npt

from quantum_channel.ranges import refuse_negative, refuse_unless_prob
from quantum_channel.source import photon_number_prob

__all__ = [
    "beam_splitting_prob",
    "blinded_detection_prob",
    "forced_sets",
    "honest_match_prob",
    "intercept_resend_chsh",
    "intercept_resend_error_prob",
    "intercepted_sets",
    "photon_number_splitting_gain_prob",
    "shifted_probs",
]

F64 = npt.NDArray[np.float64]


def intercept_resend_error_prob(fraction: float, honest_error_prob: float = 0.0) -> float:
    """Return the error rate of sifted bits when a fraction of the pulses is intercepted.

    Raises:
        BadLinkError: A value is not in 0 .. 1.

    Source: (1-p) e0 + p (e0/2 + 1/4).
    """
    refuse_unless_prob(fraction=fraction, honest_error_prob=honest_error_prob)
    return (1.0 - fraction) * honest_error_prob + fraction * (honest_error_prob / 2.0 + 0.25)


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


def intercepted_sets(sets: F64) -> F64:
    """Return what intercept-resend makes of the sets of lit detectors of honest weak coherent pulses.

    In the transmitter's basis she finds the bit and sends it on as it was; in the other one she sends a random bit.

    Args:
        sets: Shape (intensities, 2, 2, 2, ...), float64: intensity, transmitter basis, receiver basis, bit.
    """
    guessed = np.broadcast_to(sets[:, ::-1].mean(axis=3, keepdims=True), sets.shape)
    return np.asarray((sets + guessed) / 2.0)


def blinded_detection_prob(detection_prob: float, match_prob: float) -> float:
    """Return the efficiency at which an eavesdropper who blinds detects, to leave the rate of clicks as it was.

    Of what she detects, half is in the transmitter's basis, and a share `match_prob` of that finds the receiver there.

    Raises:
        BadLinkError: A probability is not in 0 .. 1.
    """
    refuse_unless_prob(detection_prob=detection_prob, match_prob=match_prob)
    return min(1.0, 2.0 * detection_prob / match_prob) if match_prob > 0.0 else 1.0


def forced_sets(sets: F64, is_passive: bool) -> F64:
    """Return the clicks that an eavesdropper forces at blinded detectors, from what she detects.

    She measures in a basis chosen uniformly, as close to the transmitter as she likes, and lets the receiver click
    where her basis is the transmitter's, which she learns in time (as by a Trojan horse), and the receiver's: no other
    basis, no dark count and no second detector ever clicks.

    Args:
        sets: Probability of each set of her two detectors, her basis being the transmitter's. Shape
            (intensities, 2, bits, partners, 4), float64: intensity, basis, bit, set of the transmitter's own detectors.
        is_passive: The receiver has four detectors and chooses no basis.

    Returns:
        Shape (intensities, 2, 2, bits, partners, receiver's sets), float64: basis of transmitter, of receiver.
    """
    # of two bits she keeps one at random
    found = (sets[..., 1:3] + sets[..., 3:] / 2.0) / 2.0
    forced = np.zeros((*sets.shape[:2], 2, *sets.shape[2:-1], 16 if is_passive else 4))
    for basis in (0, 1):
        first = 4 if is_passive and basis else 1
        for bit in (0, 1):
            at = slice(None) if is_passive else slice(basis, basis + 1)
            forced[:, basis, at, ..., first << bit] = found[:, basis, None, ..., bit]
    forced[..., 0] = 1.0 - forced[..., 1:].sum(axis=-1)
    return forced


def shifted_probs(probs: tuple[float, float], mismatch_ratio: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the efficiencies that a late and an early pulse meets, shifted to where detectors are unequal.

    Detector 0 is best a little late and detector 1 a little early, as when their gates are apart: late, detector 1
    has lost the mismatch once more, early, detector 0 has lost it. So gain falls, and the imbalance of the detectors
    follows the arrival time.

    Args:
        probs: Detectors of bit 0 and 1 in time.
        mismatch_ratio: What the mismatch takes.

    Raises:
        BadLinkError: A value is not in 0 .. 1.
    """
    refuse_unless_prob(prob_0=probs[0], prob_1=probs[1], mismatch_ratio=mismatch_ratio)
    return (probs[0], probs[1] * (1.0 - mismatch_ratio)), (probs[0] * (1.0 - mismatch_ratio), probs[1])
