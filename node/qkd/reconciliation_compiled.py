"""node.qkd.reconciliation_compiled: the kernels of Cascade, compiled. Pure. Imports numba: import it where used."""

import numba
import numpy as np

from node.qkd import reconciliation_kernels as kernels
from qnetem.runtime.rng_compiled import philox4x32

__all__ = ["absorb", "ask", "pass_words", "prefix_parities", "range_parities"]

_FIND = "(int64, int32[:,::1], int32[:,::1], uint8[:,::1], uint8[:,::1], uint8[:,::1], uint8[:,::1], int64[::1], "
_QUERIES = "uint8[::1], int64[::1], int64[::1]"

absorb = numba.njit(
    "UniTuple(int64, 2)"
    + _FIND
    + "uint8[:,::1], int64[:,::1], "
    + _QUERIES
    + ", uint8[::1], uint8[::1], int64[::1], int64[::1])",
    cache=True,
    nogil=True,
)(kernels.absorb)

ask = numba.njit(
    "int64(int64[::1], int64[::1], int64, uint8[:,::1], int64[::1], uint8[:,::1], int64[:,::1], "
    "uint8[::1], int64[::1], int64, " + _QUERIES + ")",
    cache=True,
    nogil=True,
)(kernels.ask)


@numba.njit("void(uint8[::1], uint8[::1])", cache=True, nogil=True)
def prefix_parities(bits, prefixes):  # type: ignore[no-untyped-def]
    """Write the parity of bits[: i + 1] to prefixes[i] (see reconciliation_kernels)."""
    parity = np.uint8(0)
    for i in range(len(bits)):
        parity ^= bits[i]
        prefixes[i] = parity


@numba.njit("void(uint8[:,::1], " + _QUERIES + ", uint8[::1])", cache=True, nogil=True)
def range_parities(ordered, passes, starts, lengths, parities):  # type: ignore[no-untyped-def]
    """Write the parity of each range of an ordered pass to `parities` (see reconciliation_kernels)."""
    for i in range(len(passes)):
        parity = 0
        for position in range(starts[i], starts[i] + lengths[i]):
            parity ^= ordered[passes[i], position]
        parities[i] = parity


@numba.njit("void(int64, uint32, uint32, uint32, uint32[:,:,::1])", cache=True, nogil=True)
def pass_words(first_pass, stream, k0, k1, words):  # type: ignore[no-untyped-def]
    """Write the Philox words of passes, four to each counter: see reconciliation_layout."""
    for number in range(words.shape[0]):
        for counter in range(words.shape[1]):
            w0, w1, w2, w3 = philox4x32(counter, first_pass + number, 0, stream, k0, k1)
            words[number, counter, 0], words[number, counter, 1] = np.uint32(w0), np.uint32(w1)
            words[number, counter, 2], words[number, counter, 3] = np.uint32(w2), np.uint32(w3)
