"""quantum_channel.candidates_compiled: what depends on each candidate for a click alone, and afterpulses. Pure.

Parts of `sampler_compiled`, which says what they are for; for nobody else.
"""

import math

import numba
import numpy as np

from qnetem.runtime.rng_compiled import philox4x32
from quantum_channel.log_compiled import log_uniform
from quantum_channel.sampler import AFTERPULSE_DRAW, BLOCK_BITS, GAP_LIMIT, GROUP_BITS, MARK_DRAW
from quantum_channel.ways import AFTERPULSE_CODES, UNIFORM

__all__ = [
    "BLOCK",
    "all_arrivals",
    "all_lands",
    "all_marks",
    "all_received",
    "all_sent",
    "all_ways",
    "as_they_are",
    "beget",
    "by_intensity",
    "by_next_intensity",
    "come",
    "draw",
    "explain",
    "flagged",
    "jit",
    "let_pass",
    "live",
    "mark",
    "part",
    "picked",
    "positions",
    "received",
    "sent",
    "way_of",
    "whole_groups",
]

BLOCK = 1 << BLOCK_BITS
_GROUP = 1 << GROUP_BITS
_HALF_GROUP = _GROUP >> 1
# "numpy": a division by zero is no exception, whose check would keep loops from becoming vector code
jit = numba.njit(cache=True, nogil=True, error_model="numpy")
inlined = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")


@jit
def whole_groups(count):  # type: ignore[no-untyped-def]
    """Return `count` rounded up to whole groups: draws are of no less, and loops do as many at once."""
    return (count + _GROUP - 1) & -_GROUP


@jit
def _words(count, first, block, c3, k0, k1, gap, keep):  # type: ignore[no-untyped-def]
    low, high = block & np.uint64(0xFFFFFFFF), block >> np.uint64(32)
    for group in range(count >> GROUP_BITS):
        start = group << GROUP_BITS
        draws = (first + start) >> 1
        for i in range(_HALF_GROUP):
            w0, w1, w2, w3 = philox4x32(np.uint32(draws + i), low, high, c3, k0, k1)
            gap[start + i] = np.uint32(w0)
            keep[start + i] = np.uint32(w1)
            gap[start + _HALF_GROUP + i] = np.uint32(w2)
            keep[start + _HALF_GROUP + i] = np.uint32(w3)


@jit
def _gaps(count, scale, words):  # type: ignore[no-untyped-def]
    for j in range(count):
        words[j] = np.uint32(min(log_uniform(words[j]) * scale, BLOCK + 0.0))


@jit
def draw(count, first, block, c3, k0, k1, scale, gaps, keep):  # type: ignore[no-untyped-def]
    """Write gaps and words to keep candidates by; no gap is longer than a block. `count`, `first`: whole groups."""
    # of their own: one loop of both would run out of registers
    _words(count, first, block, c3, k0, k1, gaps, keep)
    _gaps(count, scale, gaps)


@jit
def all_marks(count, first, block, c3, k0, k1, numbers, way, arrival):  # type: ignore[no-untyped-def]
    """Write the words that say how candidates clicked and when they arrived."""
    low, high = block & np.uint64(0xFFFFFFFF), block >> np.uint64(32)
    start = np.uint32(first + MARK_DRAW)
    for i in range(count):
        w0, w1, _, _ = philox4x32(np.uint32(start + numbers[i]), low, high, c3, k0, k1)
        way[i] = np.uint32(w0)
        arrival[i] = np.uint32(w1)


@jit
def mark(number, block, keys):  # type: ignore[no-untyped-def]
    """Return the words of one candidate."""
    low, high = block & np.uint64(0xFFFFFFFF), block >> np.uint64(32)
    way, arrival, _, _ = philox4x32(np.uint32(number + MARK_DRAW), low, high, keys[0, 3], keys[0, 0], keys[0, 1])
    return way, arrival


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
def positions(count, base, gaps, slots):  # type: ignore[no-untyped-def]
    """Write the slots of candidates; return how many are in the block."""
    at, last = np.uint32(base), np.uint32(BLOCK)
    for j in range(count):
        at += gaps[j]
        slots[j] = at
        at += np.uint32(1)
    while count and slots[count - 1] >= last:
        count -= 1
    return count


@jit
def all_sent(count, start, high, slots, c2, c3, k0, k1, is_x_from, classes, levels):  # type: ignore[no-untyped-def]
    for j in range(count):
        classes[j], levels[j] = sent(np.uint32(start + slots[j]), high, c2, c3, k0, k1, is_x_from)


@jit
def by_intensity(count, levels, word, step, below, most, classes, limits):  # type: ignore[no-untyped-def]
    """Write the last words to keep candidates by: of an intensity from `word` on, and of those before it."""
    for j in range(count):
        is_it = levels[j] >= word
        classes[j] += step if is_it else np.int32(0)
        limits[j] = most if is_it else below


