"""control_plane.routing: the cheapest paths, and pairs of paths without a node in common. Pure.

A graph is the cost of each hop by (from, to), all above 0. Only relays stand between the ends of a path.
"""

import heapq
import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import Final

__all__ = ["Costs", "Path", "cheapest", "disjoint_pair", "path_cost", "ranked"]

Hop = tuple[str, str]
Costs = Mapping[Hop, float]
Path = tuple[str, ...]
_MAX_NODES: Final = 16
_MAX_PATHS: Final = 6


def path_cost(costs: Costs, path: Path) -> float:
    """Return the sum over a path's hops."""
    return sum(costs[hop] for hop in itertools.pairwise(path))


def _neighbours(costs: Costs) -> dict[str, list[tuple[str, float]]]:
    found: dict[str, list[tuple[str, float]]] = {}
    for (near, far), cost in sorted(costs.items()):
        found.setdefault(near, []).append((far, cost))
    return found


def cheapest(
    costs: Costs,
    source: str,
    target: str,
    relays: Collection[str],
    *,
    without_nodes: Collection[str] = (),
    without_hops: Collection[Hop] = (),
) -> Path | None:
    """Return the cheapest path; None when there is none. Of equal ones, the first by the nodes' names.

    Args:
        costs: Of each hop.
        source: Where from.
        target: Where to.
        relays: Nodes that may stand between.
        without_nodes: Nodes that may not.
        without_hops: Hops that are not taken.

    Source: Dijkstra 1959.
    """
    return _cheapest(_neighbours(costs), source, target, relays, without_nodes, without_hops)


def _cheapest(
    neighbours: Mapping[str, list[tuple[str, float]]],
    source: str,
    target: str,
    relays: Collection[str],
    without_nodes: Collection[str] = (),
    without_hops: Collection[Hop] = (),
) -> Path | None:
    queue: list[tuple[float, Path]] = [(0.0, (source,))]
    done: set[str] = set()
    while queue:
        sum_cost, path = heapq.heappop(queue)
        node = path[-1]
        if node == target:
            return path
        if node in done or len(path) == _MAX_NODES:
            continue
        done.add(node)
        for far, cost in neighbours.get(node, ()):
            is_open = far == target or (far in relays and far not in without_nodes)
            if is_open and far not in done and (node, far) not in without_hops:
                heapq.heappush(queue, (sum_cost + cost, (*path, far)))
    return None


def disjoint_pair(costs: Costs, source: str, target: str, relays: Collection[str]) -> tuple[Path, Path] | None:
    """Return the two paths of least cost together that share no middle node; None when there are none.

    The cheapest path may be part of no such pair: the second search may run along its hops backwards, which takes them
    out of both.

    Source: Bhandari, Survivable Networks (1999), after Suurballe 1974; nodes split into an entry and an exit.
    """
    first = cheapest(costs, source, target, relays)
    if first is None:
        return None
    arcs: dict[tuple[str, str], float] = {}
    for (near, far), cost in costs.items():
        if near != target and far != source and (near in relays or near == source) and (far in relays or far == target):
            arcs[_exit(near), _entry(far)] = cost
    for relay in relays:
        arcs[_entry(relay), _exit(relay)] = 0.0
    walk = _walk(first)
    for hop in itertools.pairwise(walk):
        cost = arcs.pop(hop)
        arcs[hop[1], hop[0]] = -cost
    second = _with_negatives(arcs, _exit(source), _entry(target))
    if second is None:
        return None
    hops = set(itertools.pairwise(walk))
    for near, far in itertools.pairwise(second):
        if (far, near) in hops:
            hops.remove((far, near))
        else:
            hops.add((near, far))
    pair = sorted((_unwoven(hops, source, target) for _ in range(2)), key=lambda path: (path_cost(costs, path), path))
    return pair[0], pair[1]


def _entry(node: str) -> str:
    return f"{node}/in"


def _exit(node: str) -> str:
    return f"{node}/out"


def _walk(path: Path) -> list[str]:
    """Return a path over split nodes."""
    middle = [part for node in path[1:-1] for part in (_entry(node), _exit(node))]
    return [_exit(path[0]), *middle, _entry(path[-1])]


def _with_negatives(arcs: Mapping[tuple[str, str], float], source: str, target: str) -> list[str] | None:
    """Return the cheapest walk where some arcs cost less than nothing, and no round does. Source: Bellman, Ford."""
    best: dict[str, tuple[float, str]] = {source: (0.0, "")}
    ordered = sorted(arcs.items())
    for _ in range(len({end for hop in arcs for end in hop})):
        is_better = False
        for (near, far), cost in ordered:
            if near in best and best[near][0] + cost < best.get(far, (float("inf"), ""))[0] - 1e-12:
                best[far] = (best[near][0] + cost, near)
                is_better = True
        if not is_better:
            break
    if target not in best:
        return None
    walk = [target]
    while walk[-1] != source:
        walk.append(best[walk[-1]][1])
    return walk[::-1]


def _unwoven(hops: set[tuple[str, str]], source: str, target: str) -> Path:
    """Take one path out of the hops of two."""
    nodes, here = [source], _exit(source)
    while here != _entry(target):
        hop = min(one for one in hops if one[0] == here)
        hops.remove(hop)
        here = hop[1]
        if here.endswith("/in"):
            nodes.append(here.removesuffix("/in"))
    return tuple(nodes)


def ranked(costs: Costs, source: str, target: str, relays: Collection[str]) -> list[Path]:
    """Return up to 6 paths, the best first: then the best that shares no middle node with it, then others by cost.

    Where the best is part of no pair of disjoint paths, the best such pair is among the others. The others go around
    each single hop of the best.
    """
    neighbours = _neighbours(costs)
    first = _cheapest(neighbours, source, target, relays)
    if first is None:
        return []
    found = [first]
    second = _cheapest(neighbours, source, target, relays, first[1:-1], _hops(first))
    if second is not None:
        found.append(second)
    else:
        found += disjoint_pair(costs, source, target, relays) or ()
    for path in (first, *([second] if second is not None else [])):
        found += _around(neighbours, path, relays)
    rest = sorted(set(found[2:]) - set(found[:2]), key=lambda path: (path_cost(costs, path), path))
    return list(dict.fromkeys((*found[:2], *rest)))[:_MAX_PATHS]


def _hops(path: Path) -> list[Hop]:
    return list(itertools.pairwise(path))


def _around(neighbours: Mapping[str, list[tuple[str, float]]], path: Path, relays: Collection[str]) -> Iterable[Path]:
    for hop in _hops(path):
        other = _cheapest(neighbours, path[0], path[-1], relays, (), [hop])
        if other is not None:
            yield other
