"""quantum_channel.raw_time_compiled: the loop of raw_time over clicks, compiled. Pure.

Imports numba, which is slow: imported by the channel's service and the zygote alone, after which `raw_time` uses it.
Does the same operations on the same doubles in the same order, and returns the same bytes.
"""

import numba
import numpy as np

__all__ = ["tag"]

_U32, _I32, _I64, _F64, _B = (
    numba.types.Array(dtype, 1, "C") for dtype in (numba.uint32, numba.int32, numba.int64, numba.float64, numba.boolean)
)
_SIGNATURE = numba.types.Tuple((_U32, _I32, _I32, _B, numba.float64))(
    _U32,  # clicks in each block
    _I32,  # offsets
    _I32,  # arrivals
    _I64,  # when each block starts
    _F64,  # what the clock is off at the points of the grid
    numba.int64,  # number of the first point
    numba.int64,  # from point to point
    numba.float64,  # period
    numba.float64,  # slot of the first block, from the train's first
    numba.float64,  # first slot that is left
    numba.float64,  # reach
)


@numba.njit(_SIGNATURE, cache=True, nogil=True, error_model="numpy")
def tag(  # type: ignore[no-untyped-def]
    counts, offsets, arrivals_ps, starts_ps, points, first_point, grid_ps, period_ps, first_slot, last, reach
):
    """Return counts, offsets and arrivals as tagged, which clicks are kept, and the last slot."""
    tagged = np.zeros(len(counts), np.uint32)
    new_offsets, new_ps = np.empty(len(offsets), np.int32), np.empty(len(offsets), np.int32)
    kept = np.zeros(len(offsets), np.bool_)
    per_ps = 1.0 / period_ps
    # the line that holds between two points; clicks are nearly in the order of time
    point = np.int64(0)
    slope = (points[1] - points[0]) / grid_ps
    at = n = 0
    for b in range(len(counts)):
        slot_0 = first_slot + b * 1048576.0
        for _ in range(counts[b]):
            time_ps = max(np.int64(0), starts_ps[b] + np.int64(np.rint(offsets[at] * period_ps)))
            into_ps = time_ps - (first_point + point) * grid_ps
            if into_ps < 0 or into_ps >= grid_ps:
                point = time_ps // grid_ps - first_point
                slope = (points[point + 1] - points[point]) / grid_ps
                into_ps = time_ps - (first_point + point) * grid_ps
            late_ps = np.rint(points[point] + slope * into_ps) + arrivals_ps[at]
            shift = np.floor(late_ps * per_ps + 0.5)
            offset = offsets[at] + shift
            is_kept = slot_0 + offset >= last and abs(offset) < reach
            kept[at] = is_kept
            if is_kept:
                new_offsets[n] = np.int32(offset)
                new_ps[n] = np.int32(np.rint(late_ps - shift * period_ps))
                tagged[b] += np.uint32(1)
                n += 1
            last = max(last, slot_0 + offset)
            at += 1
    return tagged, new_offsets[:n], new_ps[:n], kept, last
