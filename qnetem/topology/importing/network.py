"""qnetem.topology.importing.network: a network as somebody drew it, and what was decided about it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qnetem.topology.errors import Problem, TopologyError

__all__ = ["Decision", "Edge", "Kind", "Network", "Place", "Site", "refusal"]

# Keys of the two ends, in the order of the file.
Edge = tuple[str, str]
Kind = Literal[
    "outside", "loop", "doubled", "leftover", "named", "relay", "placed", "length", "cut", "sae", "placement"
]


@dataclass(frozen=True, slots=True)
class Place:
    """A point on the Earth."""

    latitude_deg: float
    longitude_deg: float

    def __str__(self) -> str:
        return f"{self.latitude_deg:.3f}, {self.longitude_deg:.3f}"


@dataclass(frozen=True, slots=True)
class Site:
    """A node of a drawn network. `key` is its id in the file, `label` is empty where it has none."""

    key: str
    label: str = ""
    place: Place | None = None
    # Drawn for the sake of a link that leaves the network.
    is_outside: bool = False
    # Stands for an edge of more than two ends.
    is_junction: bool = False

    def __str__(self) -> str:
        return f"{self.label} (node {self.key})" if self.label else f"node {self.key}"


@dataclass(frozen=True, slots=True)
class Network:
    """What a file draws. Sites by key, edges with doubles and loops, both in the order of the file."""

    source: str
    sites: Mapping[str, Site]
    edges: tuple[Edge, ...]
    # What the file says of itself: its title, who made it, where it was taken from; empty where it says nothing.
    title: str = ""
    creator: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """One thing that the importer decided: of which kind, about what, and the line that tells a user."""

    kind: Kind
    subject: str
    text: str


def refusal(source: str, text: str, line: int = 0, column: int = 0) -> TopologyError:
    """Return the error that refuses a file in one line."""
    return TopologyError.of(source, [Problem(line, column, text)])
