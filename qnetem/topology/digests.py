"""qnetem.topology.digests: one hash for all files that mean the same. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from google.protobuf.message import Message

from qnetem.topology.model import Topology

__all__ = ["digest"]


_LATER: Final = ("command", "image")


def digest(topology: Topology) -> str:
    """Return the sha256 in hex of everything in a topology, independent of order and spelling in its file."""
    content = {key: value for key, value in _plain(topology).items() if key not in ("digest", "path")}
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=_plain, allow_nan=False).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Return what json cannot write as something one step nearer to what it can."""
    if isinstance(value, Message):
        wire = {each.name: getattr(value, each.name) for each in value.DESCRIPTOR.fields}
        return {name: each if isinstance(each, int | float | str) else list(each) for name, each in wire.items()}
    if isinstance(value, Mapping):
        return dict(value)
    if is_dataclass(value):
        content = {each.name: getattr(value, each.name) for each in fields(value)}
        # what came later counts where it is said, so that the digests of other files stay what they were
        return {key: each for key, each in content.items() if key not in _LATER or each is not None}
    raise TypeError(f"a {type(value).__name__} has no place in a digest")
