"""qnetem.testbed.link_values: a link as JSON values: what was requested, what is achieved. Pure.

Parameters are in the words and units of a topology file.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from qnetem.testbed.desired import WAYS, Layer, Plane, Settings, age_s
from qnetem.topology import fields
from qnetem.v1 import quantum_channel_pb2, supervisor_pb2

__all__ = ["link_values"]

_TABLES: Final[tuple[tuple[Plane, tuple[fields.Field, ...]], ...]] = (
    ("quantum", fields.QUANTUM),
    ("classical", fields.CLASSICAL),
)
_UP: Final = "is_up"
_PS_PER_S: Final = 10**12


def link_values(report: supervisor_pb2.LinkReport) -> dict[str, Any]:
    """Return a link as JSON values.

    Of each plane: `settings` of the operator (`one_way`: those of one way alone, by direction) and `layers` over them,
    `requested` (what is on top of each other for each parameter, by whom, for how long), and, where its channel runs,
    `parameters` in force and what was measured.
    """
    now_ps = report.now.seconds * _PS_PER_S + report.now.picoseconds
    ends = list(report.endpoints)
    directions = (f"{ends[0]}-{ends[1]}", f"{ends[1]}-{ends[0]}") if len(ends) == 2 else ("forth", "back")
    values: dict[str, Any] = {"link_id": report.link_id}
    present = {descriptor.name for descriptor, _ in report.ListFields()}
    for plane, table in _TABLES:
        reader = _Reader(table, directions)
        part: dict[str, Any] = reader.split(getattr(report, f"desired_{plane}"))
        layers = getattr(report, f"{plane}_layers")
        part["layers"] = [reader.layer(layer, now_ps) for layer in layers]
        part["requested"] = reader.requested(report, plane, now_ps)
        part["is_running"] = plane in present
        if plane in present:
            state = getattr(report, plane)
            part["is_up"] = state.is_up
            part["parameters"] = reader.parameters(state.effective)
            since = state.effective_since
            part["effective_since_s"] = since.seconds + since.picoseconds / _PS_PER_S
        values[plane] = part
    if report.HasField("quantum"):
        values["quantum"] |= _of_light(report.quantum)
    if report.HasField("classical"):
        path = report.classical
        values["classical"] |= {
            "connection_count": path.connection_count,
            "forwarded_bytes": path.forwarded_bytes,
            "unslept_delay_s": path.unslept_delay_ps / _PS_PER_S,
            "achieved_delay_s": path.achieved_delay_ps / _PS_PER_S,
            "ways": {
                f"{way.from_node}-{way.to_node}": {
                    "parameters": _Reader(fields.CLASSICAL, directions).parameters(way.effective),
                    "forwarded_bytes": way.forwarded_bytes,
                    "unslept_delay_s": way.unslept_delay_ps / _PS_PER_S,
                    "achieved_delay_s": way.achieved_delay_ps / _PS_PER_S,
                    "lost_count": way.lost_count,
                }
                for way in path.ways
            },
        }
    values["faults"] = [
        {"fault_id": fault.fault_id, "added_loss_db": fault.added_loss_db}
        | {plane: _Reader(table, directions).split(getattr(fault, plane)) for plane, table in _TABLES}
        for fault in report.faults
    ]
    return values


def _of_light(state: quantum_channel_pb2.QuantumLinkState) -> dict[str, Any]:
    drift = {field.name: getattr(state.drift, field.name) for field in state.drift.DESCRIPTOR.fields}
    return {
        "pulse_count": state.pulse_count,
        "click_count": state.click_count,
        "lag_s": state.lag_ps / _PS_PER_S,
        "drift": drift if state.HasField("drift") else None,
    }


class _Reader:
    """Reads the messages of one plane."""

    def __init__(self, table: Sequence[fields.Field], directions: tuple[str, str]) -> None:
        self._table = table
        self._directions = directions

    def parameters(self, effective: Any) -> dict[str, Any]:
        """Return every parameter that a message of parameters has."""
        return {field.key: field.render(getattr(effective, field.wire)) for field in self._table}

    def split(self, settings: Settings) -> dict[str, Any]:
        """Return settings by key, and those of one way by direction and key."""
        both: dict[str, Any] = {}
        one_way: dict[str, dict[str, Any]] = {}
        for key, direction, value in self._given(settings):
            (one_way.setdefault(direction, {}) if direction else both)[key] = value
        return {"settings": both} | ({"one_way": one_way} if one_way else {})

    def _given(self, settings: Settings) -> Iterator[tuple[str, str, Any]]:
        """Yield key, direction ("" for both) and value of each setting that is there."""
        given = {descriptor.name: value for descriptor, value in settings.ListFields()}
        for field in self._table:
            for way, direction in (("", ""), *zip(WAYS, self._directions, strict=True)):
                if way + field.wire in given:
                    yield field.key, direction, field.render(given[way + field.wire])
        if _UP in given:
            yield _UP, "", given[_UP]

    def layer(self, layer: Layer, now_ps: int) -> dict[str, Any]:
        """Return a layer with how long it still takes to come and to go; None: it stays."""
        return (
            self.split(layer.settings) | {"ramp_s": layer.ramp_s, "duration_s": layer.duration_s} | _left(layer, now_ps)
        )

    def requested(self, report: supervisor_pb2.LinkReport, plane: Plane, now_ps: int) -> dict[str, dict[str, Any]]:
        """Return what was asked for last of each parameter; "delay alice-bob" is that of one way."""
        levels: list[tuple[Settings, dict[str, Any]]] = [(getattr(report, f"desired_{plane}"), {"by": "operator"})]
        for layer in getattr(report, f"{plane}_layers"):
            levels.append((layer.settings, {"by": "operator"} | _left(layer, now_ps)))
        levels += [(getattr(fault, plane), {"by": "fault"}) for fault in report.faults]
        found: dict[str, dict[str, Any]] = {}
        for settings, how in levels:
            for key, direction, value in self._given(settings):
                for way in () if direction else self._directions:
                    found.pop(f"{key} {way}", None)
                found[f"{key} {direction}".rstrip()] = {"value": value} | how
        added_db = sum(fault.added_loss_db for fault in report.faults)
        if plane == "quantum" and added_db:
            found["added_loss"] = {"value": f"{added_db:g}dB", "by": "fault"}
        return found


def _left(layer: Layer, now_ps: int) -> dict[str, float | None]:
    age = age_s(layer, now_ps)
    return {
        "ramp_left_s": max(0.0, layer.ramp_s - age),
        "left_s": max(0.0, layer.duration_s - age) if layer.duration_s else None,
    }
