"""Key lengths of all protocols for any counts: never below 0, never more than there is, or than for better counts."""

from math import isfinite

from hypothesis import given, settings
from hypothesis import strategies as st

from node.qkd.estimation import KeyEstimate
from node.qkd.protocols import ASYMPTOTIC, BBM92, ONE_DECOY, PROTOCOLS, TWO_DECOYS, BlockCounts

SENT = {2: ((0.4, 0.13), (0.35, 0.65)), 3: ((0.5, 0.1, 0.001), (0.5, 0.3, 0.2)), 1: ((), ())}
KINDS = st.sampled_from([(ONE_DECOY, 2), (TWO_DECOYS, 3), (ASYMPTOTIC, 2), (ASYMPTOTIC, 3), (BBM92, 1)])
COUNTS = st.integers(0, 10**8)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[str, int, BlockCounts]:
    """Counts of any kind, from what a link makes to what none does."""
    name, levels = draw(KINDS)
    z, x = ([draw(COUNTS) for _ in range(levels)] for _ in range(2))
    z_errors, x_errors = ([int(n * draw(st.floats(0, 1))) for n in counts] for counts in (z, x))
    return name, levels, BlockCounts(z, z_errors, x, x_errors)


@st.composite
def plausible(draw: st.DrawFn) -> tuple[str, int, BlockCounts]:
    """Counts that a link might make: most make key."""
    name, levels = draw(KINDS)
    total = draw(st.integers(10**5, 10**8))
    probs = SENT[levels][1]
    means = SENT[levels][0] or (1.0,)
    gains = [p * (1 - 2.718281828 ** (-0.1 * mean)) for p, mean in zip(probs or (1.0,), means, strict=True)]
    z = [int(total * gain / sum(gains)) for gain in gains]
    share, qber_prob = draw(st.floats(0.02, 1.0)), draw(st.floats(0.001, 0.08))
    x = [int(n * share) for n in z]
    return name, levels, BlockCounts(z, [int(n * qber_prob) for n in z], x, [int(n * qber_prob) for n in x])


def estimate(block: tuple[str, int, BlockCounts], leaked_bits: float = 0.0) -> KeyEstimate:
    name, levels, counts = block
    intensities, probs = SENT[levels]
    return PROTOCOLS[name].key_estimate(
        counts, intensities=intensities, intensity_probs=probs, eps_sec=1e-10, eps_cor=1e-15, leaked_bits=leaked_bits
    )


@given(blocks(), st.floats(0, 1e9))
@settings(deadline=None, derandomize=True, max_examples=500)
def test_any_counts_give_a_length_within_the_block(block: tuple[str, int, BlockCounts], leaked_bits: float) -> None:
    found = estimate(block, leaked_bits)
    assert 0 <= found.secret_bits <= max(sum(block[2].z) - leaked_bits, 0)
    assert (found.secret_bits == 0) == (found.reason != "")
    assert isfinite(found.vacuum_count + found.single_count)
    assert 0 <= found.vacuum_count + found.single_count <= sum(block[2].z) * (1 + 1e-12)
    assert 0 <= found.phase_error_prob <= 0.5


@given(plausible(), st.integers(0, 10**6), st.integers(1, 10**5))
@settings(deadline=None, derandomize=True)
def test_more_leakage_never_makes_more_key(block: tuple[str, int, BlockCounts], leaked_bits: int, more: int) -> None:
    assert estimate(block, leaked_bits + more).secret_bits <= estimate(block, leaked_bits).secret_bits


@given(plausible(), st.integers(1, 2_000))
@settings(deadline=None, derandomize=True)
def test_more_errors_of_the_signal_in_x_never_make_more_key(block: tuple[str, int, BlockCounts], more: int) -> None:
    name, levels, counts = block
    errors = list(counts.x_errors)
    # one decoy and asymptotically the brightest bounds errors from above, with two decoys the second
    index = 1 if levels == 3 else 0
    errors[index] = min(errors[index] + more, int(counts.x[index]))
    worse = BlockCounts(counts.z, counts.z_errors, counts.x, errors)
    assert estimate((name, levels, worse)).secret_bits <= estimate(block).secret_bits


@given(plausible(), st.integers(2, 50))
@settings(deadline=None, derandomize=True)
def test_a_longer_block_never_has_a_smaller_share_of_key(block: tuple[str, int, BlockCounts], factor: int) -> None:
    name, levels, counts = block
    parts = (counts.z, counts.z_errors, counts.x, counts.x_errors)
    longer = BlockCounts(*([n * factor for n in part] for part in parts))
    # of whole bits: the shorter block may have lost one
    assert estimate((name, levels, longer)).secret_bits >= factor * estimate(block).secret_bits - factor
