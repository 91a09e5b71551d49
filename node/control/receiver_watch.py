"""node.control.receiver_watch: what the receiver's clicks say of its detectors: blinding, time shift, darks. Pure.

The counts stay here: how many clicks each detector had would tell of key bits. The transmitter hears the verdict.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from node.control.evidence import ALARM_NATS, CountWatch, Interval, contrast_nats
from node.control.expectation import Expectation
from node.control.reading import Reading
from node.control.reasons import DARK_COUNTS, DETECTOR_BLINDING, DETECTOR_IMBALANCE, DOUBLE_CLICKS
from qnetem.v1 import parameters_pb2

__all__ = ["ReceiverWatch"]

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]

# events that fill a window of doubles, of darks
_EVENTS: Final = 100
# windows count against the least that is honest, half of what is expected
_OF_EXPECTED: Final = 0.5
_HONEST: Final = Interval(0.5, 2.0)
_IMBALANCE_CLICKS: Final = 400_000
# shares of detector 1 among early and late arrivals that are one
_IMBALANCE_TOLERANCE: Final = 0.01
# of the detectors' bias current; proto: 1 on an honest link
_BIAS: Final = Interval(0.95, 1.05)
_SECOND_DETECTORS: Final = (2, 8)
_FIRST_DETECTORS: Final = (1, 4)


class ReceiverWatch:
    """Watches one receiver."""

    def __init__(self, planned: parameters_pb2.LinkParameters) -> None:
        """Judge by what the link was planned to be."""
        self._expectation = Expectation(planned)
        self._doubles = CountWatch(_EVENTS)
        self._darks = CountWatch(_EVENTS)
        # early and late: clicks of detector 1, and all
        self._halves = [[0, 0], [0, 0]]
        self._imbalance_nats = self._closed_imbalance_nats = 0.0
        self._imbalance: float | None = None
        self._bias: float | None = None

    def see(
        self,
        pulse_count: int,
        detectors: U8,
        arrivals_ps: I32,
        double_click_count: int,
        *,
        sigma_ps: float,
        bias_ratio: float,
    ) -> None:
        """Look at a stretch of clicks.

        Args:
            pulse_count: Slots of the stretch.
            detectors: As quantum_channel.proto's Clicks. Shape (n,), uint8.
            arrivals_ps: Against the middle of the slot, the clock corrected. Shape (n,), int32.
            double_click_count: Clicks of both detectors of a basis among them.
            sigma_ps: Standard deviation of arrivals of light.
            bias_ratio: Mean bias current against what is normal.
        """
        count = len(detectors)
        self._bias = bias_ratio
        # a stretch without a click is a link that is down: no channel delivers darks then
        if not count:
            return
        share = self._expectation.double_share(count / pulse_count)
        if share is not None:
            self._doubles.add_events(double_click_count, Interval(share.low * count, share.high * count))
        dark = self._expectation.dark_events(pulse_count, count, sigma_ps)
        if dark is not None:
            edge_ps, honest = dark
            self._darks.add_events(int((np.abs(arrivals_ps) > edge_ps).sum()), honest)
        self._see_halves(detectors, arrivals_ps)

    def _see_halves(self, detectors: U8, arrivals_ps: I32) -> None:
        is_second = np.isin(detectors, _SECOND_DETECTORS)
        is_one = is_second | np.isin(detectors, _FIRST_DETECTORS)
        for half, is_there in zip(self._halves, (arrivals_ps < 0, arrivals_ps > 0), strict=True):
            half[0] += int((is_second & is_there).sum())
            half[1] += int((is_one & is_there).sum())
        (early, early_all), (late, late_all) = self._halves
        self._imbalance_nats = contrast_nats(early, early_all, late, late_all, _IMBALANCE_TOLERANCE)
        if early_all + late_all >= _IMBALANCE_CLICKS:
            self._closed_imbalance_nats = self._imbalance_nats
            self._imbalance = early / early_all - late / late_all if early_all and late_all else None
            self._halves = [[0, 0], [0, 0]]

    @property
    def alarms(self) -> frozenset[str]:
        """The reasons that hold now."""
        return frozenset(reading.name for reading in self.readings if reading.is_alarmed)

    @property
    def readings(self) -> list[Reading]:
        """What each monitor shows."""
        is_off_bias = self._bias is not None and self._bias != _BIAS.nearest(self._bias)
        is_deaf = self._darks.is_low or self._doubles.is_low
        is_shifted = max(self._imbalance_nats, self._closed_imbalance_nats) >= ALARM_NATS
        return [
            Reading(DETECTOR_BLINDING, self._bias, _BIAS.low, _BIAS.high, is_off_bias or is_deaf),
            Reading(DETECTOR_IMBALANCE, self._imbalance, -_IMBALANCE_TOLERANCE, _IMBALANCE_TOLERANCE, is_shifted),
            self._counted(DARK_COUNTS, self._darks),
            self._counted(DOUBLE_CLICKS, self._doubles),
        ]

    @staticmethod
    def _counted(name: str, watch: CountWatch) -> Reading:
        value = None if watch.share is None else watch.share * _OF_EXPECTED
        return Reading(name, value, _HONEST.low, _HONEST.high, watch.is_high)
