"""Same seeds and secrets, same sifted key, however the channel cuts the clicks: nature, both devices, both sifters."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.devices.pulses import pulse_indices
from node.devices.receiver import Receiver
from node.devices.transmitter import Transmitter
from node.qkd.sifting import BlockAssembler, RawBlock, sift_receiver, sift_transmitter
from qnetem import topology
from qnetem.runtime.rng import derive_secret
from qnetem.v1 import process_pb2
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys
from quantum_channel.sampler_compiled import sample
from quantum_channel.wire import parameters_from_message

BLOCKS = 24
PLANNED = topology.from_dict(topology.ring(2)).links["n0-n1"].planned
NATURE, ALICE, BOB = (derive_secret(bytes(16), name) for name in ("nature", "alice", "bob"))


def sifted(chunks: list[int]) -> tuple[list[RawBlock], list[RawBlock]]:
    """Return the key blocks of both ends after a train of BLOCKS pulse blocks that was delivered in `chunks`."""
    transmitter = Transmitter(process_pb2.NodeLinkConfig(device_secret=ALICE, planned=PLANNED))
    receiver = Receiver(process_pb2.NodeLinkConfig(device_secret=BOB, planned=PLANNED))
    ends = BlockAssembler([200, 500], 2), BlockAssembler([200, 500], 2)
    made: tuple[list[RawBlock], list[RawBlock]] = ([], [])
    response, keys, carry = respond(parameters_from_message(PLANNED)), Keys.of(NATURE, ALICE, BOB), COLD
    first = 0
    for chunk in chunks:
        clicks, carry = sample(response, keys, first, chunk, carry)
        found = receiver.detect(first, clicks.block_counts, clicks.offsets, clicks.detectors, range(BLOCKS))
        choices = transmitter.choices(pulse_indices(first, found.block_counts, found.offsets))
        answer = sift_transmitter(*choices, found.bases, is_test=False)
        heard = sift_receiver(found.bases, found.bits, answer.matches, choices[1], answer.disclosed, is_test=False)
        made[0].extend(ends[0].add(answer.events))
        made[1].extend(ends[1].add(heard.events))
        first += chunk
    return made


WHOLE = sifted([BLOCKS])


def test_the_ends_differ_by_as_many_bits_as_the_link_makes_errors() -> None:
    alice, bob = (np.concatenate([block.z_bits for block in end]) for end in WHOLE)
    assert len(alice) == len(bob) >= 1200
    # 1 % misalignment and half of 2 % afterpulses
    error_prob = 0.01 + 0.5 * 0.02
    assert (alice != bob).mean() == pytest.approx(error_prob, abs=5 * (error_prob / len(alice)) ** 0.5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, BLOCKS), min_size=1, max_size=BLOCKS))
def test_the_sifted_key_does_not_depend_on_the_chunks(cuts: list[int]) -> None:
    edges = sorted({0, BLOCKS, *(cut for cut in cuts if cut < BLOCKS)})
    again = sifted([end - start for start, end in pairwise(edges)])
    for end, whole in zip(again, WHOLE, strict=True):
        assert [block.number for block in end] == [block.number for block in whole]
        for one, other in zip(end, whole, strict=True):
            assert one.z_bits.tolist() == other.z_bits.tolist()
            assert one.z_intensities.tolist() == other.z_intensities.tolist()
            assert one.x_counts.tolist() == other.x_counts.tolist()
            assert one.x_error_counts.tolist() == other.x_error_counts.tolist()
