"""From a drawing to a topology file: what it says, where it is from, what was decided; and nine real networks."""

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnetem.topology import TopologyError, parse
from qnetem.topology.importing import Imported, Network, Place, Settings, Site, converted, default_name, read

ZOO = Path(__file__).parents[4] / "shared" / "data" / "topology-zoo"
SETTINGS = Settings(name="lab")
# A star around Utrecht, with one far end.
PLACES: Mapping[str, Place | None] = {
    "Utrecht": Place(52.09, 5.12),
    "Houten": Place(52.03, 5.17),
    "Gouda": Place(52.02, 4.71),
    "Groningen": Place(53.22, 6.57),
}


def star(places: Mapping[str, Place | None] = PLACES) -> Network:
    sites = {name: Site(name, name, place) for name, place in places.items()}
    return Network("nets/lab.gml", sites, tuple(("Utrecht", key) for key in sites if key != "Utrecht"))


def test_the_file_is_a_topology_of_what_was_drawn() -> None:
    made = converted(star(), SETTINGS, "lab.yaml")
    topology = parse(made.text)
    assert (topology.name, topology.scale, topology.quantum_placement) == ("lab", 0.1, "link")
    assert {name: node.kind for name, node in topology.nodes.items()} == {
        **dict.fromkeys(("utrecht", "houten", "gouda", "groningen"), "endpoint"),
        **dict.fromkeys(("utrecht-groningen-r1", "utrecht-groningen-r2"), "trusted-relay"),
    }
    lengths = {link.id: link.planned.length_km for link in topology.links.values()}
    assert lengths["utrecht-houten"] == pytest.approx(7.49 * 1.3, abs=0.1)
    assert list(lengths)[2:] == ["utrecht-groningen-s1", "utrecht-groningen-s2", "utrecht-groningen-s3"]
    assert made.fibre_m == pytest.approx(sum(lengths.values()) * 1000)
    assert (made.node_count, made.link_count, made.relay_count, made.span_count) == (4, 3, 2, 5)


def test_clients_of_keys_are_near_and_far() -> None:
    made = converted(star(), SETTINGS, "lab.yaml")
    assert made.saes == {"app-1": "utrecht", "app-2": "houten", "app-3": "groningen"}
    assert parse(made.text).saes == made.saes


def test_two_nodes_have_two_clients_and_no_third() -> None:
    pair = star({"Utrecht": Place(52.09, 5.12), "Houten": Place(52.03, 5.17)})
    assert converted(pair, SETTINGS, "lab.yaml").saes == {"app-1": "utrecht", "app-2": "houten"}


def test_where_every_link_is_cut_a_relay_has_the_second_client() -> None:
    far = star({"Utrecht": Place(52.09, 5.12), "Groningen": Place(53.22, 6.57)})
    assert converted(far, SETTINGS, "lab.yaml").saes["app-2"] == "utrecht-groningen-r1"


def test_many_links_share_processes() -> None:
    sites = {str(index): Site(str(index), f"n{index}", Place(index / 10, 0)) for index in range(18)}
    edges = tuple((str(index), str(index + 1)) for index in range(17))
    for count, placement in ((16, "link"), (17, "group")):
        made = converted(Network("x.gml", sites, edges[:count]), SETTINGS, "x.yaml")
        assert parse(made.text).quantum_placement == placement


def test_the_header_says_what_it_is_from_and_how_to_make_it_again() -> None:
    zoo = replace(star(), creator="Topology Zoo Toolset", title="LAB", origin="http://example.org/map")
    chosen = replace(SETTINGS, name="net", max_span_m=50_000, route_factor=1.5, default_length_m=2_500)
    head = [line for line in converted(zoo, chosen, "out/net.yaml").text.splitlines() if line.startswith("# ")]
    text = " ".join(line.removeprefix("# ") for line in head)
    assert text.startswith("LAB: 4 nodes, 3 links, ")
    assert (
        "Derived from lab.gml of the Internet Topology Zoo, DOI 10.25909/30153949, licence CC BY 4.0: S. Knight" in text
    )
    assert "IEEE JSAC 29(9), 2011" in text
    assert "Drawn after http://example.org/map" in text
    assert head[-1] == (
        "# Made by: qnetem import lab.gml -o net.yaml --name net"
        " --max-span 50km --default-length 2.5km --route-factor 1.5"
    )
    assert max(map(len, head)) <= 120


def test_the_header_of_another_file_claims_no_other_origin() -> None:
    text = converted(replace(star(), creator="me"), SETTINGS, "lab.yaml").text
    assert "Derived from lab.gml, made by me; what its licence asks for holds here too." in text
    assert "Topology Zoo" not in text
    assert "# Made by: qnetem import lab.gml -o lab.yaml\n" in text


def test_a_node_without_coordinates_is_placed_and_told() -> None:
    made = converted(star(dict(PLACES) | {"Houten": None}), SETTINGS, "lab.yaml")
    texts = [decision.text for decision in made.decisions]
    assert "placed houten at utrecht: 52.090, 5.120" in texts
    assert "utrecht - houten is 1km long: coordinates put its ends 0.0 km apart" in texts
    assert made.decided()["placed"] == 1


def test_without_any_coordinates_a_length_is_due() -> None:
    blank = star(dict.fromkeys(PLACES))
    with pytest.raises(TopologyError) as refused:
        converted(blank, SETTINGS, "lab.yaml")
    assert str(refused.value) == (
        "nets/lab.gml: no node of the network has coordinates, so no length is known (--default-length gives one)"
    )
    made = converted(blank, replace(SETTINGS, default_length_m=30_000), "lab.yaml")
    assert {link.planned.length_km for link in parse(made.text).links.values()} == {30}


