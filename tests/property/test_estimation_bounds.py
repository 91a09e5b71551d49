"""The key length for any counts: a number, never more than there is, never more for more errors or more leakage."""

from math import isfinite

from hypothesis import given, settings
from hypothesis import strategies as st

from node.qkd.estimation import KeyEstimate, one_decoy_key_estimate

COUNTS = st.integers(0, 10**8)
ERROR_FRACTIONS = st.floats(0, 1)


@st.composite
def blocks(draw: st.DrawFn) -> dict[str, list[int]]:
    block: dict[str, list[int]] = {}
    for basis in "zx":
        # decoys from none to most of the clicks, errors from none to all
        counts = [draw(COUNTS), draw(COUNTS)]
        block[f"{basis}_counts"] = counts
        block[f"{basis}_error_counts"] = [int(count * draw(ERROR_FRACTIONS)) for count in counts]
    return block


@st.composite
def plausible_blocks(draw: st.DrawFn) -> dict[str, list[int]]:
    size = draw(st.integers(10**5, 10**7))
    share = draw(st.floats(0.5, 0.58))
    qber = draw(st.floats(0.001, 0.03))
    counts = [int(size * share), int(size * (1 - share))]
    x_counts = [count // draw(st.integers(5, 20)) for count in counts]
    return {
        "z_counts": counts,
        "z_error_counts": [int(count * qber) for count in counts],
        "x_counts": x_counts,
        "x_error_counts": [int(count * qber) for count in x_counts],
    }


def estimate(block: dict[str, list[int]], leaked_bits: float = 0) -> KeyEstimate:
    return one_decoy_key_estimate(
        **block,
        intensities=(0.4, 0.13),
        intensity_probs=(0.35, 0.65),
        eps_sec=1e-10,
        eps_cor=1e-15,
        leaked_bits=leaked_bits,
    )


@given(blocks(), st.floats(0, 1e9))
@settings(deadline=None, derandomize=True, max_examples=500)
def test_any_counts_give_a_length_within_the_block(block: dict[str, list[int]], leaked_bits: float) -> None:
    result = estimate(block, leaked_bits)
    total = sum(block["z_counts"])
    assert 0 <= result.secret_bits <= max(total - leaked_bits, 0)
    assert (result.secret_bits == 0) == (result.reason != "")
    assert isfinite(result.vacuum_count)
    assert 0 <= result.vacuum_count + result.single_count <= total * (1 + 1e-12)
    assert 0 <= result.phase_error_prob <= 0.5


@given(plausible_blocks(), st.integers(0, 10**6), st.integers(0, 10**5))
@settings(deadline=None, derandomize=True)
def test_more_leakage_never_makes_more_key(block: dict[str, list[int]], leaked_bits: int, more: int) -> None:
    assert estimate(block, leaked_bits + more).secret_bits <= estimate(block, leaked_bits).secret_bits


@given(plausible_blocks(), st.sampled_from(["z_error_counts", "x_error_counts"]), st.integers(1, 2_000))
@settings(deadline=None, derandomize=True)
def test_more_signal_errors_never_make_more_key(block: dict[str, list[int]], which: str, more: int) -> None:
    worse = {**block, which: [block[which][0] + more, block[which][1]]}
    limit = block[which.replace("_error", "")][0]
    worse[which][0] = min(worse[which][0], limit)
    assert estimate(worse).secret_bits <= estimate(block).secret_bits
