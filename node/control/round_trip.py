"""node.control.round_trip: whether somebody delays one way of the link: time transfer against what clicks say. Pure.

A fibre that is longer is so both ways: the round trip grows, and the two-way offset, half of the difference of the
ways, stays. Who delays the pulses alone moves both. So a link is attacked when the round trip has grown and the two
ways have come apart by as much; either alone is a fibre or a clock. A fibre that warms shows the same, slowly: one
transfer is compared with the one before it.
"""

import math
from typing import Final

from node.control.reading import Reading
from node.control.reasons import ROUND_TRIP
from node.ranges import refuse_negative

__all__ = ["RoundTripWatch"]

_SIGMAS: Final = 7.0
# no clock, and no offset by clicks, is known better; standard deviation, ps
_FLOOR_PS: Final = 20.0
# the two signs of one delay agree within this share of it
_AGREEMENT: Final = 0.25


class RoundTripWatch:
    """Compares round trip and asymmetry with those of the last transfer that could be trusted.

    The asymmetry is the offset by the clicks less that by two-way transfer: half of what the ways differ.
    """

    def __init__(self, sigma_ps: float, drift_ps_per_s: float) -> None:
        """Judge transfers of known quality.

        Args:
            sigma_ps: Standard deviation of a round trip.
            drift_ps_per_s: What the delay of the fibre may drift by.

        Raises:
            BadInputError: One is negative.
        """
        refuse_negative(sigma_ps=sigma_ps, drift_ps_per_s=drift_ps_per_s)
        self._limit_ps = _SIGMAS * math.sqrt(2.0) * math.hypot(sigma_ps, _FLOOR_PS)
        self._drift_ps_per_s = drift_ps_per_s
        self._trusted: tuple[float, float, float] | None = None
        self._longer_ps: float | None = None
        self.round_trip_ps = 0.0
        self.is_alarmed = False

    def see(self, at_s: float, round_trip_ps: float, asymmetry_ps: float, *, is_verified: bool) -> None:
        """Take note of a transfer at `at_s`, the clock being followed.

        Args:
            at_s: Emulated seconds.
            round_trip_ps: Found.
            asymmetry_ps: Found; wrong by whole periods when slots have slipped and nobody has noticed yet.
            is_verified: Test trains have just shown that none has.
        """
        self.round_trip_ps = round_trip_ps
        if self._trusted is None:
            self._trusted, self._longer_ps = (at_s, round_trip_ps, asymmetry_ps), 0.0
            return
        then_s, then_ps, then_asymmetry_ps = self._trusted
        limit_ps = self._limit_ps + 2.0 * self._drift_ps_per_s * abs(at_s - then_s)
        # one way late by d: the round trip by d, the clicks by d, the two-way offset by d/2
        longer, apart = round_trip_ps - then_ps, 2.0 * (asymmetry_ps - then_asymmetry_ps)
        agrees = abs(longer - apart) <= limit_ps + _AGREEMENT * abs(longer)
        self._longer_ps = longer
        self.is_alarmed = min(abs(longer), abs(apart)) > limit_ps and agrees
        if not self.is_alarmed and (is_verified or abs(apart) <= limit_ps):
            self._trusted = (at_s, round_trip_ps, asymmetry_ps)

    @property
    def reading(self) -> Reading:
        """By how much the round trip has grown since it was trusted, ps."""
        return Reading(ROUND_TRIP, self._longer_ps, -self._limit_ps, self._limit_ps, self.is_alarmed)
