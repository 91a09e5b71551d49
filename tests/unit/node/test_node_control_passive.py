"""The share of matching bases of a passive receiver on a faint link, as the channel draws it: darks are of no basis."""

import numpy as np
import pytest

import qnetem.runtime.rng_compiled  # noqa: F401  # choices by the million
from node.control.expectation import Expectation
from qnetem.runtime.rng import BLOCK_PULSES, transmitter_choices
from qnetem.topology import fields
from qnetem.topology.profiles import PROFILES
from qnetem.v1 import parameters_pb2
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys
from quantum_channel.sampler_compiled import sample
from quantum_channel.wire import parameters_from_message

TRANSMITTER = b"transmitter-----"
KEYS = Keys.of(b"nature----------", TRANSMITTER, b"receiver--------")


def match_share(planned: parameters_pb2.LinkParameters, blocks: int) -> tuple[float, float]:
    """Return the share of clicks whose bases match, and the clicks per pulse."""
    p = parameters_from_message(planned)
    clicks, _ = sample(respond(p), KEYS, 1, blocks, COLD)
    slots = np.repeat(np.arange(1, blocks + 1) * BLOCK_PULSES, clicks.block_counts) + clicks.offsets
    bases, _, _ = transmitter_choices(TRANSMITTER, slots.astype(np.uint64), p.transmitter_p_z, p.intensity_probs)
    in_z, in_x = clicks.detectors & 3, clicks.detectors >> 2
    is_one = (in_z != 0) != (in_x != 0)
    return float(((in_x != 0) == (bases == 1))[is_one].mean()), len(slots) / (blocks * BLOCK_PULSES)


@pytest.mark.parametrize(("length_km", "p_z", "blocks"), [(130, 0.9, 40_000), (150, 0.8, 60_000), (25, 0.9, 2_000)])
def test_an_honest_passive_receiver_is_not_taken_for_a_blinded_one(length_km: int, p_z: float, blocks: int) -> None:
    quantum = PROFILES["decoy-bb84-1ghz-apd"].quantum
    values = {field.wire: quantum[field.key] for field in fields.QUANTUM if field.key in quantum}
    changes = {"length_km": length_km, "transmitter_p_z": p_z, "receiver_p_z": p_z, "is_passive": True}
    planned = parameters_pb2.LinkParameters(**{**values, **changes})
    share, clicks_per_pulse = match_share(planned, blocks)
    honest = Expectation(planned).match_share(clicks_per_pulse)
    assert honest.low < share < honest.high
    # one whose basis an eavesdropper chooses matches nearly always
    blinded = parameters_pb2.LinkParameters(**{**values, **changes, "eve_blinding_prob": 1.0})
    assert match_share(blinded, blocks // 10)[0] > honest.high
