"""quantum_channel.layers: what is asked of a link over time: tables, settings, and settings that come and go. Pure.

Over what is planned lies what follows a table in time, over that the operator's settings, over these layer upon layer
of settings that ramp up, hold and end.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from quantum_channel.parameters import (
    SETTABLE,
    TOGETHER,
    BadLinkError,
    Parameters,
    Settings,
    checked_settings,
    effective,
    is_continuous,
)

__all__ = ["Layer", "Series", "Timeline"]

_LONGEST_PS: Final = 10**9 * 10**12
_PS_PER_S: Final = 10**12
# a layer costs each cell a little
_LAYER_LIMIT: Final = 256
# a layer that is over still counts for trains that lag behind, or are sent once more
_KEPT_PS: Final = 60 * _PS_PER_S


def _span_ps(name: str, seconds: float) -> int:
    if not 0.0 <= seconds <= 1e9:
        raise BadLinkError(f"{name} {seconds:g} is not in 0 .. 1e+09")
    return round(seconds * _PS_PER_S)


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings that come and go: see parameters.proto's SettingsLayer.

    Attributes:
        settings: What is reached.
        start_ps: Emulated time.
        ramp_ps: From start until it is reached, in a line; 0: at once. What is not continuous does not ramp.
        duration_ps: From start to end; 0: until reset.

    Raises:
        BadLinkError: A value is out of its range, or the ramp longer than the duration.
    """

    settings: Mapping[str, float | int | bool]
    start_ps: int
    ramp_ps: int = 0
    duration_ps: int = 0

    def __post_init__(self) -> None:
        """Refuse what no layer can be."""
        checked_settings(self.settings)
        if 0 < self.duration_ps < self.ramp_ps:
            ramp_s, duration_s = self.ramp_ps / _PS_PER_S, self.duration_ps / _PS_PER_S
            raise BadLinkError(f"ramp_s {ramp_s:g} is not in 0 .. duration_s, {duration_s:g}")
        if not 0 <= self.start_ps <= _LONGEST_PS:
            raise BadLinkError(f"start {self.start_ps / _PS_PER_S:g} s is not in 0 .. 1e+09")

    @classmethod
    def of(cls, settings: Settings, start_ps: int, ramp_s: float, duration_s: float) -> "Layer":
        """Return a layer with its times in seconds.

        Raises:
            BadLinkError: As the class says.
        """
        return cls(dict(settings), start_ps, _span_ps("ramp_s", ramp_s), _span_ps("duration_s", duration_s))

    @property
    def reached_ps(self) -> int:
        """When the ramp ends."""
        return self.start_ps + self.ramp_ps

    @property
    def end_ps(self) -> int | None:
        """When it is gone."""
        return self.start_ps + self.duration_ps if self.duration_ps else None

    def is_in_force(self, time_ps: int) -> bool:
        """Return whether it has begun and not ended."""
        return self.start_ps <= time_ps and not self.is_over(time_ps)

    def is_over(self, time_ps: int) -> bool:
        """Return whether it has ended."""
        return self.end_ps is not None and self.end_ps <= time_ps

    def share(self, time_ps: int) -> float:
        """Return how far the ramp has come."""
        return 1.0 if time_ps >= self.reached_ps else max(0.0, (time_ps - self.start_ps) / self.ramp_ps)


