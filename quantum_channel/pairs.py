"""quantum_channel.pairs: entangled photon pairs: how many a pulse holds, and what two receivers make of them. Pure.

Source: Ma, Fung, Lo, Quantum key distribution with entangled photon sources (2007): type-II down-conversion, threshold
detectors, double clicks given a random bit. `brightness` is its lambda: a pulse holds 2 lambda pairs in the mean.
"""

import math
from dataclasses import dataclass

from quantum_channel.parameters import BadLinkError
from quantum_channel.ranges import refuse_negative, refuse_unless_prob

__all__ = ["Coincidences", "PairGain", "coincidences", "pair_gain", "pair_number_prob"]


@dataclass(frozen=True, slots=True)
class PairGain:
    """Coincidences of an entangled link. gain_prob: both ends click, per pulse; error_prob: their bits differ then."""

    gain_prob: float
    error_prob: float


@dataclass(frozen=True, slots=True)
class Coincidences:
    """Coincidences of a continuously pumped source, per second. error_prob: bits of the two ends differ."""

    true_hz: float
    accidental_hz: float
    error_prob: float


def pair_number_prob(brightness: float, pair_count: int) -> float:
    """Return the probability that a pulse holds exactly `pair_count` pairs.

    Raises:
        BadLinkError: The brightness or the count is negative.

    Source: Ma, Fung, Lo 2007: (n+1) l^n/(1+l)^(n+2).
    """
    refuse_negative(brightness=brightness, pair_count=pair_count)
    if brightness == 0.0:
        return 1.0 if pair_count == 0 else 0.0
    return math.exp(
        math.log(pair_count + 1) + pair_count * math.log(brightness) - (pair_count + 2) * math.log1p(brightness)
    )


def pair_gain(
    brightness: float,
    efficiencies: tuple[float, float],
    dark_yields: tuple[float, float],
    misalignment_prob: float,
) -> PairGain:
    """Return gain and error of a BBM92 link of pulses, both ends in the same basis.

    Args:
        brightness: lambda.
        efficiencies: Of each end, channel included.
        dark_yields: Y0 of each end: any of its detectors clicks without light.
        misalignment_prob: Probability that a pair's bits differ.

    Raises:
        BadLinkError: The brightness is negative, another value not in 0 .. 1, or nothing ever clicks.

    Source: Ma, Fung, Lo 2007, eqs 9 and 10, with a = eta_A l, b = eta_B l:
    Q = 1 - (1-Y0A)/(1+a)^2 - (1-Y0B)/(1+b)^2 + (1-Y0A)(1-Y0B)/(1+a+b-ab/l)^2,
    E Q = Q/2 - 2 (1/2-ed) eta_A eta_B l (1+l)/((1+a)(1+b)(1+a+b-ab/l)); to first order in the dark yields, as printed:
    a dark count beside a photon does not make its bit random.
    """
    refuse_negative(brightness=brightness)
    (eta_a, eta_b), (dark_a, dark_b) = efficiencies, dark_yields
    refuse_unless_prob(
        efficiency_a=eta_a, efficiency_b=eta_b, dark_a=dark_a, dark_b=dark_b, misalignment_prob=misalignment_prob
    )
    a, b = eta_a * brightness, eta_b * brightness
    # a + b - a b/lambda, which is lambda (1 - (1-eta_a)(1-eta_b))
    either = a + b - eta_a * b
    # Q as printed is a difference of numbers near 1. The same without: the ends click each by itself, and together
    # more often than that
    alone = math.prod((dark + (2.0 + m) * m) / (1.0 + m) ** 2 for m, dark in ((a, dark_a), (b, dark_b)))
    apart, together = (1.0 + a) * (1.0 + b), 1.0 + either
    pair = eta_a * eta_b * brightness * (1.0 + brightness)
    gain = alone + (1.0 - dark_a) * (1.0 - dark_b) * pair * (apart + together) / (apart * together) ** 2
    if not gain > 0.0:
        raise BadLinkError("an entangled link on which nothing ever clicks has no error rate")
    return PairGain(gain, 0.5 - 2.0 * (0.5 - misalignment_prob) * pair / (apart * together) / gain)


def coincidences(
    pair_hz: float,
    efficiencies: tuple[float, float],
    dark_hz: tuple[float, float],
    window_s: float,
    visibility_error_prob: float,
) -> Coincidences:
    """Return the coincidences of a continuously pumped source at two receivers.

    Args:
        pair_hz: Pairs made.
        efficiencies: Of each arm, channel and detector.
        dark_hz: Of each receiver.
        window_s: Width of the coincidence window, in which all true pairs are taken to fall.
        visibility_error_prob: Error of a true pair.

    Raises:
        BadLinkError: A rate or the window is negative, a probability not in 0 .. 1, or there is no coincidence.

    Source: singles S = pairs eta + darks; accidentals S_A S_B tau; E = (e true + acc/2)/(true + acc).
    """
    (eta_a, eta_b), (dark_a, dark_b) = efficiencies, dark_hz
    refuse_negative(pair_hz=pair_hz, dark_a=dark_a, dark_b=dark_b, window_s=window_s)
    refuse_unless_prob(efficiency_a=eta_a, efficiency_b=eta_b, visibility_error_prob=visibility_error_prob)
    true_hz = pair_hz * eta_a * eta_b
    accidental_hz = (pair_hz * eta_a + dark_a) * (pair_hz * eta_b + dark_b) * window_s
    if not true_hz + accidental_hz > 0.0:
        raise BadLinkError("an entangled link without coincidences has no error rate")
    error_prob = (visibility_error_prob * true_hz + accidental_hz / 2.0) / (true_hz + accidental_hz)
    return Coincidences(true_hz, accidental_hz, error_prob)
