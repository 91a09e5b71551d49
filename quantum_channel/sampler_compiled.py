"""quantum_channel.sampler_compiled: the clicks of a run of blocks, compiled. Pure.

Draws the words that `sampler` documents, in the same order, and returns the same bytes. Imports numba, which is slow:
imported by the channel's service and the zygote alone. Candidates go through in chunks that stay in the cache, in
loops that the compiler turns into vector code (so each is a function without branches, its scalars passed one by
one); what is sequential, dead time and afterpulses, is one scalar walk.
"""

import math

import numba
import numpy as np

from qnetem.runtime.rng_compiled import philox4x32
from quantum_channel.log_compiled import log_uniform
from quantum_channel.response import Response
from quantum_channel.sampler import AFTERPULSE_DRAW, BLOCK_BITS, GAP_LIMIT, Carry, Keys, Sample, explained
from quantum_channel.ways import AFTERPULSE_CODES, UNIFORM

__all__ = ["sample"]

_CHUNK = 2048
_BLOCK = 1 << BLOCK_BITS
# "numpy": a division by zero is no exception, whose check would keep loops from becoming vector code
_jit = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")


@_jit
def _draw(first, block, c3, k0, k1, scale, gaps, keep, way, arrival):  # type: ignore[no-untyped-def]
    low, high = block & np.uint64(0xFFFFFFFF), block >> np.uint64(32)
    for j in range(len(gaps)):
        w0, w1, w2, w3 = philox4x32(np.uint32(first + j), low, high, c3, k0, k1)
        gaps[j] = np.int32(min(log_uniform(np.uint32(w0)) * scale, GAP_LIMIT))
        keep[j] = np.uint32(w1)
        way[j] = np.uint32(w2)
        arrival[j] = np.uint32(w3)


@_inlined
def _sent(low, high, c2, c3, k0, k1, is_x_from):  # type: ignore[no-untyped-def]
    """Return the class of a pulse as far as the transmitter's basis and bit go, and the word of its intensity."""
    base, level, bit, _ = philox4x32(low, high, c2, c3, k0, k1)
    return np.int32(base >= is_x_from) * np.int32(4) + np.int32(bit >> np.uint64(31)), np.uint32(level)


@_inlined
def _received(low, high, c2, c3, k0, k1, is_x_from):  # type: ignore[no-untyped-def]
    """Return what the receiver's basis adds to the class of a pulse."""
    base, _, _, _ = philox4x32(low, high, c2, c3, k0, k1)
    return np.int32(base >= is_x_from) * np.int32(2)


@_jit
def _positions(base, gaps, slots):  # type: ignore[no-untyped-def]
    """Write the slots of candidates as long as they are in the block; return how many are."""
    for j in range(len(gaps)):
        slot = base + np.int64(gaps[j])
        if slot >= _BLOCK:
            return j
        slots[j] = slot
        base = slot + 1
    return len(gaps)


@_jit
def _all_sent(count, start, high, slots, c2, c3, k0, k1, is_x_from, classes, levels):  # type: ignore[no-untyped-def]
    for j in range(count):
        classes[j], levels[j] = _sent(np.uint32(start + np.uint32(slots[j])), high, c2, c3, k0, k1, is_x_from)


@_jit
def _add_where(count, words, threshold, step, classes):  # type: ignore[no-untyped-def]
    for j in range(count):
        classes[j] += np.int32(np.uint64(words[j]) >= threshold) * step


@_jit
def _sieve(count, keep, accept_intensity, blanked, dead, slots, classes, numbers):  # type: ignore[no-untyped-def]
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


@_jit
def _all_received(count, start, high, slots, c2, c3, k0, k1, is_x_from, classes):  # type: ignore[no-untyped-def]
    for i in range(count):
        classes[i] += _received(np.uint32(start + np.uint32(slots[i])), high, c2, c3, k0, k1, is_x_from)


