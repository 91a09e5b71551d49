"""The reference controller's arithmetic: costs of hops, cheapest and disjoint paths, sets worth telling."""

import itertools
import math
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.inventory import SILENT_S, Inventory
from control_plane.link_state import TROUBLE, HopState, cost, hop_states
from control_plane.path_plan import is_worth_telling, path_set, rankings
from control_plane.routing import Path, cheapest, disjoint_pair, path_cost, ranked
from qnetem.v1 import controller_pb2 as pb

NODES = "abcdef"
RELAYS = frozenset("bcde")


@st.composite
def graphs(draw: st.DrawFn) -> dict[tuple[str, str], float]:
    """Costs of hops between six nodes, either way by itself."""
    pairs = list(itertools.permutations(NODES, 2))
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, min_size=4, max_size=24))
    # distinct powers: no two paths cost the same, so that the best is one
    return {pair: 1.0 + 2.0 ** -(index + 1) for index, pair in enumerate(chosen)}


def simple_paths(costs: dict[tuple[str, str], float]) -> list[Path]:
    """Every path from a to f over relays, by enumeration."""
    found = []
    for length in range(len(RELAYS) + 1):
        for middle in itertools.permutations(sorted(RELAYS), length):
            path = ("a", *middle, "f")
            if all(hop in costs for hop in itertools.pairwise(path)):
                found.append(path)
    return sorted(found, key=lambda path: path_cost(costs, path))


@given(graphs())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_paths_are_those_of_enumeration(costs: dict[tuple[str, str], float]) -> None:
    every = simple_paths(costs)
    best = cheapest(costs, "a", "f", RELAYS)
    assert best == (every[0] if every else None)
    pairs = [(one, other) for one, other in itertools.combinations(every, 2) if not set(one[1:-1]) & set(other[1:-1])]
    pair = disjoint_pair(costs, "a", "f", RELAYS)
    if not pairs:
        assert pair is None
    else:
        assert pair is not None
        assert not set(pair[0][1:-1]) & set(pair[1][1:-1])
        expected = min(path_cost(costs, one) + path_cost(costs, other) for one, other in pairs)
        assert sum(path_cost(costs, path) for path in pair) == pytest.approx(expected)
    told = ranked(costs, "a", "f", RELAYS)
    assert told[:1] == every[:1]
    assert len(set(told)) == len(told) <= 6
    assert set(told) <= set(every)
    # wherever two disjoint ways are, two of what is told are disjoint
    has_two = any(not set(one[1:-1]) & set(other[1:-1]) for one, other in itertools.combinations(told, 2))
    assert has_two == bool(pairs)


@given(graphs())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_cheapest_path_is_networkxs(costs: dict[tuple[str, str], float]) -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from(NODES)
    for (near, far), one in costs.items():
        graph.add_edge(near, far, weight=one)
    best = cheapest(costs, "a", "f", frozenset(NODES))
    try:
        expected = nx.dijkstra_path_length(graph, "a", "f")
    except nx.NetworkXNoPath:
        expected = math.inf
    assert (path_cost(costs, best) if best is not None else math.inf) == pytest.approx(expected)


def test_the_second_search_may_undo_a_hop_of_the_first() -> None:
    # the trap: a-b-c-f is the cheapest, and no disjoint path is left beside it
    costs = {("a", "b"): 1, ("b", "c"): 1, ("c", "f"): 1, ("a", "c"): 3, ("b", "f"): 3}
    assert ranked(costs, "a", "f", RELAYS) == [tuple("abcf"), tuple("abf"), tuple("acf")]
    assert disjoint_pair(costs, "a", "f", RELAYS) == (tuple("abf"), tuple("acf"))


def test_only_relays_stand_between() -> None:
    costs = {("a", "b"): 1, ("b", "f"): 1, ("a", "c"): 5, ("c", "f"): 5}
    assert ranked(costs, "a", "f", {"c"}) == [tuple("acf")]
    assert ranked(costs, "a", "f", ()) == []


def test_a_planted_greedy_search_misses_the_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("control_plane.routing.disjoint_pair", lambda *args: None)
    monkeypatch.setattr("control_plane.routing._around", lambda *args: ())
    with pytest.raises(AssertionError):
        test_paths_are_those_of_enumeration.hypothesis.inner_test(  # type: ignore[attr-defined]
            {("a", "b"): 1, ("b", "c"): 1, ("c", "f"): 1, ("a", "c"): 3, ("b", "f"): 3}
        )


def hop(**changes: Any) -> HopState:
    values = {"available_bits": 7168, "secret_hz": 750.0, "age_s": 1.0, "round_trip_s": 0.0, "is_sound": True}
    return HopState(**(values | changes))


def test_a_hop_costs_more_when_it_has_less_makes_less_or_is_old() -> None:
    assert cost(hop()) == pytest.approx(1 + 1 + 1 + 0.1)
    assert cost(hop(available_bits=0)) == pytest.approx(1 + 8 + 1 + 0.1)
    assert cost(hop(secret_hz=0.0)) == pytest.approx(1 + 1 + 4 + 0.1)
    assert cost(hop(age_s=1e9)) == pytest.approx(1 + 1 + 1 + 4)
    assert cost(hop(is_sound=False)) == pytest.approx(cost(hop()) + TROUBLE)
    assert cost(hop(available_bits=10**9, secret_hz=1e9, age_s=0.0)) == pytest.approx(1, abs=1e-3)


