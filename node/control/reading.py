"""node.control.reading: what one monitor shows. Pure."""

from dataclasses import dataclass

from node.control.evidence import CountWatch

__all__ = ["Reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One monitor.

    Attributes:
        name: The reason that it gives.
        value: What it measures; None before it has measured.
        low, high: What is honest.
        is_alarmed: It sees what is not.
    """

    name: str
    value: float | None
    low: float
    high: float
    is_alarmed: bool

    @classmethod
    def of_watch(cls, name: str, watch: CountWatch, *, is_alarmed: bool) -> "Reading":
        """Return the reading of counts: a share, or events of a window."""
        if watch.shown is None:
            return cls(name, None, 0.0, 0.0, is_alarmed)
        value, honest = watch.shown
        return cls(name, value, honest.low, honest.high, is_alarmed)
