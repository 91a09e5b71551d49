"""What the topology file lets through, the quantum channel takes: else `up` fails on a file that was found good."""

import pytest

from qnetem.topology import fields
from quantum_channel.parameters import RANGES


@pytest.mark.parametrize("field", [f for f in fields.QUANTUM if f.wire in RANGES], ids=lambda field: field.key)
def test_a_value_of_the_file_is_one_of_the_channel(field: fields.Field) -> None:
    low, high = RANGES[field.wire]
    assert low <= field.quantity.minimum
    assert field.quantity.maximum <= high


def test_every_range_of_the_channel_has_its_field() -> None:
    assert set(RANGES) <= {field.wire for field in fields.QUANTUM}
