"""However the reports are cut into parts, both ends make the same blocks, and no sifted bit is lost or used twice."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from node.qkd.sifting import BlockAssembler, RawBlock, sift_receiver, sift_transmitter

RAMPS = st.lists(st.integers(1, 60), min_size=1, max_size=4)


@st.composite
def cuts(draw: st.DrawFn, click_count: int) -> list[int]:
    """Borders of parts, some empty."""
    return [0, *sorted(draw(st.lists(st.integers(0, click_count), max_size=12))), click_count]


def assemble(click_count: int, seed: int, ramp: list[int], borders: list[int]) -> tuple[list[RawBlock], list[RawBlock]]:
    rng = np.random.default_rng(seed)
    sent_bases, measured_bases = (rng.random((2, click_count)) < 0.3).astype(np.uint8)
    sent, intensities = rng.integers(0, 2, (2, click_count), dtype=np.uint8)
    measured = sent ^ (rng.random(click_count) < 0.1).astype(np.uint8)
    ends = BlockAssembler(ramp, 2), BlockAssembler(ramp, 2)
    blocks: tuple[list[RawBlock], list[RawBlock]] = ([], [])
    for start, end in pairwise(borders):
        part = slice(start, end)
        answer = sift_transmitter(sent_bases[part], intensities[part], sent[part], measured_bases[part], is_test=False)
        kept = sift_receiver(
            measured_bases[part], measured[part], answer.matches, intensities[part], answer.disclosed, is_test=False
        )
        blocks[0].extend(ends[0].add(answer.events))
        blocks[1].extend(ends[1].add(kept.events))
    sifted_count = int(((sent_bases == 0) & (measured_bases == 0)).sum())
    assert sum(len(block.z_bits) for block in blocks[0]) + ends[0].pending_bits == sifted_count
    return blocks


@given(st.data(), st.integers(0, 600), st.integers(0, 2**32), RAMPS)
@settings(deadline=None, derandomize=True)
def test_parts_change_nothing(data: st.DataObject, click_count: int, seed: int, ramp: list[int]) -> None:
    whole = assemble(click_count, seed, ramp, [0, click_count])
    parts = assemble(click_count, seed, ramp, data.draw(cuts(click_count)))
    for uncut, cut in zip(whole, parts, strict=True):
        assert len(uncut) == len(cut)
        for one, other in zip(uncut, cut, strict=True):
            assert one.number == other.number
            for field in ("z_bits", "z_intensities", "z_counts", "x_counts", "x_error_counts"):
                assert np.array_equal(getattr(one, field), getattr(other, field))


@given(st.integers(0, 600), st.integers(0, 2**32), RAMPS)
@settings(deadline=None, derandomize=True)
def test_both_ends_cut_the_same_blocks(click_count: int, seed: int, ramp: list[int]) -> None:
    transmitted, received = assemble(click_count, seed, ramp, [0, click_count])
    assert len(transmitted) == len(received)
    for index, (one, other) in enumerate(zip(transmitted, received, strict=True)):
        assert len(one.z_bits) == len(other.z_bits) == ramp[min(index, len(ramp) - 1)]
        for field in ("z_intensities", "z_counts", "x_counts"):
            assert np.array_equal(getattr(one, field), getattr(other, field))
        assert one.x_error_counts.tolist() == [0, 0]
        assert (other.x_error_counts <= other.x_counts).all()
        assert one.z_counts.sum() == len(one.z_bits)
