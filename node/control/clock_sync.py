"""node.control.clock_sync: where the receiver's clock stands against the transmitter's, and how fast it runs. Pure.

A loop of second order: time error and frequency, weighed by how well each is known (Kalman, two states), so that a
constant skew is followed without lag and an ideal clock is left alone. It measures the phase of arrivals in their slots
as the mean of e^(2 pi i a/T): dark counts, uniform over a slot, cancel, and a slot's border is no edge. Which slot it
is, a whole number of periods, no phase tells: two-way time transfer does, and what it leaves open `acquisition` finds.

Source: PHYSICS 5; the process noise of a clock is white FM a1 and random-walk FM b (Galleani, Tavella 2010).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from node.control.acquisition import frequency_ps_per_s, phasor
from node.ranges import refuse_negative, refuse_not_positive

__all__ = ["ClockFollower", "ClockState", "Exchange", "sample_places", "two_way"]

F64 = npt.NDArray[np.float64]

# clicks looked at in a stretch: 4096 of 50 ps make 0.35 ps
_LOOK_CLICKS: Final = 4096
_STEP_CLICKS: Final = 256
_STEPS: Final = 32
# fewer say too little, and wait for more
_LEAST_CLICKS: Final = 128
# a clock that does better than this is followed all the same: a fibre that warms moves arrivals as a clock does
_LEAST_WHITE_PS: Final = 0.5
_LEAST_WALK_PS_PER_S: Final = 10.0
# before anything is known: 100 ppm
_SKEW_PRIOR_PS_PER_S: Final = 1e8
# chance gives a mean phasor of n uniform arrivals as long as 7/sqrt(n) once in 1e21
_CHANCE_SIGMAS: Final = 7.0
# of the length that the mean phasor has had in service: shorter, and arrivals look uniform
_LOST_SHARE: Final = 0.4
_LOST_LOOKS: Final = 3
# a step of so many standard deviations is not the noise that the clock was planned to have
_SURPRISE: Final = 6.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """What time transfer found: how far the receiver's clock is ahead, and the round trip. Picoseconds."""

    ahead_ps: float
    round_trip_ps: float


