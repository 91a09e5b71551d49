"""control_plane.path_plan: the path sets of all nodes, and when one is worth telling. Pure."""

import itertools
from collections.abc import Mapping
from typing import Final

from control_plane.inventory import Known
from control_plane.link_state import HopState, cost, hop_states
from control_plane.routing import Path, path_cost, ranked
from qnetem.v1 import controller_pb2 as pb

__all__ = ["Ranking", "is_worth_telling", "path_set", "rankings"]

# of one source: the paths to each target, the best first
Ranking = Mapping[str, tuple[Path, ...]]
# a path in force stays the first until another is so much cheaper: else amounts that change all the time would make
# paths change all the time
_STICKINESS: Final = 1.3


def rankings(
    known: Mapping[str, Known], before: Mapping[str, Ranking], now_s: float
) -> tuple[dict[str, Ranking], dict[tuple[str, str], HopState]]:
    """Return the paths between all nodes that serve SAEs, by source, and the state of hops that they were made from.

    Args:
        known: What the nodes said.
        before: What came out the last time.
        now_s: The time.
    """
    states = hop_states(known, now_s)
    costs = {hop: cost(state) for hop, state in states.items()}
    relays = {name for name, one in known.items() if one.report.is_relay}
    ends = [name for name, one in known.items() if one.report.sae_ids]
    found: dict[str, Ranking] = {}
    for source in ends:
        paths: dict[str, tuple[Path, ...]] = {}
        for target in ends:
            if target != source:
                old = before.get(source, {}).get(target, ())
                paths[target] = _kept(costs, old, ranked(costs, source, target, relays))
        found[source] = {target: ones for target, ones in paths.items() if ones}
    return found, states


def _kept(costs: Mapping[tuple[str, str], float], old: tuple[Path, ...], new: list[Path]) -> tuple[Path, ...]:
    """Return the old paths when they are hardly worse than the new ones, else the new."""
    hops = [hop for path in old for hop in itertools.pairwise(path)]
    if not old or not new or not all(hop in costs for hop in hops):
        return tuple(new)
    best = [path_cost(costs, path) for path in new[:2]]
    now = [path_cost(costs, path) for path in old[:2]]
    is_close = len(now) == len(best) and all(a <= _STICKINESS * b for a, b in zip(now, best, strict=True))
    return old if is_close else tuple(new)


def path_set(controller: str, version: int, ranking: Ranking, states: Mapping[tuple[str, str], HopState]) -> pb.PathSet:
    """Return a ranking as it is told, with what its hops hold."""
    made = pb.PathSet(controller=controller, version=version)
    for target, paths in sorted(ranking.items()):
        told = made.targets.add(target=target)
        for path in paths:
            hops = [states[hop] for hop in itertools.pairwise(path) if hop in states]
            told.paths.add(
                nodes=path,
                available_bits=min((hop.available_bits for hop in hops), default=0),
                round_trip_s=sum(hop.round_trip_s for hop in hops),
            )
    return made


def is_worth_telling(told: pb.PathSet | None, made: pb.PathSet, age_s: float) -> bool:
    """Return whether a set is to be told: it ranks otherwise, or what it says of amounts is old and was never near."""
    if told is None:
        return True
    if _shape(told) != _shape(made):
        return True
    return age_s > 10 and any(not a / 2 <= b <= 2 * a for a, b in zip(_amounts(told), _amounts(made), strict=True))


def _shape(paths: pb.PathSet) -> list[tuple[str, list[tuple[str, ...]]]]:
    return [(target.target, [tuple(path.nodes) for path in target.paths]) for target in paths.targets]


def _amounts(paths: pb.PathSet) -> list[float]:
    # 1024 bits more or less are nothing to tell of
    return [path.available_bits + 1024.0 for target in paths.targets for path in target.paths]
