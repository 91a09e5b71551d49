"""Sifting: what each end keeps of a part, and where blocks end."""

import numpy as np
import pytest

from node.qkd.sifting import BlockAssembler, MatchedEvents, sift_receiver, sift_transmitter
from qnetem.runtime.errors import BadInputError


def u8(*values: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.array(values, dtype=np.uint8)


# click:            0  1  2  3  4  5
BASES_SENT = u8(0, 1, 1, 0, 1, 0)
BASES_MEASURED = u8(0, 1, 0, 1, 1, 0)
INTENSITIES = u8(0, 1, 0, 1, 0, 1)
SENT = u8(1, 0, 1, 0, 1, 0)
MEASURED = u8(1, 1, 0, 0, 1, 1)


def test_equal_bases_match_and_only_x_is_disclosed() -> None:
    sift = sift_transmitter(BASES_SENT, INTENSITIES, SENT, BASES_MEASURED, is_test=False)
    assert sift.matches.tolist() == [1, 1, 0, 0, 1, 1]
    assert sift.disclosed.tolist() == [0, 1]
    assert sift.events.bits.tolist() == [1, 0, 1, 0]
    assert sift.z_count == 2


def test_a_test_train_discloses_every_matching_bit() -> None:
    sift = sift_transmitter(BASES_SENT, INTENSITIES, SENT, BASES_MEASURED, is_test=True)
    assert sift.disclosed.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(("is_test", "compared", "errors"), [(False, (0, 2), (0, 1)), (True, (2, 2), (1, 1))])
def test_the_receiver_counts_the_errors_it_may_see(
    is_test: bool, compared: tuple[int, int], errors: tuple[int, int]
) -> None:
    answer = sift_transmitter(BASES_SENT, INTENSITIES, SENT, BASES_MEASURED, is_test=is_test)
    sift = sift_receiver(BASES_MEASURED, MEASURED, answer.matches, INTENSITIES, answer.disclosed, is_test=is_test)
    assert (sift.compared_counts, sift.error_counts) == (compared, errors)
    assert sift.events.bases.tolist() == answer.events.bases.tolist()
    assert sift.events.x_errors.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(
    ("matches", "intensities", "disclosed"),
    [
        (u8(1, 1, 0, 0, 1), INTENSITIES, u8(0, 1)),
        (u8(1, 1, 0, 0, 1, 1), INTENSITIES[:5], u8(0, 1)),
        (u8(1, 1, 0, 0, 1, 1), INTENSITIES, u8(0)),
        (u8(1, 1, 0, 0, 1, 1), INTENSITIES, u8(0, 1, 1)),
        (u8(1, 1, 0, 0, 1, 2), INTENSITIES, u8(0, 1)),
    ],
)
def test_an_answer_that_does_not_fit_the_report_is_refused(
    matches: np.ndarray[tuple[int], np.dtype[np.uint8]],
    intensities: np.ndarray[tuple[int], np.dtype[np.uint8]],
    disclosed: np.ndarray[tuple[int], np.dtype[np.uint8]],
) -> None:
    with pytest.raises(BadInputError, match="sift answer"):
        sift_receiver(BASES_MEASURED, MEASURED, matches, intensities, disclosed, is_test=False)


def test_a_report_with_other_than_a_basis_per_click_is_refused() -> None:
    with pytest.raises(BadInputError, match="sift report"):
        sift_transmitter(BASES_SENT, INTENSITIES, SENT, BASES_MEASURED[:5], is_test=False)


def test_a_block_ends_with_the_bit_that_completes_it() -> None:
    # X events before the third Z bit belong to the first block, those after it to the second
    assembler = BlockAssembler([3, 2], 2)
    events = MatchedEvents(
        bases=u8(1, 0, 0, 1, 0, 1, 1, 0, 0, 0),
        intensities=u8(0, 0, 1, 1, 0, 1, 0, 1, 1, 0),
        bits=u8(0, 1, 1, 0, 0, 1, 1, 0, 1, 1),
        x_errors=u8(1, 0, 0, 0, 0, 0, 1, 0, 0, 0),
    )
    first, second = assembler.add(events)
    assert (first.number, first.z_bits.tolist(), first.z_intensities.tolist()) == (0, [1, 1, 0], [0, 1, 0])
    assert (first.z_counts.tolist(), first.x_counts.tolist(), first.x_error_counts.tolist()) == (
        [2, 1],
        [1, 1],
        [1, 0],
    )
    assert (second.number, second.z_bits.tolist()) == (1, [0, 1])
    assert (second.z_counts.tolist(), second.x_counts.tolist(), second.x_error_counts.tolist()) == (
        [0, 2],
        [1, 1],
        [1, 0],
    )
    assert (assembler.pending_bits, assembler.block_bits) == (1, 2)


@pytest.mark.parametrize("ramp", [[], [0], [10, -1]])
def test_a_ramp_without_sizes_is_refused(ramp: list[int]) -> None:
    with pytest.raises(BadInputError, match="ramp"):
        BlockAssembler(ramp, 2)


def test_an_intensity_outside_of_the_table_is_refused() -> None:
    with pytest.raises(BadInputError, match="intensity 2 of 2"):
        BlockAssembler([10], 2).add(MatchedEvents(u8(0), u8(2), u8(1), u8(0)))


def test_no_key_bit_shows_in_a_repr() -> None:
    [block] = BlockAssembler([4], 2).add(MatchedEvents(u8(0, 0, 0, 0), u8(0, 0, 1, 1), u8(1, 0, 1, 1), u8(0, 0, 0, 0)))
    answer = sift_transmitter(BASES_SENT, INTENSITIES, SENT, BASES_MEASURED, is_test=False)
    assert "bits=" not in repr(block) + repr(answer)
    assert "disclosed=" not in repr(answer)
