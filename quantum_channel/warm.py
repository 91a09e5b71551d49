"""quantum_channel.warm: one small run of the compiled sampler, before forks; why: see node.warm. Wiring."""

import quantum_channel.raw_time_compiled  # noqa: F401
from qnetem.runtime.rng import SECRET_BYTES
from quantum_channel.parameters import Parameters
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, Keys
from quantum_channel.sampler_compiled import sample

__all__ = ["warm_up"]

_FAINT = Parameters(
    length_km=50.0,
    attenuation_db_per_km=0.2,
    connector_count=0,
    connector_loss_db=0.0,
    extra_loss_db=0.0,
    receiver_loss_db=0.0,
    clock_hz=1e9,
    intensities=(0.2, 0.05),
    intensity_probs=(0.5, 0.5),
    transmitter_p_z=0.5,
    receiver_p_z=0.5,
    misalignment_prob=0.01,
    efficiency=0.1,
    dark_count_hz=100.0,
    dead_time_ps=10_000_000,
    afterpulse_prob=0.01,
    afterpulse_tau_ps=10_000,
    source_jitter_fwhm_ps=0.0,
    detector_jitter_fwhm_ps=50.0,
    link_jitter_fwhm_ps=0.0,
)


def warm_up() -> None:
    """Sample one block."""
    secret = bytes(SECRET_BYTES)
    sample(respond(_FAINT), Keys.of(secret, secret, secret), 0, 1, COLD)
