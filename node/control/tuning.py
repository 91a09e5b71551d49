"""node.control.tuning: where the receiver's gates belong, and what keeps the transmitter's power as set. Pure."""

import math
from typing import Final

from node.ranges import refuse_not_positive

__all__ = ["GateScan", "IntensityTrim", "gate_step_ps"]

# gates follow what drifts out of their middle by this share of their width
_OFF_SHARE: Final = 0.1
_POWER_OFF: Final = 0.005
# power is averaged over so many trains: a monitor reads noise too
_POWER_TRAINS: Final = 4
_TRIM_LIMIT: Final = 4.0


class GateScan:
    """Looks for the light, gate by gate over a slot, and says where the gate belongs.

    Gate beside gate is measured, coarsely; then half a gate to either side of the brightest. From there on the arrivals
    within the gate say how far its middle is from theirs.
    """

    def __init__(self, period_ps: float, width_ps: float) -> None:
        """Scan a slot with gates of `width_ps`.

        Raises:
            BadInputError: A length is not above 0.
        """
        refuse_not_positive(period_ps=period_ps, width_ps=width_ps)
        self._period_ps = period_ps
        # places are counted in half gates round the slot; the coarse ones are even
        self._count = 2 * max(1, math.ceil(period_ps / width_ps))
        self._to_measure = list(range(0, self._count, 2))
        self._clicks_per_pulse: dict[int, float] = {}

    @property
    def place_count(self) -> int:
        """How many places are measured in all, at most."""
        return self._count // 2 + 2

    @property
    def is_over(self) -> bool:
        """Whether all places were measured."""
        return not self._to_measure

    @property
    def gate_ps(self) -> float:
        """Where to measure next; in the end, where the gate belongs."""
        return self._place_ps(self._to_measure[0]) if self._to_measure else self._best_ps

    def measured(self, clicks_per_pulse: float) -> None:
        """Take what was measured at `gate_ps`."""
        self._clicks_per_pulse[self._to_measure.pop(0)] = clicks_per_pulse
        if not self._to_measure:
            beside = {(self._best + side) % self._count for side in (-1, 1)}
            self._to_measure = sorted(beside - self._clicks_per_pulse.keys())

    @property
    def _best_ps(self) -> float:
        """The brightest place, drawn towards the brighter of its neighbours as far as that is nearly as bright."""
        left, here, right = (self._clicks_per_pulse[(self._best + side) % self._count] for side in (-1, 0, 1))
        total, step_ps = left + here + right, self._period_ps / self._count
        return self._place_ps(self._best) + (step_ps * (right - left) / total if total > 0.0 else 0.0)

    @property
    def _best(self) -> int:
        return max(self._clicks_per_pulse, key=self._clicks_per_pulse.__getitem__)

    def _place_ps(self, place: int) -> float:
        return (place / self._count + 0.5) % 1.0 * self._period_ps - self._period_ps / 2.0


def gate_step_ps(mean_arrival_ps: float, gate_offset_ps: float, width_ps: float) -> float | None:
    """Return where the gate should go, or None while the light is near enough to its middle.

    Args:
        mean_arrival_ps: Of the raw arrivals, by the receiver's clock.
        gate_offset_ps: Where the gate's middle is.
        width_ps: Of the gate.
    """
    off_ps = mean_arrival_ps - gate_offset_ps
    return mean_arrival_ps if abs(off_ps) > _OFF_SHARE * width_ps else None


class IntensityTrim:
    """Holds the power at what is set, by what the transmitter's own monitor reads."""

    def __init__(self) -> None:
        """Begin untrimmed."""
        self.ratio = 1.0
        self.power_ratio = 1.0
        self._readings: list[float] = []
        self._passed_over = 0

    def see(self, power_ratio: float) -> float | None:
        """Take the reading of a train; return the trim to set, or None while the power is right.

        Raises:
            BadInputError: The reading is not above 0.
        """
        refuse_not_positive(power_ratio=power_ratio)
        if self._passed_over:
            self._passed_over -= 1
            return None
        self._readings.append(power_ratio)
        self.power_ratio = sum(self._readings) / len(self._readings)
        if len(self._readings) < _POWER_TRAINS:
            return None
        self._readings.clear()
        if abs(self.power_ratio - 1.0) <= _POWER_OFF:
            return None
        # trains that were on their way already
        self._passed_over = _POWER_TRAINS
        self.ratio = min(max(self.ratio / self.power_ratio, 1.0 / _TRIM_LIMIT), _TRIM_LIMIT)
        return self.ratio
