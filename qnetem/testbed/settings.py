"""qnetem.testbed.settings: settings of links in the words and units of a topology file, to the wire and back. Pure.

Keys and units are those of a topology file; a setting exists where the wire has a field for it.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from qnetem.runtime.errors import BadInputError
from qnetem.topology import fields
from qnetem.topology.units import Quantity
from qnetem.topology.words import did_you_mean, shown
from qnetem.v1 import parameters_pb2, supervisor_pb2

__all__ = ["fields_of", "link_values", "settings_from", "settings_of"]

_PLANES: Final = (
    ("quantum", fields.QUANTUM, parameters_pb2.LinkSettings),
    ("classical", fields.CLASSICAL, parameters_pb2.ClassicalSettings),
)
_UP: Final = "is_up"


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
) -> tuple[parameters_pb2.LinkSettings | None, parameters_pb2.ClassicalSettings | None]:
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
) -> tuple[parameters_pb2.LinkSettings | None, parameters_pb2.ClassicalSettings | None]:
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


def _shown_values(table: Iterable[fields.Field], message: Any) -> Iterator[tuple[fields.Field, Any]]:
    for field in table:
        if field.wire in message.DESCRIPTOR.fields_by_name:
            yield field, field.render(getattr(message, field.wire))


def _set_values(table: Iterable[fields.Field], settings: Any) -> dict[str, Any]:
    present = {descriptor.name for descriptor, _ in settings.ListFields()}
    return {field.key: value for field, value in _shown_values(table, settings) if field.wire in present}


def link_values(report: supervisor_pb2.LinkReport) -> dict[str, Any]:
    """Return a link as JSON values, parameters in the words and units of a topology file."""
    values: dict[str, Any] = {"link_id": report.link_id}
    present = {descriptor.name for descriptor, _ in report.ListFields()}
    for plane, table, _ in _PLANES:
        desired = getattr(report, f"desired_{plane}")
        part: dict[str, Any] = {"settings": _set_values(table, desired), "is_running": plane in present}
        if desired.HasField(_UP):
            part["settings"][_UP] = desired.is_up
        if plane in present:
            state = getattr(report, plane)
            part["is_up"] = state.is_up
            part["parameters"] = {field.key: value for field, value in _shown_values(table, state.effective)}
            since = state.effective_since
            part["effective_since_s"] = since.seconds + since.picoseconds / 1e12
        values[plane] = part
    if report.HasField("quantum"):
        state = report.quantum
        values["quantum"] |= {"pulse_count": state.pulse_count, "click_count": state.click_count}
        values["quantum"]["lag_s"] = state.lag_ps / 1e12
    if report.HasField("classical"):
        path = report.classical
        values["classical"] |= {
            "connection_count": path.connection_count,
            "forwarded_bytes": path.forwarded_bytes,
            "unslept_delay_s": path.unslept_delay_ps / 1e12,
            "achieved_delay_s": path.achieved_delay_ps / 1e12,
        }
    return values
