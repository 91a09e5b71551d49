"""Cascade between its two ends: corrects, counts what it discloses, and refuses a peer that does not keep to it."""

from math import log2

import numpy as np
import pytest

from node.qkd.bits import Bits
from node.qkd.reconciliation import CascadeReceiver, CascadeTransmitter, ParityQueries, disclosure_limit
from node.qkd.reconciliation_layout import PASSES
from qnetem.runtime.errors import BadInputError, ConflictError

SEED = 0x0123456789ABCDEF


def sifted(bit_count: int, qber_prob: float, seed: int) -> tuple[Bits, Bits]:
    rng = np.random.default_rng(seed)
    sent = rng.integers(0, 2, bit_count, dtype=np.uint8)
    return sent, sent ^ (rng.random(bit_count) < qber_prob).astype(np.uint8)


def reconcile(receiver: CascadeReceiver, transmitter: CascadeTransmitter) -> list[ParityQueries]:
    rounds = []
    while (queries := receiver.next_queries()) is not None:
        rounds.append(queries)
        receiver.take_answers(transmitter.answer(queries))
    return rounds


def query(number: int, start: int, length: int) -> ParityQueries:
    return ParityQueries(np.array([number], np.uint8), np.array([start], np.uint32), np.array([length], np.uint32))


@pytest.mark.parametrize("bit_count", [2_000, 60_000, 200_001])
@pytest.mark.parametrize("qber_prob", [0.0, 0.01, 0.05, 0.11])
def test_the_receiver_ends_with_the_transmitters_bits(bit_count: int, qber_prob: float) -> None:
    sent, received = sifted(bit_count, qber_prob, seed=bit_count)
    receiver, transmitter = CascadeReceiver(received, SEED, qber_prob), CascadeTransmitter(sent, SEED)
    reconcile(receiver, transmitter)
    assert np.array_equal(receiver.bits, sent)
    assert receiver.error_positions.tolist() == np.flatnonzero(sent ^ received).tolist()
    assert not receiver.has_given_up


def test_both_ends_count_every_parity_once() -> None:
    sent, received = sifted(50_000, 0.03, seed=1)
    receiver, transmitter = CascadeReceiver(received, SEED, 0.03), CascadeTransmitter(sent, SEED)
    rounds = reconcile(receiver, transmitter)
    asked = [key for queries in rounds for key in zip(queries.passes, queries.starts, queries.lengths, strict=True)]
    assert receiver.disclosed_count == transmitter.disclosed_count == len(asked)
    assert len(set(asked)) == len(asked)
    assert receiver.round_count == len(rounds)


def test_no_parity_is_asked_that_follows_from_others() -> None:
    # within each pass, what was disclosed is linearly independent; in later ones even with the frame's parity
    sent, received = sifted(3_000, 0.05, seed=2)
    receiver, transmitter = CascadeReceiver(received, SEED, 0.05), CascadeTransmitter(sent, SEED)
    rounds = reconcile(receiver, transmitter)
    for number in range(3):
        cuts = {0, 3_000}
        asked = 1 if number else 0
        for queries in rounds:
            of_pass = queries.passes == number
            asked += int(of_pass.sum())
            ends = queries.starts[of_pass] + queries.lengths[of_pass]
            cuts |= set(queries.starts[of_pass].tolist()) | set(ends.tolist())
        # the borders cut the frame into len(cuts) - 1 ranges: as many parities as there are independent ones
        assert asked == len(cuts) - 1


@pytest.mark.parametrize("qber_prob", [0.005, 0.02, 0.08])
@pytest.mark.parametrize("bit_count", [300, 140_000])
def test_compiled_and_plain_loops_ask_and_correct_the_same(bit_count: int, qber_prob: float) -> None:
    sent, received = sifted(bit_count, qber_prob, seed=3)
    compiled = CascadeReceiver(received, SEED, qber_prob, is_compiled=True)
    plain = CascadeReceiver(received, SEED, qber_prob, is_compiled=False)
    rounds = [reconcile(receiver, CascadeTransmitter(sent, SEED)) for receiver in (compiled, plain)]
    assert len(rounds[0]) == len(rounds[1])
    for one, other in zip(*rounds, strict=True):
        for field in ("passes", "starts", "lengths"):
            assert np.array_equal(getattr(one, field), getattr(other, field))
    assert np.array_equal(compiled.bits, plain.bits)
    assert np.array_equal(compiled.error_positions, plain.error_positions)


def test_the_environment_chooses_the_plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QNETEM_PURE_NUMPY", "1")
    monkeypatch.setitem(__import__("sys").modules, "node.qkd.reconciliation_compiled", None)
    sent, received = sifted(1_000, 0.02, seed=4)
    receiver = CascadeReceiver(received, SEED, 0.02)
    reconcile(receiver, CascadeTransmitter(sent, SEED))
    assert np.array_equal(receiver.bits, sent)


