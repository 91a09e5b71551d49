"""quantum_channel.fibre: loss and latency of a fibre as arithmetic. Pure: no I/O, no clock, no asyncio."""

from typing import Final

from quantum_channel.parameters import BadLinkError

__all__ = ["GROUP_INDEX", "LIGHT_KM_PER_S", "fibre_loss_db", "latency_ps", "survival_prob"]

GROUP_INDEX: Final = 1.4682  # standard single-mode fibre at 1550 nm
LIGHT_KM_PER_S: Final = 299_792.458


def fibre_loss_db(
    length_km: float,
    attenuation_db_per_km: float,
    connector_count: int = 0,
    connector_loss_db: float = 0.0,
    extra_loss_db: float = 0.0,
) -> float:
    """Return the loss from one end of the fibre to the other, dB.

    Raises:
        BadLinkError: A contribution is negative or not a number.
    """
    parts = (length_km * attenuation_db_per_km, connector_count * connector_loss_db, extra_loss_db)
    if not all(part >= 0.0 for part in parts):
        raise BadLinkError(f"fibre loss: {parts} dB are not all 0 or more")
    return sum(parts)


def survival_prob(loss_db: float) -> float:
    """Return the probability that one photon survives a loss, dB.

    Raises:
        BadLinkError: The loss is negative or not a number.

    Source: Beer-Lambert in decibels, T = 10^(-loss_db/10).
    """
    if not loss_db >= 0.0:
        raise BadLinkError(f"loss {loss_db:g} dB is not 0 or more")
    return float(10.0 ** (-loss_db / 10.0))


def latency_ps(length_km: float) -> int:
    """Return how long light takes through the fibre, picoseconds.

    Raises:
        BadLinkError: The length is negative or not a number.

    Source: length n_g / c, 4.8974 us/km.
    """
    if not length_km >= 0.0:
        raise BadLinkError(f"length {length_km:g} km is not 0 or more")
    return round(length_km * GROUP_INDEX / LIGHT_KM_PER_S * 1e12)
