"""qnetem.topology.importing.geography: distances on the Earth, and places for nodes that have none. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from qnetem.topology.importing.network import Place

__all__ = ["great_circle_km", "placed"]

# Mean radius of the Earth. Source: IUGG, R1 of GRS 80 (Moritz 2000).
_EARTH_KM: Final = 6371.0088
# When no place moves by more than this, about 6 m, all are at rest.
_AT_REST_RAD: Final = 1e-6
_MOST_ROUNDS: Final = 300

_Vector = tuple[float, float, float]


def great_circle_km(first: Place, second: Place) -> float:
    """Return the distance along the surface. Source: haversine formula, which keeps its digits at short distances."""
    south, north = math.radians(first.latitude_deg), math.radians(second.latitude_deg)
    east = math.radians(second.longitude_deg - first.longitude_deg)
    chord = math.sin((north - south) / 2) ** 2 + math.cos(south) * math.cos(north) * math.sin(east / 2) ** 2
    return 2 * _EARTH_KM * math.asin(math.sqrt(min(1.0, chord)))


def placed(places: Mapping[str, Place | None], neighbours: Mapping[str, Sequence[str]]) -> dict[str, Place]:
    """Return a place for every key: its own, else the middle of its neighbours' places.

    Those beside placed ones come first, layer by layer; then each goes to the middle of all its neighbours, again and
    again, until all rest. A chain between two cities ends up evenly spaced between them, a leaf on its only neighbour.

    Raises:
        ValueError: A key is connected to no key that has a place.
    """
    own = {key: _vector(place) for key, place in places.items() if place is not None}
    vectors = dict(own)
    waiting = [key for key in places if key not in own]
    free = tuple(waiting)
    while waiting:
        known = {key: [vectors[each] for each in neighbours[key] if each in vectors] for key in waiting}
        found = {key: _middle(around) for key, around in known.items() if around}
        if not found:
            raise ValueError(f"{waiting[0]} is connected to nothing that has a place")
        vectors |= found
        waiting = [key for key in waiting if key not in found]
    for _ in range(_MOST_ROUNDS):
        moved = 0.0
        for key in free:
            middle = _middle([vectors[each] for each in neighbours[key]])
            moved = max(moved, math.dist(middle, vectors[key]))
            vectors[key] = middle
        if moved <= _AT_REST_RAD:
            break
    return {key: place or _place(vectors[key]) for key, place in places.items()}


def _vector(place: Place) -> _Vector:
    latitude, longitude = math.radians(place.latitude_deg), math.radians(place.longitude_deg)
    around = math.cos(latitude)
    return around * math.cos(longitude), around * math.sin(longitude), math.sin(latitude)


def _middle(vectors: Sequence[_Vector]) -> _Vector:
    """Return the direction of the mean; the first of vectors that cancel out, which have no middle."""
    x, y, z = (math.fsum(axis) for axis in zip(*vectors, strict=True))
    norm = math.hypot(x, y, z)
    return (x / norm, y / norm, z / norm) if norm > 1e-9 else vectors[0]


def _place(vector: _Vector) -> Place:
    x, y, z = vector
    return Place(math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x)))
