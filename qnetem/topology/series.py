"""qnetem.topology.series: settings of a link that follow a table in time, as CSV text and as columns. Pure.

A CSV has a header, `time_s` and names of settings with their units as the wire spells them (`extra_loss_db`), and a row
per point in time. A rendered topology has the same table as columns, by key and with units.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from qnetem.topology.errors import Problem
from qnetem.topology.field import Field
from qnetem.topology.fields import QUANTUM
from qnetem.topology.model import Series
from qnetem.topology.quantities import LONG_SPAN
from qnetem.topology.units import Quantity
from qnetem.topology.words import did_you_mean, shown
from qnetem.v1.parameters_pb2 import LinkSettings

__all__ = ["DRIVEN", "LONGEST", "as_file", "columns", "problem_of_columns", "read_csv", "series_of"]

TIME: Final = "time_s"
# values of all series of a topology: its rendered text must be one that can be read again
LONGEST: Final = 30_000
# what a series can drive: numbers that can be set on a live link
DRIVEN: Final[tuple[Field, ...]] = tuple(
    each
    for each in QUANTUM
    if isinstance(each.quantity, Quantity) and each.wire in LinkSettings.DESCRIPTOR.fields_by_name
)
_BY_WIRE: Final[Mapping[str, Field]] = {each.wire: each for each in DRIVEN}


def read_csv(text: str, source: str) -> tuple[dict[str, list[float]], list[Problem]]:
    """Return the columns of a CSV by the wire's names, `time_s` among them, and everything that is wrong with it."""
    import csv

    columns: dict[str, list[float]] = {}
    problems: list[Problem] = []
    rows = csv.reader(text.splitlines(), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        problems += [Problem(1, 0, what, source=source) for what in _header_problems(header)]
        if problems:
            return {}, problems
        columns = {name: [] for name in header}
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            line = rows.line_num
            if len(row) != len(header):
                what = f"{len(row)} values where the header has {len(header)}"
                problems.append(Problem(line, 0, what, source=source))
                continue
            for name, cell in zip(header, row, strict=True):
                try:
                    columns[name].append(_number(name, cell.strip()))
                except ValueError as error:
                    problems.append(Problem(line, 0, f"{name}: {error}", source=source))
            if not problems and len(times := columns[TIME]) > 1 and times[-1] <= times[-2]:
                what = f"{TIME}: {times[-1]:g} is not after {times[-2]:g}"
                problems.append(Problem(line, 0, what, source=source))
    except csv.Error as error:
        problems.append(Problem(rows.line_num, 0, f"not CSV: {error}", source=source))
    if not problems and not columns[TIME]:
        problems.append(Problem(1, 0, "no row after the header", source=source))
    return columns, problems


def _header_problems(header: Sequence[str]) -> Iterator[str]:
    if TIME not in header:
        yield f"no column {TIME} (the header has {', '.join(shown(name) for name in header[:8]) or 'nothing'})"
        return
    if len(header) == 1:
        yield f"no column beside {TIME}"
    for name in dict.fromkeys(header):
        if name not in (TIME, *_BY_WIRE):
            yield f"{shown(name)} is no setting of a link{did_you_mean(name, _BY_WIRE)}"
        elif header.count(name) > 1:
            yield f"{name} is there twice"


def _number(name: str, cell: str) -> float:
    """Return the number in a cell of a column. Raises ValueError."""
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(f"expected a number, got {shown(cell)}") from None
    if name == TIME:
        if not 0 <= value <= 1e12:
            raise ValueError(f"{cell} is out of range (0 to 1e12)")
        return value
    quantity = _BY_WIRE[name].quantity
    assert isinstance(quantity, Quantity)  # noqa: S101 (DRIVEN)
    if not quantity.minimum <= value <= quantity.maximum:
        raise ValueError(f"{cell} is out of range ({quantity.range_text})")
    return value


def problem_of_columns(given: Mapping[str, Sequence[float]]) -> str:
    """Return what is wrong with columns in a topology, by key, `time` among them; nothing when all is well."""
    times = given.get("time")
    if times is None:
        return "a table needs its time"
    if len(given) == 1:
        return "a table needs a column beside its time"
    for key, values in given.items():
        if len(values) != len(times):
            return f"{key} has {len(values)} values where time has {len(times)}"
    if any(not math.isfinite(one) or later <= one for one, later in pairwise(times)):
        return "time must rise"
    return ""


def columns(given: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Return columns that a topology gives by key as those of a CSV."""
    wires = {each.key: each.wire for each in DRIVEN} | {"time": TIME}
    return {wires[key]: list(values) for key, values in given.items()}


def series_of(table: Mapping[str, Sequence[float]], *, is_repeating: bool) -> tuple[Series, ...]:
    """Return the series of a table without problems, one for each column beside the time."""
    times = tuple(table[TIME])
    return tuple(
        Series(each.wire, times, tuple(table[each.wire]), is_repeating) for each in DRIVEN if each.wire in table
    )


def as_file(series: Sequence[Series]) -> dict[str, Any]:
    """Return the series of a link, which share their times, as a topology gives them."""
    block: dict[str, Any] = {
        "repeat": series[0].is_repeating,
        "time": [LONG_SPAN.render(one) for one in series[0].at_s],
    }
    for each in series:
        field = _BY_WIRE[each.field]
        block[field.key] = [field.quantity.render(one) for one in each.values]  # type: ignore[arg-type]
    return block
