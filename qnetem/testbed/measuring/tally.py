"""qnetem.testbed.measuring.tally: clicks of a probed link, counted as they come. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qnetem.runtime.rng import BLOCK_PULSES

__all__ = ["GAP_BINS", "Dark", "Tally"]

I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
# gaps between clicks are counted one by one up to here, in slots
GAP_BINS = 1 << 15
_X0, _X1 = 4, 8


# of what two sets of detectors say: twice the share of unlike bits; both of an end say either bit
_TWICE_UNLIKE = np.array([[0, 0, 0, 0], [0, 0, 2, 1], [0, 2, 0, 1], [0, 1, 1, 1]])


@dataclass(slots=True)
class Dark:
    """Clicks of a link whose source is off.

    Attributes:
        pulse_count, click_count: Of the receiver.
        transmitter_pulse_count, transmitter_click_count: Of the transmitter's own detectors, with a source of pairs.
    """

    pulse_count: int = 0
    click_count: int = 0
    transmitter_pulse_count: int = 0
    transmitter_click_count: int = 0


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
    partners: npt.NDArray[np.uint8] | None


class Tally:
    """What all clicks so far have shown.

    Attributes:
        pulse_count: Pulses probed.
        clicks: By intensity, transmitter's and receiver's basis (Z, X). Shape (intensities, 2, 2), int64.
        errors: Twice the errors of the same: a double click errs by half. Shape (intensities, 2, 2), int64.
        coincidences: With a source of pairs, clicks beside one of the transmitter's, by bases. Shape (2, 2), int64.
        coincidence_errors: Twice those of them with unlike bits. Shape (2, 2), int64.
        transmitter_pulse_count, transmitter_click_count, transmitter_double_count: Of the transmitter's own detectors,
            whatever the receiver's did: pulses looked at, clicks, clicks of both.
        double_count: Clicks of both detectors of a basis.
        across_count: Clicks in both bases of a passive receiver.
        gaps: Slots from click to click. Shape (GAP_BINS,), int64; the last for all longer ones.
    """

    def __init__(self, intensity_count: int, *, is_passive: bool) -> None:
        """Count nothing yet."""
        self.pulse_count = 0
        self.clicks = np.zeros((intensity_count, 2, 2), dtype=np.int64)
        self.errors = np.zeros((intensity_count, 2, 2), dtype=np.int64)
        self.coincidences = np.zeros((2, 2), dtype=np.int64)
        self.coincidence_errors = np.zeros((2, 2), dtype=np.int64)
        self.transmitter_pulse_count = self.transmitter_click_count = self.transmitter_double_count = 0
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
        partners: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Count a stretch that follows the last; arrays as quantum_channel.proto's ProbeLinkResponse.

        `partners`: with a source of pairs.
        """
        starts = self.pulse_count + np.arange(len(block_counts), dtype=np.int64) * BLOCK_PULSES
        slots = np.repeat(starts, block_counts) + offsets
        self.pulse_count += len(block_counts) * BLOCK_PULSES
        if not len(slots):
            return
        kinds = classes.astype(np.int64)
        receiver_x = (kinds >> 1) & 1
        if self._is_passive:
            receiver_x = ((detectors & (_X0 | _X1)) != 0).astype(np.int64)
        sent = kinds >> 3, (kinds >> 2) & 1
        self._count(_Seen(slots, detectors, arrivals_ps.astype(np.int64), *sent, receiver_x, kinds & 1, partners))

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
        if seen.partners is not None:
            self._coincide(seen, seen.partners, shown, used & (seen.partners != 0))
        self.double_count += int(((shown == 3) & used).sum())
        self.across_count += int(is_across.sum())
        before = seen.slots[:1] if self._last_slot is None else np.array([self._last_slot])
        gaps = np.diff(seen.slots, prepend=before)[self._last_slot is None :]
        self.gaps += np.bincount(np.minimum(gaps, GAP_BINS - 1), minlength=GAP_BINS)
        self._last_slot = int(seen.slots[-1])
        arrivals = seen.arrivals_ps.astype(np.float64)
        self._moments += [float((arrivals**power).sum()) for power in range(5)]

    def _coincide(self, seen: _Seen, partners: U8, shown: U8, here: npt.NDArray[np.bool_]) -> None:
        place = (seen.transmitter_x * 2 + seen.receiver_x)[here]
        twice_wrong = _TWICE_UNLIKE[partners[here], shown[here]]
        self.coincidences += np.bincount(place, minlength=4).reshape(2, 2)
        self.coincidence_errors += np.bincount(place, weights=twice_wrong, minlength=4).astype(np.int64).reshape(2, 2)

    def arrival_moments(self) -> tuple[float, float, float]:
        """Return mean, variance and fourth central moment of the arrivals in their slots, ps."""
        count, *sums = self._moments
        m1, m2, m3, m4 = (total / count for total in sums)
        return m1, m2 - m1**2, m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
