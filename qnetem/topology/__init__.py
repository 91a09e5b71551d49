"""qnetem.topology: the topology file. `load` and `parse` give a `Topology`, `render` writes one. Wiring: names only.

Names are fetched on first use: importing this package costs nothing, reading a file costs pydantic and PyYAML.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qnetem.topology.builders import ring
    from qnetem.topology.differences import difference
    from qnetem.topology.errors import TopologyError
    from qnetem.topology.model import ControlPlane, Link, Node, Ports, Topology
    from qnetem.topology.reader import find_default, from_dict, json_schema, load, parse
    from qnetem.topology.rendering import render
    from qnetem.topology.templates import template

__all__ = [
    "ControlPlane",
    "Link",
    "Node",
    "Ports",
    "Topology",
    "TopologyError",
    "difference",
    "find_default",
    "from_dict",
    "json_schema",
    "load",
    "parse",
    "render",
    "ring",
    "template",
]

_HOMES = {
    "ControlPlane": "model",
    "Link": "model",
    "Node": "model",
    "Ports": "model",
    "Topology": "model",
    "TopologyError": "errors",
    "difference": "differences",
    "find_default": "reader",
    "from_dict": "reader",
    "json_schema": "reader",
    "load": "reader",
    "parse": "reader",
    "render": "rendering",
    "ring": "builders",
    "template": "templates",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
