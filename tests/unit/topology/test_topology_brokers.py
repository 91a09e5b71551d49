"""What a topology says of its broker, and that it says the same after a round."""

from pathlib import Path
from typing import Any

import pytest

from qnetem.topology import difference, from_dict, parse, render, ring
from qnetem.topology.model import Telemetry

EXTERNAL = {"broker": "external", "address": "mqtt.example:8883", "ca": "my ca.pem"}


@pytest.mark.parametrize(
    ("block", "meant", "has_broker"),
    [
        (None, Telemetry(), True),
        ({"broker": "embedded"}, Telemetry(), True),
        ({"broker": "mosquitto"}, Telemetry("mosquitto"), True),
        ({"broker": "none"}, Telemetry("none"), False),
        (EXTERNAL, Telemetry("external", "mqtt.example:8883", "my ca.pem"), False),
        (
            EXTERNAL | {"username": "lab", "password_file": "../password"},
            Telemetry("external", "mqtt.example:8883", "my ca.pem", "lab", "../password"),
            False,
        ),
    ],
)
def test_a_broker_is_read_and_written(block: dict[str, Any] | None, meant: Telemetry, has_broker: bool) -> None:
    topology = from_dict(ring(2) | ({} if block is None else {"telemetry": block}))
    assert (topology.telemetry, topology.has_broker) == (meant, has_broker)
    again = parse(render(topology))
    assert (again.telemetry, again.digest) == (meant, topology.digest)


def test_another_broker_is_another_topology() -> None:
    embedded, external = from_dict(ring(2)), from_dict(ring(2) | {"telemetry": EXTERNAL})
    assert embedded.digest != external.digest
    assert difference(embedded, external) == [
        "telemetry.broker embedded -> external",
        "telemetry.address none -> mqtt.example:8883",
        "telemetry.ca none -> my ca.pem",
    ]


def test_files_are_beside_the_topology_unless_they_are_absolute(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(render(from_dict(ring(2))))
    from qnetem.topology import load

    assert load(path).path_of("ca.pem") == tmp_path / "ca.pem"
    assert load(path).path_of("/ca.pem") == Path("/ca.pem")
