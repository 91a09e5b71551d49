"""node.ranges: what a number may be; what is out of its range is refused by name, never clipped. Pure."""

import math

from qnetem.runtime.errors import BadInputError

__all__ = ["refuse_negative", "refuse_not_positive", "refuse_unless_prob"]


def refuse_negative(**values: float) -> None:
    """Raise BadInputError, naming it, for a value that is negative, infinite or not a number."""
    for name, value in values.items():
        if not 0.0 <= value < math.inf:
            raise BadInputError(f"{name} {value:g} is not 0 or more")


def refuse_not_positive(**values: float) -> None:
    """Raise BadInputError, naming it, for a value that is 0 or less, infinite or not a number."""
    for name, value in values.items():
        if not 0.0 < value < math.inf:
            raise BadInputError(f"{name} {value:g} is not above 0")


def refuse_unless_prob(**values: float) -> None:
    """Raise BadInputError, naming it, for a value that is not in 0 .. 1."""
    for name, value in values.items():
        if not 0.0 <= value <= 1.0:
            raise BadInputError(f"{name} {value:g} is not in 0 .. 1")