def two_way(t1_ps: int, t2_ps: int, t3_ps: int, t4_ps: int) -> Exchange:
    """Return what four time stamps say; the ways being unequal, it errs by half of what they differ.

    Source: IEEE 1588; quantum_channel.proto names the stamps.
    """
    forth, back = t2_ps - t1_ps, t4_ps - t3_ps
    return Exchange((forth - back) / 2.0, float(forth + back))


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the loop believes at `at_s`.

    Attributes:
        at_s: Emulated seconds.
        offset_ps: The receiver's clock, or the fibre, is late by so much.
        skew_ps_per_s: And gains so much.
        sigma_ps: Standard deviation of the offset.
        is_locked: Arrivals bear it out.
        visibility: Length of the mean phasor at the last look: 1 for arrivals that do not spread.
        spread_ps: Standard deviation of the arrivals of light, darks apart; 0 before it is known.
    """

    at_s: float
    offset_ps: float
    skew_ps_per_s: float
    sigma_ps: float
    is_locked: bool
    visibility: float
    spread_ps: float


def sample_places(count: int) -> npt.NDArray[np.int64]:
    """Return which clicks of a stretch are looked at: enough of them, the first and the last among them."""
    step = max(1, count // _LOOK_CLICKS)
    return np.append(np.arange(0, count - 1, step), count - 1) if count else np.zeros(0, dtype=np.int64)


class ClockFollower:
    """Follows one clock by the clicks that it stamps."""

    def __init__(self, period_ps: float, *, white_ps: float, walk_ppb: float) -> None:
        """Follow a clock of planned quality.

        Args:
            period_ps: Of the slots.
            white_ps: White FM, ps per square root of a second.
            walk_ppb: Random-walk FM, ppb per square root of a second.

        Raises:
            BadInputError: The period is not above 0, or a noise negative.
        """
        refuse_not_positive(period_ps=period_ps)
        refuse_negative(white_ps=white_ps, walk_ppb=walk_ppb)
        self._period_ps = period_ps
        self._white = max(white_ps, _LEAST_WHITE_PS) ** 2
        self._walk = max(walk_ppb * 1e3, _LEAST_WALK_PS_PER_S) ** 2
        self._at_s = 0.0
        self._x = self._y = 0.0
        self._xx, self._xy, self._yy = math.inf, 0.0, _SKEW_PRIOR_PS_PER_S**2
        self._waiting: list[tuple[F64, F64]] = []
        self._visibility = self._usual = self._spread_ps = 0.0
        self._faint_looks = 0
        self.is_locked = False

    @property
    def state(self) -> ClockState:
        """Return what the loop believes."""
        return ClockState(
            self._at_s, self._x, self._y, math.sqrt(self._xx), self.is_locked, self._visibility, self._spread_ps
        )

    @property
    def is_lost(self) -> bool:
        """Whether arrivals have looked uniform for a while, though they did not before."""
        return self._faint_looks >= _LOST_LOOKS

    def is_sure_at(self, at_s: float) -> bool:
        """Whether the offset is known well enough at `at_s` to tell slots apart, nothing having been seen since."""
        h = at_s - self._at_s
        noise = self._white * abs(h) + self._walk * abs(h) ** 3 / 3.0
        variance = self._xx + h * (2.0 * self._xy + h * self._yy) + noise
        return self.is_locked and math.sqrt(variance) < self._period_ps / 8.0

    def offset_at_ps(self, at_s: float) -> float:
        """Return how late the receiver's clock is believed to be at `at_s`."""
        return self._x + self._y * (at_s - self._at_s)

    def forget(self) -> None:
        """Begin again, as at the first time: only a transfer says anything now."""
        self._xx, self._xy, self._yy = math.inf, 0.0, _SKEW_PRIOR_PS_PER_S**2
        self._x = self._y = 0.0
        self._waiting.clear()
        self._faint_looks, self._usual, self.is_locked = 0, 0.0, False

    def transfer(self, at_s: float, ahead_ps: float, sigma_ps: float) -> None:
        """Take what two-way time transfer measured at `at_s`, with its standard deviation."""
        if math.isinf(self._xx):
            self._at_s, self._x, self._xx = at_s, ahead_ps, sigma_ps**2
            return
        self._advance(at_s)
        self._measure(ahead_ps - self._x, sigma_ps**2)

    def slip(self, slot_count: int) -> None:
        """Take note that slots were named too late by so many."""
        self._x += slot_count * self._period_ps

    def follow(self, times_s: F64, arrivals_ps: npt.NDArray[np.int32]) -> F64 | None:
        """Look at a stretch of clicks, and return how late the receiver's clock had each.

        Args:
            times_s: Emulated time of each click by the slot that it was given, ascending. Shape (n,).
            arrivals_ps: Arrival against the centre of that slot. Shape (n,), int32.

        Returns:
            Picoseconds to take off each, shape (n,); None where nothing rounds to one.
        """
        places = sample_places(len(times_s))
        found = self.look(times_s[places], arrivals_ps[places])
        return None if found is None else np.interp(times_s, *found)

    def look(self, times_s: F64, arrivals_ps: npt.NDArray[np.int32]) -> tuple[F64, F64] | None:
        """Look at a sample of a stretch, as `sample_places` names it: with its first click and its last.

        Args:
            times_s, arrivals_ps: As of `follow`.

        Returns:
            Times within the stretch, and how late the clock was at each, a line from one to the next; None where
            nothing rounds to a picosecond.
        """
        self._waiting.append((times_s, arrivals_ps.astype(np.float64)))
        looked_at = sum(len(times) for times, _ in self._waiting)
        knots: list[tuple[float, float]] = []
        if looked_at >= _LEAST_CLICKS and not math.isinf(self._xx):
            times = np.concatenate([times for times, _ in self._waiting])
            arrivals = np.concatenate([found for _, found in self._waiting])
            self._waiting.clear()
            if self.is_locked or self._acquire(times, arrivals):
                knots = self._track(times, arrivals)
        return self._estimates(times_s, knots)

    def _estimates(self, times_s: F64, knots: list[tuple[float, float]]) -> tuple[F64, F64] | None:
        if not len(times_s) or math.isinf(self._xx):
            return None
        first, last = float(times_s[0]), float(times_s[-1])
        inside = [(at, x) for at, x in knots if first < at < last]
        end = (last, self._x + self._y * (last - self._at_s))
        near = knots[0][1] - self._y * (knots[0][0] - first) if knots else self._x - self._y * (self._at_s - first)
        knots = [(first, near), *inside, end]
        if all(abs(x) < 0.5 for _, x in knots):
            return None
        return np.array([at for at, _ in knots]), np.array([x for _, x in knots])

    def _acquire(self, times: F64, arrivals: F64) -> bool:
        """Find frequency and phase from nothing but a frequency within range; say whether arrivals have one."""
        guess = self._x + self._y * (times - self._at_s)
        late = arrivals - guess
        least = _CHANCE_SIGMAS / math.sqrt(len(times))
        slope, length = frequency_ps_per_s(times, late, self._period_ps)
        if length < least:
            return False
        span_s = max(float(times[-1] - times[0]), 1e-9)
        middle = float(times[len(times) // 2])
        self._x += self._y * (middle - self._at_s)
        # a clock that keeps its time needs no frequency that the search could only have guessed
        plain = phasor(late, self._period_ps)
        if abs(plain) >= 0.9 * length:
            slope = 0.0
        self._at_s, self._y = middle, self._y + slope
        found = phasor(arrivals - self._x - self._y * (times - middle), self._period_ps)
        self._x += math.atan2(found.imag, found.real) * self._period_ps / math.tau
        self._xx, self._xy, self._yy = (self._period_ps / 8.0) ** 2, 0.0, (self._period_ps / (4.0 * span_s)) ** 2
        self._visibility = self._usual = abs(found)
        self.is_locked, self._faint_looks = True, 0
        # what follows passes over the same clicks once more, from their first on
        self._x -= self._y * (middle - float(times[0]))
        self._at_s = float(times[0])
        return True

    def _track(self, times: F64, arrivals: F64) -> list[tuple[float, float]]:
        """Pass over clicks step by step; return the offset at the middle of each step."""
        count = min(max(len(times) // _STEP_CLICKS, 1), _STEPS)
        starts = np.arange(count) * len(times) // count
        sizes = np.diff(np.append(starts, len(times)))
        reference_s, x, y = self._at_s, self._x, self._y
        angles = (arrivals - x - y * (times - reference_s)) * (math.tau / self._period_ps)
        sums = np.add.reduceat(np.cos(angles), starts) + 1j * np.add.reduceat(np.sin(angles), starts)
        middles = np.add.reduceat(times, starts) / sizes
        length = float(np.abs(sums).sum() / len(times))
        self._judge(length, len(times), count)
        second = np.add.reduceat(np.cos(2.0 * angles), starts) + 1j * np.add.reduceat(np.sin(2.0 * angles), starts)
        self._see_spread(length, float(np.abs(second).sum() / len(times)))
        knots = []
        for at, total, size in zip(middles.tolist(), sums.tolist(), sizes.tolist(), strict=True):
            self._advance(at)
            length = abs(total) / size
            if length > 3.0 / math.sqrt(size):
                late = math.atan2(total.imag, total.real) * self._period_ps / math.tau
                late -= self._x - (x + y * (at - reference_s))
                late -= self._period_ps * round(late / self._period_ps)
                noise = max(1.0 - length**4, 1e-6) / (2.0 * size * length**2)
                self._measure(late, noise * (self._period_ps / math.tau) ** 2)
            knots.append((at, self._x))
        return knots

    def _see_spread(self, first: float, second: float) -> None:
        """Tell the spread of light from two harmonics: e^(-s^2/2) and e^(-2 s^2), both lessened alike by darks."""
        if not 0.0 < second < first:
            return
        spread_ps = math.sqrt(2.0 / 3.0 * math.log(first / second)) * self._period_ps / math.tau
        weight = 1.0 / 16.0 if self._spread_ps else 1.0
        self._spread_ps += weight * (spread_ps - self._spread_ps)

    def _judge(self, visibility: float, click_count: int, step_count: int) -> None:
        self._visibility = visibility
        # each step's own length is at least what chance gives it
        chance = 1.5 * math.sqrt(step_count / click_count)
        is_faint = visibility < max(_LOST_SHARE * self._usual, chance)
        self._faint_looks = self._faint_looks + 1 if is_faint else 0
        if not is_faint:
            self._usual += (visibility - self._usual) / 16.0

    def _advance(self, at_s: float) -> None:
        """Go to another time: back, too, as time transfer is of now and clicks of a link that lags are not."""
        h = at_s - self._at_s
        self._x += self._y * h
        self._xx += h * (2.0 * self._xy + h * self._yy) + self._white * abs(h) + self._walk * abs(h) ** 3 / 3.0
        self._xy += h * self._yy + math.copysign(self._walk * h**2 / 2.0, h)
        self._yy += self._walk * abs(h)
        self._at_s = at_s

    def _measure(self, late_ps: float, variance: float) -> None:
        """Take a measurement that differs from what was believed by `late_ps`."""
        total = self._xx + variance
        if late_ps**2 > _SURPRISE**2 * total:
            # this clock does worse than it was planned to: trust it less, offset and frequency alike
            self._xx += late_ps**2
            total = self._xx + variance
        gain_x, gain_y = self._xx / total, self._xy / total
        self._x += gain_x * late_ps
        self._y += gain_y * late_ps
        self._yy -= gain_y * self._xy
        self._xy *= 1.0 - gain_x
        self._xx *= 1.0 - gain_x
