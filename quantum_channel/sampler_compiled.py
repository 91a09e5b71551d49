"""quantum_channel.sampler_compiled: the clicks of a run of blocks, compiled. Pure.

Draws the words that `sampler` documents, in the same order, and returns the same bytes. Imports numba, which is slow:
imported by the channel's service and the zygote alone. Candidates go through in chunks that stay in the cache, in
loops that the compiler turns into vector code (so each is a function without branches, its scalars passed one by
one); what is sequential, dead time and afterpulses, is one scalar walk.
"""

import math

import numba
import numpy as np

from quantum_channel.detector import CELL_COUNT, FIRST_DARK_CELL
from quantum_channel.response import Response
from quantum_channel.sampler import AFTERPULSE_DRAW, BLOCK_BITS, GAP_LIMIT, Carry, Keys, Sample

__all__ = ["sample"]

_CHUNK = 2048
_BLOCK = 1 << BLOCK_BITS
# "numpy": a division by zero is no exception, whose check would keep loops from becoming vector code
_jit = numba.njit(cache=True, nogil=True, error_model="numpy")
_inlined = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")


@_inlined
def _philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """runtime.rng_compiled's function on words held in uint64, which vectorises to two thirds of the time."""
    x0, x1, x2, x3 = np.uint64(c0), np.uint64(c1), np.uint64(c2), np.uint64(c3)
    key0, key1 = np.uint64(k0), np.uint64(k1)
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * x0, np.uint64(0xCD9E8D57) * x2
        x0, x1, x2, x3 = (p1 >> half) ^ x1 ^ key0, p1 & low, (p0 >> half) ^ x3 ^ key1, p0 & low
        key0, key1 = (key0 + np.uint64(0x9E3779B9)) & low, (key1 + np.uint64(0xBB67AE85)) & low
    return x0, x1, x2, x3


