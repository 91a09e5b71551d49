"""node.control.receiver_watch: what the receiver's clicks say of its detectors: blinding, time shift, darks. Pure.

The counts stay here: how many clicks each detector had would tell of key bits. The transmitter hears the verdict.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from node.control.evidence import ALARM_NATS, YOUNG_SHARE, CountWatch, Interval, contrast_nats
from node.control.expectation import Expectation
from node.control.reading import Reading
from node.control.reasons import DARK_COUNTS, DETECTOR_BLINDING, DETECTOR_IMBALANCE, DOUBLE_CLICKS
from qnetem.v1 import parameters_pb2

__all__ = ["Halves", "ReceiverWatch", "open_blocks"]

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]

# events that fill a window of doubles, of darks: the shortest, and how often ten times as many
_EVENTS: Final = 100
_TENFOLDS: Final = 3
_IMBALANCE_CLICKS: Final = 400_000
# shares of detector 1 among early and late arrivals that are one
_IMBALANCE_TOLERANCE: Final = 0.01
# of the detectors' bias current; proto: 1 on an honest link
_BIAS: Final = Interval(0.95, 1.05)
_FIRST_DETECTORS: Final = (1, 4)
_SECOND_DETECTORS: Final = (2, 8)
# a block that misses so many clicks was not passed over by chance: e^-25
_BLOCK_CLICKS: Final = 25.0


def open_blocks(block_counts: U32) -> int:
    """Return in how many blocks of a stretch the receiver was open: a link that is down delivers no darks either.

    Args:
        block_counts: Clicks of each. Shape (blocks,), uint32.
    """
    lit = int(np.count_nonzero(block_counts))
    return lit if lit and int(block_counts.sum()) >= _BLOCK_CLICKS * lit else len(block_counts)


@dataclass(frozen=True, slots=True)
class Halves:
    """Clicks of one detector alone that came early in their slot, and late: those of detector 1 (and 3), and all."""

    early_second: int
    early: int
    late_second: int
    late: int

    @classmethod
    def of(cls, detectors: U8, arrivals_ps: I32) -> "Halves":
        """Count clicks; arrays as of `ReceiverWatch.see`, each (n,)."""
        is_late = arrivals_ps > 0
        counts = []
        for ones in (_SECOND_DETECTORS, _FIRST_DETECTORS):
            is_one = (detectors == ones[0]) | (detectors == ones[1])
            late = int(np.count_nonzero(is_one & is_late))
            counts.append((int(np.count_nonzero(is_one)) - late, late))
        (early_second, late_second), (early_first, late_first) = counts
        return cls(early_second, early_second + early_first, late_second, late_second + late_first)

    def __add__(self, other: "Halves") -> "Halves":
        return Halves(
            self.early_second + other.early_second,
            self.early + other.early,
            self.late_second + other.late_second,
            self.late + other.late,
        )


_NONE: Final = Halves(0, 0, 0, 0)


class ReceiverWatch:
    """Watches one receiver."""

    def __init__(self, planned: parameters_pb2.LinkParameters) -> None:
        """Judge by what the link was planned to be."""
        self._expectation = Expectation(planned)
        self._doubles, self._darks = CountWatch(_EVENTS, _TENFOLDS), CountWatch(_EVENTS, _TENFOLDS)
        self._halves = _NONE
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
        self.see_bias(bias_ratio)
        count = len(detectors)
        # a stretch without a click is a link that is down: no channel delivers darks then
        if not count:
            return
        self.see_doubles(pulse_count, count, double_click_count)
        dark = self._expectation.dark_events(pulse_count, count, sigma_ps)
        if dark is not None:
            edge_ps, honest = dark
            self.see_darks(int(np.count_nonzero(np.abs(arrivals_ps) > edge_ps)), honest)
        self.see_halves(Halves.of(detectors, arrivals_ps))

    def see_bias(self, bias_ratio: float) -> None:
        """Take note of the bias current."""
        self._bias = bias_ratio

    def see_doubles(self, pulse_count: int, click_count: int, double_click_count: int) -> None:
        """Count double clicks among the clicks of so many slots."""
        share = self._expectation.double_share(click_count / pulse_count)
        if share is not None:
            honest = Interval(share.low * click_count, share.high * click_count)
            self._doubles.add_events(double_click_count, honest)

    def see_darks(self, dark_count: int, honest: Interval) -> None:
        """Count clicks where no light comes, `honest` of which were expected."""
        self._darks.add_events(dark_count, honest)

    def see_halves(self, halves: Halves) -> None:
        """Count what each detector had early and late."""
        self._halves = now = self._halves + halves
        self._imbalance_nats = contrast_nats(
            now.early_second, now.early, now.late_second, now.late, _IMBALANCE_TOLERANCE
        )
        if now.early and now.late:
            self._imbalance = now.early_second / now.early - now.late_second / now.late
        if now.early + now.late >= _IMBALANCE_CLICKS:
            self._closed_imbalance_nats = self._imbalance_nats
            self._halves = _NONE

    @property
    def alarms(self) -> frozenset[str]:
        """The reasons that hold now."""
        return frozenset(reading.name for reading in self.readings if reading.is_alarmed)

    @property
    def readings(self) -> list[Reading]:
        """What each monitor shows."""
        is_off_bias = self._bias is not None and self._bias != _BIAS.nearest(self._bias)
        is_deaf = self._darks.is_low or self._doubles.is_low
        is_young = self._halves.early + self._halves.late < YOUNG_SHARE * _IMBALANCE_CLICKS
        is_shifted = max(self._imbalance_nats, self._closed_imbalance_nats if is_young else 0.0) >= ALARM_NATS
        tolerance = _IMBALANCE_TOLERANCE
        return [
            Reading(DETECTOR_BLINDING, self._bias, _BIAS.low, _BIAS.high, is_off_bias or is_deaf),
            Reading(DETECTOR_IMBALANCE, self._imbalance, -tolerance, tolerance, is_shifted),
            Reading.of_watch(DARK_COUNTS, self._darks, is_alarmed=self._darks.is_high),
            Reading.of_watch(DOUBLE_CLICKS, self._doubles, is_alarmed=self._doubles.is_high),
        ]
