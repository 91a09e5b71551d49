"""qnetem.testbed.settings: settings of links in the words and units of a topology file, to the wire. Pure.

Keys and units are those of a topology file; a setting exists where the wire has a field for it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from qnetem.runtime.errors import BadInputError
from qnetem.topology import fields
from qnetem.topology.quantities import SPAN
from qnetem.topology.units import Quantity
from qnetem.topology.words import did_you_mean, shown
from qnetem.v1 import parameters_pb2

__all__ = ["Way", "fields_of", "settings_from", "settings_of", "span_s"]

Quantum = parameters_pb2.LinkSettings | None
Classical = parameters_pb2.ClassicalSettings | None

_PLANES: Final = (
    ("quantum", fields.QUANTUM, parameters_pb2.LinkSettings),
    ("classical", fields.CLASSICAL, parameters_pb2.ClassicalSettings),
)


def _settable() -> dict[str, tuple[str, fields.Field]]:
    """Return plane and field of every key that can be set; also as `plane.key`."""
    found: dict[str, tuple[str, fields.Field]] = {}
    for plane, table, message in _PLANES:
        for field in table:
            if field.wire in message.DESCRIPTOR.fields_by_name:
                found.setdefault(field.key, (plane, field))
                found[f"{plane}.{field.key}"] = (plane, field)
    return found


def _field(key: str, known: dict[str, tuple[str, fields.Field]]) -> tuple[str, fields.Field]:
    if key not in known:
        raise BadInputError(f"no setting {shown(key)}" + did_you_mean(key, (one for one in known if "." not in one)))
    return known[key]


def settings_of(
    assignments: Iterable[str],
) -> tuple[Quantum, Classical]:
    """Return the settings that `key=value` arguments make; None for a plane that none is for.

    Raises:
        BadInputError: An argument has no `=`, a key is not known or given twice, a value is wrong; names it.
    """

    def pairs() -> Iterator[tuple[str, object]]:
        for assignment in assignments:
            key, equals, text = assignment.partition("=")
            if not equals:
                raise BadInputError(f"{shown(assignment)} is not KEY=VALUE")
            _, field = _field(key, _settable())
            is_bare = isinstance(field.quantity, Quantity) and field.quantity.is_bare
            yield key, float(text) if is_bare and _is_number(text) else text

    return settings_from(pairs())


def settings_from(
    values: Iterable[tuple[str, object]],
) -> tuple[Quantum, Classical]:
    """Return the settings that keys and values, as in a topology file, make; None for a plane that none is for.

    Raises:
        BadInputError: A key is not known or given twice, a value is wrong; names it.
    """
    known = _settable()
    made: dict[str, Any] = {"quantum": parameters_pb2.LinkSettings(), "classical": parameters_pb2.ClassicalSettings()}
    for key, given in values:
        plane, field = _field(key, known)
        if made[plane].HasField(field.wire):
            raise BadInputError(f"{key} is given twice")
        try:
            setattr(made[plane], field.wire, field.quantity.parse(given))
        except ValueError as error:
            raise BadInputError(f"{key}: {error}") from None
    quantum, classical = made["quantum"], made["classical"]
    return quantum if quantum.ListFields() else None, classical if classical.ListFields() else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def fields_of(keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the wire's names of settings on the quantum and the classical plane.

    Raises:
        BadInputError: A key is not known; names it.
    """
    known = _settable()
    named: dict[str, list[str]] = {"quantum": [], "classical": []}
    for key in keys:
        plane, field = _field(key, known)
        named[plane].append(field.wire)
    return named["quantum"], named["classical"]


def span_s(name: str, text: str | None) -> float:
    """Return the emulated seconds of a time with its unit; 0 for None.

    Raises:
        BadInputError: It is none; names it.
    """
    if text is None:
        return 0.0
    try:
        return SPAN.parse(text)
    except ValueError as error:
        raise BadInputError(f"{name}: {error}") from None


@dataclass(frozen=True, slots=True)
class Way:
    """One way of a link: settings of its classical plane can be for it alone; light has but one."""

    link_id: str
    prefix: Literal["forth_", "back_"]
    is_of_light: bool

    @classmethod
    def of(cls, direction: str, link_id: str, endpoints: Sequence[str], transmitter: str) -> "Way":
        """Return the way that is meant by "alice-bob", from the first of two nodes to the second.

        Args:
            direction: The two ends of the link, with a hyphen between them.
            link_id: The link.
            endpoints: Its ends, in the order of the topology.
            transmitter: The end that sends the light.

        Raises:
            BadInputError: It is no direction of this link; names both.
        """
        first, second = endpoints
        ways: dict[str, tuple[str, Literal["forth_", "back_"]]] = {
            f"{first}-{second}": (first, "forth_"),
            f"{second}-{first}": (second, "back_"),
        }
        if direction not in ways:
            raise BadInputError(f"link {link_id}: no direction {shown(direction)} (known: {', '.join(ways)})")
        source, prefix = ways[direction]
        return cls(link_id, prefix, source == transmitter)

    def settings(self, quantum: Quantum, classical: Classical) -> tuple[Quantum, Classical]:
        """Return settings as those of this way alone.

        Raises:
            BadInputError: One is of what goes the other way alone, or of both ways at once; names it.
        """
        if quantum is not None:
            self._refuse_dark(descriptor.name for descriptor, _ in quantum.ListFields())
        if classical is None:
            return quantum, None
        own = parameters_pb2.ClassicalSettings()
        for descriptor, value in classical.ListFields():
            setattr(own, self._one_way(descriptor.name), value)
        return quantum, own

    def fields(self, quantum: Iterable[str], classical: Iterable[str]) -> tuple[list[str], list[str]]:
        """Return the wire's names of settings as those of this way alone. Raises BadInputError, as `settings`."""
        names = list(quantum)
        self._refuse_dark(names)
        return names, [self._one_way(name) for name in classical]

    def _refuse_dark(self, names: Iterable[str]) -> None:
        name = next(iter(names), None)
        if name is not None and not self.is_of_light:
            raise BadInputError(f"link {self.link_id}: light goes the other way alone, so {name} has no such direction")

    def _one_way(self, name: str) -> str:
        own = self.prefix + name
        if own not in parameters_pb2.ClassicalSettings.DESCRIPTOR.fields_by_name:
            raise BadInputError(
                f"link {self.link_id}: {name} is of both ways (loss=100% one way lets nothing through there)"
            )
        return own
