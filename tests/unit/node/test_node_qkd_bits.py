"""Bits on the wire: least significant first, padding zero, lengths exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.qkd import bits
from qnetem.runtime.errors import BadInputError


def test_the_first_bit_is_the_least_significant() -> None:
    assert bits.pack(np.array([1, 0, 0, 0, 0, 0, 0, 1, 1], dtype=np.uint8)) == b"\x81\x01"


@given(st.lists(st.integers(0, 1)))
@settings(deadline=None, derandomize=True)
def test_what_is_packed_unpacks_to_itself(values: list[int]) -> None:
    data = bits.pack(np.array(values, dtype=np.uint8))
    assert len(data) == (len(values) + 7) // 8
    assert bits.unpack(data, len(values)).tolist() == values


@pytest.mark.parametrize(("data", "bit_count"), [(b"", 1), (b"\0", 0), (b"\0\0", 8), (b"\0", 9), (b"\0", -1)])
def test_a_wrong_length_is_refused(data: bytes, bit_count: int) -> None:
    with pytest.raises(BadInputError, match="matches"):
        bits.unpack(data, bit_count, "matches")


def test_padding_that_is_not_zero_is_refused() -> None:
    assert bits.unpack(b"\x07", 3).tolist() == [1, 1, 1]
    with pytest.raises(BadInputError, match="padding after bit 3"):
        bits.unpack(b"\x0f", 3)


@pytest.mark.parametrize("values", [[2], [-1], [0.5], [[0, 1]], ["0"]])
def test_other_values_than_bits_are_refused(values: list[object]) -> None:
    with pytest.raises(BadInputError, match="key"):
        bits.checked(np.array(values), "key")


def test_parity_of_no_bits_is_even() -> None:
    assert bits.parity(np.zeros((2, 0), dtype=np.uint8)).tolist() == [0, 0]
    assert bits.parity(np.array([[1, 1], [1, 0]], dtype=np.uint8)).tolist() == [0, 1]


@pytest.mark.parametrize(("level_count", "size"), [(1, 0), (2, 2), (3, 4), (4, 4), (5, 5)])
def test_levels_take_as_few_bits_as_hold_them(level_count: int, size: int) -> None:
    levels = np.arange(13, dtype=np.uint8) % level_count
    data = bits.pack_levels(levels, level_count)
    assert len(data) == size
    assert bits.unpack_levels(data, 13, level_count).tolist() == levels.tolist()


def test_two_levels_are_bits_and_three_have_their_least_significant_bit_first() -> None:
    assert bits.pack_levels(np.array([1, 0, 1], dtype=np.uint8), 2) == b"\x05"
    assert bits.pack_levels(np.array([2, 1, 0], dtype=np.uint8), 3) == b"\x06"


def test_a_level_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInputError, match="intensities: 3 is not below 3"):
        bits.unpack_levels(b"\x03", 1, 3, "intensities")
    with pytest.raises(BadInputError, match="intensities"):
        bits.unpack_levels(b"\x03\x00", 1, 3, "intensities")
