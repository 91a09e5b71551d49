"""`check physics` against the channel: formulas written apart agree with what is drawn, and see what is not as told."""

from typing import Any, Final

import numpy as np
import pytest

import qnetem.runtime.rng_compiled  # noqa: F401  # choices by the million
from qnetem.runtime.rng import BLOCK_PULSES, receiver_choices, transmitter_choices
from qnetem.testbed.measuring.comparison import LIMIT_SIGMAS, Row, compared
from qnetem.testbed.measuring.expected import expected
from qnetem.testbed.measuring.tally import Tally
from qnetem.topology import fields
from qnetem.topology.profiles import PROFILES
from qnetem.v1 import parameters_pb2, quantum_channel_pb2
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys
from quantum_channel.sampler_compiled import sample
from quantum_channel.wire import parameters_from_message

TRANSMITTER, RECEIVER = b"transmitter-----", b"receiver--------"
KEYS: Final = Keys.of(b"nature----------", TRANSMITTER, RECEIVER)
SNSPD: Final = "decoy-bb84-1ghz-snspd"


def link(profile: str = SNSPD, **changes: Any) -> parameters_pb2.LinkParameters:
    quantum = PROFILES[profile].quantum
    values = {field.wire: quantum[field.key] for field in fields.QUANTUM if field.key in quantum}
    return parameters_pb2.LinkParameters(**{**values, "length_km": 25, **changes})


def counted(drawn: parameters_pb2.LinkParameters, blocks: int) -> Tally:
    p = parameters_from_message(drawn)
    clicks, _ = sample(respond(p), KEYS, 0, blocks, COLD)
    slots = np.repeat(np.arange(blocks) * BLOCK_PULSES, clicks.block_counts) + clicks.offsets
    pulses = np.maximum(slots, 0).astype(np.uint64)
    bases, levels, bits = transmitter_choices(TRANSMITTER, pulses, p.transmitter_p_z, p.intensity_probs)
    others, _ = receiver_choices(RECEIVER, pulses, p.receiver_p_z)
    tally = Tally(len(p.intensities), is_passive=p.is_passive)
    classes = (((levels * 2 + bases) * 2 + others) * 2 + bits).astype(np.uint8)
    # in parts, as they come from a channel
    counts = clicks.block_counts
    for half in (slice(0, blocks // 2), slice(blocks // 2, blocks)):
        start, end = int(counts[: half.start].sum()), int(counts[: half.stop].sum())
        part = slice(start, end)
        tally.add(counts[half], clicks.offsets[part], clicks.detectors[part], clicks.arrivals_ps[part], classes[part])
    return tally


def rows(told: parameters_pb2.LinkParameters, drawn: parameters_pb2.LinkParameters, blocks: int = 60) -> dict[str, Row]:
    wanted = expected(quantum_channel_pb2.QuantumLinkState(effective=told))
    found = compared(counted(drawn, blocks), wanted, list(told.intensity_probs), told.clock_hz)
    return {row.quantity: row for row in found}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"saturation_hz": 5e6},
        {"efficiency_mismatch_ratio": 0.3, "intensity_sigma_ratio": 0.1},
        {"gate_width_ps": 100, "gate_offset_ps": 30},
        {"coexisting_forward_mw": 1, "coexisting_backward_mw": 1, "filter_nm": 1},
        {
            "divergence_rad": 1e-5,
            "aperture_m": 0.4,
            "pointing_sigma_rad": 5e-6,
            "zenith_loss_db": 1,
            "elevation_rad": 0.7,
        },
        {"dispersion_ps_per_nm_km": 17, "linewidth_nm": 0.2, "pulse_fwhm_ps": 20},
        {"link_jitter_fwhm_ps": 700},
        {"is_passive": True},
        {"is_passive": True, "efficiency_mismatch_ratio": 0.3, "coexisting_forward_mw": 1},
    ],
    ids=lambda changes: "-".join(changes) or "as-shipped",
)
def test_what_is_drawn_is_what_the_formulas_say(changes: dict[str, Any]) -> None:
    told = link(**changes)
    found = rows(told, told)
    assert {"clicks", "gain, intensity 1", "errors in Z", "double clicks", "arrival, deviation"} <= set(found)
    assert [row for row in found.values() if not row.agrees] == []


def test_afterpulses_are_counted_beside_the_light() -> None:
    told = link("decoy-bb84-1ghz-apd")
    found = rows(told, told, blocks=8000)
    assert [row for row in found.values() if not row.agrees] == []
    assert found["afterpulses"].measured == pytest.approx(0.02, abs=0.004)


@pytest.mark.parametrize(
    ("fault", "seen_in"),
    [
        ({"efficiency": 0.83}, "gain, intensity 1"),
        ({"extra_loss_db": 0.1}, "clicks"),
        ({"misalignment_prob": 0.013}, "errors in Z"),
        ({"dead_time_ps": 40_000}, "shortest gap"),
        ({"dead_time_ps": 60_000}, "shortest gap"),
        ({"detector_jitter_fwhm_ps": 55}, "arrival, deviation"),
        ({"transmitter_p_z": 0.77}, "transmitter in Z"),
        ({"receiver_p_z": 0.77}, "receiver in Z"),
        ({"afterpulse_prob": 0.02}, "gain, intensity 2"),
        ({"eve_intercept_prob": 0.05}, "errors in X"),
        ({"eve_blinding_prob": 0.5}, "double clicks"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_is_not_as_told_deviates(fault: dict[str, Any], seen_in: str) -> None:
    row = rows(link(), link(**fault), blocks=120)[seen_in]
    assert abs(row.sigmas) > LIMIT_SIGMAS, row
    assert not row.agrees