@_jit
def _way_of_8(word, c, cells):  # type: ignore[no-untyped-def]
    reached = np.int32(4) * np.int32(word >= cells[c, 3])
    reached += np.int32(2) * np.int32(word >= cells[c, reached + 1])
    return AFTERPULSE_CODES + reached + np.int32(word >= cells[c, reached])


@_jit
def _way(word, c, cells):  # type: ignore[no-untyped-def]
    """Return the code of the way in which a pulse of class c clicked: how many thresholds its word reaches."""
    reached, half = 0, (cells.shape[1] + 1) >> 1
    while half:
        reached += half * (word >= cells[c, reached + half - 1])
        half >>= 1
    return AFTERPULSE_CODES + reached


@_jit
def _all_ways(count, numbers, way, classes, cells, found):  # type: ignore[no-untyped-def]
    if cells.shape[1] == 7:
        # as plain links have it: no loop within, so that it becomes vector code
        for i in range(count):
            found[i] = _way_of_8(np.uint64(way[numbers[i]]), classes[i], cells)
    else:
        for i in range(count):
            found[i] = _way(np.uint64(way[numbers[i]]), classes[i], cells)


@_jit
def _all_lands(  # type: ignore[no-untyped-def]
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


@_jit
def _come(limit, dead, blanked, due_at, due_end, due, n, clicks):  # type: ignore[no-untyped-def]
    """Register the afterpulses due up to and in slot `limit`; return (last blanked slot, first still due, clicks)."""
    while due_at < due_end and due[0][due_at] <= limit:
        if due[0][due_at] > blanked:
            clicks[0][n], clicks[1][n], clicks[2][n] = due[0][due_at], due[1][due_at], due[2][due_at]
            n += 1
            blanked = due[0][due_at] + dead
        due_at += 1
    return blanked, due_at, n


@_jit
def _beget(number, block, keys, afterpulse, slot_ps, detector_shift, blanked, due_at, due_end, due):  # type: ignore[no-untyped-def]
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


@_jit
def _part(columns, start, end, size):  # type: ignore[no-untyped-def]
    """Return columns of `size` that begin with rows start .. end."""
    a, b, c = np.empty(size, columns[0].dtype), np.empty(size, columns[1].dtype), np.empty(size, columns[2].dtype)
    # slices would take the compiler four seconds
    for row in range(end - start):
        a[row], b[row], c[row] = columns[0][start + row], columns[1][start + row], columns[2][start + row]
    return a, b, c


@_jit
def _all_candidates(  # type: ignore[no-untyped-def]
    base,
    first,
    block,
    keys,
    tables,
    cells,
    ways,
    landing,
    whole,
    afterpulse,
    drawn,
    space,
    blanked,
    due_at,
    due_end,
    due,
    n,
    clicks,
):
    """Register a chunk of candidates: what depends on each alone by array, then the electronics one by one."""
    basis_thresholds, intensity_thresholds, accept, accept_intensity = tables
    kinds, strays, begets = ways
    thresholds, shifts, table_ps, guide = landing
    slot_ps, dead, _, is_certain, detector_shift, guide_bits = whole
    gaps, keep, way, arrival = drawn
    offsets, codes, times_ps = clicks
    slots, classes, found, lands, arrivals_ps, numbers, levels = space
    pulse = block << np.uint64(BLOCK_BITS)
    start, high = np.uint32(pulse), np.uint32(pulse >> np.uint64(32))
    count = _positions(base, gaps, slots)
    base = np.int64(slots[count - 1]) + 1 if count == len(gaps) else np.int64(_BLOCK)
    k0, k1, c2, c3 = keys[1, 0], keys[1, 1], keys[1, 2], keys[1, 3]
    _all_sent(count, start, high, slots, c2, c3, k0, k1, basis_thresholds[0], classes, levels)
    for threshold in intensity_thresholds:
        _add_where(count, levels, threshold, np.int32(8), classes)
    # blanking can be told beforehand where nothing else decides between here and there
    is_alone = is_certain == 1 and due_at == due_end
    known, span = (blanked, dead) if is_alone else (np.int64(-_BLOCK), np.int64(-1))
    left = _sieve(count, keep, accept_intensity, known, span, slots, classes, numbers)
    k0, k1, c2, c3 = keys[2, 0], keys[2, 1], keys[2, 2], keys[2, 3]
    _all_received(left, start, high, slots, c2, c3, k0, k1, basis_thresholds[1], classes)
    _all_ways(left, numbers, way, classes, cells, found)
    _all_lands(
        left, numbers, arrival, found, kinds, strays, thresholds, shifts, table_ps, guide, guide_bits, slot_ps,
        slots, lands, arrivals_ps,
    )  # fmt: skip
    if is_alone:
        # what is left clicks where it is
        for i in range(left):
            offsets[n + i], codes[n + i], times_ps[n + i] = slots[i], found[i], arrivals_ps[i]
        last = np.int64(slots[left - 1]) + dead if left else blanked
        return base, max(blanked, last), due_at, due_end, n + left
    for i in range(left):
        j = np.int64(numbers[i])
        if np.uint64(keep[j]) >= accept[classes[i]]:
            continue
        if due_at < due_end:
            blanked, due_at, n = _come(np.int64(slots[i]), dead, blanked, due_at, due_end, due, n, clicks)
        land = np.int64(lands[i])
        is_click = land > blanked
        offsets[n], codes[n], times_ps[n] = land, found[i], arrivals_ps[i]
        n += np.int64(is_click)
        blanked = land + dead if is_click else blanked
        if afterpulse[0] > 0 and is_click and begets[found[i]]:
            due_end = _beget(first + j, block, keys, afterpulse, slot_ps, detector_shift, blanked, due_at, due_end, due)
    return base, blanked, due_at, due_end, n


@_jit
def _live_candidates(  # type: ignore[no-untyped-def]
    base,
    first,
    block,
    keys,
    tables,
    cells,
    ways,
    landing,
    whole,
    afterpulse,
    drawn,
    space,
    blanked,
    due_at,
    due_end,
    due,
    n,
    clicks,
):
    """Register a chunk of candidates one by one, passing over what is blanked.

    How a click looks is looked up afterwards, by array, where (`is_plain`) nothing else hangs on it.
    """
    basis_thresholds, intensity_thresholds, accept, _ = tables
    kinds, strays, begets = ways
    thresholds, shifts, table_ps, guide = landing
    slot_ps, dead, reach, is_plain, detector_shift, guide_bits = whole
    gaps, keep, way, arrival = drawn
    offsets, codes, times_ps = clicks
    pulse = block << np.uint64(BLOCK_BITS)
    start, high = np.uint32(pulse), np.uint32(pulse >> np.uint64(32))
    slots, classes, found, lands, arrivals_ps, numbers, places = space
    left = np.int64(0)
    for j in range(len(gaps)):
        slot = max(base, blanked + 1 - reach) + np.int64(gaps[j])
        base = slot + 1
        if slot >= _BLOCK:
            break
        low = np.uint32(start + np.uint32(slot))
        # both at once, so that neither waits for the other
        c, level = _sent(low, high, keys[1, 2], keys[1, 3], keys[1, 0], keys[1, 1], basis_thresholds[0])
        c += _received(low, high, keys[2, 2], keys[2, 3], keys[2, 0], keys[2, 1], basis_thresholds[1])
        for t in range(len(intensity_thresholds)):
            c += np.int32(np.uint64(level) >= intensity_thresholds[t]) * np.int32(8)
        if np.uint64(keep[j]) >= accept[c]:
            continue
        land, code, arrival_ps = slot, np.int64(0), np.int32(0)
        if not is_plain:
            code = np.int64(_way(np.uint64(way[j]), c, cells))
            # a call would count references of all arrays
            word, kind = np.uint64(arrival[j]), kinds[code]
            if kind == UNIFORM:
                arrival_ps = np.int32(np.int64((word * np.uint64(slot_ps)) >> np.uint64(32)) - slot_ps // 2)
            else:
                outcome = guide[(np.int64(kind) << guide_bits) + np.int64(word >> np.uint64(32 - guide_bits))]
                while word >= thresholds[outcome]:
                    outcome += 1
                land, arrival_ps = slot + np.int64(shifts[outcome]), table_ps[outcome]
                if land != slot:
                    code = np.int64(strays[code])
        if due_at < due_end:
            blanked, due_at, n = _come(slot, dead, blanked, due_at, due_end, due, n, clicks)
        if land > blanked:
            numbers[left], classes[left], places[left] = j, c, n
            left += 1
            offsets[n], codes[n], times_ps[n] = land, code, arrival_ps
            n += 1
            blanked = land + dead
            if afterpulse[0] > 0 and (is_plain or begets[code]):
                due_end = _beget(
                    first + j, block, keys, afterpulse, slot_ps, detector_shift, blanked, due_at, due_end, due
                )
    if is_plain:
        _all_ways(left, numbers, way, classes, cells, found)
        _all_lands(
            left, numbers, arrival, found, kinds, strays, thresholds, shifts, table_ps, guide, guide_bits, slot_ps,
            slots, lands, arrivals_ps,
        )  # fmt: skip
        for i in range(left):
            codes[places[i]], times_ps[places[i]] = found[i], arrivals_ps[i]
    return base, blanked, due_at, due_end, n


_U8, _I32, _U32, _I64, _U64 = (
    numba.types.Array(dtype, 1, "C") for dtype in (numba.uint8, numba.int32, numba.uint32, numba.int64, numba.uint64)
)
_Matrix32, _Matrix64 = numba.types.Array(numba.uint32, 2, "C"), numba.types.Array(numba.uint64, 2, "C")
_Clicks, _Due = numba.types.Tuple((_I32, _U8, _I32)), numba.types.Tuple((_I64, _U8, _I32))
_SIGNATURE = numba.types.Tuple((_U32, _Clicks, _Due, numba.int64))(
    numba.int64,  # first block
    numba.int64,  # block count
    _Matrix32,  # keys
    numba.float64,  # gap scale
    numba.types.UniTuple(_U64, 4),  # thresholds: bases, intensities, accept, accept_intensity
    _Matrix64,  # cells
    numba.types.UniTuple(_U8, 3),  # ways: landings, strays, begets
    numba.types.Tuple((_U64, _I32, _I32, _I32)),  # landing: thresholds, shifts, arrivals, guide
    numba.types.UniTuple(numba.int64, 6),  # slot_ps, dead slots, reach, is_certain, detector_shift, guide_bits
    numba.types.Tuple((numba.uint64, numba.float64)),  # afterpulses: threshold, tau
    numba.boolean,  # is_skipping
    numba.int64,  # last blanked slot
    _Due,
    _Clicks,  # room for clicks
    numba.int64,  # candidates in a chunk
)


@numba.njit(_SIGNATURE, cache=True, nogil=True, error_model="numpy")
def _run(  # type: ignore[no-untyped-def]
    first_block,
    block_count,
    keys,
    scale,
    tables,
    cells,
    ways,
    landing,
    whole,
    afterpulse,
    is_skipping,
    blanked,
    due,
    clicks,
    step,
):
    counts = np.zeros(block_count, np.uint32)
    words = (np.empty(step, np.uint32), np.empty(step, np.uint32), np.empty(step, np.uint32))
    drawn = (np.empty(step, np.int32), *words)
    slots, classes, found = np.zeros(step, np.int32), np.empty(step, np.int32), np.empty(step, np.int32)
    lands, arrivals_ps, numbers = np.empty(step, np.int32), np.empty(step, np.int32), np.empty(step, np.int32)
    space = (slots, classes, found, lands, arrivals_ps, numbers, np.empty(step, np.uint32))
    dead = whole[1]
    n = due_at = np.int64(0)
    due_end = np.int64(len(due[0]))
    for b in range(block_count):
        block = np.uint64(first_block + b)
        before = n
        base, first = np.int64(0), np.int64(0)
        while base < _BLOCK:
            _draw(first, block, keys[0, 3], keys[0, 0], keys[0, 1], scale, drawn[0], drawn[1], drawn[2], drawn[3])
            # room for all that this chunk can register and beget
            room = n + 2 * step + due_end - due_at
            if room > len(clicks[0]):
                clicks = _part(clicks, 0, n, 2 * room)
            if due_end + step > len(due[0]):
                due = _part(due, due_at, due_end, 2 * (due_end - due_at + step))
                due_at, due_end = np.int64(0), due_end - due_at
            if is_skipping:
                base, blanked, due_at, due_end, n = _live_candidates(
                    base, first, block, keys, tables, cells, ways, landing, whole, afterpulse, drawn, space,
                    blanked, due_at, due_end, due, n, clicks,
                )  # fmt: skip
            else:
                base, blanked, due_at, due_end, n = _all_candidates(
                    base, first, block, keys, tables, cells, ways, landing, whole, afterpulse, drawn, space,
                    blanked, due_at, due_end, due, n, clicks,
                )  # fmt: skip
            first += step
        blanked, due_at, n = _come(np.int64(_BLOCK - 1), dead, blanked, due_at, due_end, due, n, clicks)
        counts[b] = n - before
        blanked = max(blanked - _BLOCK, -(1 << 31))
        for d in range(due_at, due_end):
            due[0][d] -= _BLOCK
    return counts, _part(clicks, 0, n, n), _part(due, due_at, due_end, due_end - due_at), blanked


def sample(response: Response, keys: Keys, first_block: int, block_count: int, carry: Carry) -> tuple[Sample, Carry]:
    """Return what sampler.sample returns, byte for byte."""
    r = response
    live_prob = 1.0 / (1.0 + r.dead_slots * r.click_prob) if r.is_skipping else 1.0
    expected = r.candidate_prob * _BLOCK * live_prob
    step = min(_CHUNK, int(expected + 6.0 * math.sqrt(expected)) + 16)
    room = int(r.registered_prob * _BLOCK * block_count * 1.05) + 4 * step + len(carry.due_slots)
    # how a click looks decides nothing else
    is_plain = not r.landings.reach_slots and not (
        r.afterpulse_threshold and (r.ways.begets[AFTERPULSE_CODES:] == 0).any()
    )
    # what its intensity lets pass clicks, and nothing but the clicks before it can blank it
    is_certain = is_plain and not r.afterpulse_threshold and bool(np.ptp(r.accept.reshape(-1, 8), axis=1).max() == 0)
    counts, clicks, due, blanked_to = _run(
        first_block,
        block_count,
        keys.words,
        r.gap_scale,
        (r.basis_thresholds, r.intensity_thresholds, r.accept, r.accept_intensity),
        r.cells,
        (r.ways.landings, r.ways.strays, r.ways.begets),
        (r.landings.thresholds, r.landings.shifts, r.landings.arrivals_ps, r.landings.guide),
        (
            r.slot_ps,
            r.dead_slots,
            r.landings.reach_slots,
            int(is_plain if r.is_skipping else is_certain),
            r.detector_shift,
            r.landings.guide_bits,
        ),
        (r.afterpulse_threshold, r.afterpulse_tau_slots),
        r.is_skipping,
        carry.blanked_to,
        (carry.due_slots, carry.due_detectors, carry.due_arrivals_ps),
        (np.empty(room, np.int32), np.empty(room, np.uint8), np.empty(room, np.int32)),
        step,
    )
    return explained(r, keys, first_block, counts, *clicks), Carry(blanked_to, *due)
