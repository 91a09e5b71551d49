"""quantum_channel.alias: tables in which one look-up leads from a word to what it stands for. Pure.

A table of 2^bits cells shares the 2^32 words out to as many outcomes or fewer. A word's upper bits are its cell; below
the cell's threshold the outcome is the one of the cell's own number, else the cell's other one. An entry is
threshold x 2^32 + other. No word is lost or rounded away: each outcome has exactly the words that it is due.

Source: A. J. Walker, An efficient method for generating discrete random variables (1977), in integers.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["alias_bits", "alias_table", "outcomes", "word_counts"]

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

_WORDS: Final = 1 << 32
_LOW: Final = np.uint64(_WORDS - 1)
_HALF: Final = np.uint64(32)


def alias_bits(outcome_count: int) -> int:
    """Return the bits of a table that holds so many outcomes."""
    return max(1, (outcome_count - 1).bit_length())


def alias_table(counts: Sequence[int]) -> U64:
    """Return the table of outcomes that are due so many words each, 2^32 together. Shape (2^bits,), uint64."""
    bits = alias_bits(len(counts))
    room = _WORDS >> bits
    left = [*counts, *(0 for _ in range((1 << bits) - len(counts)))]
    others = list(range(1 << bits))
    poor = [cell for cell, count in enumerate(left) if count < room]
    rich = [cell for cell, count in enumerate(left) if count > room]
    # what is missing in one cell is too much in another
    while poor:
        cell, giver = poor.pop(), rich[-1]
        others[cell] = giver
        left[giver] -= room - left[cell]
        if left[giver] <= room:
            rich.pop()
            if left[giver] < room:
                poor.append(giver)
    # a full cell's other outcome is its own: there the threshold may as well be a word less
    thresholds = [min(cell * room + count, _WORDS - 1) for cell, count in enumerate(left)]
    return np.array(thresholds, dtype=np.uint64) << _HALF | np.array(others, dtype=np.uint64)


def outcomes(tables: U64, rows: npt.NDArray[np.integer[Any]], words: U32) -> I64:
    """Return what words stand for.

    Args:
        tables: Shape (tables, 2^bits).
        rows: Which table each word is for. Shape (n,).
        words: Shape (n,).
    """
    cells = (words >> np.uint32(33 - tables.shape[1].bit_length())).astype(np.int64)
    entries = tables[rows, cells]
    return np.asarray(np.where(words < entries >> _HALF, cells, (entries & _LOW).astype(np.int64)))


def word_counts(table: U64) -> I64:
    """Return how many words lead to each outcome of one table. Shape (2^bits,), int64."""
    room = _WORDS // len(table)
    own: I64 = np.minimum((table >> _HALF).astype(np.int64) - np.arange(len(table)) * room, room)
    counts = own.copy()
    np.add.at(counts, (table & _LOW).astype(np.int64), room - own)
    return counts
