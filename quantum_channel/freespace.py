"""quantum_channel.freespace: loss of a beam through the air or from a satellite. Pure."""

import math

from quantum_channel.parameters import BadLinkError
from quantum_channel.ranges import refuse_negative, refuse_not_positive

__all__ = ["beam_radius_m", "freespace_survival_prob"]


def beam_radius_m(range_km: float, divergence_half_rad: float) -> float:
    """Return the 1/e^2 radius of a diffracting beam at the receiver, m.

    Raises:
        BadLinkError: The range or the divergence is not above 0.

    Source: w = theta R, far field.
    """
    refuse_not_positive(range_km=range_km, divergence_half_rad=divergence_half_rad)
    return divergence_half_rad * range_km * 1e3


def freespace_survival_prob(
    range_km: float,
    divergence_half_rad: float,
    aperture_radius_m: float,
    *,
    pointing_sigma_rad: float = 0.0,
    zenith_loss_db: float = 0.0,
    elevation_rad: float = math.pi / 2.0,
) -> float:
    """Return the probability that one photon of the beam enters the receiver.

    Args:
        range_km: From transmitter to receiver, along the beam.
        divergence_half_rad: Half angle of the beam at 1/e^2.
        aperture_radius_m: Radius of the receiver's aperture.
        pointing_sigma_rad: Standard deviation of the pointing, per axis.
        zenith_loss_db: What the atmosphere takes straight up; more at a lower elevation, as 1/sin.
        elevation_rad: In (0, pi/2].

    Raises:
        BadLinkError: A length or the divergence is not above 0, a loss or a deviation negative, the elevation out of
            its range.

    Source: [1 - e^(-2 a^2/w^2)] w^2/(w^2 + 4 s^2) 10^(-A_z/(10 sin el)).
    """
    refuse_not_positive(aperture_radius_m=aperture_radius_m)
    refuse_negative(pointing_sigma_rad=pointing_sigma_rad, zenith_loss_db=zenith_loss_db)
    if not 0.0 < elevation_rad <= math.pi / 2.0:
        raise BadLinkError(f"elevation_rad {elevation_rad:g} is not in (0, pi/2]")
    w_m = beam_radius_m(range_km, divergence_half_rad)
    wander_m = pointing_sigma_rad * range_km * 1e3
    caught = -math.expm1(-2.0 * (aperture_radius_m / w_m) ** 2)
    pointed = w_m**2 / (w_m**2 + 4.0 * wander_m**2)
    return float(caught * pointed * 10.0 ** (-zenith_loss_db / (10.0 * math.sin(elevation_rad))))
