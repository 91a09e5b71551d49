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

# clicks that fill a window: the shortest, and how often ten times as many
_CLICKS: Final = 200_000
_TENFOLDS: Final = 1
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
        self._has_decoys = self._expectation.decoy_share(0.0) is not None
        self._decoys, self._matches = CountWatch(_CLICKS, _TENFOLDS), CountWatch(_CLICKS, _TENFOLDS)
        self._reflected: float | None = None

    def see_report(self, pulse_count: int, level_counts: Sequence[int], match_count: int, click_count: int) -> None:
        """Take note of a report.

        Args:
            pulse_count: Slots of the stretch.
            level_counts: Clicks of each intensity.
            match_count: Clicks with equal bases.
            click_count: Clicks that could have matched.
        """
        clicks_per_pulse = sum(level_counts) / pulse_count
        honest = self._expectation.decoy_share(clicks_per_pulse)
        if honest is not None:
            self._decoys.add_share(level_counts[1], level_counts[0] + level_counts[1], honest)
        self._matches.add_share(match_count, click_count, self._expectation.match_share(clicks_per_pulse))

    def is_dark(self, click_count: int, pulse_count: int) -> bool:
        """Whether darks alone may have made so many clicks of so many slots."""
        return self._expectation.is_dark(click_count, pulse_count)

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
        if self._has_decoys:
            readings.append(Reading.of_watch(DECOY_STATISTICS, decoys, is_alarmed=decoys.is_low))
        return readings
