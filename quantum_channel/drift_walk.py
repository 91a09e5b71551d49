"""quantum_channel.drift_walk: random paths that can be read at any time, found by halving. Pure.

A path is known at anchors far apart, and between two known points its middle is normal given both (Levy's construction
of Brownian motion). So any time costs a few dozen draws, whatever was read before, and neighbours one or two. Times
are `index` x 2^`level` seconds; the same time is the same number at every level.
"""

import math
from abc import ABC, abstractmethod
from typing import Final

from quantum_channel.drift_chance import Chance

__all__ = ["IntegratedWalk", "Walk", "Wander"]

_ANCHOR_LEVEL: Final = 20  # 12 days
# correlation times from anchor to anchor, e^-64 of correlation
_APART_TAUS: Final = 64.0
_REMEMBERED: Final = 4096

State = tuple[float, float]


class _Path(ABC):
    """Points (value, its integral) at dyadic times; those found last are remembered."""

    def __init__(self, chance: Chance, process: int, top: int) -> None:
        self._chance, self._process, self._top = chance, process, top
        self._known: dict[tuple[int, int], State] = {}

    def at(self, index: int, level: int) -> State:
        while level < self._top and not index & 1:
            index, level = index >> 1, level + 1
        if level >= self._top:
            return self._anchor(index << (level - self._top))
        known = self._known.get((index, level))
        if known is None:
            half_s = math.ldexp(1.0, level)
            normals = self._chance.normals(self._process, index, level)
            known = self._middle(self.at(index - 1, level), self.at(index + 1, level), half_s, normals)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[index, level] = known
        return known

    @abstractmethod
    def _anchor(self, index: int) -> State:
        """Return an anchor."""

    @abstractmethod
    def _middle(self, left: State, right: State, half_s: float, normals: State) -> State:
        """Return what is half way between two points that are twice `half_s` apart."""


class Wander(_Path):
    """An Ornstein-Uhlenbeck process of variance 1 that has been going on for ever."""

    def __init__(self, chance: Chance, process: int, tau_s: float) -> None:
        """Correlate over `tau_s`, above 0."""
        super().__init__(chance, process, math.ceil(math.log2(_APART_TAUS * tau_s)))
        self._tau_s = tau_s

    def value(self, index: int, level: int) -> float:
        """Return the process at a time."""
        return self.at(index, level)[0]

    def _anchor(self, index: int) -> State:
        return self._chance.normal(self._process, index, self._top), 0.0

    def _middle(self, left: State, right: State, half_s: float, normals: State) -> State:
        keeps = math.exp(-half_s / self._tau_s)
        square = keeps * keeps
        sigma = math.sqrt(-math.expm1(-2.0 * half_s / self._tau_s) / (1.0 + square))
        return keeps / (1.0 + square) * (left[0] + right[0]) + sigma * normals[0], 0.0


class _FromZero(_Path, ABC):
    """A path that begins at 0; anchor follows anchor."""

    def __init__(self, chance: Chance, process: int) -> None:
        super().__init__(chance, process, _ANCHOR_LEVEL)
        self._anchors: list[State] = [(0.0, 0.0)]

    def _anchor(self, index: int) -> State:
        while len(self._anchors) <= index:
            normals = self._chance.normals(self._process, len(self._anchors), self._top)
            self._anchors.append(self._next(self._anchors[-1], math.ldexp(1.0, self._top), normals))
        return self._anchors[index]

    @abstractmethod
    def _next(self, before: State, span_s: float, normals: State) -> State:
        """Return the anchor that follows another after a span."""


class Walk(_FromZero):
    """A Wiener process: variance 1 per second."""

    def value(self, index: int, level: int) -> float:
        """Return the process at a time, square roots of seconds."""
        return self.at(index, level)[0]

    def _next(self, before: State, span_s: float, normals: State) -> State:
        return before[0] + math.sqrt(span_s) * normals[0], 0.0

    def _middle(self, left: State, right: State, half_s: float, normals: State) -> State:
        return (left[0] + right[0]) / 2.0 + math.sqrt(half_s / 2.0) * normals[0], 0.0


class IntegratedWalk(_FromZero):
    """The integral of a Wiener process: variance t^3/3."""

    def value(self, index: int, level: int) -> float:
        """Return the integral at a time, seconds to the power of 3/2."""
        return self.at(index, level)[1]

    def _next(self, before: State, span_s: float, normals: State) -> State:
        # over a span a Wiener process and its integral are normal, of variances h and h^3/3 and covariance h^2/2
        move = math.sqrt(span_s) * normals[0]
        within = move / 2.0 + math.sqrt(span_s / 12.0) * normals[1]
        return before[0] + move, before[1] + (before[0] + within) * span_s

    def _middle(self, left: State, right: State, half_s: float, normals: State) -> State:
        # the cubic through both ends; what is left is independent, of variances h/8 and h^3/24
        (y0, x0), (y1, x1) = left, right
        y = 3.0 * (x1 - x0) / (4.0 * half_s) - (y0 + y1) / 4.0 + math.sqrt(half_s / 8.0) * normals[0]
        x = (x0 + x1) / 2.0 + half_s * (y0 - y1) / 4.0 + half_s * math.sqrt(half_s / 24.0) * normals[1]
        return y, x