@_inlined
def _log_uniform(word):  # type: ignore[no-untyped-def]
    low, root_half = np.uint64(0xFFFFFFFFFFFFF), np.uint64(0x3FE6A09E667F3BCD)
    bits = np.float64(np.float64(word) + 0.5).view(np.uint64) + (np.uint64(0x3FF0000000000000) - root_half)
    power = np.float64(np.int32(bits >> np.uint64(52)) - np.int32(1023 + 32))
    mantissa = np.uint64((bits & low) + root_half).view(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = 1.0 / 19.0
    series = series * square + 1.0 / 17.0
    series = series * square + 1.0 / 15.0
    series = series * square + 1.0 / 13.0
    series = series * square + 1.0 / 11.0
    series = series * square + 1.0 / 9.0
    series = series * square + 1.0 / 7.0
    series = series * square + 1.0 / 5.0
    series = series * square + 1.0 / 3.0
    return power * 0.6931471805599453 + (2.0 * s) * (series * square + 1.0)


@_jit
def _draw(first, count, block, c3, k0, k1, scale, gaps, keep, way, arrival):  # type: ignore[no-untyped-def]
    low, high = block & np.uint64(0xFFFFFFFF), block >> np.uint64(32)
    for j in range(count):
        w0, w1, w2, w3 = _philox(np.uint32(first + j), low, high, c3, k0, k1)
        gaps[j] = np.int32(min(_log_uniform(np.uint32(w0)) * scale, GAP_LIMIT))
        keep[j] = np.uint32(w1)
        way[j] = np.uint32(w2)
        arrival[j] = np.uint32(w3)


@_jit
def _transmit(count, pulse, slots, c2, c3, k0, k1, is_x_from, classes, levels):  # type: ignore[no-untyped-def]
    """Write the classes of pulses as far as the transmitter's basis and bit go, and the words of their intensities."""
    start, high = np.uint32(pulse), pulse >> np.uint64(32)
    for j in range(count):
        base, level, bit, _ = _philox(np.uint32(start + np.uint32(slots[j])), high, c2, c3, k0, k1)
        levels[j] = np.uint32(level)
        classes[j] = np.int32(base >= is_x_from) * np.int32(4) + np.int32(bit >> np.uint64(31))


@_jit
def _add_where(count, words, threshold, step, classes):  # type: ignore[no-untyped-def]
    for j in range(count):
        classes[j] += np.int32(np.uint64(words[j]) >= threshold) * step


@_jit
def _receive(count, pulse, slots, c2, c3, k0, k1, is_x_from, classes):  # type: ignore[no-untyped-def]
    """Add the receiver's basis to the classes of pulses."""
    start, high = np.uint32(pulse), pulse >> np.uint64(32)
    for j in range(count):
        base, _, _, _ = _philox(np.uint32(start + np.uint32(slots[j])), high, c2, c3, k0, k1)
        classes[j] += np.int32(base >= is_x_from) * np.int32(2)


@_jit
def _positions(base, gaps, count, slots, numbers):  # type: ignore[no-untyped-def]
    """Number candidates and write their slots as long as they are in the block; return how many are."""
    for j in range(count):
        slot = base + np.int64(gaps[j])
        if slot >= _BLOCK:
            return j
        slots[j] = slot
        numbers[j] = j
        base = slot + 1
    return count


@_jit
def _sieve(count, numbers, keep, accept_intensity, slots, classes):  # type: ignore[no-untyped-def]
    """Move those to the front that their intensity alone does not rule out; return how many they are."""
    left = np.int64(0)
    for j in range(count):
        number = numbers[j]
        numbers[left] = number
        slots[left] = slots[j]
        classes[left] = classes[j]
        left += np.int64(np.uint64(keep[number]) < accept_intensity[classes[j] >> 3])
    return left


@_jit
def _ways(count, numbers, way, classes, cells, found):  # type: ignore[no-untyped-def]
    """Write how each candidate clicked: its place in detector.CELL_DETECTORS."""
    for i in range(count):
        word, c = np.uint64(way[numbers[i]]), classes[i]
        cell = np.int32(0)
        for t in range(CELL_COUNT - 1):
            cell += np.int32(word >= cells[c, t])
        found[i] = cell


@_jit
def _lands(count, numbers, arrival, found, slots, landing, slot_ps, lands, arrivals_ps):  # type: ignore[no-untyped-def]
    """Write the slot that each candidate lands in, and its arrival there."""
    thresholds, shifts, table_ps, guide = landing
    for i in range(count):
        word = np.uint64(arrival[numbers[i]])
        if found[i] >= FIRST_DARK_CELL:
            lands[i] = slots[i]
            arrivals_ps[i] = np.int64((word * np.uint64(slot_ps)) >> np.uint64(32)) - slot_ps // 2
        else:
            outcome = guide[np.int64(word >> np.uint64(22))]
            while outcome < len(thresholds) and word >= thresholds[outcome]:
                outcome += 1
            lands[i] = slots[i] + shifts[outcome]
            arrivals_ps[i] = table_ps[outcome]


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
def _beget(number, block, key, threshold, tau, slot_ps, blanked, due_at, due_end, due):  # type: ignore[no-untyped-def]
    """Put the afterpulse of the click that was candidate `number` among those due; return their new end."""
    low, high = block & np.uint64(0xFFFFFFFF), block >> np.uint64(32)
    begets, delay, detector, _ = _philox(np.uint32(number + AFTERPULSE_DRAW), low, high, key[3], key[0], key[1])
    if begets >= threshold:
        return due_end
    wait = min(-_log_uniform(np.uint32(delay)) * tau, GAP_LIMIT)
    whole = math.floor(wait)
    slot = blanked + 1 + np.int64(whole)
    place = due_end
    while place > due_at and due[0][place - 1] > slot:
        due[0][place], due[1][place], due[2][place] = due[0][place - 1], due[1][place - 1], due[2][place - 1]
        place -= 1
    due[0][place] = slot
    due[1][place] = np.uint8(1 + (detector >> np.uint64(31)))
    due[2][place] = np.int32(np.int64(math.floor((wait - whole) * slot_ps)) - slot_ps // 2)
    return due_end + 1


@_jit
def _part(columns, start, end, size):  # type: ignore[no-untyped-def]
    """Return columns of `size` that begin with rows start .. end."""
    a, b, c = np.empty(size, columns[0].dtype), np.empty(size, columns[1].dtype), np.empty(size, columns[2].dtype)
    a[: end - start] = columns[0][start:end]
    b[: end - start] = columns[1][start:end]
    c[: end - start] = columns[2][start:end]
    return a, b, c


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
    numba.types.Tuple((_U64, _I32, _I32, _I32)),  # landing: thresholds, shifts, arrivals, guide
    numba.types.UniTuple(numba.int64, 4),  # slot_ps, dead slots, is_skipping, reach
    numba.types.Tuple((numba.uint64, numba.float64)),  # afterpulses: threshold, tau
    numba.int64,  # last blanked slot
    _Due,
    _Clicks,  # room for clicks
    numba.int64,  # candidates in a chunk
)


@numba.njit(_SIGNATURE, cache=True, nogil=True, error_model="numpy")
def _run(first_block, block_count, keys, scale, tables, cells, landing, whole, afterpulse, blanked, due, clicks, step):  # type: ignore[no-untyped-def]
    basis_thresholds, intensity_thresholds, accept, accept_intensity = tables
    slot_ps, dead, is_skipping, reach = whole
    nature, sender, receiver = keys[0], keys[1], keys[2]
    counts = np.zeros(block_count, np.uint32)
    gaps, slots, classes = np.empty(step, np.int32), np.empty(step, np.int32), np.empty(step, np.int32)
    found, lands, arrivals_ps = np.empty(step, np.int32), np.empty(step, np.int32), np.empty(step, np.int32)
    keep, way, arrival = np.empty(step, np.uint32), np.empty(step, np.uint32), np.empty(step, np.uint32)
    levels, numbers = np.empty(step, np.uint32), np.empty(step, np.int32)
    n = due_at = np.int64(0)
    due_end = np.int64(len(due[0]))
    for b in range(block_count):
        block = np.uint64(first_block + b)
        pulse = block << np.uint64(BLOCK_BITS)
        before = n
        base, first = np.int64(0), np.int64(0)
        while base < _BLOCK:
            _draw(first, step, block, nature[3], nature[0], nature[1], scale, gaps, keep, way, arrival)
            # room for all that this chunk can register and beget
            room = n + 2 * step + due_end - due_at
            if room > len(clicks[0]):
                clicks = _part(clicks, 0, n, 2 * room)
            if due_end + step > len(due[0]):
                due = _part(due, due_at, due_end, 2 * (due_end - due_at + step))
                due_at, due_end = np.int64(0), due_end - due_at
            at = np.int64(0)
            while at < step and base < _BLOCK:
                # a chunk at once, or, where what follows a click depends on it, a single candidate
                if is_skipping:
                    numbers[0] = at
                    slots[0] = min(max(base, blanked + 1 - reach) + np.int64(gaps[at]), _BLOCK)
                    base = np.int64(slots[0]) + 1
                    at += 1
                    count = np.int64(slots[0] < _BLOCK)
                else:
                    count = _positions(base, gaps, step, slots, numbers)
                    base = np.int64(slots[step - 1]) + 1 if count == step else np.int64(_BLOCK)
                    at = step
                c2, c3, k0, k1 = sender[2], sender[3], sender[0], sender[1]
                _transmit(count, pulse, slots, c2, c3, k0, k1, basis_thresholds[0], classes, levels)
                for threshold in intensity_thresholds:
                    _add_where(count, levels, threshold, np.int32(8), classes)
                count = _sieve(count, numbers, keep, accept_intensity, slots, classes)
                c2, c3, k0, k1 = receiver[2], receiver[3], receiver[0], receiver[1]
                _receive(count, pulse, slots, c2, c3, k0, k1, basis_thresholds[1], classes)
                _ways(count, numbers, way, classes, cells, found)
                _lands(
                    count,
                    numbers,
                    arrival,
                    found,
                    slots,
                    landing,
                    slot_ps,
                    lands,
                    arrivals_ps,
                )
                for i in range(count):
                    if np.uint64(keep[numbers[i]]) >= accept[classes[i]]:
                        continue
                    if due_at < due_end:
                        blanked, due_at, n = _come(np.int64(slots[i]), dead, blanked, due_at, due_end, due, n, clicks)
                    clicks[0][n] = lands[i]
                    clicks[1][n] = 1 + found[i] % FIRST_DARK_CELL
                    clicks[2][n] = arrivals_ps[i]
                    is_click = lands[i] > blanked
                    n += np.int64(is_click)
                    blanked = lands[i] + dead if is_click else blanked
                    if afterpulse[0] > 0 and is_click:
                        due_end = _beget(
                            first + numbers[i], block, nature, afterpulse[0], afterpulse[1], slot_ps, blanked,
                            due_at, due_end, due,
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
    counts, clicks, due, blanked_to = _run(
        first_block,
        block_count,
        keys.words,
        r.gap_scale,
        (r.basis_thresholds, r.intensity_thresholds, r.accept, r.accept_intensity),
        r.cells,
        (r.landing.thresholds, r.landing.shifts, r.landing.arrivals_ps, r.landing.guide),
        (r.slot_ps, r.dead_slots, int(r.is_skipping), r.landing.reach_slots),
        (r.afterpulse_threshold, r.afterpulse_tau_slots),
        carry.blanked_to,
        (carry.due_slots, carry.due_detectors, carry.due_arrivals_ps),
        (np.empty(room, np.int32), np.empty(room, np.uint8), np.empty(room, np.int32)),
        step,
    )
    return Sample(counts, *clicks), Carry(blanked_to, *due)
