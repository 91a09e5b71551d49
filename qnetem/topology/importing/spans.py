"""qnetem.topology.importing.spans: how long links are, and where trusted relays cut those that are too long. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from qnetem.topology.importing.geography import great_circle_km
from qnetem.topology.importing.naming import unique
from qnetem.topology.importing.network import Decision, Edge, Place
from qnetem.topology.importing.settings import Settings
from qnetem.topology.references import LINK_ID_CHARS
from qnetem.topology.units import Quantity

__all__ = ["MINIMUM_LENGTH_M", "Cut", "Span", "cut", "length_text", "link_lengths_m", "span_lengths_m"]

# Coordinates of cities do not tell shorter distances.
MINIMUM_LENGTH_M: Final = 1_000
# Lengths are told to 100 m: a route factor knows no better, and no computer's last digit shows.
_STEP_M: Final = 100
_RELAY_NAME_CHARS: Final = 63
_LENGTH: Final = Quantity(name="a length", units={"m": 0, "km": 3}, minimum=0, maximum=1e8, example="25km")


@dataclass(frozen=True, slots=True)
class Span:
    """A link of a topology."""

    id: str
    ends: tuple[str, str]
    length_m: int


@dataclass(frozen=True, slots=True)
class Cut:
    """All links after cutting, and the trusted relays that cut them, in the order of the edges."""

    spans: tuple[Span, ...]
    relays: tuple[str, ...]
    decisions: tuple[Decision, ...]


def length_text(length_m: int) -> str:
    """Return a length as a topology writes it."""
    return str(_LENGTH.render(length_m))


def link_lengths_m(
    edges: tuple[Edge, ...], places: Mapping[str, Place], names: Mapping[str, str], settings: Settings
) -> tuple[dict[Edge, int], list[Decision]]:
    """Return the length of each edge, m: great circle times route factor, to 100 m.

    Where that is below a kilometre it is the default length, one kilometre when none is set; so it is for all edges
    where there are no places at all, which needs a default length.
    """
    default_m = settings.default_length_m or MINIMUM_LENGTH_M
    if not places:
        text = f"no node has coordinates: each of {len(edges)} links is {length_text(default_m)} long"
        return dict.fromkeys(edges, default_m), [Decision("length", "all links", text)]
    lengths: dict[Edge, int] = {}
    decisions: list[Decision] = []
    for edge in edges:
        first, second = edge
        route_km = great_circle_km(places[first], places[second]) * settings.route_factor
        lengths[edge] = round(route_km * 1000 / _STEP_M) * _STEP_M
        if lengths[edge] < MINIMUM_LENGTH_M:
            ends = f"{names[first]} - {names[second]}"
            text = f"{ends} is {length_text(default_m)} long: coordinates put its ends {route_km:.1f} km apart"
            decisions.append(Decision("length", ends, text))
            lengths[edge] = default_m
    return lengths, decisions


def span_lengths_m(length_m: int, max_span_m: int) -> list[int]:
    """Return the fewest spans that a length is cut into: none longer than the maximum, all equal but for rounding."""
    count = -(-length_m // max_span_m)
    step_m = math.gcd(length_m, max_span_m, _STEP_M)
    steps, rest = divmod(length_m // step_m, count)
    return [(steps + (index < rest)) * step_m for index in range(count)]


def cut(lengths_m: Mapping[Edge, int], names: Mapping[str, str], max_span_m: int) -> Cut:
    """Return the links of a topology. Spans of a-b are a-b-s1, a-b-s2 and so on, the relays between them a-b-r1."""
    spans: list[Span] = []
    relays: list[str] = []
    decisions: list[Decision] = []
    taken, ids = set(names.values()), set[str]()
    for (first, second), length_m in lengths_m.items():
        ends = names[first], names[second]
        link = "-".join(ends)
        pieces = span_lengths_m(length_m, max_span_m)
        between = []
        for number in range(1, len(pieces)):
            between.append(unique(f"{link}-r{number}", taken, _RELAY_NAME_CHARS))
            taken.add(between[-1])
        stops = [ends[0], *between, ends[1]]
        for index, piece_m in enumerate(pieces):
            span_id = unique(f"{link}-s{index + 1}" if between else link, ids, LINK_ID_CHARS)
            ids.add(span_id)
            spans.append(Span(span_id, (stops[index], stops[index + 1]), piece_m))
        if between:
            relays += between
            listed = between[0] if len(between) == 1 else f"{between[0]} to {between[-1]}"
            text = (
                f"cut {link}, {length_text(length_m)}, into {len(pieces)} spans of {length_text(pieces[0])}: {listed}"
            )
            decisions.append(Decision("cut", link, text))
    return Cut(tuple(spans), tuple(relays), tuple(decisions))