@dataclass(frozen=True, slots=True)
class Series:
    """A parameter that follows a table, in lines from point to point: see parameters.proto's ParameterSeries.

    Before the first point its value holds. What is not continuous keeps the value of the point before.

    Raises:
        BadLinkError: No parameter that can be set, times that do not ascend, a value out of its range.
    """

    name: str
    at_s: tuple[float, ...]
    values: tuple[float, ...]
    is_repeating: bool = False
    _at_ps: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what no series can be."""
        if self.name not in SETTABLE:
            raise BadLinkError(f"series of {self.name!r}: not the name of a setting")
        if not self.at_s or len(self.at_s) != len(self.values):
            raise BadLinkError(f"series of {self.name}: {len(self.at_s)} times for {len(self.values)} values")
        at_ps = tuple(_span_ps(f"series of {self.name}: at_s", at_s) for at_s in self.at_s)
        if any(later <= earlier for earlier, later in pairwise(at_ps)):
            raise BadLinkError(f"series of {self.name}: its times do not ascend")
        if self.is_repeating and at_ps[-1] == 0:
            raise BadLinkError(f"series of {self.name}: it repeats itself after no time")
        for value in self.values:
            checked_settings({self.name: value})
        object.__setattr__(self, "_at_ps", at_ps)

    def _turn_ps(self, time_ps: int) -> tuple[int, int]:
        """Return when the turn that `time_ps` is in began, and how far into it that is."""
        into_ps = time_ps % self._at_ps[-1] if self.is_repeating else time_ps
        return time_ps - into_ps, into_ps

    def value(self, time_ps: int, moment_ps: int) -> float:
        """Return the value at a moment, by the line that holds at `time_ps`, and no further than that line goes."""
        began_ps, into_ps = self._turn_ps(time_ps)
        after = bisect_right(self._at_ps, into_ps)
        if after == 0 or after == len(self.values) or not self.is_continuous:
            return self.values[max(0, after - 1)]
        low_ps, high_ps = self._at_ps[after - 1 : after + 1]
        low, high = self.values[after - 1 : after + 1]
        at_ps = min(max(moment_ps - began_ps, low_ps), high_ps)
        return low + (high - low) * ((at_ps - low_ps) / (high_ps - low_ps))

    @property
    def is_continuous(self) -> bool:
        """Whether it goes in lines."""
        return is_continuous(self.name)

    def next_ps(self, time_ps: int) -> int | None:
        """Return the time of the next point."""
        began_ps, into_ps = self._turn_ps(time_ps)
        after = bisect_right(self._at_ps, into_ps)
        return began_ps + self._at_ps[after] if after < len(self._at_ps) else None

    def line_ps(self, time_ps: int) -> int | None:
        """Return how long the line takes that holds at `time_ps`; None where the value stands."""
        _, into_ps = self._turn_ps(time_ps)
        after = bisect_right(self._at_ps, into_ps)
        if after in (0, len(self.values)) or not self.is_continuous or self.values[after - 1] == self.values[after]:
            return None
        return self._at_ps[after] - self._at_ps[after - 1]

    def points_ps(self) -> tuple[int, ...]:
        """Return the times of its points, in the first turn."""
        return self._at_ps


@dataclass(frozen=True, slots=True)
class Timeline:
    """What a link is made of at any time. Never changes: who sets something gets a new one."""

    planned: Parameters
    series: tuple[Series, ...] = ()
    settings: Mapping[str, float | int | bool] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()

    def at(self, time_ps: int, moment_ps: int | None = None) -> Parameters:
        """Return the parameters at a time.

        Args:
            time_ps: When; what is in force then counts.
            moment_ps: Where ramps and lines are read instead: the middle of a cell.

        Raises:
            BadLinkError: Values cannot hold together; not of a timeline that was checked.
        """
        moment_ps = time_ps if moment_ps is None else moment_ps
        values = {series.name: self._whole(series, time_ps, moment_ps) for series in self.series}
        values.update(self.settings)
        for layer in self.layers:
            if not layer.is_in_force(time_ps):
                continue
            share = 1.0 if time_ps >= layer.reached_ps else layer.share(moment_ps)
            for name, value in layer.settings.items():
                if share < 1.0 and is_continuous(name):
                    below = values.get(name, getattr(self.planned, name))
                    value = below + (value - below) * share
                values[name] = value
        return effective(self.planned, (values,))

    @staticmethod
    def _whole(series: Series, time_ps: int, moment_ps: int) -> float | int:
        value = series.value(time_ps, moment_ps)
        return value if series.is_continuous else int(value)

    def next_border_ps(self, time_ps: int) -> int | None:
        """Return the next time at which something begins, ends, or goes on in another line."""
        borders = [series.next_ps(time_ps) for series in self.series]
        for layer in self.layers:
            borders += [layer.start_ps, layer.reached_ps, layer.end_ps]
        return min((border for border in borders if border is not None and border > time_ps), default=None)

    def line_ps(self, time_ps: int) -> int | None:
        """Return the length of the shortest ramp or line that is in force; None where all stands still."""
        lines = [series.line_ps(time_ps) for series in self.series]
        lines += [
            layer.ramp_ps
            for layer in self.layers
            if layer.is_in_force(time_ps) and time_ps < layer.reached_ps and any(map(is_continuous, layer.settings))
        ]
        return min((line for line in lines if line is not None), default=None)

    def values_of(self, name: str, time_ps: int) -> set[float]:
        """Return the values that a parameter may have about now, whatever the shares of ramps and lines are."""
        values = {getattr(self.planned, name)}
        for series in self.series:
            if series.name == name:
                values = set(series.values)
        if name in self.settings:
            values = {self.settings[name]}
        for layer in self.layers:
            if name in layer.settings and layer.is_in_force(time_ps):
                values = (values if time_ps < layer.reached_ps else set()) | {layer.settings[name]}
        return values

    def checked(self) -> "Timeline":
        """Return it, when parameters hold together at all times: lines are bent at borders alone.

        Raises:
            BadLinkError: They do not, or there are too many layers.
        """
        if len(self.layers) > _LAYER_LIMIT:
            raise BadLinkError(f"layers: {len(self.layers)} of them, not 0 .. {_LAYER_LIMIT}")
        varied = {series.name for series in self.series}.union(*(layer.settings for layer in self.layers))
        # what depends on no other is in its range as long as its ends are
        for border_ps in {0, *self._borders()} if varied & TOGETHER else {0}:
            for time_ps in (border_ps - 1, border_ps, border_ps + 1):
                self.at(max(0, time_ps))
        return self

    def _borders(self) -> Iterator[int]:
        for series in self.series:
            yield from series.points_ps()
        for layer in self.layers:
            yield from (layer.start_ps, layer.reached_ps)
            if layer.end_ps is not None:
                yield layer.end_ps

    def set(self, settings: Settings, time_ps: int) -> "Timeline":
        """Return it with `settings` over those in force; layers have no say in these fields any more."""
        layers = self._without(settings.keys(), time_ps)
        return replace(self, settings={**self.settings, **settings}, layers=layers).checked()

    def over(self, layer: Layer) -> "Timeline":
        """Return it with one layer more, on top."""
        return replace(self, layers=(*self._without((), layer.start_ps), layer)).checked()

    def reset(self, names: Iterable[str], time_ps: int) -> "Timeline":
        """Return it without the named settings, in layers too, or without any when none is named.

        Raises:
            BadLinkError: A name is not one of a setting.
        """
        gone = set(names)
        unknown = sorted(gone - SETTABLE)
        if unknown:
            raise BadLinkError(f"{unknown[0]!r} is not the name of a setting")
        if not gone:
            return replace(self, settings={}, layers=()).checked()
        settings = {name: value for name, value in self.settings.items() if name not in gone}
        return replace(self, settings=settings, layers=self._without(gone, time_ps)).checked()

    def _without(self, names: Iterable[str], time_ps: int) -> tuple[Layer, ...]:
        """Return what the layers still say, without those that have long been over."""
        gone = set(names)
        left = []
        for layer in self.layers:
            settings = {name: value for name, value in layer.settings.items() if name not in gone}
            if settings and not layer.is_over(time_ps - _KEPT_PS):
                left.append(layer if len(settings) == len(layer.settings) else replace(layer, settings=settings))
        return tuple(left)
