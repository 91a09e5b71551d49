"""Lengths and cuts: great circle times route factor, a floor, even spans, ids that no other link has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnetem.topology.importing import Place, Settings
from qnetem.topology.importing.spans import cut, length_text, link_lengths_m, span_lengths_m

# A degree of a great circle is 111.19 km.
NORTH = {"a": Place(50, 5), "b": Place(51, 5), "c": Place(51.005, 5), "d": Place(51, 5)}
NAMES = {key: key for key in "abcd"}


def lengths_m(*edges: str, default_length_m: int | None = None, route_factor: float = 1.3) -> list[int]:
    settings = Settings(name="x", default_length_m=default_length_m, route_factor=route_factor)
    return list(link_lengths_m(tuple((edge[0], edge[1]) for edge in edges), NORTH, NAMES, settings)[0].values())


def test_a_length_is_the_great_circle_times_the_route_factor_to_100_m() -> None:
    assert lengths_m("ab") == [144_600]  # 144.55 km
    assert lengths_m("ab", route_factor=1) == [111_200]


def test_what_coordinates_do_not_tell_is_a_kilometre_or_what_is_given() -> None:
    assert lengths_m("bd", "bc", "ab") == [1_000, 1_000, 144_600]
    assert lengths_m("bd", "bc", "ab", default_length_m=250) == [250, 250, 144_600]


def test_without_places_all_links_have_the_length_that_is_given() -> None:
    settings = Settings(name="x", default_length_m=40_000)
    lengths, [decision] = link_lengths_m((("a", "b"), ("b", "c")), {}, NAMES, settings)
    assert list(lengths.values()) == [40_000, 40_000]
    assert decision.text == "no node has coordinates: each of 2 links is 40km long"


@pytest.mark.parametrize(
    ("length_m", "max_span_m", "spans"),
    [
        (80_000, 80_000, [80_000]),
        (80_100, 80_000, [40_100, 40_000]),
        (145_900, 80_000, [73_000, 72_900]),
        (240_000, 80_000, [80_000] * 3),
        (1, 1_000, [1]),
        (1_001, 1_000, [501, 500]),
    ],
)
def test_spans_are_few_and_even(length_m: int, max_span_m: int, spans: list[int]) -> None:
    assert span_lengths_m(length_m, max_span_m) == spans


@given(st.integers(1, 10**7), st.integers(1_000, 10**7))
def test_spans_sum_up_and_none_is_too_long_and_none_could_be_spared(length_m: int, max_span_m: int) -> None:
    spans = span_lengths_m(length_m, max_span_m)
    assert sum(spans) == length_m
    assert max(spans) <= max_span_m
    assert max(spans) - min(spans) <= 100
    assert (len(spans) - 1) * max_span_m < length_m


def test_relays_stand_in_line_and_are_called_after_the_link() -> None:
    made = cut({("a", "b"): 200_000, ("b", "c"): 10_000}, NAMES, 80_000)
    assert made.relays == ("a-b-r1", "a-b-r2")
    assert [(span.id, span.ends) for span in made.spans] == [
        ("a-b-s1", ("a", "a-b-r1")),
        ("a-b-s2", ("a-b-r1", "a-b-r2")),
        ("a-b-s3", ("a-b-r2", "b")),
        ("b-c", ("b", "c")),
    ]
    assert [one.text for one in made.decisions] == ["cut a-b, 200km, into 3 spans of 66.7km: a-b-r1 to a-b-r2"]


def test_names_and_ids_that_read_the_same_are_told_apart() -> None:
    names = {"1": "a", "2": "b-c", "3": "a-b", "4": "c", "5": "a-b-c-r1"}
    made = cut({("1", "2"): 100, ("3", "4"): 100, ("1", "4"): 90_000, ("3", "5"): 100}, names, 80_000)
    assert [span.id for span in made.spans] == ["a-b-c", "a-b-c-2", "a-c-s1", "a-c-s2", "a-b-a-b-c-r1"]
    made = cut({("1", "2"): 90_000}, names, 80_000)
    assert made.relays == ("a-b-c-r1-2",)


def test_the_longest_names_and_most_spans_fit_into_ids() -> None:
    names = {"1": "a" * 24, "2": "b" * 24}
    made = cut({("1", "2"): 5_000_000}, names, 1_000)
    assert max(len(span.id) for span in made.spans) <= 60
    assert max(map(len, made.relays)) <= 63
    assert len({span.id for span in made.spans}) == 5_000


def test_lengths_are_written_as_topologies_write_them() -> None:
    assert [length_text(length_m) for length_m in (250, 1_000, 72_900, 25_000)] == ["250m", "1km", "72.9km", "25km"]
