"""quantum_channel.link: the state of one link: what is asked of it, what holds, and since which block. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from quantum_channel.controls import UNTOUCHED
from quantum_channel.course import Course, Responses
from quantum_channel.drift import TICK_PS, Drift, Weather
from quantum_channel.drift_chance import Chance
from quantum_channel.fibre import latency_ps
from quantum_channel.layers import Layer, Series, Timeline
from quantum_channel.parameters import BadLinkError, Parameters, Settings

__all__ = ["Link"]


class Link:
    """A link that is changed at block borders only: from the first block on that is not sampled yet.

    Attributes:
        link_id: Its id.
        course: What it is like from now on; another one after each change.
        effective_since_ps: When the last change took effect, emulated picoseconds.
        effective_from_block: First block that it holds for.
        pulse_count: Pulses that have passed.
        click_count: Clicks registered.
    """

    def __init__(
        self,
        link_id: str,
        planned: Parameters,
        settings: Settings,
        nature_secret: bytes,
        *,
        layers: Sequence[Layer] = (),
        series: Sequence[Series] = (),
    ) -> None:
        """Start with operator settings, layers and tables in force.

        Raises:
            BadLinkError: A value is out of its range; names link, field, value and range.
            BadInputError: The secret is not 16 bytes long.
        """
        self.link_id = link_id
        timeline = Timeline(planned, tuple(series), dict(settings), tuple(layers))
        timeline = self._named(timeline.checked)
        self.course = Course(timeline, UNTOUCHED, Weather(Chance(nature_secret)), Responses())
        self.effective_since_ps = 0
        self.effective_from_block = 0
        self.pulse_count = 0
        self.click_count = 0
        self._next_block = 0
        self._next_start_ps: int | None = None

    def _named(self, make: Callable[[], Timeline]) -> Timeline:
        try:
            return make()
        except BadLinkError as error:
            raise BadLinkError(f"link {self.link_id}: {error}") from None

    @property
    def timeline(self) -> Timeline:
        """What is asked of it over time."""
        return self.course.timeline

    @property
    def settings(self) -> Settings:
        """The operator's settings in force."""
        return self.timeline.settings

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Settings that come and go; some may be over."""
        return self.timeline.layers

    def at(self, time_ps: int) -> Parameters:
        """Return what the link is made of at a time."""
        return self.timeline.at(max(0, time_ps))

    def drift(self, time_ps: int) -> Drift:
        """Return what has become of the link at a time."""
        return self.course.weather.at(self.at(time_ps), max(0, time_ps) // TICK_PS, self.course.controls)

    def from_now_ps(self, now_ps: int) -> int:
        """Return when a change that is made now takes effect."""
        return now_ps if self._next_start_ps is None else self._next_start_ps

    def _change(self, make: Callable[[], Timeline], now_ps: int) -> None:
        self.course = replace(self.course, timeline=self._named(make))
        self._changed(now_ps)

    def _changed(self, now_ps: int) -> None:
        self.effective_from_block = self._next_block
        self.effective_since_ps = self.from_now_ps(now_ps)

    def set(self, settings: Settings, now_ps: int, ramp_s: float = 0.0, duration_s: float = 0.0) -> None:
        """Merge `settings` over those in force; with a ramp or a duration, lay them over all as a layer.

        Raises:
            BadLinkError: A field cannot be set or its value is out of its range; nothing has changed.
        """
        from_ps = self.from_now_ps(now_ps)
        if ramp_s or duration_s:
            self._change(lambda: self.timeline.over(Layer.of(settings, from_ps, ramp_s, duration_s)), now_ps)
        else:
            self._change(lambda: self.timeline.set(settings, from_ps), now_ps)

    def reset(self, fields: Iterable[str], now_ps: int) -> None:
        """Forget the named settings, in layers too, or all of them when none is named.

        Raises:
            BadLinkError: A name is not one of a setting; nothing has changed.
        """
        names = tuple(fields)
        self._change(lambda: self.timeline.reset(names, self.from_now_ps(now_ps)), now_ps)

    def replace(self, settings: Settings, layers: Iterable[Layer], now_ps: int) -> None:
        """Have `settings` and `layers` in the place of those in force.

        Raises:
            BadLinkError: A field cannot be set or its value is out of its range; nothing has changed.
        """
        given = tuple(layers)
        self._change(lambda: replace(self.timeline, settings=dict(settings), layers=given).checked(), now_ps)

    def align(self, now_ps: int) -> None:
        """Turn the receiver's polarisation back."""
        self._changed(now_ps)
        controls = replace(self.course.controls, aligned_ps=self.effective_since_ps)
        self.course = replace(self.course, controls=controls)

    def tune(
        self, now_ps: int, *, gate_offset_ps: float | None = None, intensity_trim_ratio: float | None = None
    ) -> None:
        """Trim the devices at the ends.

        Raises:
            BadLinkError: A value is out of its range; nothing has changed.
        """
        controls = self.course.controls
        try:
            if gate_offset_ps is not None:
                controls = replace(controls, gate_offset_ps=gate_offset_ps)
            if intensity_trim_ratio is not None:
                controls = replace(controls, intensity_trim_ratio=intensity_trim_ratio)
        except BadLinkError as error:
            raise BadLinkError(f"link {self.link_id}: {error}") from None
        self.course = replace(self.course, controls=controls)
        self._changed(now_ps)

    def begin(self, first_block: int, start_ps: int) -> None:
        """Say which block comes next and when it starts: changes hold from it on."""
        self._next_block, self._next_start_ps = first_block, start_ps

    def rest(self) -> None:
        """Say that no train is on its way: changes hold from the moment they are made."""
        self._next_start_ps = None

    def latency_ps(self, time_ps: int) -> int:
        """Return how long light takes from end to end at a time."""
        return latency_ps(self.at(time_ps).length_km)
