"""quantum_channel.parameters: what a quantum link is made of, within which bounds, and what changes it. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Final

from qnetem.runtime.errors import BadInputError

__all__ = [
    "RANGES",
    "SETTABLE",
    "TOGETHER",
    "BadLinkError",
    "Parameters",
    "Settings",
    "checked_settings",
    "effective",
    "is_continuous",
]

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
    "wavelength_nm": (100, 20_000),
    "dispersion_ps_per_nm_km": (-1_000, 1_000),
    "pulse_fwhm_ps": (0, 10_000),
    "linewidth_nm": (0, 100),
    "day_s": (1, 1e9),
    "temperature_swing_k": (0, 100),
    "loss_day_db": (0, 100),
    "loss_wander_db": (0, 100),
    "loss_wander_tau_s": (0, 1e9),
    "loss_event_db": (0, 200),
    "loss_event_hz": (0, 1e3),
    "loss_event_s": (0, 1e9),
    "polarisation_tau_s": (0, 1e12),
    "coexisting_forward_mw": (0, 1e4),
    "coexisting_backward_mw": (0, 1e4),
    "raman_per_km_nm": (0, 1e-6),
    "filter_nm": (0, 1_000),
    "divergence_rad": (0, 0.1),
    "aperture_m": (0, 100),
    "pointing_sigma_rad": (0, 0.1),
    "zenith_loss_db": (0, 100),
    "elevation_rad": (1e-3, 1.5707963267948966),
    "intensity_sigma_ratio": (0, 1),
    "intensity_wander_ratio": (0, 1),
    "intensity_wander_tau_s": (0, 1e9),
    "pair_brightness": (0, 10),
    "transmitter_efficiency": (0, 1),
    "transmitter_dark_count_hz": (0, 1e9),
    "efficiency_mismatch_ratio": (0, 1),
    "saturation_hz": (0, 1e12),
    "gate_width_ps": (0, 1e9),
    "gate_offset_ps": (-1e9, 1e9),
    "bin_separation_ps": (0, 1e6),
    "bin_width_ps": (0, 1e6),
    "clock_offset_ps": (-1e12, 1e12),
    "clock_skew_ppb": (-1e6, 1e6),
    "clock_ageing_ppb_per_day": (-1e6, 1e6),
    "clock_white_ps": (0, 1e6),
    "clock_walk_ppb": (0, 1e6),
    "sync_noise_ps": (0, 1e9),
    "sync_asymmetry_ps": (-1e9, 1e9),
    "eve_intercept_prob": (0, 1),
    "eve_splitting_prob": (0, 1),
    "eve_beam_splitting_prob": (0, 1),
    "eve_blinding_prob": (0, 1),
    "eve_time_shift_ps": (0, 1e6),
    "eve_trojan_photons": (0, 1e6),
    "eve_delay_ps": (0, 1e12),
}
# what the ends have agreed on, or have built
_BUILT: Final = frozenset({"clock_hz", "transmitter_p_z", "receiver_p_z", "pair_brightness"})
SETTABLE: Final = frozenset({*RANGES, "is_up"} - _BUILT)
# whose values limit each other
TOGETHER: Final = frozenset(
    {"aperture_m", "bin_separation_ps", "bin_width_ps", "divergence_rad", "length_km", "loss_event_hz", "loss_event_s"}
)
_INTENSITY_LIMIT: Final = 16
_MEAN_PHOTONS_LIMIT: Final = 100.0
_EVENTS_AT_ONCE: Final = 1_000.0


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
    wavelength_nm: float = 1550.0
    dispersion_ps_per_nm_km: float = 0.0
    pulse_fwhm_ps: float = 0.0
    linewidth_nm: float = 0.0
    day_s: float = 86_400.0
    temperature_swing_k: float = 0.0
    loss_day_db: float = 0.0
    loss_wander_db: float = 0.0
    loss_wander_tau_s: float = 0.0
    loss_event_db: float = 0.0
    loss_event_hz: float = 0.0
    loss_event_s: float = 0.0
    polarisation_tau_s: float = 0.0
    coexisting_forward_mw: float = 0.0
    coexisting_backward_mw: float = 0.0
    raman_per_km_nm: float = 3e-9
    filter_nm: float = 0.1
    divergence_rad: float = 0.0
    aperture_m: float = 0.0
    pointing_sigma_rad: float = 0.0
    zenith_loss_db: float = 0.0
    elevation_rad: float = math.pi / 2.0
    intensity_sigma_ratio: float = 0.0
    intensity_wander_ratio: float = 0.0
    intensity_wander_tau_s: float = 0.0
    pair_brightness: float = 0.0
    transmitter_efficiency: float = 0.0
    transmitter_dark_count_hz: float = 0.0
    efficiency_mismatch_ratio: float = 0.0
    saturation_hz: float = 0.0
    gate_width_ps: float = 0.0
    gate_offset_ps: float = 0.0
    bin_separation_ps: float = 0.0
    bin_width_ps: float = 0.0
    clock_offset_ps: float = 0.0
    clock_skew_ppb: float = 0.0
    clock_ageing_ppb_per_day: float = 0.0
    clock_white_ps: float = 0.0
    clock_walk_ppb: float = 0.0
    sync_noise_ps: float = 0.0
    sync_asymmetry_ps: float = 0.0
    eve_intercept_prob: float = 0.0
    eve_splitting_prob: float = 0.0
    eve_beam_splitting_prob: float = 0.0
    eve_blinding_prob: float = 0.0
    eve_time_shift_ps: float = 0.0
    eve_trojan_photons: float = 0.0
    eve_delay_ps: float = 0.0
    is_passive: bool = False
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
        self._check_together()

    def _check_together(self) -> None:
        if self.bin_width_ps > self.bin_separation_ps > 0.0:
            raise BadLinkError(
                f"bin_width_ps {self.bin_width_ps:g} is not in 0 .. {self.bin_separation_ps:g}, overlaps"
            )
        if self.divergence_rad > 0.0 and not (self.aperture_m > 0.0 and self.length_km > 0.0):
            name = "length_km" if self.aperture_m > 0.0 else "aperture_m"
            raise BadLinkError(f"{name} 0 is not above 0, which a beam (divergence_rad) needs")
        at_once = self.loss_event_hz * self.loss_event_s
        if at_once > _EVENTS_AT_ONCE:
            raise BadLinkError(f"loss_event_hz x loss_event_s {at_once:g} is not in 0 .. {_EVENTS_AT_ONCE:g}")

    @property
    def period_ps(self) -> float:
        """Time from one slot to the next, picoseconds."""
        return 1e12 / self.clock_hz


_KINDS: Final[Mapping[str, type]] = {field.name: field.type for field in fields(Parameters)}  # type: ignore[misc]


def is_continuous(name: str) -> bool:
    """Return whether a parameter is a number that can lie between any two of its values."""
    return _KINDS[name] is float


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
        BadLinkError: A field cannot be set, its value is out of its range, or values cannot hold together.
    """
    changes: dict[str, float | int | bool] = {}
    for layer in layers:
        changes |= checked_settings(layer)
    if not changes:
        return planned
    return replace(planned, **{name: _KINDS[name](value) for name, value in changes.items()})
