"""Files of others: what GML and GraphML say, in whose words, and one line for each way to be broken."""

import re
from collections.abc import Callable
from pathlib import Path

import networkx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qnetem.topology import TopologyError
from qnetem.topology.importing import Place, read

GML = """\
graph [
  Creator "Somebody &amp; Sons"
  label "Lab"
  node [ id 0 label "Delft" Latitude 52.0 Longitude 4.36 Internal 1 ]
  node [ id 1 label "Gouda" Latitude "52.02" Longitude "4.71" ]
  node [ id 2 label "None" hyperedge 1 ]
  node [ id 9 label "The World" Internal 0 ]
  edge [ source 0 target 1 LinkLabel "10 Gbit/s" ]
  edge [ source 1 target 0 ]
  edge [ source 1 target 2 ]
  edge [ source 2 target 9 ]
]
"""
GRAPHML = """\
<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key attr.name="Latitude" attr.type="double" for="node" id="d1" />
  <key attr.name="Longitude" attr.type="double" for="node" id="d2" />
  <key attr.name="label" attr.type="string" for="node" id="d3" />
  <key attr.name="Internal" attr.type="int" for="node" id="d4" />
  <key attr.name="Network" attr.type="string" for="graph" id="d5" />
  <graph edgedefault="undirected">
    <data key="d5">Lab</data>
    <node id="0"><data key="d3">Z\u00fcrich</data><data key="d1">47.37</data><data key="d2">8.55</data></node>
    <node id="1"><data key="d3">Bern</data><data key="d4">0</data></node>
    <edge id="e0" source="0" target="1" /><edge id="e1" source="0" target="1" />
  </graph>
</graphml>
"""

Make = Callable[..., Path]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """Write a file and return its path: made("x.gml", text)."""

    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def test_gml_is_read_with_its_doubles_and_peculiarities(made: Make) -> None:
    network = read(made("lab.gml", GML))
    assert (network.title, network.creator) == ("Lab", "Somebody & Sons")
    assert network.edges == (("0", "1"), ("0", "1"), ("1", "2"), ("2", "9"))
    delft, gouda, junction, world = network.sites.values()
    assert (delft.label, delft.place, gouda.place) == ("Delft", Place(52.0, 4.36), Place(52.02, 4.71))
    assert (junction.label, junction.place, junction.is_junction) == ("", None, True)
    assert [site.key for site in network.sites.values() if site.is_outside] == [world.key] == ["9"]


def test_graphml_is_read_alike(made: Make) -> None:
    network = read(made("lab.GraphML", GRAPHML))
    assert network.title == "Lab"
    assert network.edges == (("0", "1"), ("0", "1"))
    zurich, bern = network.sites.values()
    assert (zurich.label, zurich.place, zurich.is_outside) == ("Zürich", Place(47.37, 8.55), False)
    assert (bern.label, bern.place, bern.is_outside) == ("Bern", None, True)


@pytest.mark.parametrize("names", [("lat", "lon"), ("latitude", "lng"), ("LAT", "Long")])
def test_coordinates_go_by_many_names(made: Make, names: tuple[str, str]) -> None:
    text = GML.replace("Latitude", names[0]).replace("Longitude", names[1])
    assert read(made("lab.gml", text)).sites["0"].place == Place(52.0, 4.36)


def test_labels_need_not_be_unique_and_may_be_numbers(made: Make) -> None:
    network = read(made("lab.gml", GML.replace('"Gouda"', '"Delft"').replace('"None"', "7")))
    assert [site.label for site in network.sites.values()] == ["Delft", "Delft", "7", "The World"]


def test_a_text_may_have_several_lines(made: Make) -> None:
    network = read(made("lab.gml", GML.replace('"Gouda"', '"Gouda\n\n  aan de IJssel"\n').replace("\n", "\r\n")))
    assert network.sites["1"].label == "Gouda aan de IJssel"


def test_what_networkx_writes_is_read(tmp_path: Path) -> None:
    graph = networkx.Graph(name="pair")
    graph.add_node("Köln", lat=50.94, lon=6.96)
    graph.add_node("Bonn", lat=50.73, lon=7.1)
    graph.add_edge("Köln", "Bonn")
    networkx.write_gml(graph, tmp_path / "pair.gml")
    networkx.write_graphml(graph, tmp_path / "pair.graphml")
    gml, graphml = read(tmp_path / "pair.gml"), read(tmp_path / "pair.graphml")
    assert [site.label for site in gml.sites.values()] == ["Köln", "Bonn"]
    assert [site.place for site in graphml.sites.values()] == [site.place for site in gml.sites.values()]
    # without a label of its own, a node's id is how a person would call it
    assert list(graphml.sites) == ["Köln", "Bonn"]


def refusal_of(path: Path) -> str | None:
    try:
        read(path)
    except TopologyError as error:
        return str(error)
    return None


def node(text: str) -> str:
    return f"graph [ node [ id 0 {text} ] node [ id 1 ] edge [ source 0 target 1 ] ]"


