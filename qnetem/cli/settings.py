"""qnetem.cli.settings: how a link's parameters are shown. Pure."""

from typing import Any

from qnetem.testbed.desired import PLANES

__all__ = ["link_rows", "summary"]


def link_rows(values: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and rows of a table of a link's parameters."""
    rows: list[tuple[str, ...]] = []
    for plane in PLANES:
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
    return {True: "up", False: "down"}.get(settings.get("is_up"), "")  # type: ignore[arg-type]


def summary(values: dict[str, Any]) -> str:
    """Return one line: what the operator has set on a link, and where it is not in force yet."""
    parts = []
    for plane in PLANES:
        settings = dict(values[plane]["settings"])
        is_up = settings.pop("is_up", True)
        texts = [f"{key}={value}" for key, value in settings.items()] + ([] if is_up else ["down"])
        if texts:
            later = "" if values[plane]["is_running"] else " (when its channel runs again)"
            parts.append(f"{plane} {' '.join(texts)}{later}")
    return f"link {values['link_id']}: " + ("; ".join(parts) or "as planned")
