"""What the topology file lets through, the quantum channel takes: else `up` fails on a file that was found good."""

import dataclasses

import pytest

from qnetem.topology import fields
from qnetem.topology.units import Quantity
from quantum_channel.parameters import RANGES, Parameters


@pytest.mark.parametrize("field", [f for f in fields.QUANTUM if f.wire in RANGES], ids=lambda field: field.key)
def test_a_value_of_the_file_is_one_of_the_channel(field: fields.Field) -> None:
    low, high = RANGES[field.wire]
    assert isinstance(field.quantity, Quantity)
    assert low <= field.quantity.minimum
    assert field.quantity.maximum <= high


def test_a_default_of_the_file_is_that_of_the_channel() -> None:
    of_the_channel = {each.name: each.default for each in dataclasses.fields(Parameters) if each.name != "is_up"}
    of_the_file = {field.wire: field.default for field in fields.QUANTUM if field.default is not None}
    assert of_the_file == {name: value for name, value in of_the_channel.items() if value is not dataclasses.MISSING}


def test_every_range_of_the_channel_has_its_field() -> None:
    assert set(RANGES) <= {field.wire for field in fields.QUANTUM}
