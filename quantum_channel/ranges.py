"""quantum_channel.ranges: what a number of the physics may be; what is out of range is refused, never clipped. Pure."""

import math

from quantum_channel.parameters import BadLinkError

__all__ = ["refuse_negative", "refuse_not_finite", "refuse_not_positive", "refuse_unless_prob"]


def refuse_negative(**values: float) -> None:
    """Raise BadLinkError, naming it, for a value that is negative, infinite or not a number."""
    for name, value in values.items():
        if not 0.0 <= value < math.inf:
            raise BadLinkError(f"{name} {value:g} is not 0 or more")


def refuse_not_finite(**values: float) -> None:
    """Raise BadLinkError, naming it, for a value that is infinite or not a number."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise BadLinkError(f"{name} {value:g} is not finite")


def refuse_not_positive(**values: float) -> None:
    """Raise BadLinkError, naming it, for a value that is 0 or less, infinite or not a number."""
    for name, value in values.items():
        if not 0.0 < value < math.inf:
            raise BadLinkError(f"{name} {value:g} is not above 0")


def refuse_unless_prob(**values: float) -> None:
    """Raise BadLinkError, naming it, for a value that is not in 0 .. 1."""
    for name, value in values.items():
        if not 0.0 <= value <= 1.0:
            raise BadLinkError(f"{name} {value:g} is not in 0 .. 1")
