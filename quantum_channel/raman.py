"""quantum_channel.raman: spontaneous Raman light of classical channels in the same fibre. Pure.

Source: Eraerds, Walenta, Legre, Gisin, Zbinden, Quantum key distribution and 1 Gbps data encryption over a single
fibre (2010). Noise photons add to the yield of the dark, with error 1/2.
"""

import math
from typing import Final

from quantum_channel.ranges import refuse_negative, refuse_not_positive, refuse_unless_prob

__all__ = ["backward_w", "detected_per_gate", "forward_w"]

_PLANCK_TIMES_C: Final = 6.62607015e-34 * 299_792_458.0  # J m
_NEPERS_PER_DB: Final = math.log(10.0) / 10.0


def forward_w(
    launch_w: float, length_km: float, attenuation_db_per_km: float, beta_per_km_nm: float, filter_nm: float
) -> float:
    """Return the Raman power of a channel that runs with the quantum signal, within the filter at the far end, W.

    Args:
        launch_w: Launch power of the classical channel.
        length_km, attenuation_db_per_km: Of the fibre, at both wavelengths.
        beta_per_km_nm: Scattering cross-section, 2 to 4e-9 /(km nm).
        filter_nm: Width of the receiver's filter.

    Raises:
        BadLinkError: A value is negative.

    Source: P L e^(-a L) b dl, a in 1/km.
    """
    _check(launch_w, length_km, attenuation_db_per_km, beta_per_km_nm, filter_nm)
    return (
        launch_w
        * length_km
        * math.exp(-attenuation_db_per_km * _NEPERS_PER_DB * length_km)
        * beta_per_km_nm
        * filter_nm
    )


def backward_w(
    launch_w: float, length_km: float, attenuation_db_per_km: float, beta_per_km_nm: float, filter_nm: float
) -> float:
    """Return the Raman power of a channel that is launched at the quantum receiver, within its filter, W.

    Arguments and errors as of `forward_w`.

    Source: P (1 - e^(-2 a L))/(2a) b dl; P L b dl without attenuation.
    """
    _check(launch_w, length_km, attenuation_db_per_km, beta_per_km_nm, filter_nm)
    a_per_km = attenuation_db_per_km * _NEPERS_PER_DB
    reach_km = -math.expm1(-2.0 * a_per_km * length_km) / (2.0 * a_per_km) if a_per_km > 0.0 else length_km
    return launch_w * reach_km * beta_per_km_nm * filter_nm


def detected_per_gate(power_w: float, gate_s: float, efficiency: float, wavelength_nm: float = 1550.0) -> float:
    """Return the mean number of noise photons detected per gate.

    Args:
        power_w: At the receiver.
        gate_s: How long a gate is open.
        efficiency: Of the receiver as a whole.
        wavelength_nm: Of the quantum channel.

    Raises:
        BadLinkError: A value is negative, or the efficiency not in 0 .. 1.

    Source: P t lambda/(h c) times efficiency.
    """
    refuse_negative(power_w=power_w, gate_s=gate_s)
    refuse_unless_prob(efficiency=efficiency)
    refuse_not_positive(wavelength_nm=wavelength_nm)
    return power_w * gate_s * wavelength_nm * 1e-9 / _PLANCK_TIMES_C * efficiency


def _check(
    launch_w: float, length_km: float, attenuation_db_per_km: float, beta_per_km_nm: float, filter_nm: float
) -> None:
    refuse_negative(
        launch_w=launch_w,
        length_km=length_km,
        attenuation_db_per_km=attenuation_db_per_km,
        beta_per_km_nm=beta_per_km_nm,
        filter_nm=filter_nm,
    )
