"""quantum_channel.dispersion: what a fibre's length and warmth do to the shape and the delay of pulses. Pure."""

import math
from typing import Final

from quantum_channel.fibre import LIGHT_KM_PER_S
from quantum_channel.ranges import refuse_negative, refuse_not_finite, refuse_not_positive

__all__ = [
    "THERMAL_PS_PER_KM_K",
    "beta2_ps2_per_km",
    "dispersed_fwhm_ps",
    "linewidth_sigma_ps",
    "thermal_delay_ps",
]

THERMAL_PS_PER_KM_K: Final = 33.0  # loose-tube cable
_T0_PER_FWHM: Final = 0.5 / math.sqrt(math.log(2.0))  # 1/1.665: intensity e^(-(t/T0)^2)
_LIGHT_NM_PER_PS: Final = LIGHT_KM_PER_S


def beta2_ps2_per_km(dispersion_ps_per_nm_km: float, wavelength_nm: float = 1550.0) -> float:
    """Return the group-velocity dispersion, ps^2/km; of either sign, as the dispersion is.

    Raises:
        BadLinkError: The wavelength is not above 0.

    Source: beta2 = -D lambda^2/(2 pi c); -21.68 ps^2/km at 17 ps/nm/km and 1550 nm.
    """
    refuse_not_positive(wavelength_nm=wavelength_nm)
    refuse_not_finite(dispersion_ps_per_nm_km=dispersion_ps_per_nm_km)
    return -dispersion_ps_per_nm_km * wavelength_nm**2 / (2.0 * math.pi * _LIGHT_NM_PER_PS)


def dispersed_fwhm_ps(
    fwhm_ps: float, length_km: float, dispersion_ps_per_nm_km: float, wavelength_nm: float = 1550.0
) -> float:
    """Return the full width at half maximum that a transform-limited Gaussian pulse has at the fibre's end, ps.

    Raises:
        BadLinkError: The width or the wavelength is not above 0, or the length negative.

    Source: Agrawal, Nonlinear Fiber Optics: T1 = T0 sqrt(1 + (beta2 L/T0^2)^2), T0 = FWHM/1.665.
    """
    refuse_not_positive(fwhm_ps=fwhm_ps)
    refuse_negative(length_km=length_km)
    t0_ps = fwhm_ps * _T0_PER_FWHM
    return fwhm_ps * math.hypot(1.0, beta2_ps2_per_km(dispersion_ps_per_nm_km, wavelength_nm) * length_km / t0_ps**2)


def linewidth_sigma_ps(length_km: float, dispersion_ps_per_nm_km: float, sigma_wavelength_nm: float) -> float:
    """Return the standard deviation of arrival that the source's linewidth makes, ps.

    Raises:
        BadLinkError: The length or the linewidth is negative.

    Source: sigma_t = |D| L sigma_lambda.
    """
    refuse_negative(length_km=length_km, sigma_wavelength_nm=sigma_wavelength_nm)
    refuse_not_finite(dispersion_ps_per_nm_km=dispersion_ps_per_nm_km)
    return abs(dispersion_ps_per_nm_km) * length_km * sigma_wavelength_nm


def thermal_delay_ps(length_km: float, warming_k: float, coefficient_ps_per_km_k: float = THERMAL_PS_PER_KM_K) -> float:
    """Return the delay that warming adds, ps; negative when the fibre cools.

    Raises:
        BadLinkError: The length or the coefficient is negative.

    Source: k L dT, k = 33 ps/km/K: 10 K on 50 km are 16.5 ns.
    """
    refuse_negative(length_km=length_km, coefficient_ps_per_km_k=coefficient_ps_per_km_k)
    refuse_not_finite(warming_k=warming_k)
    return coefficient_ps_per_km_k * length_km * warming_k
