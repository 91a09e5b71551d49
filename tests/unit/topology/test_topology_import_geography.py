"""Distances and places: known distances, middles, chains, the date line and the poles."""

import math

import pytest

from qnetem.topology.importing.geography import great_circle_km, placed
from qnetem.topology.importing.network import Place

AMSTERDAM, GENEVA = Place(52.37403, 4.88969), Place(46.20222, 6.14569)


@pytest.mark.parametrize(
    ("first", "second", "expected_km"),
    [
        (Place(0, 0), Place(0, 90), 6371.0088 * math.pi / 2),
        (Place(90, 0), Place(-90, 123), 6371.0088 * math.pi),
        (Place(0, 179.5), Place(0, -179.5), 6371.0088 * math.radians(1)),
        (Place(60, 0), Place(61, 0), 6371.0088 * math.radians(1)),
        (AMSTERDAM, AMSTERDAM, 0),
    ],
)
def test_known_distances(first: Place, second: Place, expected_km: float) -> None:
    assert great_circle_km(first, second) == pytest.approx(expected_km, abs=0.1)
    assert great_circle_km(second, first) == great_circle_km(first, second)


def test_the_law_of_cosines_agrees() -> None:
    south, north = math.radians(GENEVA.latitude_deg), math.radians(AMSTERDAM.latitude_deg)
    east = math.radians(GENEVA.longitude_deg - AMSTERDAM.longitude_deg)
    angle = math.acos(math.sin(south) * math.sin(north) + math.cos(south) * math.cos(north) * math.cos(east))
    assert great_circle_km(AMSTERDAM, GENEVA) == pytest.approx(6371.0088 * angle, rel=1e-9)


def test_a_node_between_two_is_in_their_middle_also_across_the_date_line() -> None:
    places = placed({"a": Place(0, 170), "b": None, "c": Place(0, -170)}, {"b": ["a", "c"]})
    assert abs(places["b"].longitude_deg) == pytest.approx(180)
    assert places["b"].latitude_deg == pytest.approx(0, abs=1e-9)
    assert places["a"] == Place(0, 170)


def test_a_chain_rests_evenly_between_its_ends() -> None:
    chain = ["a", "p", "q", "r", "b"]
    neighbours = {key: [chain[i] for i in (index - 1, index + 1) if 0 <= i < 5] for index, key in enumerate(chain)}
    own: dict[str, Place | None] = dict.fromkeys(chain)
    places = placed(own | {"a": Place(0, 0), "b": Place(0, 4)}, neighbours)
    assert [places[key].longitude_deg for key in chain] == pytest.approx([0, 1, 2, 3, 4], abs=1e-3)


def test_a_leaf_is_where_its_only_neighbour_is() -> None:
    places = placed({"a": AMSTERDAM, "leaf": None}, {"a": ["leaf"], "leaf": ["a"]})
    assert great_circle_km(places["leaf"], AMSTERDAM) < 1e-6


def test_opposite_neighbours_have_a_middle_too() -> None:
    places = placed({"a": Place(0, 0), "b": None, "c": Place(0, 180)}, {"b": ["a", "c"]})
    assert great_circle_km(places["b"], Place(0, 0)) < 1e-6


def test_what_nothing_placed_is_near_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^x is connected to nothing that has a place$"):
        placed({"a": AMSTERDAM, "x": None, "y": None}, {"a": [], "x": ["y"], "y": ["x"]})