@pytest.mark.parametrize(("estimate_prob", "efficiency"), [(0.0, 1.20), (0.01, 1.20), (0.04, 1.35)])
def test_a_bad_estimate_costs_parities_not_correctness(estimate_prob: float, efficiency: float) -> None:
    sent, received = sifted(100_000, 0.02, seed=5)
    receiver = CascadeReceiver(received, SEED, estimate_prob)
    reconcile(receiver, CascadeTransmitter(sent, SEED))
    qber = float((sent ^ received).mean())
    shannon = 100_000 * (-qber * log2(qber) - (1 - qber) * log2(1 - qber))
    assert np.array_equal(receiver.bits, sent)
    assert 1.0 < receiver.disclosed_count / shannon < efficiency


def test_bursts_are_spread_over_the_frames() -> None:
    sent, _ = sifted(150_000, 0.0, seed=6)
    received = sent.copy()
    received[40_000:43_000] ^= 1
    receiver = CascadeReceiver(received, SEED, 0.02)
    reconcile(receiver, CascadeTransmitter(sent, SEED))
    assert np.array_equal(receiver.bits, sent)
    assert receiver.round_count < 220


def test_hopeless_bits_are_given_up_before_more_is_asked_than_they_hold() -> None:
    sent, received = sifted(5_000, 0.5, seed=7)
    receiver, transmitter = CascadeReceiver(received, SEED, 0.01), CascadeTransmitter(sent, SEED)
    reconcile(receiver, transmitter)
    assert receiver.has_given_up
    assert receiver.next_queries() is None
    assert receiver.disclosed_count <= disclosure_limit(5_000)


def test_queries_stay_until_they_are_answered() -> None:
    sent, received = sifted(1_000, 0.02, seed=8)
    receiver = CascadeReceiver(received, SEED, 0.02)
    with pytest.raises(ConflictError, match="no parities"):
        receiver.take_answers(np.zeros(1, dtype=np.uint8))
    first, again = receiver.next_queries(), receiver.next_queries()
    assert first is not None
    assert again is not None
    assert np.array_equal(first.starts, again.starts)
    with pytest.raises(BadInputError, match="parity answer"):
        receiver.take_answers(np.zeros(len(first) + 1, dtype=np.uint8))
    receiver.take_answers(CascadeTransmitter(sent, SEED).answer(first))


def test_the_transmitter_answers_no_more_than_the_block_holds() -> None:
    transmitter = CascadeTransmitter(np.ones(100, dtype=np.uint8), SEED)
    for place in range(disclosure_limit(100)):
        assert transmitter.answer(query(0, place % 100, 1)).tolist() == [1]
    with pytest.raises(BadInputError, match="165 parities asked of 100 bits"):
        transmitter.answer(query(0, 0, 1))


@pytest.mark.parametrize(
    ("number", "start", "length"),
    [
        (PASSES, 0, 1),  # no such pass
        (0, 0, 0),  # empty
        (1, 49_999, 2),  # leaves its frame
        (1, 99_999, 2),  # leaves the block
        (0, 100_000, 1),
        (18, 0, 50_001),
        (0, 2**32 - 1, 2**32 - 1),
    ],
)
def test_ranges_outside_of_a_frame_are_refused(number: int, start: int, length: int) -> None:
    transmitter = CascadeTransmitter(np.zeros(100_000, dtype=np.uint8), SEED)
    with pytest.raises(BadInputError, match=f"pass {number}, start {start}, length {length}"):
        transmitter.answer(query(number, start, length))
    assert transmitter.disclosed_count == 0


def test_arrays_of_different_lengths_are_refused() -> None:
    queries = ParityQueries(np.zeros(2, np.uint8), np.zeros(1, np.uint32), np.ones(2, np.uint32))
    with pytest.raises(BadInputError, match="2 passes, 1 starts, 2 lengths"):
        CascadeTransmitter(np.zeros(10, dtype=np.uint8), SEED).answer(queries)


@pytest.mark.parametrize("qber_prob", [-0.1, 1.1, float("nan")])
def test_an_estimate_that_is_no_probability_is_refused(qber_prob: float) -> None:
    with pytest.raises(BadInputError, match="QBER estimate"):
        CascadeReceiver(np.zeros(10, dtype=np.uint8), SEED, qber_prob)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_of_more_than_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(BadInputError, match="seed"):
        CascadeTransmitter(np.zeros(10, dtype=np.uint8), seed)


def test_no_bits_are_refused() -> None:
    with pytest.raises(BadInputError, match="0 bits"):
        CascadeReceiver(np.zeros(0, dtype=np.uint8), SEED, 0.02)
