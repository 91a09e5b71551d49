"""quantum_channel.candidates_compiled: what depends on each candidate for a click alone, and afterpulses. Pure.

Parts of `sampler_compiled`, which says what they are for; for nobody else.
"""

import math

import numba
import numpy as np

from qnetem.runtime.rng_compiled import philox4x32
from quantum_channel.log_compiled import log_uniform
from quantum_channel.sampler import AFTERPULSE_DRAW, BLOCK_BITS, GAP_LIMIT
from quantum_channel.ways import AFTERPULSE_CODES, UNIFORM

__all__ = [
    "BLOCK",
    "add_where",
    "all_lands",
    "all_received",
    "all_sent",
    "all_ways",
    "beget",
    "come",
    "draw",
    "jit",
    "part",
    "positions",
    "received",
    "sent",
    "sieve",
    "way_of",
]

BLOCK = 1 << BLOCK_BITS
# "numpy": a division by zero is no exception, whose check would keep loops from becoming vector code
jit = numba.njit(cache=True, nogil=True, error_model="numpy")
inlined = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")


@jit
def draw(first, block, c3, k0, k1, scale, gaps, keep, way, arrival):  # type: ignore[no-untyped-def]
    low, high = block & np.uint64(0xFFFFFFFF), block >> np.uint64(32)
    for j in range(len(gaps)):
        w0, w1, w2, w3 = philox4x32(np.uint32(first + j), low, high, c3, k0, k1)
        gaps[j] = np.int32(min(log_uniform(np.uint32(w0)) * scale, GAP_LIMIT))
        keep[j] = np.uint32(w1)
        way[j] = np.uint32(w2)
        arrival[j] = np.uint32(w3)


@inlined
def sent(low, high, c2, c3, k0, k1, is_x_from):  # type: ignore[no-untyped-def]
    """Return the class of a pulse as far as the transmitter's basis and bit go, and the word of its intensity."""
    base, level, bit, _ = philox4x32(low, high, c2, c3, k0, k1)
    return np.int32(base >= is_x_from) * np.int32(4) + np.int32(bit >> np.uint64(31)), np.uint32(level)


@inlined
def received(low, high, c2, c3, k0, k1, is_x_from):  # type: ignore[no-untyped-def]
    """Return what the receiver's basis adds to the class of a pulse."""
    base, _, _, _ = philox4x32(low, high, c2, c3, k0, k1)
    return np.int32(base >= is_x_from) * np.int32(2)


@jit
def positions(base, gaps, slots):  # type: ignore[no-untyped-def]
    """Write the slots of candidates as long as they are in the block; return how many are."""
    for j in range(len(gaps)):
        slot = base + np.int64(gaps[j])
        if slot >= BLOCK:
            return j
        slots[j] = slot
        base = slot + 1
    return len(gaps)


@jit
def all_sent(count, start, high, slots, c2, c3, k0, k1, is_x_from, classes, levels):  # type: ignore[no-untyped-def]
    for j in range(count):
        classes[j], levels[j] = sent(np.uint32(start + np.uint32(slots[j])), high, c2, c3, k0, k1, is_x_from)


@jit
def add_where(count, words, threshold, step, classes):  # type: ignore[no-untyped-def]
    for j in range(count):
        classes[j] += np.int32(np.uint64(words[j]) >= threshold) * step


@jit
def sieve(count, keep, accept_intensity, blanked, dead, slots, classes, numbers):  # type: ignore[no-untyped-def]
    """Move those to the front, numbered, that neither intensity nor blanking rules out; return how many they are."""
    left = np.int64(0)
    for j in range(count):
        slot = np.int64(slots[j])
        is_left = (np.uint64(keep[j]) < accept_intensity[classes[j] >> 3]) & (slot > blanked)
        numbers[left] = j
        slots[left] = slots[j]
        classes[left] = classes[j]
        left += np.int64(is_left)
        blanked = slot + dead if is_left else blanked
    return left


@jit
def all_received(count, start, high, slots, c2, c3, k0, k1, is_x_from, classes):  # type: ignore[no-untyped-def]
    for i in range(count):
        classes[i] += received(np.uint32(start + np.uint32(slots[i])), high, c2, c3, k0, k1, is_x_from)


