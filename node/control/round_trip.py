"""node.control.round_trip: whether somebody delays one way of the link: time transfer against what clicks say. Pure.

A fibre that is longer is so both ways: the round trip grows, and the two-way offset, half of the difference of the
ways, stays. Who delays the pulses alone moves both. So a link is attacked when the round trip has grown and the two
ways have come apart by as much; either alone is a fibre or a clock.

A fibre that warms shows exactly the same: clicks less two-way offset are half a round trip, whoever made it longer.
What separates the two is what a fibre can do. Its delay stays within a swing about its mean and changes no faster than
with the day: so it grows by so much at most in a given time, by so much at most since the link was first commissioned,
and bends away from where it was going by so much at most. What does more is no fibre. Each transfer is therefore held
against earlier ones of every age, and against lines through two of them.

Source: for delays swing x sin(w t) and sums of slower ones: |f| <= swing, |f(t) - f(t0)| <= 2 swing sin(w (t - t0)/2),
|f''| <= swing w^2 (Bernstein); a line through (t0, f) and (t1, f) is missed by f'' (t - t0)(t - t1)/2.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from node.control.reading import Reading
from node.control.reasons import ROUND_TRIP
from node.ranges import refuse_negative, refuse_not_positive

__all__ = ["RoundTripWatch"]

_SIGMAS: Final = 7.0
# no clock, and no offset by clicks, is known better; standard deviation, ps
_FLOOR_PS: Final = 20.0
# the two signs of one delay agree within this share of it
_AGREEMENT: Final = 0.25
# of transfers that were trusted, neighbours lie apart by half of their age: some dozens for a year
_SPACING: Final = 0.5
# a line goes through a transfer and one so many times as old: near enough to bend little, far enough not to magnify
_LEVER: Final = 4.0
# an alarm ends when so much of what set it off has gone, faster than a fibre could: what only grows old has not
_COME_BACK: Final = 0.5


class _Seen(NamedTuple):
    """A transfer: round trip, and how far the ways are apart, which a delay of one way moves alike."""

    at_s: float
    round_trip_ps: float
    apart_ps: float


class _Excess(NamedTuple):
    """By how much a transfer differs from what one at `place` lets expect; what noise and a fibre make of that."""

    place: int
    longer_ps: float
    apart_ps: float
    noise_ps: float
    fibre_ps: float

    @property
    def limit_ps(self) -> float:
        """What is honest."""
        return self.noise_ps + self.fibre_ps

    @property
    def agrees(self) -> bool:
        """Whether clicks bear the round trip out; a fibre that warms moves both."""
        return abs(self.longer_ps - self.apart_ps) <= self.noise_ps + _AGREEMENT * abs(self.longer_ps)

    @property
    def is_attack(self) -> bool:
        """Whether both signs are there."""
        return min(abs(self.longer_ps), abs(self.apart_ps)) > self.limit_ps and self.agrees


def _thinned(earlier: list[_Seen], now: _Seen) -> list[_Seen]:
    """Return transfers and one more: the first, the last, and of those between the fewer the older they are."""
    first, *rest = earlier
    kept = [first]
    for seen, after in pairwise((*rest, now)):
        if after.at_s - kept[-1].at_s > _SPACING * (now.at_s - after.at_s):
            kept.append(seen)
    return [*kept, now]


class RoundTripWatch:
    """Compares round trip and asymmetry with those of transfers that could be trusted, from the first on.

    The asymmetry is the offset by the clicks less that by two-way transfer: half of what the ways differ.
    """

    def __init__(self, sigma_ps: float, swing_ps: float, day_s: float) -> None:
        """Judge transfers of known quality over a fibre of planned warmth.

        Args:
            sigma_ps: Standard deviation of a round trip.
            swing_ps: One way may take so much more, or less, than in the mean.
            day_s: From the warmest to the warmest.

        Raises:
            BadInputError: The day is not above 0, or another negative.
        """
        refuse_negative(sigma_ps=sigma_ps, swing_ps=swing_ps)
        refuse_not_positive(day_s=day_s)
        self._noise_ps = _SIGMAS * math.hypot(sigma_ps, _FLOOR_PS)
        # of the round trip, which is two ways
        self._swing_ps, self._turn_per_s = 2.0 * swing_ps, math.tau / day_s
        self._trusted: list[_Seen] = []
        self._shown = _Excess(0, 0.0, 0.0, math.sqrt(2.0) * self._noise_ps, 0.0)
        # while alarmed: what was seen since, and how much of it has to go at once
        self._since: list[_Seen] = []
        self._to_go_ps = 0.0
        self._has_gone = False
        self.round_trip_ps = 0.0
        self.is_alarmed = False

    def see(self, at_s: float, round_trip_ps: float, asymmetry_ps: float, *, is_verified: bool) -> bool:
        """Take note of a transfer at `at_s`, the clock being followed; return whether it can be trusted.

        Args:
            at_s: Emulated seconds.
            round_trip_ps: Found.
            asymmetry_ps: Found; wrong by whole periods when slots have slipped and nobody has noticed yet.
            is_verified: Test trains have just shown that none has.
        """
        self.round_trip_ps = round_trip_ps
        now = _Seen(at_s, round_trip_ps, 2.0 * asymmetry_ps)
        if not self._trusted:
            self._trusted = [now]
            return True
        latest = self._against(now, len(self._trusted) - 1)
        attack = next((excess for excess in self._excesses(now) if excess.is_attack), None)
        self._shown = attack or latest
        if attack is not None and not self.is_alarmed:
            self._alarm(now, attack)
        elif self.is_alarmed:
            self._see_it_go(now)
        if not latest.agrees:
            # another fibre, or a clock that was set: what was learnt of the old one is void; or slots that slipped
            if is_verified or abs(latest.apart_ps) <= latest.noise_ps:
                self._trusted, self.is_alarmed = [now], False
        elif attack is None and (not self.is_alarmed or self._is_over(now)):
            self._trusted = _thinned(self._trusted, now)
            self.is_alarmed = False
        return self._trusted[-1] is now

    def _alarm(self, now: _Seen, attack: _Excess) -> None:
        self.is_alarmed, self._has_gone, self._since = True, False, [now]
        to_go_ps = _COME_BACK * (abs(attack.longer_ps) - attack.fibre_ps)
        self._to_go_ps = math.copysign(to_go_ps, attack.longer_ps)
        # what was seen since may have been the beginning of it
        del self._trusted[attack.place + 1 :]

    def _see_it_go(self, now: _Seen) -> None:
        sign = math.copysign(1.0, self._to_go_ps)
        self._has_gone |= any(
            sign * (then.round_trip_ps - now.round_trip_ps) >= abs(self._to_go_ps) + self._change_ps(now, then)
            for then in self._since
        )
        self._since = _thinned(self._since, now)

    def _is_over(self, now: _Seen) -> bool:
        """Whether an alarm is: what set it off has gone, or so slowly that nobody saw it go."""
        return self._has_gone or self._turn_per_s * (now.at_s - self._since[0].at_s) > math.pi / 2.0

    def _excesses(self, now: _Seen) -> Iterator[_Excess]:
        """Hold a transfer against what was trusted, the latest first, and against lines through two of them."""
        earlier = len(self._trusted) - 1
        for place in range(len(self._trusted) - 1, -1, -1):
            yield self._against(now, place)
            age_s = now.at_s - self._trusted[place].at_s
            while earlier > 0 and now.at_s - self._trusted[earlier].at_s < _LEVER * age_s:
                earlier -= 1
            if earlier < place and age_s > 0.0:
                yield self._against_line(now, place, earlier)

    def _against(self, now: _Seen, place: int) -> _Excess:
        then = self._trusted[place]
        return _Excess(
            place,
            now.round_trip_ps - then.round_trip_ps,
            now.apart_ps - then.apart_ps,
            math.sqrt(2.0) * self._noise_ps,
            self._change_ps(now, then),
        )

    def _change_ps(self, now: _Seen, then: _Seen) -> float:
        """Return by how much the fibre may have changed the round trip from one transfer to the other."""
        return 2.0 * self._swing_ps * math.sin(min(self._turn_per_s * abs(now.at_s - then.at_s), math.pi) / 2.0)

    def _against_line(self, now: _Seen, place: int, earlier: int) -> _Excess:
        (t1_s, longer1, apart1), (t0_s, longer0, apart0) = self._trusted[place], self._trusted[earlier]
        on_ratio = (now.at_s - t1_s) / (t1_s - t0_s)
        return _Excess(
            place,
            now.round_trip_ps - longer1 - on_ratio * (longer1 - longer0),
            now.apart_ps - apart1 - on_ratio * (apart1 - apart0),
            self._noise_ps * math.sqrt(1.0 + (1.0 + on_ratio) ** 2 + on_ratio**2),
            self._swing_ps * self._turn_per_s**2 * (now.at_s - t1_s) * (now.at_s - t0_s) / 2.0,
        )

    @property
    def reading(self) -> Reading:
        """By how much the round trip is longer than what was trusted lets expect, ps."""
        value = self._shown.longer_ps if self._trusted else None
        return Reading(ROUND_TRIP, value, -self._shown.limit_ps, self._shown.limit_ps, self.is_alarmed)
