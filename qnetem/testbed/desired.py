"""qnetem.testbed.desired: the settings that the operator wants in force, until reset or for a time. Pure."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self

from google.protobuf import json_format
from google.protobuf.message import Message

from qnetem.runtime.errors import BadInputError
from qnetem.topology.fields import CLASSICAL, QUANTUM
from qnetem.topology.units import Quantity
from qnetem.v1 import process_pb2
from qnetem.v1.parameters_pb2 import ClassicalLayer, ClassicalSettings, EmulatedTime, LinkSettings, SettingsLayer

__all__ = [
    "PLANES",
    "WAYS",
    "Desired",
    "Layer",
    "Plane",
    "Settings",
    "age_s",
    "apply",
    "checked",
    "checked_span",
    "merged",
    "without",
]

Plane = Literal["quantum", "classical"]
PLANES: Final[tuple[Plane, ...]] = ("quantum", "classical")
Settings = LinkSettings | ClassicalSettings
Layer = SettingsLayer | ClassicalLayer
# what a setting of one way of a classical link begins with
WAYS: Final = ("forth_", "back_")
_LONGEST_S: Final = 1e9
_PS_PER_S: Final = 10**12
_QUANTITIES: Final = {
    f"{way}{each.wire}": each.quantity
    for each in (*QUANTUM, *CLASSICAL)
    if isinstance(each.quantity, Quantity)
    for way in ("", *WAYS)
}
_LAYER: Final[Mapping[Plane, type[Layer]]] = {"quantum": SettingsLayer, "classical": ClassicalLayer}


@dataclass(frozen=True, slots=True)
class Desired:
    """Settings by link id, on both planes, and layers over them. The messages are never changed in place."""

    quantum: Mapping[str, LinkSettings] = field(default_factory=dict)
    classical: Mapping[str, ClassicalSettings] = field(default_factory=dict)
    # what comes and goes, the oldest first
    quantum_layers: Mapping[str, tuple[SettingsLayer, ...]] = field(default_factory=dict)
    classical_layers: Mapping[str, tuple[ClassicalLayer, ...]] = field(default_factory=dict)

    def of(self, plane: Plane, link_id: str) -> Settings:
        """Return the settings of a link, empty when there are none."""
        if plane == "quantum":
            return self.quantum.get(link_id) or LinkSettings()
        return self.classical.get(link_id) or ClassicalSettings()

    def layers_of(self, plane: Plane, link_id: str) -> tuple[Layer, ...]:
        """Return what comes and goes over the settings of a link."""
        return (self.quantum_layers if plane == "quantum" else self.classical_layers).get(link_id, ())

    def but(self, plane: Plane, link_id: str, settings: Settings, layers: Iterable[Layer] | None = None) -> Self:
        """Return these settings with those of one link replaced, and its layers too where they are given."""
        changed: dict[str, Any] = {plane: {**getattr(self, plane), link_id: settings}}
        if not settings.ListFields():
            del changed[plane][link_id]
        if layers is not None:
            name, kept = f"{plane}_layers", tuple(layers)
            changed[name] = {**getattr(self, name), link_id: kept}
            if not kept:
                del changed[name][link_id]
        return replace(self, **changed)

    def set(self, plane: Plane, link_id: str, settings: Settings) -> Self:
        """Return these with some settings of a link merged in; they take the place of layers' of the same fields."""
        names = [descriptor.name for descriptor, _ in settings.ListFields()]
        new = merged(self.of(plane, link_id), settings)
        return self.but(plane, link_id, new, _layers_without(self.layers_of(plane, link_id), names))

    def laid(
        self, plane: Plane, link_id: str, settings: Settings, *, start_ps: int, ramp_s: float, duration_s: float
    ) -> Self:
        """Return these with a layer more over the settings of a link."""
        start = EmulatedTime(seconds=start_ps // _PS_PER_S, picoseconds=start_ps % _PS_PER_S)
        kind: Any = _LAYER[plane]
        layer = kind(settings=settings, start=start, ramp_s=ramp_s, duration_s=duration_s)
        return self.but(plane, link_id, self.of(plane, link_id), (*self.layers_of(plane, link_id), layer))

    def reset(self, plane: Plane, link_id: str, names: Iterable[str]) -> Self:
        """Return these without some settings of a link, or without any where none is named; layers included.

        Raises:
            BadInputError: A field is not one of the settings.
        """
        names = tuple(names)
        layers = _layers_without(self.layers_of(plane, link_id), names) if names else ()
        return self.but(plane, link_id, without(self.of(plane, link_id), names), layers)

    def pruned(self, now_ps: int) -> Self:
        """Return these without the layers that have come to their end; the very same where none has."""
        changed: dict[str, Any] = {
            f"{plane}_layers": {
                link: left
                for link, layers in getattr(self, f"{plane}_layers").items()
                if (left := tuple(layer for layer in layers if not _is_gone(layer, now_ps)))
            }
            for plane in PLANES
        }
        is_same = all(changed[name] == getattr(self, name) for name in changed)
        return self if is_same else replace(self, **changed)

    @property
    def links(self) -> frozenset[str]:
        """Every link that somebody has set."""
        return frozenset((*self.quantum, *self.classical, *self.quantum_layers, *self.classical_layers))

    def only(self, links: Iterable[str]) -> "Desired":
        """Return the settings of some links alone."""
        kept = frozenset(links)
        tables = {name: getattr(self, name) for name in self.__slots__}
        return Desired(
            **{name: {link: one for link, one in table.items() if link in kept} for name, table in tables.items()}
        )

    def to_bytes(self) -> bytes:
        """Return the settings as JSON."""

        def values(table: Mapping[str, Message]) -> dict[str, Any]:
            return {link: json_format.MessageToDict(one) for link, one in table.items()}

        content: dict[str, Any] = {plane: values(getattr(self, plane)) for plane in PLANES}
        for plane in PLANES:
            layers = getattr(self, f"{plane}_layers")
            if layers:
                content[f"{plane}_layers"] = {
                    link: [json_format.MessageToDict(one) for one in several] for link, several in layers.items()
                }
        return json.dumps(content, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the settings that `to_bytes` gave.

        Raises:
            BadInputError: It is another thing.
        """
        try:
            values: dict[str, dict[str, Any]] = json.loads(data)
            layers: dict[str, Any] = {
                f"{plane}_layers": {
                    link: tuple(json_format.ParseDict(one, kind()) for one in several)
                    for link, several in values.get(f"{plane}_layers", {}).items()
                }
                for plane, kind in _LAYER.items()
            }
            return cls(
                {link: json_format.ParseDict(one, LinkSettings()) for link, one in values["quantum"].items()},
                {link: json_format.ParseDict(one, ClassicalSettings()) for link, one in values["classical"].items()},
                **layers,
            )
        except (ValueError, TypeError, KeyError, AttributeError, json_format.ParseError) as error:
            raise BadInputError(f"not settings of links: {error}") from error


def age_s(layer: Layer, now_ps: int) -> float:
    """Return the emulated seconds since a layer began."""
    return (now_ps - layer.start.seconds * _PS_PER_S - layer.start.picoseconds) / _PS_PER_S


def _is_gone(layer: Layer, now_ps: int) -> bool:
    return 0 < layer.duration_s <= age_s(layer, now_ps)


def checked(settings: Settings) -> Settings:
    """Return settings after a look at each present field.

    Raises:
        BadInputError: A field is out of the range that a topology allows it, or no field is present.
    """
    fields = settings.ListFields()
    if not fields:
        raise BadInputError("no setting is given")
    for descriptor, value in fields:
        if descriptor.name not in _QUANTITIES:
            continue
        quantity = _QUANTITIES[descriptor.name]
        if not quantity.minimum <= value <= quantity.maximum:
            raise BadInputError(f"{descriptor.name} {value:g} is out of range ({quantity.range_text})")
    return settings


def checked_span(ramp_s: float, duration_s: float) -> None:
    """Look at how settings come and go.

    Raises:
        BadInputError: A time is out of range, or they would be gone before they are there.
    """
    for name, value in (("ramp_s", ramp_s), ("duration_s", duration_s)):
        if not (math.isfinite(value) and 0 <= value <= _LONGEST_S):
            raise BadInputError(f"{name} {value:g} is out of range (0 to {_LONGEST_S:g})")
    if 0 < duration_s < ramp_s:
        raise BadInputError(f"ramp_s {ramp_s:g} is longer than the {duration_s:g} s that the settings last")


def merged(old: Settings, new: Settings) -> Settings:
    """Return `old` with every field that is present in `new` replaced; both are of the same plane.

    What is for both ways of a link takes the place of what was for one.
    """
    result = type(old)()
    result.CopyFrom(old)  # type: ignore[arg-type]
    for descriptor, _ in new.ListFields():
        for way in WAYS:
            if way + descriptor.name in old.DESCRIPTOR.fields_by_name:
                result.ClearField(way + descriptor.name)  # type: ignore[arg-type]
    result.MergeFrom(new)  # type: ignore[arg-type]
    return result


def without(old: Settings, fields: Iterable[str]) -> Settings:
    """Return `old` without some fields; without any when none is named.

    A field for both ways goes with those for one; without that of one way, the other way keeps what was for both.

    Raises:
        BadInputError: A field is not one of the settings.
    """
    result = type(old)()
    names = list(fields)
    if not names:
        return result
    result.CopyFrom(old)  # type: ignore[arg-type]
    known = old.DESCRIPTOR.fields_by_name
    for name in names:
        if name not in known:
            raise BadInputError(f"{name} is no setting; there are {', '.join(sorted(known))}")
        way = next((way for way in WAYS if name.startswith(way)), "")
        both, other = name.removeprefix(way), next((one for one in WAYS if one != way), "")
        gone = [name] if way else [name, *(one + name for one in WAYS if one + name in known)]
        if way and result.HasField(both):  # type: ignore[arg-type]
            if not result.HasField(other + both):  # type: ignore[arg-type]
                setattr(result, other + both, getattr(result, both))
            gone.append(both)
        for each in gone:
            result.ClearField(each)  # type: ignore[arg-type]
    return result


def _layers_without(layers: Iterable[Layer], names: Iterable[str]) -> tuple[Layer, ...]:
    """Return layers without some fields, and without those that hold nothing then."""
    names = list(names)
    left: list[Layer] = []
    for layer in layers:
        kept: Any = type(layer)()
        kept.CopyFrom(layer)
        kept.settings.CopyFrom(without(layer.settings, names))
        left += [kept] if kept.settings.ListFields() else []
    return tuple(left)


def apply(desired: Desired, config: process_pb2.ProcessConfig) -> None:
    """Write the settings in force into the configuration of a channel."""
    carried: dict[Plane, Iterable[Any]] = {
        "quantum": config.quantum_channel.links if config.HasField("quantum_channel") else (),
        "classical": config.classical_channel.paths if config.HasField("classical_channel") else (),
    }
    for plane, ways in carried.items():
        for one in ways:
            one.ClearField("settings")
            one.ClearField("layers")
            settings = desired.of(plane, one.link_id)
            if settings.ListFields():
                one.settings.CopyFrom(settings)
            one.layers.extend(desired.layers_of(plane, one.link_id))
