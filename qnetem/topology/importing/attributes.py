"""qnetem.topology.importing.attributes: what files write about their nodes, and what it means. Pure.

Names and values are those of the Internet Topology Zoo and of what people write by hand; upper and lower case are one.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

from qnetem.topology.importing.network import Place, Site
from qnetem.topology.words import shown

__all__ = ["printable", "site", "text_of"]

_LATITUDE: Final = ("latitude", "lat")
_LONGITUDE: Final = ("longitude", "lon", "lng", "long")
_LABEL: Final = ("label", "name")
# What tools write for a label that is not there.
_NO_LABELS: Final = frozenset(("", "none", "null", "nan", "?"))
_LONGEST_CHARS: Final = 200


def site(key: str, attributes: Mapping[str, Any]) -> Site:
    """Return the site that a node of a file describes.

    Raises:
        ValueError: Its coordinates are none, or one of the two is missing.
    """
    lower = {name.lower(): value for name, value in attributes.items()}
    label = text_of(_first(lower, _LABEL))
    return Site(
        key=key,
        label="" if label.lower() in _NO_LABELS else label,
        place=_place(lower),
        is_outside=_is(lower.get("internal"), "0", "false", "no"),
        is_junction=_is(lower.get("hyperedge"), "1", "true", "yes"),
    )


def text_of(value: Any) -> str:
    """Return a value as one printable line of bounded length; empty for what is no text and no number."""
    if not isinstance(value, str | int | float):
        return ""
    text = printable(str(value))
    return text if len(text) <= _LONGEST_CHARS else text[: _LONGEST_CHARS - 3] + "..."


def printable(text: str) -> str:
    """Return a text on one line: white space and what no terminal shows become single spaces."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _first(attributes: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((attributes[name] for name in names if attributes.get(name) is not None), None)


def _is(value: Any, *words: str) -> bool:
    return text_of(value).lower() in words


def _place(attributes: Mapping[str, Any]) -> Place | None:
    latitude, longitude = (_first(attributes, names) for names in (_LATITUDE, _LONGITUDE))
    given = [value for value in (latitude, longitude) if value is not None and value != ""]
    if not given:
        return None
    if len(given) == 1:
        raise ValueError("has only one of latitude and longitude")
    return Place(_degrees("latitude", latitude, 90), _degrees("longitude", longitude, 180))


def _degrees(name: str, value: Any, limit: int) -> float:
    try:
        degrees = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: expected degrees, got {shown(value)}") from None
    if not math.isfinite(degrees) or abs(degrees) > limit:
        raise ValueError(f"{name}: {shown(value)} is out of range (-{limit} to {limit} degrees)")
    return degrees