def report(node: str, *peers: str, bits: int = 10_000, saes: int = 0, reachable: bool = True) -> pb.AttendedReport:
    return pb.AttendedReport(
        node=node,
        incarnation=1,
        is_relay=not saes,
        sae_ids=[f"app-{node}"] * saes,
        links=[
            pb.AttendedLink(
                link_id=f"{node}-{peer}",
                peer_node=peer,
                available_bits=bits,
                secret_hz=1000.0,
                is_reachable=reachable,
                round_trip_s=0.01,
            )
            for peer in peers
        ],
    )


def square(at_s: float = 0.0, **bits: int) -> Inventory:
    inventory = Inventory("abcd")
    for node, peers in {"a": "bc", "b": "ad", "c": "ad", "d": "bc"}.items():
        inventory.take(report(node, *peers, bits=bits.get(node, 10_000), saes=node in "ad"), at_s)
    return inventory


def test_an_inventory_knows_who_is_there_and_what_changed() -> None:
    inventory = Inventory(["a", "b"])
    assert inventory.missing(0.0) == {"a", "b"}
    assert inventory.take(report("a", "b"), 0.0)
    assert not inventory.take(report("a", "b", bits=5), 1.0)
    assert inventory.take(report("a", "b", reachable=False), 1.0)
    assert inventory.take(report("a", "b", reachable=False), 2.0 + SILENT_S)  # it was silent meanwhile
    assert inventory.missing(2.0 + SILENT_S) == {"b"}
    inventory.leave("a")
    assert inventory.missing(2.0 + SILENT_S) == {"a", "b"}
    assert inventory.known()["a"].report.node == "a"


def test_parallel_links_have_one_pool_and_both_rates() -> None:
    inventory = Inventory()
    inventory.take(report("a", "b", "b"), 0.0)
    inventory.take(report("b", "a", "a", bits=4), 0.0)
    states = hop_states(inventory.known(), 2.0)
    assert states["a", "b"] == HopState(10_000, 2000.0, 2.0, 0.01, True)
    assert states["b", "a"].available_bits == 4
    assert hop_states(inventory.known(), 100.0)["a", "b"].is_sound is False


def test_paths_go_where_key_is_and_stay_there_until_elsewhere_is_much_better() -> None:
    first, states = rankings(square(b=500).known(), {}, 0.0)
    # what b can spend towards d is scarce; the other way round a's and d's own halves count
    assert first["a"]["d"] == (tuple("acd"), tuple("abd"))
    assert set(first) == {"a", "d"}
    assert states["b", "d"].available_bits == 500
    kept, _ = rankings(square(b=11_000).known(), first, 0.0)
    assert kept["a"]["d"] == first["a"]["d"]
    fresh, _ = rankings(square(b=11_000).known(), {}, 0.0)
    assert fresh["a"]["d"] == (tuple("abd"), tuple("acd"))
    changed, _ = rankings(square(b=11_000, c=0).known(), first, 0.0)
    assert changed["a"]["d"] == fresh["a"]["d"]


def test_a_relay_that_is_gone_is_last_and_still_there() -> None:
    inventory = square()
    inventory.leave("b")
    paths, _ = rankings(inventory.known(), {}, 0.0)
    assert paths["a"]["d"] == (tuple("acd"), tuple("abd"))
    inventory.leave("c")
    paths, _ = rankings(inventory.known(), {}, 0.0)
    assert set(paths["a"]["d"]) == {tuple("acd"), tuple("abd")}


def test_a_set_says_what_its_scarcest_hop_holds() -> None:
    ranking, states = rankings(square(b=500).known(), {}, 0.0)
    made = path_set("controller", 7, ranking["a"], states)
    [target] = made.targets
    assert (made.controller, made.version, target.target) == ("controller", 7, "d")
    assert [path.available_bits for path in target.paths] == [10_000, 500]
    assert [path.round_trip_s for path in target.paths] == pytest.approx([0.02, 0.02])


def test_a_set_is_told_when_it_ranks_otherwise_or_its_amounts_are_old_and_wrong() -> None:
    ranking, states = rankings(square().known(), {}, 0.0)
    told = path_set("controller", 1, ranking["a"], states)
    assert is_worth_telling(None, told, 0.0)
    assert not is_worth_telling(told, told, 1e9)
    poorer_ranking, poorer_states = rankings(square(a=100).known(), ranking and {"a": ranking["a"]}, 0.0)
    poorer = path_set("controller", 2, poorer_ranking["a"], poorer_states)
    assert not is_worth_telling(told, poorer, 5.0)
    assert is_worth_telling(told, poorer, 11.0)
    other = path_set("controller", 2, {"d": ranking["a"]["d"][::-1]}, states)
    assert is_worth_telling(told, other, 0.0)


def test_paths_of_a_hundred_nodes_come_within_seconds() -> None:
    # a ring of 100 with chords, ten ends: 90 pairs
    inventory = Inventory()
    for index in range(100):
        peers = {(index + step) % 100 for step in (1, -1, 7, -7)}
        inventory.take(report(f"n{index}", *(f"n{peer}" for peer in sorted(peers)), saes=index % 10 == 0), 0.0)
    known = dict(inventory.known().items())
    for one in known.values():
        one.report.is_relay = True
    paths, _ = rankings(known, {}, 0.0)
    assert sum(len(targets) for targets in paths.values()) == 90
    for targets in paths.values():
        for ways in targets.values():
            assert not set(ways[0][1:-1]) & set(ways[1][1:-1])
