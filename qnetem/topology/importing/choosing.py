"""qnetem.topology.importing.choosing: where clients of keys sit, and how links are laid on processes. Pure."""

import heapq
from collections.abc import Collection, Mapping
from typing import Final

from qnetem.topology.importing.network import Decision
from qnetem.topology.importing.spans import Span, length_text
from qnetem.topology.model import Placement

__all__ = ["quantum_placement", "saes"]

# Above this, a process for each link is more processes than a small machine should switch between.
_LINKS_OF_THEIR_OWN: Final = 16


def quantum_placement(link_count: int) -> tuple[Placement, Decision]:
    """Return how quantum links are laid on processes."""
    placement: Placement = "link" if link_count <= _LINKS_OF_THEIR_OWN else "group"
    share = "a process for each link" if placement == "link" else "a process for eight links"
    return placement, Decision("placement", placement, f"quantum channels: {share}, for {link_count} links")


def saes(
    nodes: Collection[str], spans: Collection[Span], relays: Collection[str]
) -> tuple[dict[str, str], list[Decision]]:
    """Return the node of each client of keys.

    app-1 is at the node with most links, app-2 at the nearest node that has a link with it (a relay only where there is
    no other), app-3 where the way from app-1 along the fibres is longest. Of equals, the first in the file.
    """
    order = {node: index for index, node in enumerate(nodes)}
    beside: dict[str, list[tuple[str, int]]] = {node: [] for node in order}
    for span in spans:
        first, second = span.ends
        beside[first].append((second, span.length_m))
        beside[second].append((first, span.length_m))
    own = [node for node in order if node not in relays] or list(order)
    hub = max(own, key=lambda node: len(beside[node]))
    near, near_m = min(beside[hub], key=lambda one: (one[0] in relays, one[1], order[one[0]]))
    ways_m = _ways_m(hub, beside)
    far = max(own, key=lambda node: ways_m[node])
    found = {"app-1": hub, "app-2": near}
    decisions = [
        Decision("sae", "app-1", f"app-1 is at {hub}, which has the most links ({len(beside[hub])})"),
        Decision("sae", "app-2", f"app-2 is at {near}, {length_text(near_m)} from app-1 on a link of their own"),
    ]
    if far not in (hub, near):
        found["app-3"] = far
        text = f"app-3 is at {far}, farthest from app-1: {length_text(ways_m[far])} along the fibres"
        decisions.append(Decision("sae", "app-3", text))
    return found, decisions


def _ways_m(start: str, beside: Mapping[str, list[tuple[str, int]]]) -> dict[str, int]:
    """Return the length of the shortest way to each node, m (Dijkstra)."""
    ways_m: dict[str, int] = {}
    waiting = [(0, start)]
    while waiting:
        way_m, node = heapq.heappop(waiting)
        if node not in ways_m:
            ways_m[node] = way_m
            for other, length_m in beside[node]:
                heapq.heappush(waiting, (way_m + length_m, other))
    return ways_m
