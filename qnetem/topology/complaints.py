"""qnetem.topology.complaints: what pydantic found wrong, in a user's words and at its place in the file. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from qnetem.topology.errors import Path, Problem, path_text
from qnetem.topology.markers import Marked, locate
from qnetem.topology.words import did_you_mean, nearest, shown

__all__ = ["complaints", "leaf_text"]


def complaints(error: ValidationError, tree: Marked, schema: Mapping[str, Any]) -> Iterator[tuple[Path, Problem]]:
    """Yield every problem with the path of the value it is about. `schema` is the JSON schema of what was validated."""
    for detail in error.errors(include_url=False):
        path: Path = detail["loc"]
        # How pydantic tells of a mapping's key; a label refuses with a ValueError, and "[key]" is no label.
        is_key = detail["type"] == "value_error" and path[-1:] == ("[key]",)
        path = path[:-1] if is_key else path
        if detail["type"] == "missing":
            place = locate(tree, path[:-1])
        else:
            is_key = is_key or detail["type"] == "extra_forbidden"
            place = locate(tree, path, is_key=is_key)
        text = _what(detail, path, schema)
        named = text if is_key or detail["type"] == "missing" or not path else f"{leaf_text(path)}: {text}"
        yield path, Problem(*place, named, path[:-1])


def leaf_text(path: Path) -> str:
    """Return the end of a path from its last key on: `intensities[1]`."""
    last = max((index for index, step in enumerate(path) if isinstance(step, str)), default=0)
    return path_text(path[last:])


def _what(detail: Mapping[str, Any], path: Path, schema: Mapping[str, Any]) -> str:
    given, context = detail["input"], detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            key = str(path[-1])
            return f"unknown key {shown(key)}{did_you_mean(key, _keys_at(schema, path[:-1]), 'known here')}"
        case "missing":
            return f"{shown(path[-1])} is missing"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"expected a mapping, got {shown(given)}"
        case "list_type":
            return f"expected a list, got {shown(given)}"
        case "bool_type":
            return f"expected true or false, got {shown(given)}"
        case "int_type" | "int_from_float":
            return f"expected a whole number, got {shown(given)}"
        case "greater_than_equal" | "less_than" | "less_than_equal":
            limit = context.get("ge", context.get("le", context.get("lt")))
            words = {"ge": "at least", "le": "at most", "lt": "below"}[next(iter(context))]
            return f"{shown(given)} is out of range ({words} {limit})"
        case "too_short" | "too_long":
            wanted = context.get("min_length", context.get("max_length"))
            bound = "at least" if "min_length" in context else "at most"
            actual = "none" if not context["actual_length"] else context["actual_length"]
            return f"expected {bound} {wanted} {'entry' if wanted == 1 else 'entries'}, got {actual}"
        case "literal_error":
            known = [part.strip("'") for part in context["expected"].replace(" or ", ", ").split(", ")]
            near = nearest(given, known) if isinstance(given, str) else None
            hint = f" (did you mean {near!r}?)" if near else ""
            return f"expected {context['expected']}, got {shown(given)}{hint}"
        case "value_error":
            return str(context["error"])
    return str(detail["msg"])


def _keys_at(schema: Mapping[str, Any], path: Path) -> list[str]:
    """Return the keys that the mapping at `path` may have."""
    here: Mapping[str, Any] = schema
    for step in (None, *path):
        if isinstance(step, str):
            properties = here.get("properties", {})
            # Mappings from names to blocks: pydantic writes the names' pattern as the one key.
            others = [*here.get("patternProperties", {}).values(), here.get("additionalProperties") or {}]
            here = properties[step] if step in properties else others[0]
        elif isinstance(step, int):
            here = here.get("items", {})
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rpartition("/")[2]]
    return list(here.get("properties", {}))
