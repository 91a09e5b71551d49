"""qnetem.testbed.desired: the settings that the operator wants in force, until reset. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, Self

from google.protobuf import json_format
from google.protobuf.message import Message

from qnetem.runtime.errors import BadInputError
from qnetem.topology.fields import CLASSICAL, QUANTUM
from qnetem.topology.units import Quantity
from qnetem.v1 import process_pb2
from qnetem.v1.parameters_pb2 import ClassicalSettings, LinkSettings

__all__ = ["PLANES", "Desired", "Plane", "Settings", "apply", "checked", "merged", "without"]

Plane = Literal["quantum", "classical"]
PLANES: Final[tuple[Plane, ...]] = ("quantum", "classical")
Settings = LinkSettings | ClassicalSettings
_QUANTITIES: Final = {
    field.wire: field.quantity for field in (*QUANTUM, *CLASSICAL) if isinstance(field.quantity, Quantity)
}


@dataclass(frozen=True, slots=True)
class Desired:
    """Settings by link id, on both planes. The messages are never changed in place."""

    quantum: Mapping[str, LinkSettings] = field(default_factory=dict)
    classical: Mapping[str, ClassicalSettings] = field(default_factory=dict)

    def of(self, plane: Plane, link_id: str) -> Settings:
        """Return the settings of a link, empty when there are none."""
        if plane == "quantum":
            return self.quantum.get(link_id) or LinkSettings()
        return self.classical.get(link_id) or ClassicalSettings()

    def but(self, plane: Plane, link_id: str, settings: Settings) -> Self:
        """Return these settings with those of one link replaced."""
        table = {**getattr(self, plane), link_id: settings}
        if not settings.ListFields():
            del table[link_id]
        return replace(self, **{plane: table})

    def only(self, links: Iterable[str]) -> "Desired":
        """Return the settings of some links alone."""
        kept = frozenset(links)
        return Desired(
            {link: one for link, one in self.quantum.items() if link in kept},
            {link: one for link, one in self.classical.items() if link in kept},
        )

    def to_bytes(self) -> bytes:
        """Return the settings as JSON."""

        def values(table: Mapping[str, Message]) -> dict[str, Any]:
            return {link: json_format.MessageToDict(one) for link, one in table.items()}

        return json.dumps({"quantum": values(self.quantum), "classical": values(self.classical)}, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the settings that `to_bytes` gave.

        Raises:
            BadInputError: It is another thing.
        """
        try:
            values: dict[str, dict[str, Any]] = json.loads(data)
            return cls(
                {link: json_format.ParseDict(one, LinkSettings()) for link, one in values["quantum"].items()},
                {link: json_format.ParseDict(one, ClassicalSettings()) for link, one in values["classical"].items()},
            )
        except (ValueError, TypeError, KeyError, AttributeError, json_format.ParseError) as error:
            raise BadInputError(f"not settings of links: {error}") from error


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


def merged(old: Settings, new: Settings) -> Settings:
    """Return `old` with every field that is present in `new` replaced; both are of the same plane."""
    result = type(old)()
    result.CopyFrom(old)  # type: ignore[arg-type]
    result.MergeFrom(new)  # type: ignore[arg-type]
    return result


def without(old: Settings, fields: Iterable[str]) -> Settings:
    """Return `old` without some fields; without any when none is named.

    Raises:
        BadInputError: A field is not one of the settings.
    """
    result = type(old)()
    names = list(fields)
    if not names:
        return result
    result.CopyFrom(old)  # type: ignore[arg-type]
    known = sorted(old.DESCRIPTOR.fields_by_name)
    for name in names:
        if name not in known:
            raise BadInputError(f"{name} is no setting; there are {', '.join(known)}")
        result.ClearField(name)  # type: ignore[arg-type]
    return result


def apply(desired: Desired, config: process_pb2.ProcessConfig) -> None:
    """Write the settings in force into the configuration of a channel."""
    for link in config.quantum_channel.links if config.HasField("quantum_channel") else ():
        link.ClearField("settings")
        if link.link_id in desired.quantum:
            link.settings.CopyFrom(desired.quantum[link.link_id])
    for path in config.classical_channel.paths if config.HasField("classical_channel") else ():
        path.ClearField("settings")
        if path.link_id in desired.classical:
            path.settings.CopyFrom(desired.classical[path.link_id])
