"""Who is on which plane, and what of a testbed is told of it."""

import pytest

from qnetem.runtime.errors import BadInputError
from qnetem.testbed.containers.networks import plane_of
from qnetem.testbed.planes import PLANES, chosen_planes, plane_names, plane_values, planes_on
from qnetem.v1 import process_pb2, supervisor_pb2


def test_planes_are_told_on_the_wire_and_read_from_it() -> None:
    assert plane_names(plane_values(PLANES)) == PLANES
    assert plane_names(plane_values(["management", "quantum"])) == ("quantum", "management")
    assert plane_names([]) == ()
    for values in ([0], [4], [1, 99]):
        with pytest.raises(BadInputError, match=r"^plane \d+: there is none of that number"):
            plane_names(values)
    with pytest.raises(BadInputError, match=r"^plane x: there are quantum, classical, management$"):
        plane_values(["quantum", "x"])


def test_a_process_is_taken_off_what_it_is_on() -> None:
    assert planes_on(process_pb2.PROCESS_KIND_BROKER) == ("management",)
    node, channel = process_pb2.PROCESS_KIND_NODE, process_pb2.PROCESS_KIND_QUANTUM_CHANNEL
    assert chosen_planes("n", node, []) == frozenset(PLANES)
    assert chosen_planes("n", node, ["classical"]) == {"classical"}
    with pytest.raises(BadInputError, match=r"^qc: is not on the classical plane \(quantum, management\)$"):
        chosen_planes("qc", channel, ["quantum", "classical"])
    # every kind is on some plane, and every plane has its number
    assert all(planes_on(kind) for kind in process_pb2.ProcessKind.values())
    assert len(supervisor_pb2.Plane.values()) == 1 + len(PLANES)


def test_a_network_is_of_the_plane_that_its_name_says() -> None:
    names = ["n-quantum-classical", "n-quantum", "quantum-management", "carriers"]
    assert [plane_of(name) for name in names] == ["classical", "quantum", "management", "management"]
