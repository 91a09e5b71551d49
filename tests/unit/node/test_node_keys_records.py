"""Halves of blocks, key ids, and key material that does not print itself."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.keys.records import Assignment, BlockRole, Halves, IssuedKey, Piece, Pool, is_key_id
from node.keys.secret import SecretBytes


@pytest.mark.parametrize(
    ("bit_count", "transmitter", "receiver"),
    [
        (1000, (0, 496), (504, 1000)),
        (1005, (0, 496), (504, 1000)),
        (16, (0, 8), (8, 16)),
        (17, (0, 8), (8, 16)),
        (15, (0, 0), (8, 8)),
        (9, (0, 0), (8, 8)),
        (24, (0, 8), (16, 24)),
    ],
)
def test_halves_are_those_of_the_wire_contract(
    bit_count: int, transmitter: tuple[int, int], receiver: tuple[int, int]
) -> None:
    assert Halves.of(bit_count, BlockRole.TRANSMITTER) == Halves(*transmitter, *receiver)
    assert Halves.of(bit_count, BlockRole.RECEIVER) == Halves(*receiver, *transmitter)


@given(st.integers(1, 10**6))
def test_halves_are_whole_bytes_within_their_half(bit_count: int) -> None:
    halves = Halves.of(bit_count, BlockRole.TRANSMITTER)
    bounds = [halves.own_start, halves.own_end, halves.peer_start, halves.peer_end]
    assert all(bound % 8 == 0 for bound in bounds)
    assert bounds == sorted(bounds)
    assert halves.own_end <= bit_count // 2
    if halves.peer_bits:
        assert halves.peer_start >= bit_count // 2
        assert halves.peer_end <= bit_count
    assert halves.own_bits + halves.peer_bits > bit_count - 24


def test_a_key_shows_its_length_alone() -> None:
    secret = SecretBytes(b"\x13\x37" * 16)
    issued = IssuedKey("id", secret)
    for text in (repr(secret), str(secret), f"{secret}", repr(issued), repr([secret]), f"{issued!r}"):
        assert "SecretBytes(32 bytes)" in text
        assert "1337" not in text
        assert "\\x13" not in text
    assert len(secret) == 32
    assert secret == SecretBytes(secret.reveal())
    assert secret != SecretBytes(b"\x13\x37" * 15)
    assert secret != secret.reveal()
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        hash(secret)


def test_key_ids_are_lower_case_uuids() -> None:
    good = "0b0cbb86-6d6c-4d0c-9b9a-1d2a8a0f4f11"
    assert is_key_id(good)
    for bad in ("", good.upper(), good + "\n", " " + good, good.replace("-", ""), good[:-1], "{" + good + "}"):
        assert not is_key_id(bad)


def test_sums_of_pieces_and_pools() -> None:
    pieces = (Piece("a", 8, 16), Piece("b", 0, 8))
    assert Assignment("id", pieces).size_bits == 24
    assert pieces[0].end_bits == 24
    pool = Pool("bob", 100, 1, 2, 4, 8, 16, 30, 20, 10, 9)
    assert pool.held_bits == 31
