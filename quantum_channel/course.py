"""quantum_channel.course: what a link is like over a train, cell by cell of emulated time. Pure.

Conditions change at the borders of cells alone. A cell is a span of absolute time, as long as the time constants in
force ask for; where a line of settings begins or ends, one cell ends and another begins. A block belongs to the cell
that its first pulse is emitted in. So nothing depends on how a train is cut, nor on what has been asked before.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from quantum_channel.conditions import Conditions, conditions
from quantum_channel.controls import Controls
from quantum_channel.dispersion import THERMAL_PS_PER_KM_K
from quantum_channel.drift import STILL, TICK_LEVEL, TICK_PS, Drift, Weather, drifts
from quantum_channel.drift_rotation import step_level
from quantum_channel.layers import Timeline
from quantum_channel.parameters import Parameters
from quantum_channel.response import Response, respond
from quantum_channel.train import STRETCH_BYTES, Train, expected_bytes

__all__ = ["Cell", "Course", "Responses", "Run"]

_LONGEST_LEVEL: Final = 0
_CELLS_PER_TAU: Final = 20.0
_CELLS_PER_DAY: Final = 64.0
_CELLS_PER_LINE: Final = 64.0
_CELLS_PER_GATE: Final = 16.0
_PS_PER_S: Final = 1e12
_PS_PER_PPB_S: Final = 1e3
# finer than any count shows: 2 parts in 10,000 of the light. Tables are made anew for what differs by more
_LOSS_DIGITS: Final = 3
_ERROR_DIGITS: Final = 5
_RATIO_DIGITS: Final = 4


class Responses:
    """Tables that were made last, by what they were made of."""

    def __init__(self, most: int = 128) -> None:
        """Remember `most` of them."""
        self._most = most
        self._known: dict[tuple[Parameters, Conditions], Response] = {}

    def of(self, parameters: Parameters, nature: Conditions) -> Response:
        """Return the tables of a block."""
        key = parameters, nature
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= self._most:
                self._known.clear()
            known = self._known[key] = respond(parameters, nature)
        return known


@dataclass(frozen=True, slots=True)
class Cell:
    """What holds for a while.

    Attributes:
        parameters: What the link is made of.
        drift: What has become of it.
        response: The samplers' tables; None: the link is down.
        intensity_ratio: Intensities are so many times what is planned.
        until_ps: When the next cell begins; None: never.
    """

    parameters: Parameters
    drift: Drift
    response: Response | None
    intensity_ratio: float
    until_ps: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """Blocks in a row that click alike: those of one cell, or of several that do not differ."""

    first_block: int
    block_count: int
    cell: Cell

    @property
    def end_block(self) -> int:
        """The block behind the last."""
        return self.first_block + self.block_count


@dataclass(frozen=True, slots=True)
class Course:
    """A link from now on, as long as nobody changes it. Never changes itself; threads may ask at once."""

    timeline: Timeline
    controls: Controls
    weather: Weather
    responses: Responses

    def cell(self, time_ps: int) -> Cell:
        """Return what holds at a time."""
        return next(self.cells(time_ps))

    def cells(self, time_ps: int) -> Iterator[Cell]:
        """Yield what holds from a time on, cell after cell; the last one is for ever."""
        while True:
            border_ps = self.timeline.next_border_ps(time_ps)
            line_ps = self.timeline.line_ps(time_ps)
            here = self.timeline.at(time_ps)
            level = self._level(time_ps, line_ps)
            if level is None:
                yield self._cell(here, STILL, border_ps)
                if border_ps is None:
                    return
                time_ps = border_ps
                continue
            span_ps = TICK_PS << (level - TICK_LEVEL)
            while border_ps is None or time_ps < border_ps:
                first_ps = time_ps - time_ps % span_ps
                parameters = here if line_ps is None else self.timeline.at(time_ps, first_ps + span_ps // 2)
                drift = self.weather.at(parameters, first_ps // TICK_PS, self.controls)
                end_ps = first_ps + span_ps
                time_ps = end_ps if border_ps is None else min(end_ps, border_ps)
                yield self._cell(parameters, drift, time_ps)

    def _cell(self, parameters: Parameters, drift: Drift, until_ps: int | None) -> Cell:
        seen = replace(
            drift,
            loss_db=round(drift.loss_db, _LOSS_DIGITS),
            error_z_prob=round(drift.error_z_prob, _ERROR_DIGITS),
            error_x_prob=round(drift.error_x_prob, _ERROR_DIGITS),
            intensity_ratio=round(drift.intensity_ratio, _RATIO_DIGITS),
        )
        nature = conditions(parameters, seen, self.controls)
        response = self.responses.of(parameters, nature) if parameters.is_up else None
        return Cell(parameters, drift, response, nature.intensity_ratio, until_ps)

    def _level(self, time_ps: int, line_ps: int | None) -> int | None:
        """Return the length of cells as a power of two of seconds; None when nothing varies."""

        def most(name: str) -> float:
            return max(abs(value) for value in self.timeline.values_of(name, time_ps))

        def least(name: str) -> float:
            return min((value for value in self.timeline.values_of(name, time_ps) if value), default=math.inf)

        spans_s = [] if line_ps is None else [line_ps / _PS_PER_S / _CELLS_PER_LINE]
        if most("loss_day_db"):
            spans_s.append(least("day_s") / _CELLS_PER_DAY)
        for size, tau in (
            ("loss_wander_db", "loss_wander_tau_s"),
            ("loss_event_db", "loss_event_s"),
            ("intensity_wander_ratio", "intensity_wander_tau_s"),
        ):
            if most(size):
                spans_s.append(least(tau) / _CELLS_PER_TAU)
        if most("polarisation_tau_s"):
            spans_s.append(math.ldexp(1.0, step_level(least("polarisation_tau_s"))))
        if most("gate_width_ps"):
            step_ps = least("gate_width_ps") / _CELLS_PER_GATE
            rate = _PS_PER_PPB_S * (most("clock_skew_ppb") + most("clock_walk_ppb"))
            warming_k_per_s = most("temperature_swing_k") * 2.0 * math.pi / least("day_s")
            rate += THERMAL_PS_PER_KM_K * most("length_km") * warming_k_per_s
            if rate:
                spans_s.append(step_ps / rate)
            if most("clock_white_ps"):
                spans_s.append((step_ps / most("clock_white_ps")) ** 2)
        finite = [span_s for span_s in spans_s if span_s < math.inf]
        if not finite:
            return _LONGEST_LEVEL if drifts(self.timeline.at(time_ps)) else None
        return max(TICK_LEVEL, min(_LONGEST_LEVEL, math.floor(math.log2(min(finite)))))

    def runs(self, train: Train, block: int, end_block: int) -> list[Run]:
        """Return blocks of a train, up to `end_block` or until there is enough for a message.

        Raises:
            BadLinkError: Never, of a timeline that was checked.
        """
        runs: list[Run] = []
        left = 2.0 * STRETCH_BYTES
        for cell in self.cells(train.time_ps(block)):
            end = end_block if cell.until_ps is None else min(end_block, train.first_from(cell.until_ps))
            # a cell may be shorter than a block
            if end > block:
                size = expected_bytes(cell.response) if cell.response else 0.0
                if size and (end - block) * size > left:
                    end_block = end = block + max(0 if runs else 1, int(left / size))
                if end > block:
                    left -= (end - block) * size
                    self._add(runs, Run(block, end - block, cell))
                    block = end
            if block >= end_block:
                break
        return runs

    @staticmethod
    def _add(runs: list[Run], run: Run) -> None:
        before = runs[-1] if runs else None
        if (
            before is not None
            and before.cell.response is run.cell.response
            and before.cell.parameters == run.cell.parameters
        ):
            runs[-1] = replace(before, block_count=before.block_count + run.block_count)
        else:
            runs.append(run)
