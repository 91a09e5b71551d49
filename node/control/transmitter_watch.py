"""node.control.transmitter_watch: what reports and its own box tell the transmitter: splitting, Trojans. Pure."""

import math
from collections.abc import Sequence
from typing import Final

from node.control.evidence import CountWatch, Interval
from node.control.expectation import Expectation
from node.control.reading import Reading
from node.control.reasons import BACK_REFLECTION, BASIS_MATCH, DECOY_STATISTICS
from qnetem.v1 import parameters_pb2

__all__ = ["TransmitterWatch", "single_photon_yield"]

_DECOY_CLICKS: Final = 200_000
_MATCH_CLICKS: Final = 200_000
# photons a pulse that may come back out: what leaks of the settings with less is nothing (Lucamarini et al. 2015)
_BACK_REFLECTION: Final = Interval(0.0, 1e-6)


def single_photon_yield(gains: Sequence[float], intensities: Sequence[float], dark_yield: float) -> float:
    """Return the lower bound on Y1 that the gains of signal and decoy give; 0 or less proves nothing.

    Source: Ma, Qi, Zhao, Lo 2005, vacuum and weak decoy; PHYSICS 6, EQUATIONS.
    """
    (mu, nu), (gain_mu, gain_nu) = intensities[:2], gains[:2]
    ratio = (nu / mu) ** 2
    bound = gain_nu * math.exp(nu) - gain_mu * math.exp(mu) * ratio - (1.0 - ratio) * dark_yield
    return mu / (mu * nu - nu * nu) * bound


class TransmitterWatch:
    """Watches one link from its transmitter."""

    def __init__(self, planned: parameters_pb2.LinkParameters) -> None:
        """Judge by what the link was planned to be."""
        self._expectation = Expectation(planned)
        self._decoys = CountWatch(_DECOY_CLICKS)
        self._matches = CountWatch(_MATCH_CLICKS)
        self._reflected: float | None = None

    def see_report(self, level_counts: Sequence[int], match_count: int, click_count: int) -> None:
        """Take note of a report.

        Args:
            level_counts: Clicks of each intensity.
            match_count: Clicks with equal bases.
            click_count: Clicks that could have matched.
        """
        honest = self._expectation.decoy_share
        if honest is not None:
            self._decoys.add_share(level_counts[1], level_counts[0] + level_counts[1], honest)
        self._matches.add_share(match_count, click_count, self._expectation.match_share)

    def see_reflection(self, photons: float) -> None:
        """Take note of the light that came back out over a train, mean photons a pulse."""
        self._reflected = photons

    @property
    def alarms(self) -> frozenset[str]:
        """The reasons that hold now."""
        return frozenset(reading.name for reading in self.readings if reading.is_alarmed)

    @property
    def readings(self) -> list[Reading]:
        """What each monitor shows."""
        is_reflected = self._reflected is not None and self._reflected > _BACK_REFLECTION.high
        matches, decoys = self._matches, self._decoys
        readings = [
            Reading(BACK_REFLECTION, self._reflected, _BACK_REFLECTION.low, _BACK_REFLECTION.high, is_reflected),
            Reading.of_watch(BASIS_MATCH, matches, is_alarmed=matches.is_high or matches.is_low),
        ]
        if self._expectation.decoy_share is not None:
            readings.append(Reading.of_watch(DECOY_STATISTICS, decoys, is_alarmed=decoys.is_low))
        return readings