def test_what_comes_out_too_large_is_refused_at_once() -> None:
    with pytest.raises(TopologyError, match=r"comes out as 10\d\d\d nodes, more than 5000; a longer --max-span cuts"):
        converted(star({"Utrecht": Place(0, 0), "Houten": Place(0, 70)}), replace(SETTINGS, max_span_m=1_000), "x.yaml")
    sites = {str(index): Site(str(index)) for index in range(5_001)}
    chain = Network("chain.gml", sites, tuple((str(index), str(index + 1)) for index in range(5_000)))
    with pytest.raises(TopologyError, match=r"^chain.gml: comes out as 5001 nodes, more than 5000$"):
        converted(chain, SETTINGS, "x.yaml")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"name": "My Lab"}, "did you mean 'my-lab'"),
        ({"profile": "decoy-bb84-1ghz-adp"}, "did you mean 'decoy-bb84-1ghz-apd'"),
        ({"max_span_m": 999}, "out of range"),
        ({"default_length_m": 0}, "out of range"),
        ({"route_factor": 0.9}, "out of range"),
        ({"route_factor": float("nan")}, "out of range"),
    ],
)
def test_settings_that_no_topology_can_have_are_refused(change: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Settings(**({"name": "lab"} | change))  # type: ignore[arg-type]


LABELS = st.sampled_from(["", "None", "no", "on", "1e5", "2010-10", "Zürich", "qc", "b", "a-b"]) | st.text(max_size=30)
PLACE = st.none() | st.builds(Place, st.floats(-90, 90), st.floats(-180, 180))


@st.composite
def drawings(draw: st.DrawFn) -> Network:
    count = draw(st.integers(2, 8))
    keys = [str(index) for index in range(count)]
    sites = {key: Site(key, draw(LABELS), draw(PLACE), draw(st.integers(0, 9)) == 0) for key in keys}
    edges = draw(st.lists(st.tuples(st.sampled_from(keys), st.sampled_from(keys)), min_size=1, max_size=16))
    text = st.text(max_size=40)
    return Network("x.gml", sites, tuple(edges), title=draw(text), creator=draw(text), origin=draw(text))


@given(drawings(), st.integers(500_000, 10_000_000))
def test_any_drawing_gives_a_topology_or_one_line(drawing: Network, max_span_m: int) -> None:
    settings = Settings(name="lab", max_span_m=max_span_m, default_length_m=20_000)
    made: Imported | None = None
    try:
        made = converted(drawing, settings, "x.yaml")
    except TopologyError as error:
        why = str(error)
    if made is None:
        assert why == "x.gml: no link is left inside the network"
        return
    topology = parse(made.text)
    assert len(topology.nodes) == made.node_count + made.relay_count
    assert len(topology.links) == made.span_count
    assert max(link.planned.length_km for link in topology.links.values()) <= max_span_m / 1000
    assert topology.saes == made.saes


# Nodes and links of each network, trusted relays and spans, at the default settings; counted by hand from README and
# file where the network is tidy (Surfnet: 73 edges, five pairs of them doubled).
FIGURES = {
    "Arpanet19728": (29, 32, 248, 280),
    "Deltacom": (113, 161, 223, 384),
    "Garr201201": (48, 62, 108, 170),
    "Geant2012": (40, 61, 745, 806),
    "Janetbackbone": (29, 45, 72, 117),
    "Rediris": (19, 31, 158, 189),
    "Surfnet": (50, 68, 6, 74),
    "Switch": (60, 78, 4, 82),
}


@pytest.mark.parametrize("name", [*FIGURES, "Nsfcnet"])
def test_the_real_networks_come_out(name: str) -> None:
    file = ZOO / f"{name}.gml"
    if not file.exists():
        pytest.skip("the Topology Zoo's files are not beside this repository")
    network = read(file)
    settings = Settings(name=default_name(file.name))
    if name == "Nsfcnet":
        with pytest.raises(TopologyError, match="no node of the network has coordinates"):
            converted(network, settings, "x.yaml")
        settings = replace(settings, default_length_m=40_000)
        made = converted(network, settings, "x.yaml")
        assert (made.node_count, made.link_count) == (6, 7)
    else:
        made = converted(network, settings, "x.yaml")
        assert (made.node_count, made.link_count, made.relay_count, made.span_count) == FIGURES[name]
    assert "Internet Topology Zoo" in made.text
    topology = parse(made.text)
    assert (len(topology.nodes), len(topology.links)) == (made.node_count + made.relay_count, made.span_count)
    assert max(link.planned.length_km for link in topology.links.values()) <= 80


def test_the_order_of_hashing_does_not_show() -> None:
    """A network with many equal choices, its sites' keys shuffled into other hashes."""
    rng = random.Random(7)
    texts = set()
    for _ in range(5):
        keys = [f"{rng.getrandbits(64):x}" for _ in range(12)]
        sites = {key: Site(key, "same", Place(50, 5 + index / 10)) for index, key in enumerate(keys)}
        edges = tuple((keys[index], keys[(index + step) % 12]) for index in range(12) for step in (1, 2, 1))
        texts.add(converted(Network("x.gml", sites, edges), SETTINGS, "x.yaml").text)
    assert len(texts) == 1
