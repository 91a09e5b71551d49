"""quantum_channel.sampler_compiled: the clicks of a run of blocks, compiled. Pure.

Draws the words that `sampler` documents, in the same order, and returns the same bytes. Imports numba, which is slow:
imported by the channel's service and the zygote alone. Candidates go through in chunks that stay in the cache, in
loops that the compiler turns into vector code (so each is a function without branches, its scalars passed one by
one); what is sequential, dead time and afterpulses, is one scalar walk.
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from quantum_channel.alias import alias_bits
from quantum_channel.candidates_compiled import (
    BLOCK,
    all_arrivals,
    all_lands,
    all_marks,
    all_received,
    all_sent,
    all_ways,
    as_they_are,
    beget,
    by_intensity,
    by_next_intensity,
    come,
    draw,
    explain,
    flagged,
    jit,
    let_pass,
    live,
    mark,
    part,
    picked,
    positions,
    received,
    sent,
    way_of,
    whole_groups,
)
from quantum_channel.response import Response
from quantum_channel.sampler import BLOCK_BITS, Carry, Keys, Sample, explained
from quantum_channel.ways import AFTERPULSE_CODES, UNIFORM

__all__ = ["sample"]

I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]

_CHUNK = 2048
_LAST_WORD = (1 << 32) - 1


@jit
def _all_candidates(  # type: ignore[no-untyped-def]
    drawn_count,
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
    basis_thresholds, accept, levels_from, steps, most = tables
    kinds, strays, begets = ways
    landings, shifts, table_ps = landing
    slot_ps, dead, reach, is_certain, detector_shift, bits, way_bits = whole
    gaps, keep = drawn
    offsets, codes, times_ps = clicks
    slots, levels, limits, numbers, places, way, arrival, sent_to, classes, found, lands, arrivals_ps, flags = space
    pulse = block << np.uint64(BLOCK_BITS)
    start, high = np.uint32(pulse), np.uint32(pulse >> np.uint64(32))
    count = positions(drawn_count, base, gaps, slots)
    base = np.int64(slots[count - 1]) + 1 if count == drawn_count else np.int64(BLOCK)
    k0, k1, c2, c3 = keys[1, 0], keys[1, 1], keys[1, 2], keys[1, 3]
    all_sent(whole_groups(count), start, high, slots, c2, c3, k0, k1, basis_thresholds[0], sent_to, levels)
    by_intensity(count, levels, levels_from[0], steps[0], most[0], most[1], sent_to, limits)
    for m in range(1, len(levels_from)):
        by_next_intensity(count, levels, levels_from[m], steps[m], most[m + 1], sent_to, limits)
    let_pass(count, keep, limits, flags)
    left = flagged(count, flags, numbers)
    # blanking can be told beforehand where nothing else decides between here and there
    is_alone = is_certain == 1 and due_at == due_end
    if is_alone:
        left = live(left, blanked, dead, slots, numbers)
    picked(left, numbers, slots, places)
    picked(left, numbers, sent_to, classes)
    all_marks(whole_groups(left), first, block, keys[0, 3], keys[0, 0], keys[0, 1], numbers, way, arrival)
    k0, k1, c2, c3 = keys[2, 0], keys[2, 1], keys[2, 2], keys[2, 3]
    all_received(whole_groups(left), start, high, places, c2, c3, k0, k1, basis_thresholds[1], classes)
    all_ways(left, way, classes, cells, way_bits, found)
    if reach:
        all_lands(
            left, arrival, found, kinds, strays, landings, shifts, table_ps, bits, slot_ps, places, lands, arrivals_ps,
        )  # fmt: skip
    else:
        all_arrivals(left, arrival, found, kinds, landings, table_ps, bits, slot_ps, arrivals_ps)
        as_they_are(left, places, lands)
    if is_alone:
        # what is left clicks where it is
        for i in range(left):
            offsets[n + i], codes[n + i], times_ps[n + i] = lands[i], found[i], arrivals_ps[i]
        last = np.int64(lands[left - 1]) + dead if left else blanked
        return base, max(blanked, last), due_at, due_end, n + left
    for i in range(left):
        j = np.int64(numbers[i])
        if np.uint64(keep[j]) >= accept[classes[i]]:
            continue
        if due_at < due_end:
            blanked, due_at, n = come(np.int64(places[i]), dead, blanked, due_at, due_end, due, n, clicks)
        land = np.int64(lands[i])
        is_click = land > blanked
        offsets[n], codes[n], times_ps[n] = land, found[i], arrivals_ps[i]
        n += np.int64(is_click)
        blanked = land + dead if is_click else blanked
        if afterpulse[0] > 0 and is_click and begets[found[i]]:
            due_end = beget(first + j, block, keys, afterpulse, slot_ps, detector_shift, blanked, due_at, due_end, due)
    return base, blanked, due_at, due_end, n


@jit
def _live_candidates(  # type: ignore[no-untyped-def]
    drawn_count,
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
    basis_thresholds, accept, levels_from, steps, most = tables
    kinds, strays, begets = ways
    landings, shifts, table_ps = landing
    slot_ps, dead, reach, is_plain, detector_shift, bits, way_bits = whole
    gaps, keep = drawn
    offsets, codes, times_ps = clicks
    pulse = block << np.uint64(BLOCK_BITS)
    start, high = np.uint32(pulse), np.uint32(pulse >> np.uint64(32))
    slots, _, _, numbers, places, way, arrival, _, classes, found, lands, arrivals_ps, _ = space
    left = np.int64(0)
    for j in range(drawn_count):
        slot = max(base, blanked + 1 - reach) + np.int64(gaps[j])
        base = slot + 1
        if slot >= BLOCK:
            break
        low = np.uint32(start + np.uint32(slot))
        c, level = sent(low, high, keys[1, 2], keys[1, 3], keys[1, 0], keys[1, 1], basis_thresholds[0])
        passing = most[0]
        for t in range(len(levels_from)):
            if level >= levels_from[t]:
                c += steps[t]
                passing = most[t + 1]
        if keep[j] > passing:
            continue
        c += received(low, high, keys[2, 2], keys[2, 3], keys[2, 0], keys[2, 1], basis_thresholds[1])
        if np.uint64(keep[j]) >= accept[c]:
            continue
        land, code, arrival_ps = slot, np.int64(0), np.int32(0)
        if not is_plain:
            way_word, word = mark(first + j, block, keys)
            code = np.int64(way_of(way_word, c, cells, way_bits))
            # a call would count references of all arrays
            kind = kinds[code]
            if kind == UNIFORM:
                arrival_ps = np.int32(np.int64((word * np.uint64(slot_ps)) >> np.uint64(32)) - slot_ps // 2)
            else:
                row, cell = np.int64(kind) << bits, np.int64(word >> np.uint64(32 - bits))
                entry = landings[row + cell]
                outcome = row + (cell if word < entry >> np.uint64(32) else np.int64(np.uint32(entry)))
                land, arrival_ps = slot + np.int64(shifts[outcome]), table_ps[outcome]
                if land != slot:
                    code = np.int64(strays[code])
        if due_at < due_end:
            blanked, due_at, n = come(slot, dead, blanked, due_at, due_end, due, n, clicks)
        if land > blanked:
            numbers[left], classes[left], places[left] = j, c, n
            left += 1
            offsets[n], codes[n], times_ps[n] = land, code, arrival_ps
            n += 1
            blanked = land + dead
            if afterpulse[0] > 0 and (is_plain or begets[code]):
                due_end = beget(
                    first + j, block, keys, afterpulse, slot_ps, detector_shift, blanked, due_at, due_end, due
                )
    if is_plain:
        all_marks(whole_groups(left), first, block, keys[0, 3], keys[0, 0], keys[0, 1], numbers, way, arrival)
        all_ways(left, way, classes, cells, way_bits, found)
        all_lands(
            left, arrival, found, kinds, strays, landings, shifts, table_ps, bits, slot_ps, slots, lands, arrivals_ps,
        )  # fmt: skip
        for i in range(left):
            codes[places[i]], times_ps[places[i]] = found[i], arrivals_ps[i]
    return base, blanked, due_at, due_end, n


_U8, _I32, _U32, _I64, _U64 = (
    numba.types.Array(dtype, 1, "C") for dtype in (numba.uint8, numba.int32, numba.uint32, numba.int64, numba.uint64)
)
_Matrix32 = numba.types.Array(numba.uint32, 2, "C")
_Clicks, _Due = numba.types.Tuple((_I32, _U8, _I32)), numba.types.Tuple((_I64, _U8, _I32))
_SIGNATURE = numba.types.Tuple((_U32, _Clicks, numba.int64, _Due, numba.int64))(
    numba.int64,  # first block
    numba.int64,  # block count
    _Matrix32,  # keys
    numba.float64,  # gap scale
    numba.float64,  # candidates that are drawn per slot, about
    numba.types.Tuple((_U64, _U64, _U32, _I32, _U32)),  # thresholds: bases, accept; intensities: from, steps, most
    _U64,  # cells of ways
    numba.types.Tuple((_U32, _U8, _U8)),  # ways: landings, strays, begets
    _U8,  # what codes mean
    numba.types.Tuple((_U64, _I32, _I32)),  # landing: cells, shifts, arrivals
    numba.types.UniTuple(numba.int64, 7),  # slot_ps, dead slots, reach, is_certain, detector_shift, bits, bits of ways
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
    prob,
    tables,
    cells,
    ways,
    meaning,
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
    drawn = (np.empty(step, np.uint32), np.empty(step, np.uint32))
    space = (
        np.empty(step, np.uint32), np.empty(step, np.uint32), np.empty(step, np.uint32), np.empty(step, np.uint32),
        np.empty(step, np.uint32), np.empty(step, np.uint32), np.empty(step, np.uint32),
        np.empty(step, np.int32), np.empty(step, np.int32), np.empty(step, np.int32), np.empty(step, np.int32),
        np.empty(step, np.int32), np.empty(step, np.uint8),
    )  # fmt: skip
    dead = whole[1]
    n = due_at = np.int64(0)
    due_end = np.int64(len(due[0]))
    for b in range(block_count):
        block = np.uint64(first_block + b)
        before = n
        base, first = np.int64(0), np.int64(0)
        while base < BLOCK:
            # what is left of the block in one go, most times
            likely = (BLOCK - base) * prob
            count = min(step, whole_groups(np.int64(likely + math.sqrt(likely)) + 8))
            draw(count, first, block, keys[0, 3], keys[0, 0], keys[0, 1], scale, drawn[0], drawn[1])
            # room for all that this chunk can register and beget
            room = n + 2 * step + due_end - due_at
            if room > len(clicks[0]):
                clicks = part(clicks, 0, n, 2 * room)
            if due_end + step > len(due[0]):
                due = part(due, due_at, due_end, 2 * (due_end - due_at + step))
                due_at, due_end = np.int64(0), due_end - due_at
            if is_skipping:
                base, blanked, due_at, due_end, n = _live_candidates(
                    count, base, first, block, keys, tables, cells, ways, landing, whole, afterpulse, drawn, space,
                    blanked, due_at, due_end, due, n, clicks,
                )  # fmt: skip
            else:
                base, blanked, due_at, due_end, n = _all_candidates(
                    count, base, first, block, keys, tables, cells, ways, landing, whole, afterpulse, drawn, space,
                    blanked, due_at, due_end, due, n, clicks,
                )  # fmt: skip
            first += count
        blanked, due_at, n = come(np.int64(BLOCK - 1), dead, blanked, due_at, due_end, due, n, clicks)
        counts[b] = n - before
        explain(before, n, meaning, clicks[1])
        blanked = max(blanked - BLOCK, -(1 << 31))
        for d in range(due_at, due_end):
            due[0][d] -= BLOCK
    return counts, clicks, n, part(due, due_at, due_end, due_end - due_at), blanked


def _intensities(response: Response) -> tuple[U32, I32, U32]:
    """Return how the word of a pulse's intensity decides, in 32 bits, which become vector code.

    For each intensity behind the first: the word that it begins with, and what it adds to the class. For each: the last
    word by which a candidate may be kept. One that cannot click lets one word pass too many; `accept` refuses it.
    An intensity that no word leads to is as the one before it; there are two at least.
    """
    words = [*response.intensity_thresholds.tolist(), *(() if len(response.accept_intensity) > 1 else (1 << 32,))]
    limits = np.maximum(response.accept_intensity, 1).astype(np.int64) - 1
    begin, steps, most = [], [], [int(limits[0])]
    for n, word in enumerate(words, 1):
        is_there = word <= _LAST_WORD
        begin.append(min(word, _LAST_WORD))
        steps.append(8 if is_there else 0)
        most.append(int(limits[n]) if is_there else most[-1])
    return np.array(begin, np.uint32), np.array(steps, np.int32), np.array(most, np.uint32)


def sample(response: Response, keys: Keys, first_block: int, block_count: int, carry: Carry) -> tuple[Sample, Carry]:
    """Return what sampler.sample returns, byte for byte."""
    r = response
    live_prob = 1.0 / (1.0 + r.dead_slots * r.click_prob) if r.is_skipping else 1.0
    expected = r.candidate_prob * BLOCK * live_prob
    step = min(_CHUNK, whole_groups(int(expected + math.sqrt(expected)) + 8))
    room = int(r.registered_prob * BLOCK * block_count * 1.05) + 4 * step + len(carry.due_slots)
    # how a click looks decides nothing else
    is_plain = not r.landings.reach_slots and not (
        r.afterpulse_threshold and (r.ways.begets[AFTERPULSE_CODES:] == 0).any()
    )
    # what its intensity lets pass clicks, and nothing but the clicks before it can blank it
    is_certain = (
        is_plain
        and not r.afterpulse_threshold
        and bool(np.ptp(r.accept.reshape(-1, 8), axis=1).max() == 0)
        and bool(r.accept_intensity.all())
    )
    counts, clicks, count, due, blanked_to = _run(
        first_block,
        block_count,
        keys.words,
        r.gap_scale,
        r.candidate_prob * live_prob,
        (r.basis_thresholds, r.accept, *_intensities(r)),
        r.cells.reshape(-1),
        (r.ways.landings.astype(np.uint32), r.ways.strays, r.ways.begets),
        r.ways.detectors if not r.has_partners else np.arange(len(r.ways.detectors), dtype=np.uint8),
        (r.landings.cells, r.landings.shifts, r.landings.arrivals_ps),
        (
            r.slot_ps,
            r.dead_slots,
            r.landings.reach_slots,
            int(is_plain if r.is_skipping else is_certain),
            r.detector_shift,
            r.landings.bits,
            alias_bits(r.cells.shape[1]),
        ),
        (r.afterpulse_threshold, r.afterpulse_tau_slots),
        r.is_skipping,
        carry.blanked_to,
        (carry.due_slots, carry.due_detectors, carry.due_arrivals_ps),
        (np.empty(room, np.int32), np.empty(room, np.uint8), np.empty(room, np.int32)),
        step,
    )
    offsets, codes, arrivals_ps = (column[:count] for column in clicks)
    if r.has_partners:
        drawn = explained(r, keys, first_block, counts, offsets, codes, arrivals_ps)
    else:
        drawn = Sample(counts, offsets, codes, arrivals_ps, np.zeros(count, dtype=np.uint8))
    return drawn, Carry(blanked_to, *due)
