"""With any number of intensities, and with bits of pairs that are there only for some clicks, both ends sift alike."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from node.qkd import bits as packed
from node.qkd.sifting import BlockAssembler, RawBlock, sift_receiver, sift_transmitter


def sifted(
    levels: int, seed: int, sizes: list[int], has_pairs: bool
) -> tuple[list[RawBlock], list[RawBlock], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Sift some parts over the wire; return both ends' blocks and the bits per intensity that they were made of."""
    rng = np.random.default_rng(seed)
    ends = BlockAssembler([20, 50], levels), BlockAssembler([20, 50], levels)
    blocks: tuple[list[RawBlock], list[RawBlock]] = ([], [])
    expected = np.zeros((2, levels), dtype=np.int64)
    for size in sizes:
        sent_bases, measured_bases = (rng.random((2, size)) < 0.3).astype(np.uint8)
        intensities = rng.integers(0, levels, size, dtype=np.uint8)
        sent = rng.integers(0, 2, size, dtype=np.uint8)
        measured = sent ^ (rng.random(size) < 0.1).astype(np.uint8)
        has_bit = rng.random(size) < 0.4 if has_pairs else None
        answer = sift_transmitter(sent_bases, intensities, sent, measured_bases, is_test=False, has_bit=has_bit)
        told = packed.unpack_levels(packed.pack_levels(intensities, levels), size, levels)
        kept = sift_receiver(measured_bases, measured, answer.matches, told, answer.disclosed, is_test=False)
        is_match = (sent_bases == measured_bases) & (has_bit if has_bit is not None else True)
        for basis in (0, 1):
            chosen = intensities[is_match & (sent_bases == basis)]
            expected[basis] += np.bincount(chosen, minlength=levels)
        blocks[0].extend(ends[0].add(answer.events))
        blocks[1].extend(ends[1].add(kept.events))
    return *blocks, expected


@given(st.integers(1, 4), st.integers(0, 2**32), st.lists(st.integers(0, 200), max_size=6), st.booleans())
@settings(deadline=None, derandomize=True)
def test_both_ends_count_the_same_per_intensity(levels: int, seed: int, sizes: list[int], has_pairs: bool) -> None:
    transmitted, received, expected = sifted(levels, seed, sizes, has_pairs)
    assert len(transmitted) == len(received)
    for one, other in zip(transmitted, received, strict=True):
        assert len(one.z_bits) == len(other.z_bits) == int(one.z_counts.sum())
        for field in ("z_intensities", "z_counts", "x_counts"):
            assert np.array_equal(getattr(one, field), getattr(other, field))
        assert len(one.z_counts) == levels
        assert (other.x_error_counts <= other.x_counts).all()
        # about one bit in ten differs, never all
        assert int((one.z_bits != other.z_bits).sum()) < max(len(one.z_bits) * 0.7, 10)
    for basis, name in enumerate(("z_counts", "x_counts")):
        counted = sum((getattr(block, name) for block in received), np.zeros(levels, dtype=np.int64))
        assert (counted <= expected[basis]).all()
    pending = int(expected[0].sum()) - sum(len(block.z_bits) for block in received)
    assert 0 <= pending < 50
