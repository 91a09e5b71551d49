"""qnetem.testbed.paths: the paths that the nodes of a testbed relay keys on: looked at, and given by hand. Edge."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import yaml

from node.client import PathClient
from qnetem.runtime.errors import BadInputError, QnetemError, UnavailableError
from qnetem.testbed.api.connection import Connection
from qnetem.topology.words import shown
from qnetem.v1 import controller_pb2

__all__ = ["NodePaths", "PathInForce", "Paths", "Suspect", "path_of", "paths_in_file"]

_MAX_NODES: Final = 16
_MAX_PATHS: Final = 8
# who made it, of a set that an operator gave
_BY_HAND: Final = "operator"
_Way = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PathInForce:
    """One path of a node; rank 1 is the best to its target. What is said of it was true when its set was made."""

    target: str
    rank: int
    nodes: _Way
    available_bits: int
    round_trip_s: float


@dataclass(frozen=True, slots=True)
class Suspect:
    """A hop that failed lately: paths over it are taken last for `left_s` wall seconds more."""

    from_node: str
    to_node: str
    left_s: float


@dataclass(frozen=True, slots=True)
class NodePaths:
    """What is in force at one node.

    Attributes:
        node: Whose.
        controller: Who made it; "operator": by hand; empty: nobody has yet.
        version: Of the set; 0: none.
        paths: By target, the best first.
        suspects: Hops that are gone around.
        unknown: Why it does not say; empty: it does.
    """

    node: str
    controller: str = ""
    version: int = 0
    paths: tuple[PathInForce, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    unknown: str = ""


def path_of(value: object) -> _Way:
    """Return a path that is written as "a/relay/b", as a list of names, or as `paths list -f json` prints it.

    Raises:
        BadInputError: It is none of them, or not 2 to 16 different nodes.
    """
    names = value.get("nodes") if isinstance(value, Mapping) else value
    names = names.split("/") if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise BadInputError(f"path {shown(str(value))}: is neither a list of nodes nor a/relay/b")
    if not 2 <= len(names) <= _MAX_NODES or len(set(names)) != len(names):
        raise BadInputError(f"path {shown('/'.join(names))}: has to be 2 to {_MAX_NODES} different nodes")
    return tuple(names)


def paths_in_file(path: Path) -> list[_Way]:
    """Return the paths in a file, YAML or JSON: `paths: [a/relay/b, [b, relay, a]]`, or what `paths list` printed.

    Raises:
        BadInputError: It cannot be read, or holds no paths; names it.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        raise BadInputError(f"{path}{f':{where.line + 1}' if where else ''}: is neither YAML nor JSON") from error
    parts = content if isinstance(content, list) else [content]
    if not all(isinstance(part, Mapping) and isinstance(part.get("paths"), list) for part in parts):
        raise BadInputError(f"{path}: has no list `paths`")
    try:
        found = [path_of(one) for part in parts for one in part["paths"]]
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from None
    if not found:
        raise BadInputError(f"{path}: has no path")
    return found


class Paths:
    """The paths of every node of a testbed."""

    def __init__(self, connection: Connection) -> None:
        """Reach nodes through `connection`."""
        self._connection = connection

    async def in_force(self, *nodes: str) -> list[NodePaths]:
        """Return what is in force at nodes, at all of them where none is named.

        Raises:
            NotFoundError: There is no such node; suggests the nearest.
        """
        answers = await self._connection.of_nodes(lambda channel, _: PathClient(channel).get(), nodes)
        return [_told(node, answer) for node, answer in answers.items()]

    async def install(self, paths: Iterable[str | Sequence[str]]) -> dict[str, int]:
        """Put paths in force, each at the node that it begins with; all other paths of that node go.

        Args:
            paths: As `path_of` takes them; of several between two nodes the first is the best.

        Returns:
            The version of what is in force now, by node.

        Raises:
            BadInputError: The testbed has a controller, or one is no way over links and relays; nothing was changed.
            UnavailableError, ConflictError: Nodes did not take theirs; names each. The others did.
        """
        sets = self._sets(paths)
        before = await self._connection.of_nodes(lambda channel, _: PathClient(channel).get(), sets)
        for node, answer in before.items():
            if isinstance(answer, QnetemError):
                raise UnavailableError(f"{node}: {answer}; nothing was changed")
            # a set of somebody else is replaced whatever its version
            sets[node].version = answer.paths.version + 1 if answer.paths.controller == _BY_HAND else 1
        answers = await self._connection.of_nodes(lambda channel, node: PathClient(channel).install(sets[node]), sets)
        failed = {node: answer for node, answer in answers.items() if isinstance(answer, QnetemError)}
        if failed:
            kind = next(iter(failed.values()))
            raise type(kind)("; ".join(f"{node}: {error}" for node, error in failed.items()))
        return {node: one.version for node, one in sets.items()}

    def _sets(self, paths: Iterable[str | Sequence[str]]) -> dict[str, controller_pb2.PathSet]:
        hops = {frozenset(link.endpoints) for link in self._connection.plan.links.values()}
        sets: dict[str, controller_pb2.PathSet] = {}
        for nodes in map(path_of, paths):
            way = "/".join(nodes)
            for node in nodes:
                self._connection.node(node)
            for near, far in pairwise(nodes):
                if frozenset((near, far)) not in hops:
                    raise BadInputError(f"path {way}: no link joins {near} and {far}")
            if self._connection.config(nodes[0]).HasField("controller"):
                raise BadInputError("the nodes of this testbed take their paths from their controller (control_plane)")
            for node in nodes[1:-1]:
                if not self._connection.config(node).is_relay:
                    raise BadInputError(f"path {way}: {node} is no trusted relay")
            whole = sets.setdefault(nodes[0], controller_pb2.PathSet())
            target = next((one for one in whole.targets if one.target == nodes[-1]), None)
            target = target or whole.targets.add(target=nodes[-1])
            if len(target.paths) == _MAX_PATHS:
                raise BadInputError(f"path {way}: more than {_MAX_PATHS} between {nodes[0]} and {nodes[-1]}")
            target.paths.add(nodes=nodes)
        return sets


def _told(node: str, answer: "controller_pb2.GetPathsResponse | QnetemError") -> NodePaths:
    if isinstance(answer, QnetemError):
        return NodePaths(node, unknown=str(answer) or answer.reason)
    paths = tuple(
        PathInForce(target.target, rank, tuple(path.nodes), path.available_bits, path.round_trip_s)
        for target in answer.paths.targets
        for rank, path in enumerate(target.paths, start=1)
    )
    suspects = tuple(Suspect(one.from_node, one.to_node, one.left_s) for one in answer.suspects)
    return NodePaths(node, answer.paths.controller, answer.paths.version, paths, suspects)
