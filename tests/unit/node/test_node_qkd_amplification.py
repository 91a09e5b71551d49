"""Privacy amplification is the exact product of matrix and bits, at every size and block border."""

import numpy as np
import pytest

from node.qkd import amplification, amplification_compiled
from node.qkd.amplification import toeplitz_hash
from node.qkd.bits import Bits, parity
from qnetem.runtime.errors import BadInputError


def product(bits: Bits, seed: Bits, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Bits:
    """Rows of the product, straight from the definition."""
    return np.array([parity(seed[row : row + len(bits)][::-1] & bits) for row in rows.tolist()], dtype=np.uint8)


@pytest.mark.parametrize(
    ("bit_count", "secret_bits"),
    [(1, 1), (2, 2), (31, 31), (32, 7), (33, 33), (1000, 1), (32_768, 300), (32_769, 32_769), (100_000, 40_000)],
)
@pytest.mark.parametrize("is_compiled", [False, True])
def test_transform_and_halves_give_the_product(bit_count: int, secret_bits: int, is_compiled: bool) -> None:
    rng = np.random.default_rng(bit_count)
    bits = rng.integers(0, 2, bit_count, dtype=np.uint8)
    seed = rng.integers(0, 2, bit_count + secret_bits - 1, dtype=np.uint8)
    rows = np.unique(rng.integers(0, secret_bits, 300))
    assert (
        toeplitz_hash(bits, seed, secret_bits, is_compiled=is_compiled)[rows].tolist()
        == product(bits, seed, rows).tolist()
    )


def test_both_block_sizes_and_halves_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(7)
    bits = rng.integers(0, 2, 600_000, dtype=np.uint8)
    seed = rng.integers(0, 2, 900_000, dtype=np.uint8)
    small = toeplitz_hash(bits, seed, 300_001, is_compiled=False)
    assert np.array_equal(small, toeplitz_hash(bits, seed, 300_001, is_compiled=True))
    monkeypatch.setattr(amplification, "_SMALL_MATRIX", 1)
    assert np.array_equal(small, toeplitz_hash(bits, seed, 300_001, is_compiled=False))


@pytest.mark.parametrize(
    ("bit_count", "secret_bits"),
    [(1, 1), (64, 64), (65, 64), (2048, 2048), (4097, 2049), (9_000, 1), (50_001, 20_011)],
)
def test_with_and_without_multiplication_without_carries_it_is_the_same(
    bit_count: int, secret_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(bit_count)
    bits = rng.integers(0, 2, bit_count, dtype=np.uint8)
    seed = rng.integers(0, 2, bit_count + secret_bits - 1, dtype=np.uint8)
    as_it_is = toeplitz_hash(bits, seed, secret_bits, is_compiled=True)
    monkeypatch.setattr(amplification_compiled, "is_carryless", lambda: False)
    assert np.array_equal(as_it_is, toeplitz_hash(bits, seed, secret_bits, is_compiled=True))


@pytest.mark.parametrize("is_compiled", [False, True])
def test_the_largest_sums_are_still_exact(is_compiled: bool) -> None:
    # all ones: every sum is as large as it can be, n or less, and so is the error of the transform
    bit_count, secret_bits = 1_000_000, 1_000
    bits = np.ones(bit_count, dtype=np.uint8)
    seed = np.ones(bit_count + secret_bits - 1, dtype=np.uint8)
    assert not toeplitz_hash(bits, seed, secret_bits, is_compiled=is_compiled).any()
    seed[500] = 0
    made = toeplitz_hash(bits, seed, secret_bits, is_compiled=is_compiled)
    assert made.tolist() == [1] * 501 + [0] * 499


@pytest.mark.parametrize(("bit_count", "seed_bits", "secret_bits"), [(8, 8, 0), (8, 16, 9), (8, 10, 4), (8, 12, 4)])
def test_sizes_that_do_not_fit_are_refused(bit_count: int, seed_bits: int, secret_bits: int) -> None:
    with pytest.raises(BadInputError, match=r"secret bits|Toeplitz seed"):
        toeplitz_hash(np.ones(bit_count, dtype=np.uint8), np.ones(seed_bits, dtype=np.uint8), secret_bits)
