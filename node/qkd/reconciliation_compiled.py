"""node.qkd.reconciliation_compiled: the kernels of Cascade, compiled. Pure. Imports numba: import it where used."""

import numba

from node.qkd import reconciliation_kernels as kernels

__all__ = ["absorb", "ask", "range_parities"]

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


@numba.njit("void(uint8[:,::1], " + _QUERIES + ", uint8[::1])", cache=True, nogil=True)
def range_parities(ordered, passes, starts, lengths, parities):  # type: ignore[no-untyped-def]
    """Write the parity of each range of an ordered pass to `parities` (see reconciliation_kernels)."""
    for i in range(len(passes)):
        parity = 0
        for position in range(starts[i], starts[i] + lengths[i]):
            parity ^= ordered[passes[i], position]
        parities[i] = parity
