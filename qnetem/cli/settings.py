"""qnetem.cli.settings: what `link set` and `link reset` take, and how a link's parameters are shown. Pure.

Keys and units are those of a topology file; a setting exists where the wire has a field for it.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from qnetem.runtime.errors import BadInputError
from qnetem.topology import fields
from qnetem.topology.words import did_you_mean, shown
from qnetem.v1 import parameters_pb2, supervisor_pb2

__all__ = ["fields_of", "link_rows", "link_values", "settings_of", "summary"]

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
    known = _settable()
    made: dict[str, Any] = {"quantum": parameters_pb2.LinkSettings(), "classical": parameters_pb2.ClassicalSettings()}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise BadInputError(f"{shown(assignment)} is not KEY=VALUE")
        plane, field = _field(key, known)
        if made[plane].HasField(field.wire):
            raise BadInputError(f"{key} is given twice")
        try:
            value = field.quantity.parse(float(text) if field.quantity.is_bare and _is_number(text) else text)
        except ValueError as error:
            raise BadInputError(f"{key}: {error}") from None
        setattr(made[plane], field.wire, value)
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
            value = getattr(message, field.wire)
            yield (
                field,
                [field.quantity.render(one) for one in value] if field.is_list else field.quantity.render(value),
            )


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


def link_rows(values: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of a table of a link's parameters."""
    rows: list[tuple[str, ...]] = []
    for plane, _, _ in _PLANES:
        part = values[plane]
        if not part["is_running"]:
            rows.append((plane, "-", "the channel does not run", ""))
            rows += [(plane, key, "", str(value)) for key, value in part["settings"].items()]
            continue
        rows.append((plane, "up", "yes" if part["is_up"] else "no", _up_text(part["settings"])))
        rows += [
            (plane, key, _text(value), _text(part["settings"].get(key, "")))
            for key, value in part["parameters"].items()
        ]
    return ("PLANE", "PARAMETER", "IN FORCE", "SET BY OPERATOR"), rows


def _text(value: Any) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _up_text(settings: dict[str, Any]) -> str:
    return {True: "up", False: "down"}.get(settings.get(_UP), "")  # type: ignore[arg-type]


def summary(values: dict[str, Any]) -> str:
    """Return one line: what the operator has set on a link, and where it is not in force yet."""
    parts = []
    for plane, _, _ in _PLANES:
        settings = dict(values[plane]["settings"])
        is_up = settings.pop(_UP, True)
        texts = [f"{key}={value}" for key, value in settings.items()] + ([] if is_up else ["down"])
        if texts:
            later = "" if values[plane]["is_running"] else " (when its channel runs again)"
            parts.append(f"{plane} {' '.join(texts)}{later}")
    return f"link {values['link_id']}: " + ("; ".join(parts) or "as planned")
