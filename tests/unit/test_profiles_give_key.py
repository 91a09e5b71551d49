"""Profiles of two decoys and of entangled pairs hold a key, about as long as their comments say.

Expected counts by the formulas of PHYSICS 2, 4 and of Ma, Fung, Lo 2007; lengths by the bounds that the nodes use.
"""

import math

import pytest

from node.qkd.bbm92 import pair_key_estimate
from node.qkd.estimation import binary_entropy
from node.qkd.two_decoy import two_decoy_key_estimate
from qnetem.topology import from_dict, ring
from qnetem.v1.parameters_pb2 import LinkParameters
from quantum_channel.pairs import pair_gain


def link(profile: str, length_km: int) -> LinkParameters:
    """Return the parameters of a link with a profile."""
    return from_dict(ring(2, profile=profile, length=f"{length_km}km")).links["n0-n1"].planned


def detection_prob(planned: LinkParameters) -> float:
    """Return the probability that a photon that was sent is detected."""
    loss_db = planned.attenuation_db_per_km * planned.length_km + planned.connector_count * planned.connector_loss_db
    return planned.efficiency * 10 ** (-(loss_db + planned.receiver_loss_db) / 10)


@pytest.mark.parametrize(
    ("length_km", "block_bits", "key_ratio"),
    [(25, 1e5, 0.26), (25, 1e6, 0.49), (25, 1e7, 0.55), (50, 1e5, 0.24), (50, 1e6, 0.48)],
)
def test_two_decoys_hold_a_key(length_km: int, block_bits: float, key_ratio: float) -> None:
    planned = link("two-decoys-bb84-1ghz-snspd", length_km)
    eta, dark = detection_prob(planned), 1 - (1 - planned.dark_count_hz / planned.clock_hz) ** 2
    gains = [1 - (1 - dark) * math.exp(-eta * mean) for mean in planned.intensities]
    errors = [dark / 2 + planned.misalignment_prob * (1 - math.exp(-eta * mean)) for mean in planned.intensities]
    share = [prob * gain for prob, gain in zip(planned.intensity_probs, gains, strict=True)]
    key = [block_bits * one / sum(share) for one in share]
    ratio = ((1 - planned.receiver_p_z) / planned.receiver_p_z) ** 2
    test = [count * ratio for count in key]
    wrong = [count * error / gain for count, error, gain in zip(test, errors, gains, strict=True)]
    qber = sum(wrong) / sum(test)
    estimate = two_decoy_key_estimate(
        key_counts=key,
        test_counts=test,
        test_error_counts=wrong,
        intensities=list(planned.intensities),
        intensity_probs=list(planned.intensity_probs),
        eps_sec=1e-10,
        eps_cor=1e-15,
        leaked_bits=1.16 * binary_entropy(qber) * block_bits,
    )
    assert qber == pytest.approx(0.01, rel=0.02)
    assert estimate.secret_bits / block_bits == pytest.approx(key_ratio, abs=0.006)


@pytest.mark.parametrize(("block_bits", "key_ratio"), [(1e5, 0.39), (1e6, 0.56)])
def test_entangled_pairs_hold_a_key(block_bits: float, key_ratio: float) -> None:
    planned = link("bbm92-1ghz-snspd", 25)
    darks = (2 * planned.transmitter_dark_count_hz / planned.clock_hz, 2 * planned.dark_count_hz / planned.clock_hz)
    arms = (planned.transmitter_efficiency, detection_prob(planned))
    pairs = pair_gain(planned.pair_brightness, arms, darks, planned.misalignment_prob)
    assert pairs.error_prob == pytest.approx(0.023, abs=0.0005)
    assert list(planned.intensities) == [2 * planned.pair_brightness]
    compared = block_bits * ((1 - planned.receiver_p_z) / planned.receiver_p_z) ** 2
    estimate = pair_key_estimate(
        z_counts=[block_bits],
        x_counts=[compared],
        x_error_counts=[compared * pairs.error_prob],
        eps_sec=1e-10,
        eps_cor=1e-15,
        leaked_bits=1.16 * binary_entropy(pairs.error_prob) * block_bits,
    )
    assert estimate.secret_bits / block_bits == pytest.approx(key_ratio, abs=0.006)