@jit
def by_next_intensity(count, levels, word, step, most, classes, limits):  # type: ignore[no-untyped-def]
    """Write those of a further intensity, from `word` on."""
    for j in range(count):
        is_it = levels[j] >= word
        classes[j] += step if is_it else np.int32(0)
        limits[j] = most if is_it else limits[j]


@jit
def let_pass(count, keep, limits, flags):  # type: ignore[no-untyped-def]
    for j in range(count):
        flags[j] = keep[j] <= limits[j]


@jit
def flagged(count, flags, numbers):  # type: ignore[no-untyped-def]
    """Write the numbers of those that have a flag; return how many they are."""
    left = np.uint64(0)
    for j in range(count):
        numbers[left] = j
        left += np.uint64(flags[j])
    return np.int64(left)


@jit
def live(count, blanked, dead, slots, numbers):  # type: ignore[no-untyped-def]
    """Keep the numbers of those that no click before them blanks, when each clicks; return how many they are."""
    left, free = np.uint64(0), blanked + 1
    for i in range(count):
        number = numbers[i]
        slot = np.int64(slots[number])
        numbers[left] = number
        is_live = slot >= free
        left += np.uint64(is_live)
        free = slot + dead + 1 if is_live else free
    return np.int64(left)


@jit
def picked(count, numbers, column, found):  # type: ignore[no-untyped-def]
    for i in range(count):
        found[i] = column[numbers[i]]


@jit
def as_they_are(count, column, found):  # type: ignore[no-untyped-def]
    for i in range(count):
        found[i] = column[i]


@jit
def all_received(count, start, high, slots, c2, c3, k0, k1, is_x_from, classes):  # type: ignore[no-untyped-def]
    for i in range(count):
        classes[i] += received(np.uint32(start + slots[i]), high, c2, c3, k0, k1, is_x_from)


@jit
def way_of(word, c, cells, bits):  # type: ignore[no-untyped-def]
    """Return the code of the way in which a pulse of class c clicked."""
    cell = np.uint32(word >> np.uint64(32 - bits))
    entry = cells[np.uint32(np.uint32(c) << np.uint32(bits)) + cell]
    way = cell if word < entry >> np.uint64(32) else np.uint32(entry)
    return np.uint32(AFTERPULSE_CODES) + way


@jit
def all_ways(count, way, classes, cells, bits, found):  # type: ignore[no-untyped-def]
    for i in range(count):
        # indices without a sign: so it becomes vector code
        word = np.uint64(way[i])
        cell = np.uint32(word >> np.uint64(32 - bits))
        entry = cells[np.uint32(np.uint32(classes[i]) << np.uint32(bits)) + cell]
        found[i] = np.uint32(AFTERPULSE_CODES) + (cell if word < entry >> np.uint64(32) else np.uint32(entry))


@jit
def all_arrivals(count, arrival, found, kinds, cells, table_ps, bits, slot_ps, times_ps):  # type: ignore[no-untyped-def]
    """Write the arrivals of candidates that all land in their own slots."""
    half = np.int32(slot_ps // 2)
    for i in range(count):
        word, kind = np.uint64(arrival[i]), np.uint32(kinds[np.uint32(found[i])])
        is_dark = kind == np.uint32(UNIFORM)
        start = np.uint32((np.uint32(0) if is_dark else kind) << np.uint32(bits))
        cell = np.uint32(word >> np.uint64(32 - bits))
        entry = cells[start + cell]
        outcome = cell if word < entry >> np.uint64(32) else np.uint32(entry)
        dark_ps = np.int32((word * np.uint64(slot_ps)) >> np.uint64(32)) - half
        times_ps[i] = dark_ps if is_dark else table_ps[start + outcome]


@jit
def all_lands(  # type: ignore[no-untyped-def]
    count, arrival, found, kinds, strays, cells, shifts, table_ps, bits, slot_ps, slots, lands, arrivals_ps
):
    """Write the slots that candidates land in, their arrivals there, and the codes that they have there."""
    for i in range(count):
        word, kind = np.uint64(arrival[i]), kinds[found[i]]
        if kind == UNIFORM:
            lands[i] = slots[i]
            arrivals_ps[i] = np.int64((word * np.uint64(slot_ps)) >> np.uint64(32)) - slot_ps // 2
        else:
            start, cell = np.int64(kind) << bits, np.int64(word >> np.uint64(32 - bits))
            entry = cells[start + cell]
            outcome = start + (cell if word < entry >> np.uint64(32) else np.int64(np.uint32(entry)))
            lands[i] = slots[i] + shifts[outcome]
            arrivals_ps[i] = table_ps[outcome]
            if shifts[outcome] != 0:
                found[i] = strays[found[i]]


@jit
def explain(start, end, meaning, codes):  # type: ignore[no-untyped-def]
    """Put what codes mean in their place."""
    for n in range(start, end):
        codes[n] = meaning[codes[n]]


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
