"""node.keys.relay_paths: the paths that one node may send keys on, and which of them to take now. Pure.

Paths come from a controller or an operator, ranked. A hop that failed lately is suspect: paths over it are taken last,
so that a dead relay is gone around without asking anybody. Times are those of any one clock, seconds.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Hop", "PathBook", "PathTable", "RelayPath", "Suspicion"]

Hop = tuple[str, str]
# a hop that did not answer is suspect until it answers a probe, or for so long; one without key bits for as long as
# links take to make some; a path that brought no answer, nobody knows from where, for a short while
_DEAD_S: Final = 30.0
_DRY_S: Final = 1.0
_MUTE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class RelayPath:
    """A path, source first. What is said of it was true when its set was made.

    Attributes:
        nodes: 2 to 16, none twice.
        available_bits: What the scarcest hop could spend.
        round_trip_s: There and back, wall seconds.
    """

    nodes: tuple[str, ...]
    available_bits: int = 0
    round_trip_s: float = 0.0

    @property
    def hops(self) -> tuple[Hop, ...]:
        """Its hops, each as (from, to)."""
        return tuple(zip(self.nodes, self.nodes[1:], strict=False))

    @property
    def relays(self) -> frozenset[str]:
        """Its middle nodes."""
        return frozenset(self.nodes[1:-1])


@dataclass(frozen=True, slots=True)
class PathTable:
    """All paths of one node: by target, the best first."""

    controller: str = ""
    version: int = 0
    targets: Mapping[str, tuple[RelayPath, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why a hop is gone around, and until when: it did not answer, or, dry, had not `asked_bits` of key."""

    until_s: float
    is_dry: bool
    asked_bits: int = 0


class PathBook:
    """The paths in force, and what was learned of their hops."""

    def __init__(self, own_node: str, neighbours: Collection[str]) -> None:
        """Start with the way to each neighbour, which needs no installing."""
        self._own_node = own_node
        self._direct = {peer: RelayPath((own_node, peer)) for peer in neighbours}
        self._suspects: dict[Hop, Suspicion] = {}
        self._mute: dict[tuple[str, ...], float] = {}
        self.table = PathTable()

    def is_newer(self, table: PathTable) -> bool:
        """Return whether a table takes the place of the one in force: of another controller, or of a higher version."""
        return table.controller != self.table.controller or table.version > self.table.version

    def install(self, table: PathTable) -> None:
        """Take a table in the place of the one in force; what is suspect stays so."""
        self.table = table

    def targets(self) -> set[str]:
        """Return the nodes that there is a path to."""
        return {target for target, paths in self.table.targets.items() if paths} | self._direct.keys()

    def paths(self, target: str, now_s: float, allowed: Collection[str] | None = None) -> list[RelayPath]:
        """Return the paths to a target, in the order to try them: sound ones by rank, then those over suspect hops.

        Args:
            target: Where to.
            now_s: The time.
            allowed: The nodes that may relay; None: any.
        """
        direct = self._direct.get(target)
        known = ([direct] if direct is not None else []) + list(self.table.targets.get(target, ()))
        usable = [path for path in known if allowed is None or path.relays <= set(allowed)]
        distinct = list({path.nodes: path for path in reversed(usable)}.values())[::-1]
        return sorted(distinct, key=lambda path: self._worst(path, now_s))  # stable: the rank decides among equals

    def dry_hop(self, path: RelayPath, bits: int, now_s: float) -> Hop | None:
        """Return a hop of the path, behind the first, that had less than so many key bits a moment ago."""
        for hop in path.hops[1:]:
            one = self._suspects.get(hop)
            if one is not None and one.is_dry and one.until_s > now_s and one.asked_bits <= bits:
                return hop
        return None

    def is_sound(self, path: RelayPath, now_s: float) -> bool:
        """Return whether no hop of the path is suspect."""
        return self._worst(path, now_s) == 0

    def has_other(
        self, target: str, tried: Collection[RelayPath], now_s: float, allowed: Collection[str] | None = None
    ) -> bool:
        """Return whether a sound path to a target is known beside those that are tried."""
        others = (path for path in self.paths(target, now_s, allowed) if path not in tried)
        return any(self.is_sound(path, now_s) for path in others)

    def _worst(self, path: RelayPath, now_s: float) -> float:
        """Return 0 for a path without a suspect hop, else until when the worst is suspect."""
        found = [one.until_s for hop in path.hops if (one := self._suspects.get(hop)) is not None]
        until_s = max([*found, self._mute.get(path.nodes, 0.0)], default=0.0)
        return until_s if until_s > now_s else 0.0

    def choice(
        self, target: str, share_count: int, now_s: float, allowed: Collection[str] | None = None
    ) -> tuple[RelayPath, ...]:
        """Return `share_count` paths that share no middle node, the best such set; () when there is none."""
        paths = self.paths(target, now_s, allowed)
        return next(_disjoint(paths, share_count), ())

    def doubt(self, hop: Hop, now_s: float, *, is_dry: bool = False, asked_bits: int = 0) -> None:
        """Note that a hop did not answer, or had not `asked_bits` of key."""
        self._suspects[hop] = Suspicion(now_s + (_DRY_S if is_dry else _DEAD_S), is_dry, asked_bits)

    def doubt_path(self, nodes: tuple[str, ...], now_s: float) -> None:
        """Note that a path brought no answer: one of its hops is to blame, and nobody knows which."""
        self._mute[nodes] = now_s + _MUTE_S

    def trust(self, hops: Collection[Hop]) -> None:
        """Note that hops answered."""
        for hop in hops:
            self._suspects.pop(hop, None)

    def trust_path(self, path: RelayPath) -> None:
        """Note that a whole path answered."""
        self._mute.pop(path.nodes, None)
        self.trust(path.hops)

    def suspects(self, now_s: float) -> dict[Hop, Suspicion]:
        """Return the hops that are suspect now."""
        self._suspects = {hop: one for hop, one in self._suspects.items() if one.until_s > now_s}
        return dict(self._suspects)

    def probe_paths(self, now_s: float) -> dict[Hop, tuple[str, ...]]:
        """Return, for each hop that did not answer, a path from here that ends with it."""
        silent = {hop for hop, one in self.suspects(now_s).items() if not one.is_dry}
        found: dict[Hop, tuple[str, ...]] = {}
        for path in (*self._direct.values(), *(one for paths in self.table.targets.values() for one in paths)):
            for index, hop in enumerate(path.hops):
                if hop in silent and (hop not in found or index + 2 < len(found[hop])):
                    found[hop] = path.nodes[: index + 2]
        return found


def _disjoint(paths: list[RelayPath], count: int) -> Iterator[tuple[RelayPath, ...]]:
    """Yield every way to choose paths without a middle node in common, sets of early ones first."""
    if count == 0:
        yield ()
        return
    for index, path in enumerate(paths):
        # the direct path has no middle node, and is still one path
        rest = [other for other in paths[index + 1 :] if not other.relays & path.relays and other.nodes != path.nodes]
        for others in _disjoint(rest, count - 1):
            yield (path, *others)
