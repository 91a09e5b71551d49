"""quantum_channel.log_compiled: the logarithm of a uniform word, compiled, without a library's rounding. Pure."""

import numba
import numpy as np

__all__ = ["log_uniform"]


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def log_uniform(word):  # type: ignore[no-untyped-def]
    """Return ln((word + 1/2) / 2^32), a uint32 word: to the last bit what sampler.log_uniform returns."""
    low, root_half = np.uint64(0xFFFFFFFFFFFFF), np.uint64(0x3FE6A09E667F3BCD)
    bits = np.float64(np.float64(word) + 0.5).view(np.uint64) + (np.uint64(0x3FF0000000000000) - root_half)
    power = np.float64(np.int32(bits >> np.uint64(52)) - np.int32(1023 + 32))
    mantissa = np.uint64((bits & low) + root_half).view(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = 1.0 / 11.0
    series = series * square + 1.0 / 9.0
    series = series * square + 1.0 / 7.0
    series = series * square + 1.0 / 5.0
    series = series * square + 1.0 / 3.0
    return power * 0.6931471805599453 + (2.0 * s) * (series * square + 1.0)
