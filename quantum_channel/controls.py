"""quantum_channel.controls: what the devices at the ends of a link have been told to do. Pure."""

from dataclasses import dataclass
from typing import Final

from quantum_channel.parameters import RANGES, BadLinkError

__all__ = ["UNTOUCHED", "Controls"]

_TRIM: Final = (0.01, 100.0)


@dataclass(frozen=True, slots=True)
class Controls:
    """History that is not nature's: it is gone with the process, and the ends commission again.

    Attributes:
        aligned_ps: When the receiver last turned its polarisation back, emulated picoseconds; None: never.
        gate_offset_ps: Of the receiver's gates, on top of what is planned.
        intensity_trim_ratio: Factor on the transmitter's intensities.

    Raises:
        BadLinkError: A value is out of its range.
    """

    aligned_ps: int | None = None
    gate_offset_ps: float = 0.0
    intensity_trim_ratio: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what no device can do."""
        ranges = (("gate_offset_ps", RANGES["gate_offset_ps"]), ("intensity_trim_ratio", _TRIM))
        for name, (low, high) in ranges:
            value = getattr(self, name)
            if not low <= value <= high:
                raise BadLinkError(f"{name} {value:g} is not in {low:g} .. {high:g}")


UNTOUCHED: Final = Controls()
