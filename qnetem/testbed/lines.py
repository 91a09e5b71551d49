"""qnetem.testbed.lines: lines of logs and journals, in order of time and as people read them. Pure."""

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Line", "event_text", "line_of", "log_text", "merged"]

_PS_PER_S: Final = 10**12
_HEAD: Final = frozenset({"wall", "emulated_ps", "process", "event", "level", "room", "trace"})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file.

    Attributes:
        process: Whose file it is from.
        wall: ISO 8601; a line without a time has that of the line before it.
        values: What the line holds; empty where it is no JSON object.
        text: The line itself.
    """

    process: str
    wall: str
    values: dict[str, Any]
    text: str


def line_of(text: str, process: str, last_wall: str = "") -> Line:
    """Return a line; `last_wall` is the time of the one before it."""
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        return Line(process, last_wall, {}, text)
    return Line(process, str(values.get("wall", last_wall)), values, text)


def merged(files: Iterable[Sequence[Line]]) -> Iterator[Line]:
    """Yield the lines of several files in the order of their times; lines of one file keep their order."""
    return heapq.merge(*files, key=lambda line: line.wall)


def _fields(values: dict[str, Any]) -> str:
    # a line break in a value must not make a line of its own
    return "".join(
        f" {key}={_word(value)}" for key, value in values.items() if key not in _HEAD and value not in ("", None)
    )


def _word(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if text.isprintable() and " " not in text else json.dumps(text)


def _clock(wall: str) -> str:
    return wall[11:23] if len(wall) >= 23 else wall


def log_text(line: Line) -> str:
    """Return a line of a log: time, process, level, event, fields. The places of an exception follow, indented."""
    values = line.values
    if not values:
        return f"{_clock(line.wall) or '-':12} {line.process} {line.text}"
    head = (
        f"{_clock(line.wall):12} {line.process} {values.get('level', '-')} {values.get('event', '-')}{_fields(values)}"
    )
    trace = values.get("trace")
    return "\n".join([head, *(f"    {place}" for place in trace)]) if isinstance(trace, list) else head


def event_text(line: Line) -> str:
    """Return a line of a journal: time, emulated seconds, process, event, fields."""
    values = line.values
    if not values:
        return f"{_clock(line.wall) or '-':12} {line.process} {line.text}"
    emulated = values.get("emulated_ps")
    at = f"{emulated / _PS_PER_S:.3f} s" if isinstance(emulated, int) else "-"
    process = values.get("process", line.process)
    return f"{_clock(line.wall):12} {at:>12} {process} {values.get('event', '-')}{_fields(values)}"
