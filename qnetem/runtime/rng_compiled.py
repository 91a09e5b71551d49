"""qnetem.runtime.rng_compiled: Philox4x32-10 for compiled kernels. Pure.

Imports numba, which is slow: imported by compiled kernels alone, never at the top of what every process imports.
"""

import numba
import numpy as np

from qnetem.runtime.rng import STREAM_RECEIVER, STREAM_TRANSMITTER

__all__ = ["philox4x32", "receiver_kernel", "transmitter_kernel"]

_TRANSMITTER = np.uint32(STREAM_TRANSMITTER)
_RECEIVER = np.uint32(STREAM_RECEIVER)


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def philox4x32(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Return the four output words of one counter (see rng.philox4x32), held in uint64: loops over it vectorise."""
    x0, x1, x2, x3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    key0, key1 = np.uint64(k0), np.uint64(k1)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * x0, np.uint64(0xCD9E8D57) * x2
        x0, x1, x2, x3 = (p1 >> half) ^ x1 ^ key0, p1 & low, (p0 >> half) ^ x3 ^ key1, p0 & low
        key0, key1 = (key0 + np.uint64(0x9E3779B9)) & low, (key1 + np.uint64(0xBB67AE85)) & low
    return x0, x1, x2, x3


@numba.njit(
    "void(uint64[::1], uint32[::1], uint64, uint64[::1], uint8[::1], uint8[::1], uint8[::1])", cache=True, nogil=True
)
def transmitter_kernel(indices, words, z_threshold, thresholds, bases, intensities, bits):  # type: ignore[no-untyped-def]
    """Fill in the transmitter's choices (see rng.transmitter_choices); `words` are the secret's."""
    # thresholds in a loop of their own: one inside keeps that over pulses from being vector code, four times as fast
    second_words = np.empty(indices.shape[0], dtype=np.uint32)
    for n in range(indices.shape[0]):
        low = np.uint32(indices[n] & np.uint64(0xFFFFFFFF))
        high = np.uint32(indices[n] >> np.uint64(32))
        w0, w1, w2, _ = philox4x32(low, high, np.uint32(_TRANSMITTER ^ words[2]), words[3], words[0], words[1])
        bases[n] = w0 >= z_threshold
        second_words[n] = w1
        intensities[n] = 0
        bits[n] = w2 >> np.uint64(31)
    for threshold in thresholds:
        for n in range(indices.shape[0]):
            intensities[n] += np.uint8(second_words[n] >= threshold)


@numba.njit("void(uint64[::1], uint32[::1], uint64, uint8[::1], uint8[::1])", cache=True, nogil=True)
def receiver_kernel(indices, words, z_threshold, bases, bits):  # type: ignore[no-untyped-def]
    """Fill in the receiver's choices (see rng.receiver_choices); `words` are the secret's."""
    for n in range(indices.shape[0]):
        low = np.uint32(indices[n] & np.uint64(0xFFFFFFFF))
        high = np.uint32(indices[n] >> np.uint64(32))
        w0, _, w2, _ = philox4x32(low, high, np.uint32(_RECEIVER ^ words[2]), words[3], words[0], words[1])
        bases[n] = w0 >= z_threshold
        bits[n] = w2 >> np.uint64(31)
