"""bench.round_trips: reconciliation of two processes over a link with a round trip, several blocks at a time. Edge.

`python -m bench.round_trips [--write]`. An answer is looked at no sooner than a round trip after its question was sent.
"""

import heapq
import multiprocessing
import queue
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bench.post_processing import sifted
from bench.report import publish, table
from node.qkd.estimation import binary_entropy
from node.qkd.reconciliation import CascadeReceiver, CascadeTransmitter

COMMAND = "python -m bench.round_trips"
ROUND_TRIP_S = 0.5e-3
BLOCK_BITS = 1_000_000
BLOCKS = 24
AT_A_TIME = 8


def answer_forever(wire: Connection, blocks: list[Any]) -> None:
    """Be the transmitter of all blocks."""
    ends = [CascadeTransmitter(sent, seed) for seed, sent in enumerate(blocks)]
    wire.send(None)
    while (asked := wire.recv()) is not None:
        number, queries = asked
        wire.send((number, ends[number].answer(queries)))


def send_all(wire: Connection, outbox: "queue.SimpleQueue[Any]") -> None:
    """Write what comes until the end of it."""
    for message in iter(outbox.get, "end"):
        wire.send(message)


def reconcile(qber_prob: float) -> list[str]:
    """Return a row: sifted bits a second, wall, and what was disclosed."""
    rng = np.random.default_rng(1)
    pairs = [sifted(rng, BLOCK_BITS, qber_prob) for _ in range(BLOCKS)]
    here, there = multiprocessing.Pipe()
    transmitter = multiprocessing.Process(target=answer_forever, args=(there, [sent for sent, _ in pairs]))
    transmitter.start()
    here.recv()
    # of its own thread: two ends that both write into a full pipe would wait for ever
    outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    writer = threading.Thread(target=send_all, args=(here, outbox))
    writer.start()
    start_s = time.monotonic()
    ends: dict[int, CascadeReceiver] = {}
    asked_s: dict[int, float] = {}
    ready: list[tuple[float, int, Any]] = []
    disclosed = failed = begun = done = 0
    while done < BLOCKS:
        while len(ends) < AT_A_TIME and begun < BLOCKS:
            ends[begun] = CascadeReceiver(pairs[begun][1], begun, qber_prob)
            asked_s[begun] = time.monotonic()
            outbox.put((begun, ends[begun].next_queries()))
            begun += 1
        wait_s = max(0.0, ready[0][0] - time.monotonic()) if ready else None
        if here.poll(wait_s):
            number, answers = here.recv()
            heapq.heappush(ready, (asked_s[number] + ROUND_TRIP_S, number, answers))
        while ready and ready[0][0] <= time.monotonic():
            _, number, answers = heapq.heappop(ready)
            end = ends[number]
            end.take_answers(answers)
            queries = end.next_queries()
            if queries is not None:
                asked_s[number] = time.monotonic()
                outbox.put((number, queries))
                continue
            disclosed += end.disclosed_count
            failed += not np.array_equal(end.bits, pairs[number][0])
            del ends[number]
            done += 1
    spent_s = time.monotonic() - start_s
    outbox.put(None)
    outbox.put("end")
    writer.join()
    transmitter.join()
    needed = sum(BLOCK_BITS * binary_entropy(float((sent ^ received).mean())) for sent, received in pairs)
    return [
        f"{qber_prob:.0%}",
        f"{BLOCKS * BLOCK_BITS / spent_s / 1e6:.0f}",
        f"{disclosed / needed:.3f}",
        f"{failed}/{BLOCKS}",
    ]


def main() -> None:
    """Print the table."""
    CascadeReceiver(np.zeros(1, dtype=np.uint8), 0, 0.02)  # loads the compiled loops
    rows = [reconcile(qber_prob) for qber_prob in (0.01, 0.02, 0.05)]
    header = ["QBER", "sifted Mb/s", "f", "failed"]
    publish(f"Reconciliation over {ROUND_TRIP_S * 1e3:g} ms", COMMAND, table(header, rows))


if __name__ == "__main__":
    main()
