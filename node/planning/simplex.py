"""node.planning.simplex: the best of several numbers within bounds, for a function that may have plateaus. Pure.

Source: Nelder, Mead, A simplex method for function minimization (1965), with the usual coefficients, in coordinates
that keep every number within its bounds: x = low + (high - low)/(1 + e^-u).
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from qnetem.runtime.errors import BadInputError

__all__ = ["maximum"]

_FIRST_STEP: Final = 0.4
Point = tuple[float, ...]


def maximum(
    value: Callable[[Point], float],
    start: Sequence[float],
    bounds: Sequence[tuple[float, float]],
    *,
    step_limit: int = 400,
    tolerance: float = 1e-7,
) -> tuple[Point, float]:
    """Return where a function is largest near `start`, and how large it is there.

    Args:
        value: Finite within the bounds.
        start: Where to begin, within the bounds.
        bounds: Of each number, low < high; they are not reached.
        step_limit: Steps at most.
        tolerance: Of the value, relative.

    Raises:
        BadInputError: A bound is empty, or the start outside of it.
    """
    if len(start) != len(bounds) or not all(low < x < high for x, (low, high) in zip(start, bounds, strict=True)):
        raise BadInputError(f"start {list(start)} is not within {list(bounds)}")

    def inside(place: Sequence[float]) -> Point:
        return tuple(low + (high - low) / (1 + math.exp(-u)) for u, (low, high) in zip(place, bounds, strict=True))

    def of(place: Point) -> float:
        return -value(inside(place))

    first = tuple(math.log((x - low) / (high - x)) for x, (low, high) in zip(start, bounds, strict=True))
    places = [first] + [
        tuple(u + (_FIRST_STEP if j == i else 0.0) for j, u in enumerate(first)) for i in range(len(first))
    ]
    corners = sorted((of(place), place) for place in places)
    for _ in range(step_limit):
        (lowest, _), (worst, corner) = corners[0], corners[-1]
        if abs(worst - lowest) <= tolerance * abs(lowest):
            break
        middle = tuple(sum(place[i] for _, place in corners[:-1]) / (len(corners) - 1) for i in range(len(first)))

        def towards(factor: float, middle: Point = middle, corner: Point = corner) -> tuple[float, Point]:
            # far out the logistic is flat, and its exponential overflows
            place = tuple(min(max(m + factor * (c - m), -30.0), 30.0) for m, c in zip(middle, corner, strict=True))
            return of(place), place

        tried = towards(-1.0)
        if tried[0] < lowest:
            tried = min(tried, towards(-2.0))
        elif tried[0] >= corners[-2][0]:
            tried = towards(-0.5) if tried[0] < worst else towards(0.5)
        if tried[0] < worst:
            corners[-1] = tried
        else:
            best = corners[0][1]
            shrunk = [tuple((b + u) / 2 for b, u in zip(best, place, strict=True)) for _, place in corners[1:]]
            corners[1:] = [(of(place), place) for place in shrunk]
        corners.sort()
    return inside(corners[0][1]), -corners[0][0]
