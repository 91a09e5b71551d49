"""What of a drawing is a network: outside, loops, doubles and leftovers go, each of them told."""

import pytest

from qnetem.topology import TopologyError
from qnetem.topology.importing import Network, Site
from qnetem.topology.importing.pruning import pruned


def network(keys: str, edges: str, outside: str = "") -> Network:
    """Return a network of one-letter nodes: network("abc", "ab bc")."""
    sites = {key: Site(key, key.upper(), is_outside=key in outside) for key in keys}
    return Network("lab.gml", sites, tuple((edge[0], edge[1]) for edge in edges.split()))


def test_a_tidy_network_stays_as_it_is() -> None:
    drawn = network("abc", "ab cb")
    kept = pruned(drawn)
    assert (dict(kept.sites), kept.edges, kept.decisions) == (drawn.sites, drawn.edges, ())


def test_doubled_edges_are_one_in_the_direction_of_the_first() -> None:
    kept = pruned(network("abc", "ba ab bc ab"))
    assert kept.edges == (("b", "a"), ("b", "c"))
    assert [one.text for one in kept.decisions] == ["merged 3 links between B (node b) and A (node a) into one"]


def test_links_of_a_node_to_itself_go() -> None:
    kept = pruned(network("ab", "aa ab bb bb"))
    assert kept.edges == (("a", "b"),)
    assert [one.text for one in kept.decisions] == [
        "dropped a link from A (node a) to itself",
        "dropped 2 links from B (node b) to itself",
    ]


def test_what_is_outside_goes_with_its_links_and_what_hangs_on_it() -> None:
    kept = pruned(network("abxyz", "ab bx ax xy xx", outside="x"))
    assert list(kept.sites) == ["a", "b"]
    assert [(one.kind, one.subject) for one in kept.decisions] == [
        ("outside", "X (node x)"),
        ("leftover", "Y (node y)"),
        ("leftover", "Z (node z)"),
    ]
    assert "with its 4 links" in kept.decisions[0].text


def test_the_largest_part_stays_of_equal_ones_the_first() -> None:
    assert list(pruned(network("abcde", "ab cd de")).sites) == ["c", "d", "e"]
    assert list(pruned(network("abcd", "cd ab")).sites) == ["a", "b"]


@pytest.mark.parametrize(("edges", "outside"), [("aa", ""), ("ab", "b"), ("ab", "ab")])
def test_a_network_of_which_nothing_is_left_is_refused(edges: str, outside: str) -> None:
    with pytest.raises(TopologyError, match=r"^lab.gml: no link is left inside the network$"):
        pruned(network("ab", edges, outside))
