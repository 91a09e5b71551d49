"""quantum_channel.link: the state of one link: planned, settings, faults, what holds and since which block. Pure."""

from collections.abc import Iterable

from quantum_channel.fibre import latency_ps
from quantum_channel.parameters import SETTABLE, BadLinkError, Parameters, Settings, effective
from quantum_channel.response import Response, respond

__all__ = ["Link"]


class Link:
    """A link whose parameters change at block borders only.

    The effective parameters are the planned ones under the operator's settings, and these under the overlay of
    active faults, which merges nothing into the settings and comes off again.

    Attributes:
        link_id: Its id.
        settings: The operator's settings in force.
        effective: What holds from `effective_from_block` on.
        response: The same as the sampler's tables.
        effective_since_ps: When the last change took effect, emulated picoseconds.
        effective_from_block: First block that it holds for.
        pulse_count: Pulses that have passed.
        click_count: Clicks registered.
    """

    def __init__(self, link_id: str, planned: Parameters, settings: Settings, overlay: Iterable[Settings] = ()) -> None:
        """Start with operator settings and faults in force.

        Raises:
            BadLinkError: A value is out of its range; names link, field, value and range.
        """
        self.link_id = link_id
        self._planned = planned
        self._overlay = tuple(overlay)
        self.settings: dict[str, float | int | bool]
        self.effective: Parameters
        self.response: Response
        self.effective_since_ps = 0
        self.effective_from_block = 0
        self.pulse_count = 0
        self.click_count = 0
        self._next_block = 0
        self._next_start_ps: int | None = None
        self._apply(dict(settings))

    def _apply(self, settings: dict[str, float | int | bool]) -> None:
        try:
            self.effective = effective(self._planned, (settings, *self._overlay))
        except BadLinkError as error:
            raise BadLinkError(f"link {self.link_id}: {error}") from None
        self.settings = settings
        self.response = respond(self.effective)

    def _changed(self, now_ps: int) -> None:
        self.effective_from_block = self._next_block
        self.effective_since_ps = now_ps if self._next_start_ps is None else self._next_start_ps

    def set(self, settings: Settings, now_ps: int) -> None:
        """Merge `settings` over those in force, from the next block on that is not sampled yet.

        Raises:
            BadLinkError: A field cannot be set or its value is out of its range; nothing has changed.
        """
        self._apply({**self.settings, **settings})
        self._changed(now_ps)

    def reset(self, fields: Iterable[str], now_ps: int) -> None:
        """Forget the named settings, or all of them when none is named.

        Raises:
            BadLinkError: A name is not one of a setting; nothing has changed.
        """
        names = set(fields)
        unknown = sorted(names - SETTABLE)
        if unknown:
            raise BadLinkError(f"link {self.link_id}: {unknown[0]!r} is not the name of a setting")
        self._apply({name: value for name, value in self.settings.items() if names and name not in names})
        self._changed(now_ps)

    def replace(self, settings: Settings, now_ps: int) -> None:
        """Have `settings` in the place of those in force, from the next block on that is not sampled yet.

        Raises:
            BadLinkError: A field cannot be set or its value is out of its range; nothing has changed.
        """
        self._apply(dict(settings))
        self._changed(now_ps)

    def begin(self, first_block: int, start_ps: int) -> None:
        """Say which block comes next and when it starts: changes hold from it on."""
        self._next_block, self._next_start_ps = first_block, start_ps

    def rest(self) -> None:
        """Say that no train is on its way: changes hold from the moment they are made."""
        self._next_start_ps = None

    @property
    def next_block(self) -> int:
        """The first block that is not sampled yet: what devices are told holds from it on."""
        return self._next_block

    @property
    def latency_ps(self) -> int:
        """How long light takes from end to end now."""
        return latency_ps(self.effective.length_km)
