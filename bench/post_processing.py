"""bench.post_processing: what a sifted bit costs: reconciliation, verification, amplification, on one core.

CPU time, both ends apart, without network; and the memory that the steps of a block take.
`python -m bench.post_processing`; --write keeps the tables in the docs.
"""

import os
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from bench.report import publish, table
from node.qkd.amplification import toeplitz_hash
from node.qkd.bits import Bits
from node.qkd.estimation import binary_entropy
from node.qkd.reconciliation import CascadeReceiver, CascadeTransmitter
from node.qkd.sifting import BlockAssembler, MatchedEvents
from node.qkd.verification import polynomial_hash
from qnetem.runtime.allocator import keep_small_blocks

SECRET_SHARE = 0.18
SIZES = (100_000, 1_000_000, 10_000_000)
RUNS = {100_000: 10, 1_000_000: 4, 10_000_000: 1}
_PART_EVENTS = 100_000
Result = TypeVar("Result")


class Stopwatch:
    """CPU seconds spent in what it ran."""

    def __init__(self) -> None:
        self.spent_s = 0.0

    def run(self, work: Callable[..., Result], *arguments: object) -> Result:
        """Return work(*arguments)."""
        start_s = time.process_time()
        try:
            return work(*arguments)
        finally:
            self.spent_s += time.process_time() - start_s


def sifted(rng: np.random.Generator, bit_count: int, qber_prob: float) -> tuple[Bits, Bits]:
    """Return the bits of the two ends."""
    sent = rng.integers(0, 2, bit_count, dtype=np.uint8)
    return sent, sent ^ (rng.random(bit_count) < qber_prob).astype(np.uint8)


def reconciliation(rng: np.random.Generator, bit_count: int, qber_prob: float) -> list[str]:
    """Return a row: throughput of either end, efficiency, rounds, blocks that failed."""
    ends = Stopwatch(), Stopwatch()
    disclosed_bits = needed_bits = 0.0
    round_counts, failed = [], 0
    for seed in range(RUNS[bit_count]):
        sent, received = sifted(rng, bit_count, qber_prob)
        transmitter = ends[0].run(CascadeTransmitter, sent, seed)
        receiver = ends[1].run(CascadeReceiver, received, seed, qber_prob)
        while (queries := ends[1].run(receiver.next_queries)) is not None:
            ends[1].run(receiver.take_answers, ends[0].run(transmitter.answer, queries))
        failed += not np.array_equal(receiver.bits, sent)
        round_counts.append(receiver.round_count)
        disclosed_bits += receiver.disclosed_count
        needed_bits += bit_count * binary_entropy(float((sent ^ received).mean()))
    megabits = bit_count * RUNS[bit_count] / 1e6
    return [
        f"{bit_count:.0e}",
        f"{qber_prob:.1%}",
        *(f"{megabits / end.spent_s:.0f}" for end in ends),
        f"{disclosed_bits / needed_bits:.3f}",
        f"{np.mean(round_counts):.0f}",
        f"{failed}/{RUNS[bit_count]}",
    ]


def rate(runs: int, bit_count: int, work: Callable[..., object], *arguments: object) -> str:
    """Return the Mb/s of the fastest of some runs."""
    watches = [Stopwatch() for _ in range(runs)]
    for watch in watches:
        watch.run(work, *arguments)
    return f"{bit_count / 1e6 / min(watch.spent_s for watch in watches):.0f}"


def finishing(rng: np.random.Generator, bit_count: int) -> list[str]:
    """Return a row: throughput of verification and of amplification."""
    secret_bits = int(bit_count * SECRET_SHARE)
    bits = rng.integers(0, 2, bit_count, dtype=np.uint8)
    seed = rng.integers(0, 2, bit_count + secret_bits - 1, dtype=np.uint8)
    runs = RUNS[bit_count] + 1
    return [
        f"{bit_count:.0e}",
        rate(runs, bit_count, polynomial_hash, bits, bytes(range(16))),
        rate(runs, bit_count, toeplitz_hash, bits, seed, secret_bits),
    ]


def reconciliation_rows(rng: np.random.Generator) -> Iterator[list[str]]:
    """Yield the rows of all sizes and error rates."""
    CascadeReceiver(np.zeros(1, dtype=np.uint8), 0, 0.02)  # loads the compiled loops
    for bit_count in SIZES:
        for qber_prob in (0.005, 0.01, 0.02, 0.05):
            yield reconciliation(rng, bit_count, qber_prob)


def assembled(parts: Iterable[MatchedEvents], bit_count: int) -> object:
    """Return the block that matched events make."""
    assembler = BlockAssembler([bit_count], 2)
    return [block for part in parts for block in assembler.add(part)]


def memory(rng: np.random.Generator, bit_count: int) -> list[str]:
    """Return a row: the most megabytes that each step of a block takes beyond what it was given, and what it keeps."""
    sent, received = sifted(rng, bit_count, 0.02)
    secret_bits = int(bit_count * SECRET_SHARE)
    seed = rng.integers(0, 2, bit_count + secret_bits - 1, dtype=np.uint8)
    none = np.zeros(_PART_EVENTS, dtype=np.uint8)
    parts = (
        MatchedEvents(none, none, sent[start : start + _PART_EVENTS], none)
        for start in range(0, bit_count, _PART_EVENTS)
    )
    steps: list[Callable[[], object]] = [
        lambda: assembled(parts, bit_count),
        lambda: CascadeTransmitter(sent, 1),
        lambda: CascadeReceiver(received, 1, 0.02),
        lambda: polynomial_hash(sent, bytes(range(16))),
        lambda: toeplitz_hash(sent, seed, secret_bits),
    ]
    row = [f"{bit_count:.0e}"]
    for step in steps:
        tracemalloc.start()
        kept = step()
        left, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        row.append(f"{most / 1e6:.0f}, {left / 1e6:.0f}")
        del kept
    return row


def main() -> None:
    """Print the tables."""
    # as a node does
    keep_small_blocks()
    rng = np.random.default_rng(1)
    command = "python -m bench.post_processing"
    header = ["sifted bits", "QBER", "transmitter Mb/s", "receiver Mb/s", "f", "rounds", "failed"]
    publish("Reconciliation", command, table(header, list(reconciliation_rows(rng))))
    rows: Iterable[list[str]] = (finishing(rng, bit_count) for bit_count in SIZES)
    header = ["sifted bits", "verification Mb/s", f"amplification Mb/s (l/n = {SECRET_SHARE})"]
    publish("Verification and amplification", command, table(header, list(rows)))
    header = [
        "sifted bits: most and last MB of",
        "assembly",
        "Cascade's answers",
        "Cascade",
        "verification",
        "amplification",
    ]
    publish("Memory of a block", command, table(header, [memory(rng, bit_count) for bit_count in SIZES]))


if __name__ == "__main__":
    main()
