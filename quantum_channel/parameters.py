"""quantum_channel.parameters: what a quantum link is made of, within which bounds, and what changes it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Final

from qnetem.runtime.errors import BadInputError

__all__ = ["RANGES", "SETTABLE", "BadLinkError", "Parameters", "Settings", "checked_settings", "effective"]

# name of a field of LinkSettings -> value
Settings = Mapping[str, float | int | bool]


class BadLinkError(BadInputError):
    """A parameter or a setting of a link is not in its range; the text names field, value and range."""

    reason = "BAD_LINK"


# both ends included; not a number is in no range
RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "length_km": (0, 10_000),
    "attenuation_db_per_km": (0, 100),
    "connector_count": (0, 1_000),
    "connector_loss_db": (0, 200),
    "extra_loss_db": (0, 1_000),
    "receiver_loss_db": (0, 1_000),
    "clock_hz": (1e3, 2e10),
    "transmitter_p_z": (0, 1),
    "receiver_p_z": (0, 1),
    "misalignment_prob": (0, 1),
    "efficiency": (0, 1),
    "dark_count_hz": (0, 1e9),
    "dead_time_ps": (0, 10**10),
    "afterpulse_prob": (0, 1),
    "afterpulse_tau_ps": (0, 10**10),
    "source_jitter_fwhm_ps": (0, 10_000),
    "detector_jitter_fwhm_ps": (0, 10_000),
    "link_jitter_fwhm_ps": (0, 10_000),
}
SETTABLE: Final = frozenset(
    {
        "length_km",
        "attenuation_db_per_km",
        "extra_loss_db",
        "receiver_loss_db",
        "misalignment_prob",
        "efficiency",
        "dark_count_hz",
        "dead_time_ps",
        "afterpulse_prob",
        "afterpulse_tau_ps",
        "link_jitter_fwhm_ps",
        "is_up",
    }
)
_INTENSITY_LIMIT: Final = 16
_MEAN_PHOTONS_LIMIT: Final = 100.0


def _check(name: str, value: float) -> None:
    low, high = RANGES[name]
    if not low <= value <= high:
        raise BadLinkError(f"{name} {value:g} is not in {low:g} .. {high:g}")


@dataclass(frozen=True, slots=True)
class Parameters:
    """A quantum link with the devices at its two ends; the fields are those of LinkParameters.

    Raises:
        BadLinkError: A value is out of its range.
    """

    length_km: float
    attenuation_db_per_km: float
    connector_count: int
    connector_loss_db: float
    extra_loss_db: float
    receiver_loss_db: float
    clock_hz: float
    intensities: tuple[float, ...]
    intensity_probs: tuple[float, ...]
    transmitter_p_z: float
    receiver_p_z: float
    misalignment_prob: float
    efficiency: float
    dark_count_hz: float
    dead_time_ps: int
    afterpulse_prob: float
    afterpulse_tau_ps: int
    source_jitter_fwhm_ps: float
    detector_jitter_fwhm_ps: float
    link_jitter_fwhm_ps: float
    is_up: bool = True

    def __post_init__(self) -> None:
        """Refuse what no link can be."""
        for name in RANGES:
            _check(name, getattr(self, name))
        means, probs = self.intensities, self.intensity_probs
        if not 1 <= len(means) <= _INTENSITY_LIMIT:
            raise BadLinkError(f"intensities: {len(means)} of them, not 1 .. {_INTENSITY_LIMIT}")
        if len(probs) != len(means):
            raise BadLinkError(f"intensity_probs: {len(probs)} of them for {len(means)} intensities")
        for mean in means:
            if not 0.0 <= mean <= _MEAN_PHOTONS_LIMIT:
                raise BadLinkError(f"intensities: {mean:g} is not in 0 .. {_MEAN_PHOTONS_LIMIT:g}")
        if any(later >= earlier for earlier, later in pairwise(means)):
            raise BadLinkError("intensities: each must be smaller than the one before it")
        if not all(0.0 <= prob <= 1.0 for prob in probs) or abs(sum(probs) - 1.0) > 1e-9:
            raise BadLinkError(f"intensity_probs: {list(probs)} are not probabilities that add up to 1")

    @property
    def period_ps(self) -> float:
        """Time from one slot to the next, picoseconds."""
        return 1e12 / self.clock_hz


def checked_settings(settings: Settings) -> dict[str, float | int | bool]:
    """Return a copy of `settings`, each checked by itself.

    Raises:
        BadLinkError: A field cannot be set or its value is out of its range.
    """
    for name, value in settings.items():
        if name not in SETTABLE:
            raise BadLinkError(f"{name} cannot be set on a live link")
        if name != "is_up":
            _check(name, value)
    return dict(settings)


def effective(planned: Parameters, layers: Iterable[Settings]) -> Parameters:
    """Return `planned` under `layers`, the later over the earlier: operator settings first, active faults above them.

    Raises:
        BadLinkError: A field cannot be set or its value is out of its range.
    """
    changes: dict[str, float | int | bool] = {}
    for layer in layers:
        changes |= checked_settings(layer)
    kinds = {field.name: field.type for field in fields(planned)}
    return replace(planned, **{name: int(v) if kinds[name] is int else v for name, v in changes.items()})  # type: ignore[arg-type]
