"""qnetem.testbed.measuring.tally: clicks of a probed link, counted as they come. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qnetem.runtime.rng import BLOCK_PULSES

__all__ = ["GAP_BINS", "Tally"]

I64 = npt.NDArray[np.int64]
# gaps between clicks are counted one by one up to here, in slots
GAP_BINS = 1 << 15
_X0, _X1 = 4, 8


@dataclass(frozen=True, slots=True)
class _Seen:
    """A stretch of clicks by what they show. Shapes (clicks,)."""

    slots: I64
    detectors: npt.NDArray[np.uint8]
    arrivals_ps: I64
    intensity: I64
    transmitter_x: I64
    receiver_x: I64
    bit: I64


class Tally:
    """What all clicks so far have shown.

    Attributes:
        pulse_count: Pulses probed.
        clicks: By intensity, transmitter's and receiver's basis (Z, X). Shape (intensities, 2, 2), int64.
        errors: Twice the errors of the same: a double click errs by half. Shape (intensities, 2, 2), int64.
        double_count: Clicks of both detectors of a basis.
        across_count: Clicks in both bases of a passive receiver.
        gaps: Slots from click to click. Shape (GAP_BINS,), int64; the last for all longer ones.
    """

    def __init__(self, intensity_count: int, *, is_passive: bool) -> None:
        """Count nothing yet."""
        self.pulse_count = 0
        self.clicks = np.zeros((intensity_count, 2, 2), dtype=np.int64)
        self.errors = np.zeros((intensity_count, 2, 2), dtype=np.int64)
        self.double_count = self.across_count = 0
        self.gaps = np.zeros(GAP_BINS, dtype=np.int64)
        self._is_passive = is_passive
        self._moments = np.zeros(5)
        self._last_slot: int | None = None

    @property
    def click_count(self) -> int:
        """All clicks."""
        return int(self.clicks.sum())

    def add(
        self,
        block_counts: npt.NDArray[np.uint32],
        offsets: npt.NDArray[np.int32],
        detectors: npt.NDArray[np.uint8],
        arrivals_ps: npt.NDArray[np.int32],
        classes: npt.NDArray[np.uint8],
    ) -> None:
        """Count a stretch that follows the last; arrays as quantum_channel.proto's ProbeLinkResponse."""
        starts = self.pulse_count + np.arange(len(block_counts), dtype=np.int64) * BLOCK_PULSES
        slots = np.repeat(starts, block_counts) + offsets
        self.pulse_count += len(block_counts) * BLOCK_PULSES
        if not len(slots):
            return
        kinds = classes.astype(np.int64)
        receiver_x = (kinds >> 1) & 1
        if self._is_passive:
            receiver_x = ((detectors & (_X0 | _X1)) != 0).astype(np.int64)
        self._count(
            _Seen(slots, detectors, arrivals_ps.astype(np.int64), kinds >> 3, (kinds >> 2) & 1, receiver_x, kinds & 1)
        )

    def _count(self, seen: _Seen) -> None:
        in_z, in_x = seen.detectors & 3, seen.detectors >> 2
        is_across = (in_z != 0) & (in_x != 0)
        shown = np.where(in_z != 0, in_z, in_x)
        # 1 says bit 0, 2 says bit 1, 3 either
        twice_wrong = np.where(shown == 3, 1, 2 * (shown - 1 != seen.bit))
        used = ~is_across
        place = ((seen.intensity * 2 + seen.transmitter_x) * 2 + seen.receiver_x)[used]
        size = self.clicks.size
        self.clicks += np.bincount(place, minlength=size).reshape(self.clicks.shape)
        wrong = np.bincount(place, weights=twice_wrong[used], minlength=size)
        self.errors += wrong.astype(np.int64).reshape(self.clicks.shape)
        self.double_count += int(((shown == 3) & used).sum())
        self.across_count += int(is_across.sum())
        before = seen.slots[:1] if self._last_slot is None else np.array([self._last_slot])
        gaps = np.diff(seen.slots, prepend=before)[self._last_slot is None :]
        self.gaps += np.bincount(np.minimum(gaps, GAP_BINS - 1), minlength=GAP_BINS)
        self._last_slot = int(seen.slots[-1])
        arrivals = seen.arrivals_ps.astype(np.float64)
        self._moments += [float((arrivals**power).sum()) for power in range(5)]

    def arrival_moments(self) -> tuple[float, float, float]:
        """Return mean, variance and fourth central moment of the arrivals in their slots, ps."""
        count, *sums = self._moments
        m1, m2, m3, m4 = (total / count for total in sums)
        return m1, m2 - m1**2, m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
