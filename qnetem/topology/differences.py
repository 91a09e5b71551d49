"""qnetem.topology.differences: what changed between two topologies, in lines for a user. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from qnetem.topology.model import Topology
from qnetem.topology.policies import policy_name
from qnetem.topology.rendering import as_file

__all__ = ["difference"]

# of a list
_LISTED: Final = 16


def difference(old: Topology, new: Topology) -> list[str]:
    """Return one line per change, in the file's words; none when both mean the same."""
    before, after = as_file(old), as_file(new)
    networks = before.pop("topology"), after.pop("topology")
    lines = [f"{what}" for what in _changes(before, after)]
    for kind, key in (("node", "nodes"), ("link", "links"), ("sae", "saes"), ("policy", "policies")):
        was, now = (_by_id(network[key]) for network in networks)
        for name in (*was, *(name for name in now if name not in was)):
            if name not in now:
                lines.append(f"{kind} {name}: removed")
            elif name not in was:
                lines.append(f"{kind} {name}: added")
            else:
                lines += [f"{kind} {name}: {what}" for what in _changes(was[name], now[name])]
    return lines


def _by_id(items: Any) -> dict[str, Any]:
    if not isinstance(items, list):
        return dict(items)
    return {item["name"] if "name" in item else policy_name(item.get("saes")): item for item in items}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield `path old -> new` of each leaf that differs."""
    for key in (*before, *(key for key in after if key not in before)):
        was, now = before.get(key), after.get(key)
        if isinstance(was, Mapping) or isinstance(now, Mapping):
            yield from _changes(was or {}, now or {}, f"{prefix}{key}.")
        elif was != now:
            yield f"{prefix}{key} {_text(was)} -> {_text(now)}"


def _text(value: Any) -> str:
    if isinstance(value, list):
        rest = [f"... {len(value)} values"] if len(value) > _LISTED else []
        return f"[{', '.join([*(_text(each) for each in value[:_LISTED]), *rest])}]"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
