"""qnetem.topology.field: one thing that can be said of a link: key, place on the wire, kind of value. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from qnetem.topology.units import Choice, Quantity

__all__ = ["Field", "falling", "not_falling", "sum_to_one"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a block of a link. `wire` names the field of the block's protobuf message."""

    key: str
    wire: str
    quantity: Quantity | Choice
    doc: str
    # What holds where no profile says otherwise; None: every profile says it.
    default: Any = None
    # Holds a list of such values; `check` raises ValueError for a list whose entries do not go together.
    is_list: bool = False
    check: Callable[[Sequence[float]], None] | None = None

    def checked(self, values: list[float]) -> list[float]:
        """Return the entries of a list when they go together. Raises ValueError."""
        if self.check is not None:
            self.check(values)
        return values

    def render(self, value: Any) -> Any:
        """Return a value of the wire as a file writes it."""
        render: Callable[[Any], Any] = self.quantity.render
        return [render(one) for one in value] if self.is_list else render(value)


def falling(values: Sequence[float]) -> None:
    """Refuse a list that does not fall. Raises ValueError."""
    if any(first <= second for first, second in pairwise(values)):
        raise ValueError("must fall, the largest first")


def sum_to_one(probs: Sequence[float]) -> None:
    """Refuse probabilities that do not add up to 1. Raises ValueError."""
    if abs(sum(probs) - 1) > 1e-9:
        raise ValueError(f"must sum to 1, not {sum(probs):.10g}")


def not_falling(sizes: Sequence[float]) -> None:
    """Refuse a list that falls. Raises ValueError."""
    if any(first > second for first, second in pairwise(sizes)):
        raise ValueError("must not become smaller")
