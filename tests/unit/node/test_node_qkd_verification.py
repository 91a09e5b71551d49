"""The verification hash: any difference shows, and the key decides."""

import numpy as np
import pytest

from node.qkd.verification import collision_prob, polynomial_hash
from qnetem.runtime.errors import BadInputError

KEY = bytes(range(1, 17))


@pytest.mark.parametrize("bit_count", [1, 128, 129, 20_000])
def test_one_wrong_bit_changes_the_hash(bit_count: int) -> None:
    bits = np.random.default_rng(1).integers(0, 2, bit_count, dtype=np.uint8)
    seen = {polynomial_hash(bits, KEY)}
    for place in {0, bit_count // 2, bit_count - 1}:
        bits[place] ^= 1
        seen.add(polynomial_hash(bits, KEY))
        bits[place] ^= 1
    assert len(seen) == 1 + len({0, bit_count // 2, bit_count - 1})


def test_the_hash_is_linear_in_the_bits() -> None:
    a, b = np.random.default_rng(2).integers(0, 2, (2, 5000), dtype=np.uint8)
    hashes = [int.from_bytes(polynomial_hash(bits, KEY), "little") for bits in (a, b, a ^ b)]
    assert hashes[0] ^ hashes[1] == hashes[2]


def test_other_keys_give_other_hashes() -> None:
    bits = np.ones(1000, dtype=np.uint8)
    keys = [bytes([value]) + bytes(15) for value in range(50)]
    assert len({polynomial_hash(bits, key) for key in keys}) == 50


def test_collisions_are_as_rare_as_the_degree_allows() -> None:
    assert collision_prob(10**7) == pytest.approx(78_125 * 2.0**-128, rel=1e-12)
    assert collision_prob(1) == 2.0**-128


@pytest.mark.parametrize("key", [b"", KEY[:-1], KEY + b"\0"])
def test_a_key_of_another_size_is_refused(key: bytes) -> None:
    with pytest.raises(BadInputError, match="16 bytes"):
        polynomial_hash(np.ones(8, dtype=np.uint8), key)


def test_what_is_not_bits_is_refused() -> None:
    with pytest.raises(BadInputError, match="no bits"):
        polynomial_hash(np.zeros(0, dtype=np.uint8), KEY)
    with pytest.raises(BadInputError, match="other values"):
        polynomial_hash(np.array([0, 3], dtype=np.uint8), KEY)
