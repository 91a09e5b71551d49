"""node.qkd.reconciliation_kernels: the inner loops of Cascade at the receiver; *_compiled compiles them. Pure.

The parities that are known of an ordered pass cut each frame into nodes: ranges of 2^log positions, aligned within the
frame and cut off at its end. `tree` holds one byte at the start of each node: its log, whether its parity differs
between the two ends (ODD), and whether it is on the list of open nodes (LISTED). An odd node holds an error at least:
half of it is asked next. A corrected bit turns the node that holds it in every pass begun, and so opens or closes it.

All odd nodes of all passes are halved at once. Two passes may then hunt one error, which costs about 0.2 % more
parities than one pass at a time, and halves the number of round trips.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["CONTRADICTION", "NO_NODE", "absorb", "ask", "prefix_parities", "range_parities"]

NO_NODE: Final = 0x3F
CONTRADICTION: Final = -1
_LOG: Final = 0x3F
_LISTED: Final = 0x40
_ODD: Final = 0x80
_GATHER_LIMIT: Final = 1 << 22

U8 = npt.NDArray[np.uint8]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


def prefix_parities(bits: U8, prefixes: U8) -> None:
    """Write the parity of bits[: i + 1] to prefixes[i]. Each uint8[n]."""
    np.bitwise_xor.accumulate(bits, out=prefixes)


def range_parities(ordered: U8, passes: U8, starts: I64, lengths: I64, parities: U8) -> None:
    """Write the parity of each range of an ordered pass to `parities`.

    Args:
        ordered: Bits in the order of each pass. uint8[T, M L].
        passes, starts, lengths: The ranges. Each (n,); every length >= 1.
        parities: Output. uint8[n].
    """
    flat = ordered.reshape(-1)
    first = 0
    ends = np.cumsum(lengths)
    while first < len(passes):  # as many ranges at a time as keep the gathered bits small
        before = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, before + _GATHER_LIMIT, side="right")), first + 1)
        borders = ends[first:last] - lengths[first:last] - before
        origins = passes[first:last].astype(np.int64) * ordered.shape[1] + starts[first:last] - borders
        places = np.repeat(origins, lengths[first:last]) + np.arange(int(ends[last - 1]) - before)
        parities[first:last] = np.bitwise_xor.reduceat(flat[places], borders)
        first = last


def absorb(
    bit_count: int,
    orders: I32,
    ranks: I32,
    masks: U8,
    rows: U8,
    ordered: U8,
    tree: U8,
    begun: I64,
    check_odd: U8,
    search: I64,
    passes: U8,
    starts: I64,
    lengths: I64,
    differs: U8,
    open_passes: U8,
    open_starts: I64,
    found: I64,
) -> tuple[int, int]:
    """Take in whether the parities of the queries differ: halve nodes, correct bits, list the nodes that are open.

    Args:
        bit_count, orders, ranks, masks: The layout: n; int32[T, L] twice; uint8[C, L].
        rows, ordered: The bits by frame, uint8[M, L], and by pass, uint8[T, M L]. Corrected in place.
        tree: uint8[T, M L]. `begun`: passes begun per frame, all checks counting as one, int64[M].
        check_odd: Which checks differ, uint8[M, C]. `search`: check, start and end of a search per frame, int64[M, 3].
        passes, starts, lengths, differs: The queries, in order. Each (n,).
        open_passes, open_starts: Output: the open nodes, some closed again. Each 2 n + T (n + M) at least.
        found: Output: frame L + row of each corrected bit. int64[n + M] at least.

    Returns:
        (open nodes, corrected bits); CONTRADICTION for the latter when no transmitter's bits have these parities.
    """
    pass_count = tree.shape[0]
    frame_count, row_count = rows.shape
    open_count = 0
    found_count = 0
    for i in range(len(passes)):
        number = int(passes[i])
        start = int(starts[i])
        length = int(lengths[i])
        frame = start // row_count
        offset = start - frame * row_count
        if number >= pass_count:
            if search[frame, 0] < 0:
                check_odd[frame, number - pass_count] = differs[i]
            elif differs[i]:
                search[frame, 2] = offset + length
            else:
                search[frame, 1] = offset + length
            continue
        log = int(tree[number, start]) & _LOG
        size = min(1 << log, row_count - offset)
        derived = -1
        if length < size:
            # one half was asked, the other follows, since their whole differs
            while (1 << (log - 1)) >= size:
                log -= 1
            tree[number, start] = log - 1
            tree[number, start + length] = log - 1
            differing = start if differs[i] else start + length
        else:
            if not differs[i]:
                continue
            differing = start
            if number > 0:
                # the last node of a later pass follows, since the frame's whole does not differ
                derived = frame * row_count + ((row_count - 1) >> log << log)
        for place in (differing, derived):
            if place >= 0:
                node = int(tree[number, place]) ^ _ODD
                if node & _ODD and not node & _LISTED:
                    node |= _LISTED
                    open_passes[open_count] = number
                    open_starts[open_count] = place
                    open_count += 1
                tree[number, place] = node

    # corrections come after all halvings: the parities compared are those of the bits as they were asked for
    halved_count = open_count
    for i in range(halved_count + frame_count):
        if i < halved_count:
            number = int(open_passes[i])
            frame = int(open_starts[i]) // row_count
            offset = int(open_starts[i]) - frame * row_count
            node = int(tree[number, open_starts[i]])
            if not node & _ODD or min(1 << (node & _LOG), row_count - offset) > 1:
                continue
            row = int(orders[number, offset])
        else:
            frame = i - halved_count
            if search[frame, 0] < 0 or search[frame, 2] - search[frame, 1] > 1:
                continue
            row = -1
            seen = -1
            while seen < search[frame, 1]:
                row += 1
                seen += int(masks[search[frame, 0], row])
            search[frame, 0] = -1
        if row * frame_count + frame >= bit_count:
            return open_count, CONTRADICTION
        rows[frame, row] ^= 1
        found[found_count] = frame * row_count + row
        found_count += 1
        for number in range(pass_count):
            offset = int(ranks[number, row])
            ordered[number, frame * row_count + offset] ^= 1
            if number < begun[frame]:
                log = 0
                while int(tree[number, frame * row_count + (offset >> log << log)]) & _LOG != log:
                    log += 1
                offset = offset >> log << log
                place = frame * row_count + offset
                node = int(tree[number, place]) ^ _ODD
                if node & _ODD:
                    if min(1 << log, row_count - offset) == 1:
                        return open_count, CONTRADICTION
                    if not node & _LISTED:
                        node |= _LISTED
                        open_passes[open_count] = number
                        open_starts[open_count] = place
                        open_count += 1
                tree[number, place] = node
        if begun[frame] > pass_count:
            for check in range(len(masks)):
                check_odd[frame, check] ^= masks[check, row]
    return open_count, found_count


def ask(
    first_counts: I64,
    top_logs: I64,
    row_count: int,
    tree: U8,
    begun: I64,
    check_odd: U8,
    search: I64,
    open_passes: U8,
    open_starts: I64,
    open_count: int,
    passes: U8,
    starts: I64,
    lengths: I64,
) -> int:
    """Write the queries of the next round, and return their number: 0 when there is nothing left to ask.

    A frame with open nodes halves them. One without begins its next pass; after the last, all checks; and after these
    searches an error in a check that differs, while there is one.

    Args:
        first_counts: Rows in the first half of each check, int64[C]. `top_logs`: log of each pass's nodes, int64[T].
        row_count, tree, begun, check_odd, search: As `absorb` left them.
        open_passes, open_starts, open_count: The open nodes that `absorb` listed.
        passes, starts, lengths: Output. Each open_count + M max(L / smallest node + 1, C) at least.
    """
    pass_count = len(tree)
    frame_count = len(begun)
    count = 0
    is_busy = np.zeros(frame_count, dtype=np.uint8)
    for i in range(open_count):
        number = int(open_passes[i])
        start = int(open_starts[i])
        node = int(tree[number, start]) & ~_LISTED
        tree[number, start] = node
        if node & _ODD:
            frame = start // row_count
            size = min(1 << (node & _LOG), (frame + 1) * row_count - start)
            half = 1
            while 2 * half < size:
                half *= 2
            is_busy[frame] = 1
            passes[count] = number
            starts[count] = start
            lengths[count] = half
            count += 1
    for frame in range(frame_count):
        if is_busy[frame]:
            continue
        base = frame * row_count
        asked = count
        # a pass whose only node is the frame asks nothing: its parity is known
        while begun[frame] < pass_count and count == asked:
            number = int(begun[frame])
            begun[frame] += 1
            size = 1 << int(top_logs[number])
            for offset in range(0, row_count, size):
                tree[number, base + offset] = top_logs[number]
                if number == 0 or offset + size < row_count:
                    passes[count] = number
                    starts[count] = base + offset
                    lengths[count] = min(size, row_count - offset)
                    count += 1
        if begun[frame] == pass_count and count == asked:
            begun[frame] += 1
            for check in range(len(first_counts)):
                if 1 < first_counts[check] < row_count:
                    passes[count] = pass_count + check
                    starts[count] = base
                    lengths[count] = first_counts[check]
                    count += 1
        if count > asked:
            continue
        if search[frame, 0] < 0:
            for check in range(len(first_counts)):
                if check_odd[frame, check] and 1 < first_counts[check] < row_count:
                    search[frame, 0] = check
                    search[frame, 1] = 0
                    search[frame, 2] = first_counts[check]
                    break
        if search[frame, 0] >= 0:
            half = 1
            while 2 * half < search[frame, 2] - search[frame, 1]:
                half *= 2
            passes[count] = pass_count + search[frame, 0]
            starts[count] = base + search[frame, 1]
            lengths[count] = half
            count += 1
    return count
