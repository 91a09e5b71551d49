"""node.qkd.amplification: privacy amplification: the product of a random Toeplitz matrix with the bits. Pure.

Secret bit i is the parity of bits[j] AND seed[i - j + n - 1] over all j: n bits, l secret bits, n + l - 1 bits of
seed, stated in proto/qnetem/v1/link_session.proto with vectors in tests/contract/post-processing-vectors.json.

Where numba is at hand the matrix is halved and halved again, in the memory of the bits (amplification_carryless where
the processor multiplies without carries, else amplification_compiled). Else the sum is one part of the convolution of
seed and bits, by FFT, cut into blocks of B bits, a few transforms at a time for each block of the secret. Rounding is
exact: the true values are integers up to n, and float64 errs by at most
  3 log2(2B) eps |seed block| |bits block|      (Schatzman 1996; eps = 2^-53, norms at most sqrt(2B) and sqrt(B))
for each of the n/B blocks that are added up: 3 * 19 * 2^-53 * sqrt(2) n < 1e-6 for n = 10^7, where 0.5 is allowed.
"""

import os
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from node.qkd.bits import Bits, checked
from qnetem.runtime.errors import BadInputError

__all__ = ["toeplitz_hash"]

# a transform of twice the small block fits the nearer caches; the large one keeps the number of products down
_SMALL_BLOCK_BITS: Final = 1 << 15
_LARGE_BLOCK_BITS: Final = 1 << 18
_SMALL_MATRIX: Final = 1 << 39

C128 = npt.NDArray[np.complex128]


def toeplitz_hash(bits: Bits, seed_bits: Bits, secret_bits: int, *, is_compiled: bool | None = None) -> Bits:
    """Return the `secret_bits` bits that the Toeplitz matrix of `seed_bits` makes of `bits`.

    Args:
        bits: Sifted and corrected. uint8[n].
        seed_bits: Public, random, new for each block. uint8[n + secret_bits - 1].
        is_compiled: Whether by numba's loops or by numpy alone, which gives the same. None: numba's
            unless the environment has QNETEM_PURE_NUMPY=1.

    Raises:
        BadInputError: `secret_bits` is not in 1 .. n, or the seed has another length.
    """
    bits = checked(bits, "bits to amplify")
    if not 1 <= secret_bits <= len(bits):
        raise BadInputError(f"{secret_bits} secret bits from {len(bits)} bits")
    seed = checked(seed_bits, "Toeplitz seed", len(bits) + secret_bits - 1)
    if _is_compiled(is_compiled):
        return _hankel_product()(seed, bits[::-1], secret_bits)
    size = _block_bits(len(bits), secret_bits)
    rows = -(-secret_bits // size)
    sums = np.zeros((rows, size + 1), dtype=np.complex128)
    product = np.empty(size + 1, dtype=np.complex128)
    # the diagonals that the row blocks need move by one with each column block: each is transformed once
    window = deque((_seed_transform(seed, row * size + len(bits), size) for row in range(rows)), maxlen=rows)
    for start in range(0, len(bits), size):
        if start:
            window.appendleft(_seed_transform(seed, len(bits) - start, size))
        transform = np.fft.rfft(bits[start : start + size], n=2 * size)
        for total, diagonal in zip(sums, window, strict=True):
            np.multiply(diagonal, transform, out=product)
            total += product
    result = np.empty((rows, size), dtype=np.uint8)
    for row in range(rows):
        result[row] = np.rint(np.fft.irfft(sums[row], n=2 * size)[size - 1 : 2 * size - 1]).astype(np.int64) & 1
    return result.reshape(-1)[:secret_bits]


def _is_compiled(asked: bool | None) -> bool:
    return os.environ.get("QNETEM_PURE_NUMPY") != "1" if asked is None else asked


def _hankel_product() -> Callable[[Bits, Bits, int], Bits]:
    from node.qkd import amplification_compiled

    if not amplification_compiled.is_carryless():
        return amplification_compiled.hankel_product
    from node.qkd import amplification_carryless

    return amplification_carryless.hankel_product


def _block_bits(bit_count: int, secret_bits: int) -> int:
    if bit_count * secret_bits >= _SMALL_MATRIX:
        return _LARGE_BLOCK_BITS
    return min(_SMALL_BLOCK_BITS, 1 << (bit_count - 1).bit_length())


def _seed_transform(seed: Bits, middle: int, size: int) -> C128:
    """Return the transform of seed[middle - B : middle + B - 1], zeros where that is outside of the seed.

    A row block that starts at row r and a column block at column c use seed[i - j + n - 1], i - j within B of r - c:
    `middle` is r - c + n.
    """
    window = np.zeros(2 * size)
    first, last = max(middle - size, 0), min(middle + size - 1, len(seed))
    if first < last:
        window[first - (middle - size) : last - (middle - size)] = seed[first:last]
    return np.fft.rfft(window)
