"""qnetem.runtime.rng_compiled: Philox4x32-10 for compiled kernels. Pure.

Imports numba, which is slow: imported by compiled kernels alone, never at the top of what every process imports.
"""

import numba
import numpy as np

from qnetem.runtime.rng import STREAM_RECEIVER, STREAM_TRANSMITTER

__all__ = ["philox4x32", "receiver_kernel", "transmitter_kernel"]

_TRANSMITTER = np.uint32(STREAM_TRANSMITTER)
_RECEIVER = np.uint32(STREAM_RECEIVER)


@numba.njit(
    "UniTuple(uint32, 4)(uint32, uint32, uint32, uint32, uint32, uint32)",
    cache=True,
    nogil=True,
    inline="always",
)
def philox4x32(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Return the four output words of one counter (see rng.philox4x32)."""
    x0 = np.uint32(c0)
    x1 = np.uint32(c1)
    x2 = np.uint32(c2)
    x3 = np.uint32(c3)
    key0 = np.uint32(k0)
    key1 = np.uint32(k1)
    for _ in range(10):
        p0 = np.uint64(x0) * np.uint64(0xD2511F53)
        p1 = np.uint64(x2) * np.uint64(0xCD9E8D57)
        x0 = np.uint32(np.uint32(p1 >> np.uint64(32)) ^ x1 ^ key0)
        x1 = np.uint32(p1)
        x2 = np.uint32(np.uint32(p0 >> np.uint64(32)) ^ x3 ^ key1)
        x3 = np.uint32(p0)
        key0 = np.uint32(key0 + np.uint32(0x9E3779B9))
        key1 = np.uint32(key1 + np.uint32(0xBB67AE85))
    return x0, x1, x2, x3


@numba.njit(
    "void(uint64[::1], uint32[::1], uint64, uint64[::1], uint8[::1], uint8[::1], uint8[::1])", cache=True, nogil=True
)
def transmitter_kernel(indices, words, z_threshold, thresholds, bases, intensities, bits):  # type: ignore[no-untyped-def]
    """Fill in the transmitter's choices (see rng.transmitter_choices); `words` are the secret's."""
    for n in range(indices.shape[0]):
        low = np.uint32(indices[n] & np.uint64(0xFFFFFFFF))
        high = np.uint32(indices[n] >> np.uint64(32))
        w0, w1, w2, _ = philox4x32(low, high, np.uint32(_TRANSMITTER ^ words[2]), words[3], words[0], words[1])
        bases[n] = np.uint64(w0) >= z_threshold
        index = np.uint8(0)
        for threshold in thresholds:
            if np.uint64(w1) >= threshold:
                index += np.uint8(1)
        intensities[n] = index
        bits[n] = w2 >> np.uint32(31)


@numba.njit("void(uint64[::1], uint32[::1], uint64, uint8[::1], uint8[::1])", cache=True, nogil=True)
def receiver_kernel(indices, words, z_threshold, bases, bits):  # type: ignore[no-untyped-def]
    """Fill in the receiver's choices (see rng.receiver_choices); `words` are the secret's."""
    for n in range(indices.shape[0]):
        low = np.uint32(indices[n] & np.uint64(0xFFFFFFFF))
        high = np.uint32(indices[n] >> np.uint64(32))
        w0, _, w2, _ = philox4x32(low, high, np.uint32(_RECEIVER ^ words[2]), words[3], words[0], words[1])
        bases[n] = np.uint64(w0) >= z_threshold
        bits[n] = w2 >> np.uint32(31)
