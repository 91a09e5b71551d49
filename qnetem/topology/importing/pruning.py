"""qnetem.topology.importing.pruning: what of a drawn network is a network. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qnetem.topology.importing.network import Decision, Edge, Network, Site, refusal

__all__ = ["Pruned", "neighbours", "pruned"]


@dataclass(frozen=True, slots=True)
class Pruned:
    """One connected network: its sites by key, at most one edge between any two, no loops; in the order of the file."""

    sites: Mapping[str, Site]
    edges: tuple[Edge, ...]
    decisions: tuple[Decision, ...]


def pruned(network: Network) -> Pruned:
    """Return a network without what is outside it, loops, doubles, and all but its largest connected part.

    Raises:
        TopologyError: No link is left.
    """
    decisions: list[Decision] = []
    sites = {key: site for key, site in network.sites.items() if not site.is_outside}
    ends = Counter(end for edge in network.edges for end in set(edge))
    for site in network.sites.values():
        if site.is_outside:
            links = f"{ends[site.key]} link{'' if ends[site.key] == 1 else 's'}"
            decisions.append(Decision("outside", str(site), f"dropped {site}: outside the network, with its {links}"))
    inside = [edge for edge in network.edges if edge[0] in sites and edge[1] in sites]
    straight = [edge for edge in inside if edge[0] != edge[1]]
    for key, count in Counter(first for first, second in inside if first == second).items():
        loops = "a link" if count == 1 else f"{count} links"
        decisions.append(Decision("loop", str(sites[key]), f"dropped {loops} from {sites[key]} to itself"))
    single: dict[frozenset[str], Edge] = {}
    for edge in straight:
        single.setdefault(frozenset(edge), edge)
    for pair, count in Counter(map(frozenset, straight)).items():
        if count > 1:
            first, second = (sites[key] for key in single[pair])
            text = f"merged {count} links between {first} and {second} into one"
            decisions.append(Decision("doubled", f"{first} - {second}", text))
    kept = _largest_part(sites, single.values())
    for key, site in sites.items():
        if key not in kept:
            decisions.append(Decision("leftover", str(site), f"dropped {site}: not connected to the rest"))
    edges = tuple(edge for edge in single.values() if edge[0] in kept)
    if not edges:
        raise refusal(network.source, "no link is left inside the network")
    return Pruned({key: site for key, site in sites.items() if key in kept}, edges, tuple(decisions))


def neighbours(keys: Iterable[str], edges: Iterable[Edge]) -> dict[str, list[str]]:
    """Return the keys beside each key, in the order of the edges."""
    beside: dict[str, list[str]] = {key: [] for key in keys}
    for first, second in edges:
        beside[first].append(second)
        beside[second].append(first)
    return beside


def _largest_part(keys: Iterable[str], edges: Iterable[Edge]) -> set[str]:
    """Return the keys of the largest connected part; of equal ones, that of the earliest key."""
    beside = neighbours(keys, edges)
    seen: set[str] = set()
    largest: set[str] = set()
    for start in beside:
        if start in seen:
            continue
        part, waiting = {start}, [start]
        while waiting:
            found = [key for key in beside[waiting.pop()] if key not in part]
            part.update(found)
            waiting += found
        seen |= part
        largest = max(largest, part, key=len)
    return largest
