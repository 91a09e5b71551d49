"""Names of nodes: DNS labels, readable, each one once, never one of the testbed's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnetem.topology import from_dict
from qnetem.topology.importing import Site, default_name
from qnetem.topology.importing.naming import NAME_CHARS, node_names, slug, unique
from qnetem.topology.words import label


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Bergen op Zoom", "bergen-op-zoom"),
        ("Zürich", "zurich"),
        ("Saint-Étienne", "saint-etienne"),
        ("Łódź", "lodz"),
        ("Tromsø", "tromso"),
        ("Gießen", "giessen"),
        ("İzmir", "izmir"),
        ("C&NLMAN", "c-nlman"),
        ("NOAA {[Boulder, Colorado}}", "noaa-boulder-colorado"),
        ("Natural Science Foundation of China", "natural-science"),
        ("Llanfairpwllgwyngyllgogerychwyrndrobwll", "llanfairpwllgwyngyllgoge"),
        ("--", ""),
        ("Москва", ""),
    ],
)
def test_labels_become_names(text: str, name: str) -> None:
    assert slug(text) == name


def names_of(*labels: str, is_junction: bool = False) -> list[str]:
    return list(
        node_names([Site(str(index), text, is_junction=is_junction) for index, text in enumerate(labels)])[0].values()
    )


def test_the_first_keeps_a_name_and_the_others_are_numbered_around_those_that_have_it_by_right() -> None:
    assert names_of("IBM", "ibm", "IBM-2", "I.B.M", "ibm") == ["ibm", "ibm-3", "ibm-2", "i-b-m", "ibm-4"]


def test_without_a_label_nodes_are_numbered() -> None:
    assert names_of("", "Unnamed 1", "", "Киев") == ["unnamed-2", "unnamed-1", "unnamed-3", "unnamed-4"]
    assert names_of("", "", is_junction=True) == ["junction-1", "junction-2"]


@pytest.mark.parametrize("taken", ["broker", "Supervisor", "zygote", "QC", "CC", "qc-alice", "cc-1"])
def test_names_of_the_testbeds_own_processes_are_not_given(taken: str) -> None:
    [name], [decision] = node_names([Site("7", taken)])[0].values(), node_names([Site("7", taken)])[1]
    assert name == f"node-{taken.lower()}"
    assert taken.lower() in decision.text
    # the reader knows which names those are: what we hand out it must take
    content = {"apiVersion": "qnetem/v1", "name": "x", "topology": {"nodes": {name: {}}}}
    assert list(from_dict(content).nodes) == [name]


def test_a_name_that_is_simply_the_label_is_no_decision() -> None:
    assert node_names([Site("1", "Den Haag"), Site("2", "Delft")])[1] == []


def test_each_other_name_is_told_with_its_reason() -> None:
    long = "Beijing University of Posts"
    _, decisions = node_names([Site("1", "Delft"), Site("2", "Delft"), Site("3"), Site("4", long)])
    assert [decision.text for decision in decisions] == [
        "named Delft (node 2) delft-2: delft is taken",
        "named node 3 unnamed-1: it has no label",
        f"named {long} (node 4) beijing-university-of: shortened",
    ]


@given(st.lists(st.text(max_size=40) | st.sampled_from(["a", "A-2", "a" * 30, "qc", "unnamed 1"]), max_size=12))
def test_any_labels_give_different_dns_labels_that_fit(labels: list[str]) -> None:
    names = names_of(*labels)
    assert len(set(names)) == len(labels)
    assert all(label(name) == name and len(name) <= NAME_CHARS for name in names)


def test_a_number_fits_where_the_name_is_at_its_limit() -> None:
    assert unique("a" * NAME_CHARS, {"a" * NAME_CHARS}) == "a" * (NAME_CHARS - 2) + "-2"
    assert unique("b", {"a"}) == "b"


@pytest.mark.parametrize(
    ("file", "name"), [("Surfnet.gml", "surfnet"), ("x/My Net.graphml", "my-net"), ("Сеть.gml", "network")]
)
def test_a_testbed_is_called_after_its_file(file: str, name: str) -> None:
    assert default_name(file) == name
