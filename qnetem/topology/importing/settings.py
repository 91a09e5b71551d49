"""qnetem.topology.importing.settings: what a user may choose about an import. Pure."""

from dataclasses import dataclass
from typing import Final

from qnetem.topology.profiles import PROFILES
from qnetem.topology.units import Quantity
from qnetem.topology.words import did_you_mean, label, shown

__all__ = ["DEFAULT_LENGTH", "MAX_SPAN", "ROUTE_FACTOR", "Settings"]

_UNITS: Final = {"m": 0, "km": 3}
MAX_SPAN: Final = Quantity(
    name="a length", units=_UNITS, minimum=1_000, maximum=10_000_000, is_whole=True, example="80km"
)
DEFAULT_LENGTH: Final = Quantity(
    name="a length", units=_UNITS, minimum=1, maximum=10_000_000, is_whole=True, example="40km"
)
ROUTE_FACTOR: Final = Quantity(name="a number", units={}, minimum=1, maximum=10, is_bare=True, example="1.3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a network becomes a topology.

    Raises:
        ValueError: A name, a profile or a value that no topology can have; the text names it.
    """

    # The testbed's.
    name: str
    profile: str = "decoy-bb84-1ghz-apd"
    # Longer links are cut by trusted relays.
    max_span_m: int = 80_000
    # Of links about whose length coordinates say nothing.
    default_length_m: int | None = None
    # How much longer a fibre is than the great circle between its ends.
    route_factor: float = 1.3

    def __post_init__(self) -> None:
        label(self.name)
        if self.profile not in PROFILES:
            raise ValueError(f"there is no profile {shown(self.profile)}{did_you_mean(self.profile, PROFILES)}")
        ROUTE_FACTOR.parse(self.route_factor)
        MAX_SPAN.parse(f"{self.max_span_m}m")
        if self.default_length_m is not None:
            DEFAULT_LENGTH.parse(f"{self.default_length_m}m")
