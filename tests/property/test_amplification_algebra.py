"""The Toeplitz product is linear in bits and seed, and depends on every part of them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from node.qkd.amplification import toeplitz_hash

SIZES = st.integers(1, 3_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@given(SIZES, st.integers(0, 2**32))
@settings(deadline=None, derandomize=True)
def test_the_product_is_linear_in_the_bits_and_in_the_seed(sizes: tuple[int, int], seed: int) -> None:
    bit_count, secret_bits = sizes
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 2, (2, bit_count), dtype=np.uint8)
    s, t = rng.integers(0, 2, (2, bit_count + secret_bits - 1), dtype=np.uint8)
    together = toeplitz_hash(a ^ b, s, secret_bits)
    assert np.array_equal(together, toeplitz_hash(a, s, secret_bits) ^ toeplitz_hash(b, s, secret_bits))
    mixed = toeplitz_hash(a, s ^ t, secret_bits)
    assert np.array_equal(mixed, toeplitz_hash(a, s, secret_bits) ^ toeplitz_hash(a, t, secret_bits))


@given(SIZES, st.integers(0, 2**32), st.data())
@settings(deadline=None, derandomize=True)
def test_one_bit_picks_its_diagonal_of_the_seed(sizes: tuple[int, int], seed: int, data: st.DataObject) -> None:
    bit_count, secret_bits = sizes
    bits = np.zeros(bit_count, dtype=np.uint8)
    place = data.draw(st.integers(0, bit_count - 1))
    bits[place] = 1
    toeplitz_seed = np.random.default_rng(seed).integers(0, 2, bit_count + secret_bits - 1, dtype=np.uint8)
    first = bit_count - 1 - place
    assert np.array_equal(toeplitz_hash(bits, toeplitz_seed, secret_bits), toeplitz_seed[first : first + secret_bits])
