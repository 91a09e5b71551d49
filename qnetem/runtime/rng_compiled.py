"""qnetem.runtime.rng_compiled: Philox4x32-10 for compiled kernels. Pure.

Imports numba, which is slow: imported by compiled kernels alone, never at the top of what every process imports.
"""

import numba
import numpy as np

__all__ = ["philox4x32"]


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
