"""qnetem.cli.settings: how a link's parameters are shown: what was requested, what is achieved. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from qnetem.testbed.desired import PLANES

__all__ = ["how", "link_rows", "summary"]

_HEADER: Final = ("PLANE", "PARAMETER", "REQUESTED", "ACHIEVED", "HOW")
# of Drift: what it is called, its unit, and what it is where nothing drifts
_DRIFTS: Final = {
    "loss_db": ("drift: loss", "dB", 0.0),
    "delay_ps": ("drift: delay", "ps", 0.0),
    "error_z_prob": ("drift: errors in Z", "", 0.0),
    "error_x_prob": ("drift: errors in X", "", 0.0),
    "clock_offset_ps": ("drift: clock", "ps", 0.0),
    "intensity_ratio": ("drift: intensity", "", 1.0),
}
_UP: Final = "is_up"
_BY: Final = {"operator": "set", "fault": "a fault", "topology": "planned"}

_Row = tuple[str, ...]


def link_rows(values: dict[str, Any], *, is_all: bool = True) -> tuple[_Row, list[_Row], int]:
    """Return header and rows of a table of a link's parameters, and how many are left out.

    Args:
        values: What `link_values` returns.
        is_all: Also parameters that are off, or a constant of nature, and that nobody has set.
    """
    rows: list[_Row] = []
    hidden_count = 0
    for plane in PLANES:
        part = values[plane]
        requested = part["requested"]
        if not part["is_running"]:
            rows.append((plane, "-", "", "the channel does not run", ""))
            rows += [(plane, _named(key), _text(one["value"]), "", how(one)) for key, one in requested.items()]
            continue
        up = requested.get(_UP, {})
        rows.append((plane, "up", _text(up.get("value", "")), _text(part["is_up"]), how(up)))
        for key, value in part["parameters"].items():
            if not is_all and _is_off(plane, key, value) and key not in requested:
                hidden_count += 1
                continue
            rows += [(plane, *row) for row in _parameter(key, value, requested, part.get("ways", {}))]
        if "added_loss" in requested:
            rows.append((plane, "added_loss", requested["added_loss"]["value"], "", how(requested["added_loss"])))
        rows += [(plane, *row) for row in _measured(part)]
    return _HEADER, rows, hidden_count


def _parameter(
    key: str, value: Any, requested: Mapping[str, Any], ways: Mapping[str, Any]
) -> Iterator[tuple[str, str, str, str]]:
    """Yield the row of a parameter, or one for each way where these differ."""
    both = requested.get(key, {})
    achieved = {direction: way["parameters"][key] for direction, way in ways.items()}
    if len({_text(one) for one in achieved.values()}) < 2 and not any(f"{key} {way}" in requested for way in ways):
        yield key, _text(both.get("value", "")), _text(value), how(both)
        return
    for direction, one in achieved.items():
        own = requested.get(f"{key} {direction}", both)
        yield f"{key} {direction}", _text(own.get("value", "")), _text(one), how(own)


def _measured(part: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Yield what was measured, or has become of the link."""
    for direction, way in part.get("ways", {}).items():
        if way["achieved_delay_s"]:
            yield f"delay {direction}", "", f"{way['achieved_delay_s'] * 1e3:.3g}ms", "measured"
        if way["lost_count"]:
            yield f"chunks lost {direction}", "", str(way["lost_count"]), "measured"
    drift: Mapping[str, float] = part.get("drift") or {}
    for name, (text, unit, nothing) in _DRIFTS.items():
        if drift.get(name, nothing) != nothing:
            yield text, "", f"{drift[name]:.4g}{unit}", "now"


def _is_off(plane: str, key: str, value: Any) -> bool:
    from qnetem.topology.fields import QUANTUM

    if plane != "quantum":
        return False
    field = next(each for each in QUANTUM if each.key == key)
    return field.default is not None and value == field.render(field.default)


def how(request: Mapping[str, Any]) -> str:
    """Return by whom something was requested, and how long it takes to come and to go."""
    if not request:
        return ""
    parts = [_BY[request["by"]]]
    if request.get("ramp_left_s"):
        parts.append(f"there in {_span(request['ramp_left_s'])}")
    if request.get("left_s") is not None:
        parts.append(f"gone in {_span(request['left_s'])}")
    return ", ".join(parts)


def _span(seconds: float) -> str:
    return f"{seconds:.0f}s" if seconds >= 100 else f"{seconds:.2g}s"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)


def _named(key: str) -> str:
    return "up" if key == _UP else key


def summary(values: dict[str, Any]) -> str:
    """Return one line: what is requested of a link, and where it is not in force yet."""
    parts = []
    for plane in PLANES:
        texts = []
        for key, request in values[plane]["requested"].items():
            if key == _UP:
                text = "" if request["value"] else "down"
            else:
                name, _, direction = key.partition(" ")
                text = f"{name}={_text(request['value'])}" + (f" {direction}" if direction else "")
            spans = how(request).partition(", ")[2]
            if request["by"] == "operator" and text:
                texts.append(f"{text} ({spans})" if spans else text)
        if texts:
            later = "" if values[plane]["is_running"] else " (when its channel runs again)"
            parts.append(f"{plane} {' '.join(texts)}{later}")
    return f"link {values['link_id']}: " + ("; ".join(parts) or "as planned")
