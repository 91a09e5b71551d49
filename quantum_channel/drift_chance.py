"""quantum_channel.drift_chance: chance of what drifts, by counter: any moment can be drawn alone, in any order. Pure.

Draw i of process p at level l of a link is philox((i & 0xffffffff, i >> 32, p << 8 | l + 128, s3 ^ 4), (s0, s1)) with
the link's nature secret. Streams 1 .. 3 are those of choice.proto. One draw gives two numbers, each of 64 bits.
"""

import math
from typing import Final

from qnetem.runtime.rng import secret_words

__all__ = ["Chance", "Process", "normal_quantile"]

_STREAM_DRIFT: Final = 4
_MASK: Final = 0xFFFFFFFF
_WORD: Final = (1 << 64) - 1
# one constant each of the rational functions of Wichura's AS 241, PPND16
_CENTRE: Final = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_FLANK: Final = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip
_TAIL: Final = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
)  # fmt: skip


class Process:
    """What drifts, or is measured with noise, by number: each draws for itself."""

    LOSS_WANDER: Final = 1
    LOSS_EVENT_GAPS: Final = 2
    LOSS_EVENT_LENGTHS: Final = 3
    INTENSITY_WANDER: Final = 4
    ROTATION: Final = 5
    ROTATION_ANCHOR: Final = 6
    CLOCK_WHITE: Final = 7
    CLOCK_WALK: Final = 8
    TIME_STAMPS: Final = 9
    POWER_READING: Final = 10


def _rational(pair: tuple[tuple[float, ...], tuple[float, ...]], r: float) -> float:
    above, below = 0.0, 0.0
    for a, b in zip(*pair, strict=True):
        above, below = above * r + a, below * r + b
    return above / below


def normal_quantile(word: int) -> float:
    """Return the standard normal number of a uniform word of 64 bits, to 1e-15 of itself.

    Source: Wichura 1988, AS 241: the inverse of the normal distribution, at (word + 1/2) / 2^64.
    """
    q = ((word - (1 << 63)) + 0.5) / 2.0**64
    if abs(q) <= 0.425:
        return q * _rational(_CENTRE, 0.180625 - q * q)
    # the smaller of both sides keeps its digits
    side = ((word if q < 0.0 else (1 << 64) - 1 - word) + 0.5) / 2.0**64
    r = math.sqrt(-math.log(side))
    value = _rational(_FLANK, r - 1.6) if r <= 5.0 else _rational(_TAIL, r - 5.0)
    return -value if q < 0.0 else value


class Chance:
    """Draws of one link."""

    def __init__(self, nature_secret: bytes) -> None:
        """Draw by the link's nature secret.

        Raises:
            BadInputError: It is not 16 bytes long.
        """
        k0, k1, _, s3 = secret_words(nature_secret)
        self._keys = tuple((k0 + n * 0x9E3779B9 & _MASK, k1 + n * 0xBB67AE85 & _MASK) for n in range(10))
        self._c3 = s3 ^ _STREAM_DRIFT

    def __repr__(self) -> str:
        """Return a text without the secret."""
        return "Chance(...)"

    def words(self, process: int, index: int, level: int = 0) -> tuple[int, int]:
        """Return the two words, of 64 bits each, of a draw."""
        # written out: one draw by numpy takes ten times as long
        x0, x1, x2, x3 = index & _MASK, index >> 32 & _MASK, process << 8 | level + 128, self._c3
        for k0, k1 in self._keys:
            p0, p1 = x0 * 0xD2511F53, x2 * 0xCD9E8D57
            x0, x1, x2, x3 = p1 >> 32 ^ x1 ^ k0, p1 & _MASK, p0 >> 32 ^ x3 ^ k1, p0 & _MASK
        return x1 << 32 | x0, x3 << 32 | x2

    def normals(self, process: int, index: int, level: int = 0) -> tuple[float, float]:
        """Return the two standard normal numbers of a draw."""
        first, second = self.words(process, index, level)
        return normal_quantile(first), normal_quantile(second)

    def normal(self, process: int, index: int, level: int = 0) -> float:
        """Return the first standard normal number of a draw."""
        return normal_quantile(self.words(process, index, level)[0])

    def three_normals(self, process: int, index: int, level: int = 0) -> tuple[float, float, float]:
        """Return three standard normal numbers of a draw, of 42 bits each and more."""
        first, second = self.words(process, index, level)
        third = first >> 42 << 42 ^ second >> 42 << 20
        return (
            normal_quantile(first << 22 & _WORD),
            normal_quantile(second << 22 & _WORD),
            normal_quantile(third),
        )

    def exponential(self, process: int, index: int, level: int = 0) -> float:
        """Return a number that is exponential with mean 1."""
        return -math.log((self.words(process, index, level)[0] + 0.5) / 2.0**64)