BROKEN: list[tuple[str, str | bytes, str]] = [
    ("empty.gml", "", "is empty"),
    ("blank.graphml", " \n\t", "is empty"),
    ("net.yaml", GML, "expected a file of networks, .gml or .graphml"),
    ("net", GML, "expected a file of networks, .gml or .graphml"),
    ("swapped.graphml", GML, "is not GraphML, whatever its name says"),
    ("swapped.gml", GRAPHML, "is not GML, whatever its name says"),
    ("binary.gml", b"\x89PNG\r\n\x1a\n\x00", "not a text file: byte 0 is not UTF-8"),
    ("zeros.gml", b"graph [\0]", "not a text file: byte 7 is 0"),
    ("wide.graphml", GRAPHML.encode("utf-16"), "not a text file: byte 0 is not UTF-8"),
    ("huge.gml", GML + "#" * (4 << 20), "longer than 4194304 bytes"),
    ("truncated.gml", GML[: GML.index("  edge")], "8:1: is broken: expected ']', found EOF"),
    ("half.gml", GML[: GML.index("Gouda")], "5:21: is broken: cannot read '\"'"),
    ("prose.gml", "dear sirs,\n", "1:6: is broken: expected an int, float, string or '[', found 'sirs'"),
    ("punctuation.gml", "graph [\n  ;;; ]", "2:3: is broken: cannot read ';;; ]'"),
    ("other.gml", "digraph 5\n", "input contains no graph"),
    ("two.gml", GML + GML, "input contains more than one graph"),
    ("scalar.gml", "graph 5\n", "is broken: AttributeError: 'int' object has no attribute 'pop'"),
    ("deep.gml", "graph [ " + "a [ " * 5000, "is nested too deep"),
    ("none.gml", "graph [ ]", "has no nodes"),
    ("alone.gml", "graph [ node [ id 0 ] ]", "has no edges"),
    ("anonymous.gml", "graph [ node [ label 0 ] ]", "node #0 has no 'id' attribute"),
    ("twice.gml", "graph [ node [ id 0 ] node [ id 0 ] ]", "node id 0 is duplicated"),
    ("dangling.gml", "graph [ node [ id 0 ] edge [ source 0 target 7 ] ]", "edge #0 has undefined target 7"),
    ("directed.gml", GML.replace("graph [", "graph [ directed 1"), "is a directed graph"),
    ("directed.graphml", GRAPHML.replace("undirected", "directed"), "is a directed graph"),
    ("nan.gml", node("Latitude NAN Longitude 4.0"), "node 0: latitude: nan is out of range (-90 to 90 degrees)"),
    ("inf.gml", node("Latitude +INF Longitude 4.0"), "node 0: latitude: inf is out of range (-90 to 90 degrees)"),
    ("pole.gml", node("Latitude 90.1 Longitude 4.0"), "node 0: latitude: 90.1 is out of range (-90 to 90 degrees)"),
    ("far.gml", node("Latitude 52 Longitude 181"), "node 0: longitude: 181 is out of range (-180 to 180 degrees)"),
    ("comma.gml", node('Latitude "52,1" Longitude 4'), "node 0: latitude: expected degrees, got '52,1'"),
    ("half.gml", node("Latitude 52"), "node 0: has only one of latitude and longitude"),
    ("list.gml", node("Latitude 52 Latitude 53 Longitude 4"), "node 0: latitude: expected degrees, got a list"),
    ("nan.graphml", GRAPHML.replace("47.37", "NaN"), "node 0: latitude: nan is out of range (-90 to 90 degrees)"),
    ("cut.graphml", GRAPHML[: GRAPHML.index("<edge")], "12:5: is broken: no element found"),
    ("tag.graphml", GRAPHML.replace("</graph>", "</graf>"), "13:5: is broken: mismatched tag"),
    ("float.graphml", GRAPHML.replace("47.37", "north"), "could not convert string to float: 'north'"),
    ("key.graphml", GRAPHML.replace('key="d4"', 'key="d7"'), "Bad GraphML data: no key d7"),
    ("html.graphml", "<html></html>", "file not successfully read as graphml"),
    ("graphs.graphml", GRAPHML.replace("</graph>", "</graph><graph/>"), "has more than one graph, beside or inside"),
    ("bomb.graphml", '<!DOCTYPE x [<!ENTITY a "b">]>' + GRAPHML, "defines entities of its own"),
]


@pytest.mark.parametrize(("name", "content", "why"), BROKEN, ids=[f"{name}-{why[:20]}" for name, _, why in BROKEN])
def test_a_broken_file_is_refused_in_one_line(made: Make, name: str, content: str | bytes, why: str) -> None:
    path = made(name, content)
    with pytest.raises(TopologyError) as refused:
        read(path)
    text = str(refused.value)
    assert re.match(re.escape(f"{path}:") + r" ?", text)
    assert why in text
    assert "\n" not in text
    assert text.isprintable()
    assert len(text) < len(str(path)) + 300


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.gml").mkdir()
    for name, why in (
        ("absent.gml", "no such file"),
        ("folder.gml", "is not a regular file"),
        ("a\0.gml", "cannot be"),
    ):
        with pytest.raises(TopologyError, match=why):
            read(tmp_path / name)


@pytest.mark.parametrize(("name", "text"), [("cut.gml", GML), ("cut.graphml", GRAPHML)])
def test_a_file_cut_anywhere_is_read_or_refused_in_one_line(made: Make, name: str, text: str) -> None:
    for end in range(0, len(text), 3):
        path = made(name, text[:end])
        refused = refusal_of(path)
        # what stands behind the last bracket of all is white space
        assert refused is not None or text[end:].isspace()
        assert refused is None or (refused.startswith(f"{path}:") and refused.isprintable())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, len(GML) - 1), st.text(alphabet='[]"#&;x \n0.-\u00e9', max_size=4), st.integers(0, 5))
def test_a_file_changed_anywhere_is_read_or_refused_in_one_line(tmp_path: Path, at: int, new: str, gone: int) -> None:
    path = tmp_path / "x.gml"
    path.write_text(GML[:at] + new + GML[at + gone :], encoding="utf-8")
    refused = refusal_of(path)
    assert refused is None or (refused.startswith(f"{path}:") and refused.isprintable())
