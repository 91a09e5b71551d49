"""node.control.drift_rate: how fast errors grow behind an alignment, from bits of different age. Pure.

What is there from the first moment (an eavesdropper, a tired detector) is the same at every age and has no part in it.
"""

from math import sqrt
from typing import Final

from node.ranges import refuse_negative, refuse_unless_prob

__all__ = ["DriftRate"]

# alignments that are remembered: each begins a walk of its own, whose steepness tells little of the next
_MEMORY: Final = 32
# a slope that is told from what was believed by fewer standard deviations is chance
_SIGMAS: Final = 2.5
# ages so much alike tell no slope; of the mean square
_LEAST_SPREAD: Final = 1e-6


class DriftRate:
    """The slope of the error rate against the time since the last alignment, by least squares."""

    def __init__(self, planned_per_s: float) -> None:
        """Believe in what was planned until bits say otherwise; 0: nothing was.

        Raises:
            BadInputError: The rate is negative.
        """
        refuse_negative(planned_per_s=planned_per_s)
        self._planned_per_s = planned_per_s
        self.forget()

    def forget(self) -> None:
        """Forget what was seen: the weather has changed."""
        self._bits = self._age = self._square = self._errors = self._product = 0.0

    def see(self, age_s: float, bit_count: int, error_count: int) -> None:
        """Take note of bits that were sent so long after an alignment.

        Raises:
            BadInputError: The age is negative, or there are more errors than bits.
        """
        if bit_count == 0:
            return
        refuse_negative(age_s=age_s)
        refuse_unless_prob(error_prob=error_count / bit_count)
        self._bits += bit_count
        self._age += bit_count * age_s
        self._square += bit_count * age_s * age_s
        self._errors += error_count
        self._product += error_count * age_s

    def aligned(self) -> None:
        """Take note of an alignment: what lies far behind it counts less."""
        kept = 1.0 - 1.0 / _MEMORY
        self._bits, self._age, self._square = self._bits * kept, self._age * kept, self._square * kept
        self._errors, self._product = self._errors * kept, self._product * kept

    @property
    def per_s(self) -> float:
        """Error that a second adds: what was planned, or what is seen where the two cannot both be; 0: nothing known.

        Source: ordinary least squares, each bit a Bernoulli trial.
        """
        spread = self._bits * self._square - self._age * self._age
        if spread <= _LEAST_SPREAD * self._bits * self._square:
            return self._planned_per_s
        slope = (self._bits * self._product - self._age * self._errors) / spread
        share = (self._errors + 1.0) / (self._bits + 2.0)
        sigma = sqrt(share * (1.0 - share) * self._bits / spread)
        return max(slope, 0.0) if abs(slope - self._planned_per_s) > _SIGMAS * sigma else self._planned_per_s
