"""qnetem.testbed.planes: the three planes, and which of them a process is on. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Literal

from qnetem.runtime.errors import BadInputError
from qnetem.v1 import process_pb2, supervisor_pb2

__all__ = ["PLANES", "Plane", "chosen_planes", "plane_names", "plane_values", "planes_on"]

Plane = Literal["quantum", "classical", "management"]
PLANES: Final[tuple[Plane, ...]] = ("quantum", "classical", "management")
_ON: Final[Mapping[int, tuple[Plane, ...]]] = {
    process_pb2.PROCESS_KIND_NODE: PLANES,
    process_pb2.PROCESS_KIND_QUANTUM_CHANNEL: ("quantum", "management"),
    process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL: ("classical", "management"),
}
_PREFIX: Final = "PLANE_"


def planes_on(kind: int) -> tuple[Plane, ...]:
    """Return the planes that a process of a kind (a ProcessKind) is on."""
    return _ON.get(kind, ("management",))


def chosen_planes(name: str, kind: int, planes: Collection[Plane]) -> frozenset[Plane]:
    """Return the planes that are meant of a process: those that are named, or all that it is on.

    Raises:
        BadInputError: It is not on one of them.
    """
    on = planes_on(kind)
    for plane in planes:
        if plane not in on:
            raise BadInputError(f"{name}: is not on the {plane} plane ({', '.join(on)})")
    return frozenset(planes or on)


def plane_names(values: Iterable[int]) -> tuple[Plane, ...]:
    """Return the planes that a message names, in their order.

    Raises:
        BadInputError: A value is none.
    """
    given = set(values)
    named = {supervisor_pb2.Plane.Value(_PREFIX + plane.upper()): plane for plane in PLANES}
    if unknown := given - named.keys():
        raise BadInputError(f"plane {min(unknown)}: there is none of that number ({', '.join(PLANES)})")
    return tuple(plane for value, plane in named.items() if value in given)


def plane_values(planes: Collection[str]) -> list[supervisor_pb2.Plane.ValueType]:
    """Return planes as a message names them.

    Raises:
        BadInputError: There is no such plane.
    """
    for plane in planes:
        if plane not in PLANES:
            raise BadInputError(f"plane {plane}: there are {', '.join(PLANES)}")
    return [supervisor_pb2.Plane.Value(_PREFIX + plane.upper()) for plane in PLANES if plane in planes]
