"""Drawings of networks: the same every time, true to the topology, and whatever a name holds stays text."""

import html
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnetem.cli.graphs import Graph, GraphLink, GraphNode, dot, graph_of, mermaid, text_lines
from qnetem.topology import from_dict, load

ROOT = Path(__file__).parents[3]


def plain_text(graph: Graph) -> str:
    return "\n".join("".join(text for text, _ in line) for line in text_lines(graph))


def values(**states: str) -> dict[str, object]:
    """Return what a testbed of three nodes in a line tells, all well but for `states`."""
    names = ("a", "relay", "end", "qc-a-relay", "qc-relay-end", "cc")
    processes = [{"name": name, "state": states.get(name.replace("-", "_"), "HEALTHY")} for name in names]
    links = [
        {
            "link_id": link_id,
            "state": states.get(link_id.replace("-", "_"), "OPERATING"),
            "reason": states.get("reason", "") if link_id == "a-relay" else "",
            "quantum_channel": f"qc-{link_id}",
            "classical_channel": "cc",
        }
        for link_id in ("a-relay", "relay-end")
    ]
    return {"processes": processes, "links": links}


LINE = from_dict(
    {
        "apiVersion": "qnetem/v1",
        "name": "line",
        "topology": {
            "defaults": {"profile": "decoy-bb84-1ghz-apd"},
            "nodes": {"a": {}, "relay": {"kind": "trusted-relay"}, "end": {}},
            "links": [
                {"endpoints": ["a", "relay"], "quantum": {"length": "25km"}},
                {"endpoints": ["relay", "end"], "transmitter": "end", "quantum": {"length": "7.5km"}},
            ],
            "saes": {"app-1": {"node": "a"}, "app-2": {"node": "end"}, "app-3": {"node": "end"}},
        },
    }
)


def test_mermaid_of_a_topology() -> None:
    assert mermaid(graph_of(LINE)).splitlines() == [
        "flowchart LR",
        '  n_a["a<br/>app-1"]',
        '  n_relay(["relay"])',
        # a node that is called `end` would end the diagram
        '  n_end["end<br/>app-2, app-3"]',
        '  n_a -->|"a-relay<br/>25km"| n_relay',
        '  n_end -->|"relay-end<br/>7.5km"| n_relay',
    ]


def test_dot_of_a_topology() -> None:
    assert dot(graph_of(LINE)).splitlines() == [
        'digraph "line" {',
        "  rankdir=LR;",
        "  node [shape=box];",
        '  "a" [label="a\\napp-1"];',
        '  "relay" [label="relay", style=rounded];',
        '  "end" [label="end\\napp-2, app-3"];',
        '  "a" -> "relay" [label="a-relay\\n25km"];',
        '  "end" -> "relay" [label="relay-end\\n7.5km"];',
        "}",
    ]


def test_text_of_a_topology() -> None:
    assert plain_text(graph_of(LINE)).splitlines() == [
        "line: 3 nodes, 2 links",
        "a  app-1",
        "  -> relay  25km   a-relay",
        "relay (trusted relay)",
        "  <- a      25km   a-relay",
        "  <- end    7.5km  relay-end",
        "end  app-2, app-3",
        "  -> relay  7.5km  relay-end",
    ]


def test_states_of_a_running_testbed_are_told_and_coloured() -> None:
    graph = graph_of(LINE, values(a_relay="DOWN", reason="no-light", qc_a_relay="RESTARTING", end="FAILED"))
    drawn = mermaid(graph)
    assert '|"a-relay<br/>25km<br/>DOWN: no-light<br/>qc-a-relay RESTARTING"|' in drawn
    assert re.findall(r"linkStyle (\d) stroke:(#\w+)", drawn) == [("0", "#c62828"), ("1", "#2e7d32")]
    assert re.findall(r"style (n_\w+) stroke:(#\w+)", drawn)[-1] == ("n_end", "#c62828")
    assert '"end" [label="end\\napp-2, app-3\\nFAILED", color="#c62828"];' in dot(graph)
    assert "  -> relay  25km   a-relay  DOWN  no-light; qc-a-relay RESTARTING" in plain_text(graph).splitlines()
    assert ("DOWN", "red") in text_lines(graph)[2]


def test_a_link_that_the_running_testbed_does_not_have_is_drawn_without_a_state() -> None:
    told = values()
    told["links"] = []
    assert {link.state for link in graph_of(LINE, told).links} == {""}


@pytest.mark.parametrize("file", ["metro.yaml", "pair.yaml", "surfnet.yaml"])
def test_a_drawing_is_stable_and_complete(file: str) -> None:
    topology = load(ROOT / "topologies" / file)
    for drawing in (mermaid, dot, plain_text):
        assert drawing(graph_of(topology)) == drawing(graph_of(load(ROOT / "topologies" / file)))
    assert mermaid(graph_of(topology)).count("-->") == len(topology.links)
    assert dot(graph_of(topology)).count(" -> ") == len(topology.links)
    # each link at both of its ends
    assert len(text_lines(graph_of(topology))) == 1 + len(topology.nodes) + 2 * len(topology.links)


ANY = st.text(min_size=1, max_size=12)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = draw(st.lists(ANY, min_size=2, max_size=4, unique=True))
    nodes = tuple(GraphNode(name, draw(st.sampled_from(("endpoint", "trusted-relay")))) for name in names)
    return Graph(draw(ANY), nodes, (GraphLink(draw(ANY), names[0], names[1], "1km", "DOWN", draw(ANY)),))


def shown(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)


@given(graphs())
def test_any_name_stays_text_in_dot(graph: Graph) -> None:
    body = dot(graph)
    # the language's own rule: a quoted string ends at the first quote that no backslash stands before
    strings = re.findall(r'"((?:\\.|[^"\\])*)"', body)
    outside = re.sub(r'"(?:\\.|[^"\\])*"', "S", body)
    assert set(re.sub(r"digraph|rankdir=LR|node|shape=box|label|style=rounded|color|->", "", outside)) <= set(
        " S{};[]=,\n"
    )
    read = [re.sub(r"\\(.)", lambda match: match[1] if match[1] in '\\"' else match[0], one) for one in strings]
    assert read[0] == shown(graph.name)
    assert {shown(node.name) for node in graph.nodes} <= set(read)


@given(graphs())
def test_any_name_stays_text_in_mermaid(graph: Graph) -> None:
    lines = mermaid(graph).removesuffix("\n").split("\n")
    link = graph.links[0]
    assert len(lines) == 1 + len(graph.nodes) + 2
    ids = []
    for line, node in zip(lines[1:], graph.nodes, strict=False):
        match = re.fullmatch(r'  (n_\w+)(?:\["([^"<>|`&%]*)"\]|\(\["([^"<>|`&%]*)"\]\))', line, re.ASCII)
        assert match is not None, line
        ids.append(match[1])
        text = match[2] if match[2] is not None else match[3]
        assert html.unescape(re.sub(r"#(\d+);", r"&#\1;", re.sub(r"#([a-z]+);", r"&\1;", text))) == shown(node.name)
    assert len(set(ids)) == len(graph.nodes)
    arrow = re.fullmatch(r'  (n_\w+) -->\|"([^"|]*)"\| (n_\w+)', lines[1 + len(graph.nodes)], re.ASCII)
    assert arrow is not None
    assert [arrow[1], arrow[3]] == ids[:2]
    assert arrow[2].count("<br/>") == 2
    assert link.length in arrow[2]


@given(graphs())
def test_any_name_stays_on_its_line_in_text(graph: Graph) -> None:
    assert plain_text(graph).splitlines() == plain_text(graph).split("\n")
