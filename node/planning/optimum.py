"""node.planning.optimum: the best setting of one number, and where a rate ends, without a solver. Pure."""

import math
from collections.abc import Callable
from typing import Final

from qnetem.runtime.errors import BadInputError

__all__ = ["best", "last_positive"]

_GOLDEN: Final = (math.sqrt(5.0) - 1.0) / 2.0


def best(
    value: Callable[[float], float], low: float, high: float, *, tolerance: float = 1e-7, grid_count: int = 64
) -> tuple[float, float]:
    """Return where a function is largest within an interval, and how large it is there.

    A grid finds the hill, golden-section search its top: right when the function has one hill per grid cell or so.

    Args:
        value: Finite over the interval.
        low, high: The interval; the ends are tried too.
        tolerance: Of the place, absolute.
        grid_count: Cells of the grid.

    Raises:
        BadInputError: The interval is empty, the tolerance not above 0, or a value not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high and tolerance > 0.0 and grid_count >= 2):
        raise BadInputError(f"no best of {low:g} .. {high:g} to {tolerance:g}")
    places = [low + (high - low) * n / grid_count for n in range(grid_count)] + [high]
    values = [value(place) for place in places]
    if not all(math.isfinite(v) for v in values):
        raise BadInputError(f"a value within {low:g} .. {high:g} is not finite")
    top = max(range(len(values)), key=values.__getitem__)
    found = places[top], values[top]
    left, right = places[max(top - 1, 0)], places[min(top + 1, grid_count)]
    while right - left > tolerance:
        inner_left, inner_right = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        if value(inner_left) < value(inner_right):
            left = inner_left
        else:
            right = inner_right
    middle = (left + right) / 2.0
    return max(found, (middle, value(middle)), key=lambda pair: pair[1])


def last_positive(value: Callable[[float], float], low: float, high: float, *, tolerance: float = 1e-9) -> float:
    """Return up to where a function is above 0, that is above 0 at `low`, not at `high`, and crosses once.

    Args:
        value: Such a function.
        low, high: Where to look.
        tolerance: Of the place, absolute.

    Raises:
        BadInputError: The function is not above 0 at `low`, or is so at `high`.
    """
    if not (low < high and tolerance > 0.0 and value(low) > 0.0 and not value(high) > 0.0):
        raise BadInputError(f"a rate that is above 0 at {low:g} and not at {high:g} is needed")
    while high - low > tolerance:
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        low, high = (middle, high) if value(middle) > 0.0 else (low, middle)
    return low
