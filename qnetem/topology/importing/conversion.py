"""qnetem.topology.importing.conversion: from a drawn network to a topology file, with all that was decided. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from qnetem.topology.importing.choosing import quantum_placement, saes
from qnetem.topology.importing.geography import placed
from qnetem.topology.importing.naming import node_names
from qnetem.topology.importing.network import Decision, Kind, Network, Place, refusal
from qnetem.topology.importing.pruning import Pruned, neighbours, pruned
from qnetem.topology.importing.settings import Settings
from qnetem.topology.importing.spans import cut, length_text, link_lengths_m
from qnetem.topology.importing.writing import Content, command, file_text

__all__ = ["Imported", "converted"]

# What reads and runs a topology has its limits; a drawing of a continent stays far below.
_MOST_NODES: Final = 5_000


@dataclass(frozen=True, slots=True)
class Imported:
    """A topology file, and how it came to be. `link_count` is that before cutting."""

    text: str
    node_count: int
    link_count: int
    relay_count: int
    span_count: int
    fibre_m: int
    saes: Mapping[str, str]
    decisions: tuple[Decision, ...]

    def decided(self) -> dict[str, int]:
        """Return how many decisions of each kind there are, in the order in which they were taken."""
        return dict(Counter(decision.kind for decision in self.decisions))


def converted(network: Network, settings: Settings, out: str) -> Imported:
    """Return the topology file of a network; `out` is the file's name, for its own header.

    Raises:
        TopologyError: No link is left, no length can be told, or it comes out too large.
    """
    kept = pruned(network)
    _check_size(network, len(kept.sites))
    names, named = node_names(kept.sites.values())
    places, placing = _places(network, kept, settings, names)
    lengths_m, lengthened = link_lengths_m(kept.edges, places, names, settings)
    relay_count = sum(-(-length_m // settings.max_span_m) - 1 for length_m in lengths_m.values())
    _check_size(network, len(kept.sites) + relay_count, "; a longer --max-span cuts with fewer relays")
    fibre = cut(lengths_m, names, settings.max_span_m)
    junctions = [names[site.key] for site in kept.sites.values() if site.is_junction]
    relayed = [Decision("relay", name, f"{name} stands for a hyperedge: a trusted relay") for name in junctions]
    nodes = {names[site.key]: _comment(site.label, places.get(site.key)) for site in kept.sites.values()}
    nodes |= dict.fromkeys(fibre.relays, "")
    relays = frozenset((*junctions, *fibre.relays))
    homes, seated = saes(nodes, fibre.spans, relays)
    placement, laid = quantum_placement(len(fibre.spans))
    decisions = (*kept.decisions, *named, *relayed, *placing, *lengthened, *fibre.decisions, *seated, laid)
    fibre_m = sum(lengths_m.values())
    text = file_text(
        network,
        Content(
            nodes=nodes,
            relays=relays,
            spans=fibre.spans,
            saes=homes,
            placement=placement,
            counts=_counts(len(kept.sites), len(kept.edges), fibre_m, len(fibre.relays), len(fibre.spans)),
            changes=_changes(Counter(decision.kind for decision in decisions), bool(places), settings),
        ),
        settings,
        command(network.source, out, settings),
    )
    return Imported(
        text=text,
        node_count=len(kept.sites),
        link_count=len(kept.edges),
        relay_count=len(fibre.relays),
        span_count=len(fibre.spans),
        fibre_m=fibre_m,
        saes=homes,
        decisions=decisions,
    )


def _check_size(network: Network, node_count: int, hint: str = "") -> None:
    if node_count > _MOST_NODES:
        raise refusal(network.source, f"comes out as {node_count} nodes, more than {_MOST_NODES}{hint}")


def _places(
    network: Network, kept: Pruned, settings: Settings, names: Mapping[str, str]
) -> tuple[dict[str, Place], list[Decision]]:
    """Return a place for every site, none where no site has one of its own and lengths are given instead."""
    own = {key: site.place for key, site in kept.sites.items()}
    if not any(own.values()):
        if settings.default_length_m is None:
            text = "no node of the network has coordinates, so no length is known (--default-length gives one)"
            raise refusal(network.source, text)
        return {}, []
    beside = neighbours(kept.sites, kept.edges)
    places = placed(own, beside)
    decisions = []
    for key, site in kept.sites.items():
        if site.place is None:
            around = [names[each] for each in beside[key]]
            listed = around[0] if len(around) == 1 else f"the middle of {', '.join(around)}"
            decisions.append(Decision("placed", names[key], f"placed {names[key]} at {listed}: {places[key]}"))
    return places, decisions


def _comment(label: str, place: Place | None) -> str:
    return ", ".join(str(part) for part in (label, place) if part)


def _counts(nodes: int, links: int, fibre_m: int, relays: int, spans: int) -> str:
    text = f"{_number(nodes, 'node')}, {_number(links, 'link')}, {length_text(fibre_m)} of fibre"
    return text + (f"; {_number(relays, 'trusted relay')} cut it into {spans} spans" if relays else "")


def _changes(counts: Mapping[Kind, int], has_places: bool, settings: Settings) -> str:
    """Return what was changed on the way from the drawing, in one line."""
    told: dict[Kind, str] = {
        "outside": "dropped outside the network",
        "leftover": "dropped as unconnected",
        "doubled": "doubled links merged",
        "loop": "with links to themselves",
        "placed": "placed by their neighbours",
        "cut": f"links cut where longer than {length_text(settings.max_span_m)}",
    }
    nodes: tuple[Kind, ...] = ("outside", "leftover", "loop", "placed")
    parts = [
        f"{_number(counts[kind], 'node')} {text}" if kind in nodes else f"{counts[kind]} {text}"
        for kind, text in told.items()
        if counts[kind]
    ]
    length = f"great circle x {settings.route_factor:g}" if has_places else "given for all"
    return ", ".join([*parts, "nodes renamed", f"lengths: {length}"])


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
