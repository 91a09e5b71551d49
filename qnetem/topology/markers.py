"""qnetem.topology.markers: YAML text as plain values that remember their place. Pure: text in, tree out.

Reads PyYAML's events rather than its nodes: an alias is seen before it is expanded, nesting and size are bounded while
reading, and duplicate keys are found. Scalars follow YAML 1.2's core schema: `no` is a word, `1e-10` a number, and
`010` neither.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from qnetem.topology.errors import Path, Problem
from qnetem.topology.words import shown

__all__ = ["Marked", "from_plain", "locate", "plain", "read"]

_DEPTH_LIMIT: Final = 20
_VALUES_LIMIT: Final = 100_000
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})\Z")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,4})?\Z")
_NAN_AND_INF: Final = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9]+\Z")
_WORDS: Final[dict[str, bool | None]] = (
    dict.fromkeys(("", "~", "null", "Null", "NULL"))
    | dict.fromkeys(("true", "True", "TRUE"), True)
    | dict.fromkeys(("false", "False", "FALSE"), False)
)
_STANDARD_TAGS: Final = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))


@dataclass(frozen=True, slots=True)
class Marked:
    """A value and where it stands; line and column from 1, or 0 where there is no text."""

    value: Any  # str | int | float | bool | None | list[Marked] | dict[str, Marked]
    line: int = 0
    column: int = 0
    # Of a mapping: where each key stands.
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    # Values inside, itself included, every alias expanded.
    size: int = 1


class _RefusedError(Exception):
    """Reading cannot go on."""

    def __init__(self, mark: Any, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(mark.line + 1, mark.column + 1, text)


def read(text: str) -> tuple[Marked | None, list[Problem]]:
    """Return the tree of a YAML document and what is wrong with it as YAML; no tree when it cannot be read at all."""
    import yaml

    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if found is not None:
        before = text[: found.start()]
        place = before.count("\n") + 1, found.start() - before.rfind("\n")
        return None, [Problem(*place, f"character {found.group()!a} cannot stand in YAML")]
    problems: list[Problem] = []
    try:
        # libyaml reads ten times faster; the wheels of PyYAML have it.
        events = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        tree = _Builder(events, problems).document()
    except _RefusedError as error:
        return None, [*problems, error.problem]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        return None, [*problems, Problem(*place, f"not YAML: {error.problem or error.context}")]
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # The pure Python scanner lets chr() fail on an escape past Unicode.
        why = (str(error).splitlines() or ["unreadable"])[0]
        return None, [*problems, Problem(1, 1, f"not YAML: {why}")]
    return tree, problems


class _Builder:
    """Builds the tree from events, one look-ahead, depth and size bounded."""

    def __init__(self, events: Iterator[Any], problems: list[Problem]) -> None:
        self._events = events
        self._problems = problems
        self._anchors: dict[str, Marked] = {}

    def document(self) -> Marked | None:
        import yaml

        next(self._events)  # stream start
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            self._problems.append(Problem(1, 1, "the file is empty"))
            return None
        tree = self._value(next(self._events), 0)
        next(self._events)  # document end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            mark: Any = after.start_mark
            raise _RefusedError(mark, "a topology is one YAML document; here a second one begins")
        return tree

    def _value(self, event: Any, depth: int) -> Marked:
        import yaml

        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _RefusedError(mark, f"alias {shown(event.anchor)} names nothing that is complete before it")
            return self._anchors[event.anchor]
        if depth > _DEPTH_LIMIT:
            raise _RefusedError(mark, f"nested deeper than {_DEPTH_LIMIT} levels")
        if event.tag not in (None, "!", *_STANDARD_TAGS):
            raise _RefusedError(mark, f"tag {shown(event.tag)} has no meaning here")
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event.value) if event.implicit[0] else event.value
            marked = Marked(value, mark.line + 1, mark.column + 1)
        elif isinstance(event, yaml.SequenceStartEvent):
            marked = self._sequence(mark, depth)
        else:
            marked = self._mapping(mark, depth)
        if marked.size > _VALUES_LIMIT:
            raise _RefusedError(mark, f"holds more than {_VALUES_LIMIT} values")
        if event.anchor is not None:
            self._anchors[event.anchor] = marked
        return marked

    def _sequence(self, mark: Any, depth: int) -> Marked:
        import yaml

        values: list[Marked] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._value(event, depth + 1))
        return Marked(values, mark.line + 1, mark.column + 1, size=1 + sum(value.size for value in values))

    def _mapping(self, mark: Any, depth: int) -> Marked:
        import yaml

        values: dict[str, Marked] = {}
        keys: dict[str, tuple[int, int]] = {}
        size = 1
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            here: Any = event.start_mark
            if not isinstance(event, yaml.ScalarEvent):
                raise _RefusedError(here, "a key must be a word")
            key, place = event.value, (here.line + 1, here.column + 1)
            value = self._value(next(self._events), depth + 1)
            size += value.size
            if key in values:
                self._problems.append(Problem(*place, f"{shown(key)} is given twice (first in line {keys[key][0]})"))
                continue
            values[key], keys[key] = value, place
        return Marked(values, mark.line + 1, mark.column + 1, keys, size)


def _scalar(text: str) -> str | int | float | bool | None:
    """Return what a plain scalar means: null, true or false, a decimal number, else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    if _NAN_AND_INF.match(text):
        return float(text.replace(".", ""))
    if _FLOAT.match(text) and not _LEADING_ZERO.match(text):
        return float(text)
    return text


def plain(marked: Marked) -> Any:
    """Return the tree as dicts, lists and scalars."""
    if isinstance(marked.value, dict):
        return {key: plain(value) for key, value in marked.value.items()}
    if isinstance(marked.value, list):
        return [plain(value) for value in marked.value]
    return marked.value


def from_plain(value: object) -> Marked:
    """Return a tree without places. Mappings must have text keys, and nothing may contain itself.

    Raises:
        ValueError: A key is no text, or the value is nested too deep.
    """
    return _from_plain(value, 0)


def _from_plain(value: object, depth: int) -> Marked:
    if depth > _DEPTH_LIMIT:
        raise ValueError(f"nested deeper than {_DEPTH_LIMIT} levels")
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"a key must be text, got {shown(key)}")
        return Marked({key: _from_plain(each, depth + 1) for key, each in value.items()})
    if isinstance(value, list | tuple):
        return Marked([_from_plain(each, depth + 1) for each in value])
    return Marked(value)


def locate(tree: Marked, path: Path, *, is_key: bool = False) -> tuple[int, int]:
    """Return line and column of what a path leads to (of its last key with `is_key`), or of what comes nearest."""
    here = tree
    for index, step in enumerate(path):
        inside = here.value
        if isinstance(inside, dict) and isinstance(step, str) and step in inside:
            if is_key and index == len(path) - 1:
                return here.keys.get(step, (here.line, here.column))
            here = inside[step]
        elif isinstance(inside, list) and isinstance(step, int) and step < len(inside):
            here = inside[step]
        else:
            break
    return here.line, here.column
