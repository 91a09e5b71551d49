"""quantum_channel.conditions: what nature is like on a link during one block, from what the link is made of. Pure.

Everything that acts on a link does so here, as a number of `Conditions`; the sampler knows nothing else. What varies
between blocks (drift of loss and polarisation, dispersion, Raman light, a clock that is off) changes these numbers;
what an eavesdropper does changes the click probabilities that `response` makes of them.
"""

from dataclasses import dataclass

from quantum_channel.detector import dark_prob, dead_slots
from quantum_channel.fibre import fibre_loss_db, survival_prob
from quantum_channel.parameters import Parameters
from quantum_channel.timing import sigma_ps

__all__ = ["Attack", "Conditions", "conditions"]


@dataclass(frozen=True, slots=True)
class Attack:
    """What an eavesdropper does: the fields eve_* of LinkParameters."""

    intercept_prob: float = 0.0
    splitting_prob: float = 0.0
    beam_splitting_prob: float = 0.0
    blinding_prob: float = 0.0
    time_shift_ps: float = 0.0


@dataclass(frozen=True, slots=True)
class Conditions:
    """Nature during one block.

    Attributes:
        detection_probs: A photon that was sent is detected, at detectors 0 and 1 (a passive receiver: of either basis):
            fibre, receiver and detector efficiency together.
        receiver_probs: The same without the fibre: for light that reaches the receiver without loss.
        wrong_probs: A detected photon is at the wrong detector though bases match, in Z and in X.
        dark_prob: Per gate and detector, noise light included.
        sigma_ps: Standard deviation of the arrival in its slot.
        offset_ps: Mean of the arrival in its slot.
        dead_slots: Slots blanked after a click.
        afterpulse_prob: A click begets an afterpulse that falls behind its dead time.
        afterpulse_tau_slots: Mean delay of afterpulses behind the dead time, slots.
        intensity_ratio: Intensities are so many times what is planned.
        intensity_sigma_ratio: Relative standard deviation of the intensity from pulse to pulse.
        transmitter_prob: With a source of pairs: a photon of the transmitter's arm is detected.
        transmitter_dark_prob: Per gate and detector of the transmitter.
        attack: What an eavesdropper does.
    """

    detection_probs: tuple[float, float]
    receiver_probs: tuple[float, float]
    wrong_probs: tuple[float, float]
    dark_prob: float
    sigma_ps: float
    offset_ps: float
    dead_slots: int
    afterpulse_prob: float
    afterpulse_tau_slots: float
    intensity_ratio: float = 1.0
    intensity_sigma_ratio: float = 0.0
    transmitter_prob: float = 0.0
    transmitter_dark_prob: float = 0.0
    attack: Attack = Attack()


def conditions(parameters: Parameters) -> Conditions:
    """Return what nature is like on an undisturbed link."""
    p = parameters
    loss_db = (
        fibre_loss_db(p.length_km, p.attenuation_db_per_km, p.connector_count, p.connector_loss_db, p.extra_loss_db)
        + p.receiver_loss_db
    )
    detection_prob = p.efficiency * survival_prob(loss_db)
    receiver_prob = p.efficiency * survival_prob(p.receiver_loss_db)
    return Conditions(
        detection_probs=(detection_prob, detection_prob),
        receiver_probs=(receiver_prob, receiver_prob),
        wrong_probs=(p.misalignment_prob, p.misalignment_prob),
        dark_prob=dark_prob(p.dark_count_hz, p.clock_hz),
        sigma_ps=sigma_ps((p.source_jitter_fwhm_ps, p.detector_jitter_fwhm_ps, p.link_jitter_fwhm_ps)),
        offset_ps=0.0,
        dead_slots=dead_slots(p.dead_time_ps, p.clock_hz),
        afterpulse_prob=p.afterpulse_prob,
        afterpulse_tau_slots=p.afterpulse_tau_ps * p.clock_hz / 1e12,
    )