@jit
def _way_of_8(word, c, cells):  # type: ignore[no-untyped-def]
    reached = np.int32(4) * np.int32(word >= cells[c, 3])
    reached += np.int32(2) * np.int32(word >= cells[c, reached + 1])
    return AFTERPULSE_CODES + reached + np.int32(word >= cells[c, reached])


@jit
def way_of(word, c, cells):  # type: ignore[no-untyped-def]
    """Return the code of the way in which a pulse of class c clicked: how many thresholds its word reaches."""
    reached, half = 0, (cells.shape[1] + 1) >> 1
    while half:
        reached += half * (word >= cells[c, reached + half - 1])
        half >>= 1
    return AFTERPULSE_CODES + reached


@jit
def all_ways(count, numbers, way, classes, cells, found):  # type: ignore[no-untyped-def]
    if cells.shape[1] == 7:
        # as plain links have it: no loop within, so that it becomes vector code
        for i in range(count):
            found[i] = _way_of_8(np.uint64(way[numbers[i]]), classes[i], cells)
    else:
        for i in range(count):
            found[i] = way_of(np.uint64(way[numbers[i]]), classes[i], cells)


@jit
def all_lands(  # type: ignore[no-untyped-def]
    count, numbers, arrival, found, kinds, strays, thresholds, shifts, table_ps, guide, guide_bits, slot_ps,
    slots, lands, arrivals_ps,
):  # fmt: skip
    """Write the slots that candidates land in, their arrivals there, and the codes that they have there."""
    for i in range(count):
        word, kind = np.uint64(arrival[numbers[i]]), kinds[found[i]]
        if kind == UNIFORM:
            lands[i] = slots[i]
            arrivals_ps[i] = np.int64((word * np.uint64(slot_ps)) >> np.uint64(32)) - slot_ps // 2
        else:
            outcome = guide[(np.int64(kind) << guide_bits) + np.int64(word >> np.uint64(32 - guide_bits))]
            while word >= thresholds[outcome]:
                outcome += 1
            lands[i] = slots[i] + shifts[outcome]
            arrivals_ps[i] = table_ps[outcome]
            if shifts[outcome] != 0:
                found[i] = strays[found[i]]


@jit
def come(limit, dead, blanked, due_at, due_end, due, n, clicks):  # type: ignore[no-untyped-def]
    """Register the afterpulses due up to and in slot `limit`; return (last blanked slot, first still due, clicks)."""
    while due_at < due_end and due[0][due_at] <= limit:
        if due[0][due_at] > blanked:
            clicks[0][n], clicks[1][n], clicks[2][n] = due[0][due_at], due[1][due_at], due[2][due_at]
            n += 1
            blanked = due[0][due_at] + dead
        due_at += 1
    return blanked, due_at, n


@jit
def beget(number, block, keys, afterpulse, slot_ps, detector_shift, blanked, due_at, due_end, due):  # type: ignore[no-untyped-def]
    """Put the afterpulse of the click that was candidate `number` among those due; return their new end."""
    low, high = block & np.uint64(0xFFFFFFFF), block >> np.uint64(32)
    begets, delay, detector, _ = philox4x32(
        np.uint32(number + AFTERPULSE_DRAW), low, high, keys[0, 3], keys[0, 0], keys[0, 1]
    )
    if begets >= afterpulse[0]:
        return due_end
    wait = min(-log_uniform(np.uint32(delay)) * afterpulse[1], GAP_LIMIT)
    whole = math.floor(wait)
    slot = blanked + 1 + np.int64(whole)
    place = due_end
    while place > due_at and due[0][place - 1] > slot:
        due[0][place], due[1][place], due[2][place] = due[0][place - 1], due[1][place - 1], due[2][place - 1]
        place -= 1
    due[0][place] = slot
    due[1][place] = np.uint8(detector >> np.uint64(detector_shift))
    due[2][place] = np.int32(np.int64(math.floor((wait - whole) * slot_ps)) - slot_ps // 2)
    return due_end + 1


@jit
def part(columns, start, end, size):  # type: ignore[no-untyped-def]
    """Return columns of `size` that begin with rows start .. end."""
    a, b, c = np.empty(size, columns[0].dtype), np.empty(size, columns[1].dtype), np.empty(size, columns[2].dtype)
    # slices would take the compiler four seconds
    for row in range(end - start):
        a[row], b[row], c[row] = columns[0][start + row], columns[1][start + row], columns[2][start + row]
    return a, b, c
