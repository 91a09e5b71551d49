"""qnetem.cli.graphs: a network as Mermaid, as DOT, and as lines for a terminal. Pure.

The same topology gives the same text, in the order of its file. Whatever stands in a name or a reason stays text.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from qnetem.cli.report import STYLES
from qnetem.topology import Topology

__all__ = ["Graph", "GraphLink", "GraphNode", "dot", "graph_of", "mermaid", "text_lines"]

_COLOURS: Final = {"green": "#2e7d32", "yellow": "#f9a825", "red": "#c62828"}
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Mermaid reads these inside quotes; %%{ begins a directive wherever it stands
_ENTITIES: Final = {
    "#": "#35;",
    "%": "#37;",
    '"': "#quot;",
    "&": "#amp;",
    "<": "#lt;",
    ">": "#gt;",
    "`": "#96;",
    "|": "#124;",
}


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A node; `state` is empty where nothing is known of it."""

    name: str
    kind: str
    saes: tuple[str, ...] = ()
    state: str = ""


@dataclass(frozen=True, slots=True)
class GraphLink:
    """A link, in the direction of its light. `troubles` tell of the processes that carry it."""

    id: str
    transmitter: str
    receiver: str
    length: str
    state: str = ""
    reason: str = ""
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """A network."""

    name: str
    nodes: tuple[GraphNode, ...]
    links: tuple[GraphLink, ...]


def graph_of(topology: Topology, values: Mapping[str, Any] | None = None) -> Graph:
    """Return the graph of a topology, with the states that `inspected_values` tells of it."""
    from qnetem.topology.quantities import LENGTH

    processes = {one["name"]: one["state"] for one in values["processes"]} if values else {}
    live = {one["link_id"]: one for one in values["links"]} if values else {}

    def link(link_id: str) -> GraphLink:
        planned, told = topology.links[link_id], live.get(link_id, {})
        carriers = (told[key] for key in ("quantum_channel", "classical_channel") if key in told)
        return GraphLink(
            id=link_id,
            transmitter=planned.transmitter,
            receiver=planned.receiver,
            length="" if planned.external else str(LENGTH.render(planned.planned.length_km)),
            state=told.get("state", ""),
            reason=told.get("reason", ""),
            troubles=tuple(
                f"{name} {processes[name]}" for name in carriers if processes.get(name, "HEALTHY") != "HEALTHY"
            ),
        )

    return Graph(
        name=topology.name,
        nodes=tuple(
            GraphNode(node.name, node.kind, topology.saes_of(node.name), processes.get(node.name, ""))
            for node in topology.nodes.values()
        ),
        links=tuple(link(link_id) for link_id in topology.links),
    )


def _plain(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text)


def _colour(state: str) -> str | None:
    return _COLOURS.get(STYLES.get(state, ""))


def _node_parts(node: GraphNode) -> tuple[str, ...]:
    return tuple(part for part in (node.name, ", ".join(node.saes), node.state) if part)


def _link_parts(link: GraphLink) -> tuple[str, ...]:
    state = f"{link.state}: {link.reason}" if link.reason else link.state
    return tuple(part for part in (link.id, link.length, state, *link.troubles) if part)


def _joined(parts: Iterable[str], escaped: Callable[[str], str], line_break: str) -> str:
    return f'"{line_break.join(escaped(_plain(part)) for part in parts)}"'


def _mermaid_text(parts: Iterable[str]) -> str:
    return _joined(parts, lambda part: "".join(_ENTITIES.get(char, char) for char in part), "<br/>")


def _mermaid_id(name: str) -> str:
    # a bare `end` ends the diagram, `o` and `x` after an arrow are arrow heads, `--` is an arrow
    return "n_" + re.sub(r"[^A-Za-z0-9]", lambda match: "_" if match[0] == "-" else f"_{ord(match[0]):x}_", name)


def mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart, as GitHub and GitLab draw it in Markdown."""
    lines = ["flowchart LR"]
    for node in graph.nodes:
        text = _mermaid_text(_node_parts(node))
        lines.append(f"  {_mermaid_id(node.name)}" + (f"([{text}])" if node.kind == "trusted-relay" else f"[{text}]"))
    for link in graph.links:
        text = _mermaid_text(_link_parts(link))
        lines.append(f"  {_mermaid_id(link.transmitter)} -->|{text}| {_mermaid_id(link.receiver)}")
    for node in graph.nodes:
        if colour := _colour(node.state):
            lines.append(f"  style {_mermaid_id(node.name)} stroke:{colour},stroke-width:2px")
    for index, link in enumerate(graph.links):
        if colour := _colour(link.state):
            lines.append(f"  linkStyle {index} stroke:{colour},stroke-width:2px")
    return "\n".join(lines) + "\n"


def _dot_text(*parts: str) -> str:
    return _joined(parts, lambda part: part.replace("\\", "\\\\").replace('"', '\\"'), "\\n")


def dot(graph: Graph) -> str:
    """Return the graph for Graphviz."""
    lines = [f"digraph {_dot_text(graph.name)} {{", "  rankdir=LR;", "  node [shape=box];"]
    for node in graph.nodes:
        shape = ", style=rounded" if node.kind == "trusted-relay" else ""
        colour = _colour(node.state)
        colours = f', color="{colour}"' if colour else ""
        lines.append(f"  {_dot_text(node.name)} [label={_dot_text(*_node_parts(node))}{shape}{colours}];")
    for link in graph.links:
        colour = _colour(link.state)
        colours = f', color="{colour}"' if colour else ""
        ends = f"{_dot_text(link.transmitter)} -> {_dot_text(link.receiver)}"
        lines.append(f"  {ends} [label={_dot_text(*_link_parts(link))}{colours}];")
    return "\n".join([*lines, "}"]) + "\n"


def text_lines(graph: Graph) -> list[list[tuple[str, str]]]:
    """Return the graph for a terminal: each node and below it its links; lines of (text, style) pieces."""
    nodes, links = len(graph.nodes), len(graph.links)
    head = f"{graph.name}: {nodes} node{'' if nodes == 1 else 's'}, {links} link{'' if links == 1 else 's'}"
    lines: list[list[tuple[str, str]]] = [[(head, "")]]
    widths = [
        max((len(getattr(link, name)) for link in graph.links), default=0) for name in ("receiver", "length", "id")
    ]
    widths[0] = max([widths[0], *(len(link.transmitter) for link in graph.links)])
    for node in graph.nodes:
        relay = " (trusted relay)" if node.kind == "trusted-relay" else ""
        saes = f"  {', '.join(node.saes)}" if node.saes else ""
        lines.append([(f"{node.name}{relay}{saes}", "bold"), *_state_piece(node.state)])
        for link in graph.links:
            if node.name not in (link.transmitter, link.receiver):
                continue
            arrow, peer = ("->", link.receiver) if node.name == link.transmitter else ("<-", link.transmitter)
            cells = (text.ljust(width) for text, width in zip((peer, link.length, link.id), widths, strict=True))
            rest = "; ".join(part for part in (link.reason, *link.troubles) if part)
            lines.append([(f"  {arrow} {'  '.join(cells)}".rstrip(), ""), *_state_piece(link.state)])
            if rest:
                lines[-1].append((f"  {rest}", ""))
    return [[(_plain(text), style) for text, style in line] for line in lines]


def _state_piece(state: str) -> list[tuple[str, str]]:
    return [("  ", ""), (state, STYLES.get(state, ""))] if state else []
