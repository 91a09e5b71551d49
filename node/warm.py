"""node.warm: one small run of everything that is compiled, before forks. Wiring.

A kernel's first call in a process touches much of the compiler's own state: in every fork that would be a copy of some
megabytes, and some milliseconds.
"""

import numpy as np

from node.qkd.amplification import toeplitz_hash
from node.qkd.reconciliation import CascadeReceiver, CascadeTransmitter
from node.qkd.verification import polynomial_hash
from qnetem.runtime.rng import SECRET_BYTES, receiver_choices, transmitter_choices

__all__ = ["warm_up"]


def warm_up() -> None:
    """Call the kernels of a node once."""
    pulses, secret = np.arange(64, dtype=np.uint64), bytes(SECRET_BYTES)
    transmitter_choices(secret, pulses, 0.5, (0.5, 0.5))
    receiver_choices(secret, pulses, 0.5)
    sent = np.zeros(3000, dtype=np.uint8)
    received = sent.copy()
    received[[5, 99]] = 1
    answering, asking = CascadeTransmitter(sent, 1), CascadeReceiver(received, 1, 0.02)
    while (queries := asking.next_queries()) is not None:
        asking.take_answers(answering.answer(queries))
    polynomial_hash(sent, bytes(range(16)))
    toeplitz_hash(sent, np.ones(3499, dtype=np.uint8), 500)
