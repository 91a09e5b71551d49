"""qnetem.topology.importing.reading: a GML or GraphML file becomes a network, or one line that refuses it. Edge.

networkx takes half a second to import: it is where a file is parsed, nowhere else.
"""

import re
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from qnetem.topology.errors import TopologyError
from qnetem.topology.importing.attributes import site, text_of
from qnetem.topology.importing.network import Network, refusal
from qnetem.topology.words import shown

__all__ = ["read"]

# Ten times the largest network of the Internet Topology Zoo.
_LONGEST_BYTES: Final = 4 << 20
# A parser's error that knows its place: "expected ']', found EOF at (12, 1)".
_PLACED: Final = re.compile(r"(.*) at \((\d+), (\d+)\)", re.DOTALL)
_GML_GRAPH: Final = re.compile(r'(?<![\w"])graph\s*\[')
_XML_GRAPH: Final = re.compile(r"<(?:\w+:)?graph[\s>/]")


def read(path: Path) -> Network:
    """Return the network that a file draws.

    Raises:
        TopologyError: It cannot be read, is broken, is no undirected graph, or a node's coordinates are none.
    """
    source = text_of(str(path)) or "''"
    parsers: dict[str, Callable[[str, str], Any]] = {".gml": _gml, ".graphml": _graphml}
    parse = parsers.get(path.suffix.lower())
    if parse is None:
        raise refusal(source, "expected a file of networks, .gml or .graphml")
    text = _text(path, source)
    if not text.strip():
        raise refusal(source, "is empty")
    if text.lstrip().startswith("<") != (parse is _graphml):
        raise refusal(source, f"is not {'GML' if parse is _gml else 'GraphML'}, whatever its name says")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a file has beyond nodes and edges
            graph = parse(text, source)
    except TopologyError:
        raise
    except Exception as error:  # whatever a parser of others raises on a broken file: nothing of ours has run yet
        raise _broken(error, source) from None
    return _network(graph, source)


def _text(path: Path, source: str) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise refusal(source, "is not a regular file")
        with path.open("rb") as file:
            content = file.read(_LONGEST_BYTES + 1)
    except FileNotFoundError:
        raise refusal(source, "no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise refusal(source, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > _LONGEST_BYTES:
        raise refusal(source, f"longer than {_LONGEST_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refusal(source, f"not a text file: byte {error.start} is not UTF-8") from None
    if "\0" in text:
        raise refusal(source, f"not a text file: byte {content.index(0)} is 0")
    return text


def _gml(text: str, source: str) -> Any:
    from networkx import parse_gml

    # Files of the Topology Zoo have doubled edges and do not say so; saying it twice does no harm. Labels need not be
    # unique: nodes go by their ids.
    text = _GML_GRAPH.sub("graph [ multigraph 1 ", text.removesuffix("\n"), count=1)
    # Inside a text of several lines the parser stumbles over an empty one, and over \r.
    return parse_gml([line.rstrip() or " " for line in text.split("\n")], label="id")


def _graphml(text: str, source: str) -> Any:
    from networkx import parse_graphml

    if "<!ENTITY" in text:
        raise refusal(source, "defines entities of its own, which are not read")
    if len(_XML_GRAPH.findall(text)) > 1:
        raise refusal(source, "has more than one graph, beside or inside another")
    return parse_graphml(text, force_multigraph=True)


def _broken(error: Exception, source: str) -> TopologyError:
    """Return what to tell of a parser's error: the place where it knows it, and never more than a line."""
    if isinstance(error, RecursionError):
        return refusal(source, "is nested too deep")
    position = getattr(error, "position", None)  # of XML
    if position is not None:
        return refusal(source, f"is broken: {text_of(str(error).partition(':')[0])}", position[0], position[1] + 1)
    text = str(error)
    matched = _PLACED.fullmatch(text)
    if matched is not None:
        what, line, column = matched[1], int(matched[2]), int(matched[3])
        if what.startswith("cannot tokenize "):
            what = f"cannot read {shown(what.removeprefix('cannot tokenize '))}"
        return refusal(source, f"is broken: {text_of(what)}", line, column)
    if type(error).__module__.startswith("networkx"):
        return refusal(source, text_of(text.partition("\n")[0]))
    return refusal(source, f"is broken: {type(error).__name__}: {text_of(text)}")


def _network(graph: Any, source: str) -> Network:
    if graph.is_directed():
        raise refusal(source, "is a directed graph; links here have no direction (make it undirected)")
    if not graph.number_of_nodes():
        raise refusal(source, "has no nodes")
    if not graph.number_of_edges():
        raise refusal(source, "has no edges")
    sites = {}
    for node, attributes in graph.nodes(data=True):
        key = text_of(str(node))
        if key in sites:
            raise refusal(source, f"node id {shown(key)} is there twice")
        try:
            sites[key] = site(key, attributes)
        except ValueError as error:
            raise refusal(source, f"node {key}: {error}") from None
    described = {str(name).lower(): text_of(value) for name, value in graph.graph.items()}
    return Network(
        source=source,
        sites=sites,
        edges=tuple((text_of(str(first)), text_of(str(second))) for first, second in graph.edges()),
        title=described.get("network") or described.get("label") or described.get("name") or "",
        creator=described.get("creator", ""),
        origin=described.get("source", ""),
    )
