"""classical_channel.settings: what operators set on a link, and what that makes of it at a time. Pure."""

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from qnetem.runtime.errors import BadInputError
from qnetem.v1 import parameters_pb2

__all__ = [
    "MAX_DELAY_PS",
    "Direction",
    "check_layer",
    "check_parameters",
    "check_settings",
    "effective",
    "is_gone",
    "merged_settings",
    "reset_settings",
]

# forth: from the `from_node` of the link's first path to its `to_node`
Direction = Literal["forth", "back"]
_PS_PER_S: Final = 10**12
MAX_DELAY_PS: Final = 3600 * _PS_PER_S
_NAMES: Final = tuple(field.name for field in parameters_pb2.ClassicalSettings.DESCRIPTOR.fields)
_SPANS: Final = frozenset(name for name in _NAMES if name.endswith("_ps"))
_PARAMETERS: Final = ("delay_ps", "jitter_ps", "loss_prob")


def _check(link_id: str, name: str, value: float) -> None:
    if name in _SPANS:
        if not 0 <= value <= MAX_DELAY_PS:
            raise BadInputError(f"link {link_id}: {name} {value} is not in 0 .. {MAX_DELAY_PS} (one hour)")
    elif not 0.0 <= value <= 1.0:
        raise BadInputError(f"link {link_id}: {name} {value} is not in 0 .. 1")


def check_parameters(link_id: str, planned: parameters_pb2.ClassicalParameters) -> None:
    """Refuse parameters that no link can have.

    Raises:
        BadInputError: Names link, field, value and range.
    """
    for name in _PARAMETERS:
        _check(link_id, name, getattr(planned, name))


def check_settings(link_id: str, settings: parameters_pb2.ClassicalSettings) -> None:
    """Refuse settings that no link can have.

    Raises:
        BadInputError: Names link, field, value and range.
    """
    for field, value in settings.ListFields():
        if field.name != "is_up":
            _check(link_id, field.name, value)


def check_layer(link_id: str, layer: parameters_pb2.ClassicalLayer) -> None:
    """Refuse a layer that no link can have.

    Raises:
        BadInputError: Names link, field, value and range.
    """
    check_settings(link_id, layer.settings)
    if not 0 <= layer.start.picoseconds < _PS_PER_S:
        raise BadInputError(f"link {link_id}: picoseconds {layer.start.picoseconds} are not in 0 .. 10^12-1")
    for name in ("ramp_s", "duration_s"):
        value = getattr(layer, name)
        if not (math.isfinite(value) and value >= 0):
            raise BadInputError(f"link {link_id}: {name} {value} is not 0 or more")


def merged_settings(
    held: parameters_pb2.ClassicalSettings, new: parameters_pb2.ClassicalSettings
) -> parameters_pb2.ClassicalSettings:
    """Return the settings in force after `new` came on top of `held`."""
    merged = parameters_pb2.ClassicalSettings()
    merged.CopyFrom(held)
    merged.MergeFrom(new)
    return merged


def reset_settings(
    link_id: str, held: parameters_pb2.ClassicalSettings, fields: Iterable[str]
) -> parameters_pb2.ClassicalSettings:
    """Return `held` without `fields`; without any when none is named.

    Raises:
        BadInputError: A name is not a setting; the nearest one is suggested.
    """
    rest = parameters_pb2.ClassicalSettings()
    rest.CopyFrom(held)
    names = tuple(fields)
    for name in names:
        if name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_NAMES)}"
            raise BadInputError(f"link {link_id}: no setting {name!r}; {hint}")
    for name in names or _NAMES:
        rest.ClearField(name)  # type: ignore[arg-type]  # the stub wants literals
    return rest


def _age_ps(layer: parameters_pb2.ClassicalLayer, now_ps: int) -> int:
    return now_ps - layer.start.seconds * _PS_PER_S - layer.start.picoseconds


def is_gone(layer: parameters_pb2.ClassicalLayer, now_ps: int) -> bool:
    """Return whether a layer has come to its end."""
    return layer.duration_s > 0 and _age_ps(layer, now_ps) >= layer.duration_s * _PS_PER_S


def effective(
    planned: parameters_pb2.ClassicalParameters,
    settings: parameters_pb2.ClassicalSettings,
    layers: Sequence[parameters_pb2.ClassicalLayer],
    direction: Direction,
    now_ps: int,
) -> tuple[parameters_pb2.ClassicalParameters, bool]:
    """Return what holds in a direction at a time, and whether anything passes.

    Settings of a direction are over those of both; each layer's values go from those below it, in a line while its ramp
    lasts.
    """
    values: dict[str, float] = {name: getattr(planned, name) for name in _PARAMETERS}
    is_up = True
    for level, share in ((settings, 1.0), *((layer.settings, _share(layer, now_ps)) for layer in layers)):
        if share is None:
            continue
        if level.HasField("is_up"):
            is_up = level.is_up
        for name in _PARAMETERS:
            own = f"{direction}_{name}"
            chosen = own if level.HasField(own) else name if level.HasField(name) else ""  # type: ignore[arg-type]
            if chosen:
                values[name] += (getattr(level, chosen) - values[name]) * share
    return (
        parameters_pb2.ClassicalParameters(
            delay_ps=round(values["delay_ps"]), jitter_ps=round(values["jitter_ps"]), loss_prob=values["loss_prob"]
        ),
        is_up,
    )


def _share(layer: parameters_pb2.ClassicalLayer, now_ps: int) -> float | None:
    """Return how far a layer has come, 0 .. 1; None when it is not there."""
    age_ps = _age_ps(layer, now_ps)
    if age_ps < 0 or is_gone(layer, now_ps):
        return None
    return min(1.0, age_ps / (layer.ramp_s * _PS_PER_S)) if layer.ramp_s > 0 else 1.0
