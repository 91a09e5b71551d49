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

    One place after the other is measured; then the brightest is taken, and from there on the arrivals within the gate
    say how far its middle is from theirs.
    """

    def __init__(self, period_ps: float, width_ps: float) -> None:
        """Scan a slot with gates of `width_ps`, half a gate at a time.

        Raises:
            BadInputError: A length is not above 0.
        """
        refuse_not_positive(period_ps=period_ps, width_ps=width_ps)
        count = max(1, math.ceil(2.0 * period_ps / width_ps))
        self.places_ps: Final = tuple(
            (k * period_ps / count + period_ps / 2) % period_ps - period_ps / 2 for k in range(count)
        )
        self._counts: list[float] = []

    @property
    def next_ps(self) -> float | None:
        """Where to measure next; None when all places were."""
        return self.places_ps[len(self._counts)] if len(self._counts) < len(self.places_ps) else None

    def measured(self, clicks_per_pulse: float) -> None:
        """Take what was measured at `next_ps`."""
        self._counts.append(clicks_per_pulse)

    @property
    def best_ps(self) -> float:
        """The brightest place, drawn towards the brighter of its neighbours as far as that is nearly as bright."""
        count = len(self._counts)
        best = max(range(count), key=self._counts.__getitem__)
        left, here, right = (self._counts[(best + k) % count] for k in (-1, 0, 1))
        total = left + here + right
        step = (self.places_ps[1] - self.places_ps[0]) if count > 1 else 0.0
        return self.places_ps[best] + (step * (right - left) / total if total > 0.0 and count > 2 else 0.0)


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
