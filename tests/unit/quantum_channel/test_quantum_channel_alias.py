"""Alias tables share words out exactly, and both ways of looking up agree with what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_channel.alias import alias_bits, alias_table, outcomes, word_counts

WORDS = 1 << 32


@st.composite
def shares(draw: st.DrawFn) -> list[int]:
    borders = draw(st.lists(st.integers(0, WORDS) | st.sampled_from([0, 1, WORDS // 2, WORDS - 1, WORDS]), max_size=40))
    return np.diff([0, *sorted(borders), WORDS]).tolist()


@given(shares())
def test_each_outcome_has_exactly_the_words_that_it_is_due(counts: list[int]) -> None:
    table = alias_table(counts)
    assert len(table) == 1 << alias_bits(len(counts))
    assert word_counts(table).tolist() == counts + [0] * (len(table) - len(counts))


@given(shares())
def test_a_word_leads_where_its_cell_says(counts: list[int]) -> None:
    table = alias_table(counts)
    room = WORDS // len(table)
    edges = [edge for cell in range(len(table)) for edge in (cell * room, cell * room + room - 1)]
    limits = [int(entry) >> 32 for entry in table]
    words = sorted({*edges, *limits, *(limit - 1 for limit in limits if limit)})
    expected = []
    for word in words:
        cell = word // room
        expected.append(cell if word < limits[cell] else int(table[cell]) & (WORDS - 1))
    rows = np.zeros(len(words), dtype=np.int64)
    assert outcomes(table[None], rows, np.array(words, dtype=np.uint32)).tolist() == expected
    # what is due no word is never drawn
    assert all(counts[outcome] for outcome in expected)


def test_each_word_is_looked_up_in_the_table_of_its_row() -> None:
    tables = np.stack([alias_table([WORDS, 0]), alias_table([0, WORDS])])
    words = np.array([0, 0, WORDS - 1, WORDS - 1], dtype=np.uint32)
    assert outcomes(tables, np.array([0, 1, 0, 1]), words).tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(("count", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (273, 9)])
def test_a_table_holds_all_its_outcomes(count: int, bits: int) -> None:
    assert alias_bits(count) == bits
