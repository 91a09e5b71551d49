"""node.devices.schedule: when trains start, and what becomes of those that cannot be kept up with. Pure."""

from typing import Final

from qnetem.runtime.clock import PS_PER_S
from qnetem.runtime.rng import BLOCK_PULSES

__all__ = ["TrainSchedule"]

# a train is announced this far ahead of its first pulse, wall seconds
_LEAD_S: Final = 0.05
# whole trains are given up when the link is this far behind, wall seconds
_LAG_LIMIT_S: Final = 2.0


class TrainSchedule:
    """Trains follow each other without a gap, as a source's pulses do, unless some are given up."""

    def __init__(self, train_blocks: int, clock_hz: float, scale: float) -> None:
        """Plan trains of `train_blocks` blocks at a pulse rate of `clock_hz`."""
        self.duration_ps: Final = round(train_blocks * BLOCK_PULSES * PS_PER_S / clock_hz)
        self._lead_ps = int(_LEAD_S * scale * PS_PER_S)
        self._lag_limit_ps = int(_LAG_LIMIT_S * scale * PS_PER_S) + 2 * self.duration_ps
        self._next_ps: int | None = None
        self._discarded_count = 0

    def next_start_ps(self, now_ps: int) -> int:
        """Return the emulated time at which the next train starts; called once for each train."""
        if self._next_ps is None:
            self._next_ps = now_ps + self._lead_ps
        behind_ps = now_ps - self._next_ps
        if behind_ps > self._lag_limit_ps:
            missed = behind_ps // self.duration_ps
            self._discarded_count += missed
            self._next_ps += missed * self.duration_ps
        start_ps = self._next_ps
        self._next_ps += self.duration_ps
        return start_ps

    def take_discarded_count(self) -> int:
        """Return how many trains were given up since this was last asked."""
        count, self._discarded_count = self._discarded_count, 0
        return count

    def pause(self) -> None:
        """Forget the last train: the source was off, and nothing is owed for that time."""
        self._next_ps = None
