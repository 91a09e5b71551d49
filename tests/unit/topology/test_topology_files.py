"""Topology files, good and bad: the exact lines that a user reads, places included."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from qnetem.topology import TopologyError, from_dict, parse

Changed = Callable[..., str]


def cases() -> Iterator[tuple[str, str, list[str]]]:
    """Yield the cases of bad-topologies.txt: what is replaced by what, and the lines that answer."""
    text = (Path(__file__).parent / "bad-topologies.txt").read_text(encoding="utf-8")
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line and line[0] != "#"]
        if lines:
            old, new = (line[1:].replace(r"\n", "\n").replace(r"\a", "\a") for line in lines[:2])
            yield old, new, [line[1:] for line in lines[2:]]


def complaint(text: str) -> str:
    """Return the text of the refusal of a file called `net.yaml`."""
    with pytest.raises(TopologyError) as refused:
        parse(text, "net.yaml")
    return str(refused.value)


@pytest.mark.parametrize(("old", "new", "answer"), list(cases()))
def test_a_wrong_file_is_refused_at_the_place_that_is_wrong(
    changed: Changed, old: str, new: str, answer: list[str]
) -> None:
    assert complaint(changed((old, new))).splitlines() == [f"net.yaml:{line}" for line in answer]


def test_all_problems_of_a_file_come_at_once_in_its_order(changed: Changed) -> None:
    text = changed(
        ("name: lab", "name: lab\nsede: 1"),
        ("alice: {}", "alice: {kind: x}"),
        ("[alice, bob]", "[alice, bop]"),
        ("25km", "25"),
        ("  saes:", "    - {endpoints: [alice, bob], quantum: {length: 1km, dark_counts: 2MHz, clock: 1MHz}}\n  saes:"),
        ("node: alice", "node: alicf"),
    )
    assert complaint(text).splitlines() == [
        "net.yaml:3:1: unknown key 'sede' (did you mean 'seed'?)",
        "net.yaml:7:19: kind: expected 'endpoint' or 'trusted-relay', got 'x'",
        "net.yaml:10:26: endpoints[1]: there is no node 'bop' (did you mean 'bob'?)",
        "net.yaml:11:25: length: 25 has no unit (expected m or km, such as 25km)",
        "net.yaml:12:69: dark_counts: 2MHz is more than one in each period of the clock (1MHz)",
        "net.yaml:14:19: node: there is no node 'alicf' (did you mean 'alice'?)",
    ]


def test_a_problem_in_an_aliased_block_is_told_once_where_it_stands(changed: Changed) -> None:
    text = changed(
        ("{length: 25km}", "&fibre {length: 25}"),
        ("  saes:", "    - {endpoints: [alice, bob], name: spare, quantum: *fibre}\n  saes:"),
    )
    assert complaint(text) == "net.yaml:10:32: length: 25 has no unit (expected m or km, such as 25km)"


def test_an_alias_repeats_a_block(changed: Changed) -> None:
    text = changed(
        ("{length: 25km}", "&fibre {length: 25km}"),
        ("  saes:", "    - {endpoints: [alice, bob], name: spare, quantum: *fibre}\n  saes:"),
    )
    links = parse(text).links
    assert links["spare"].planned == links["alice-bob"].planned


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "1:1: the file is empty"),
        ("# nothing\n", "1:1: the file is empty"),
        ("just words", "1:1: expected a mapping, got 'just words'"),
        ("- a\n- b\n", "1:1: expected a mapping, got a list"),
        ("a: &a [*a]", "1:8: alias 'a' names nothing that is complete before it"),
        ("a: " + "[" * 30, "1:24: nested deeper than 20 levels"),
    ],
)
def test_what_is_no_topology_at_all_is_refused(text: str, answer: str) -> None:
    assert complaint(text).splitlines()[0] == f"net.yaml:{answer}"


def test_a_file_full_of_mistakes_is_told_a_hundred_of_them() -> None:
    with pytest.raises(TopologyError) as refused:
        parse("\n".join(f"k{index}: 1" for index in range(300)), "net.yaml")
    lines = str(refused.value).splitlines()
    assert len(refused.value.problems) == 303
    assert (len(lines), lines[-1]) == (101, "net.yaml: and 203 more")


def test_null_alone_misses_everything() -> None:
    assert complaint("~").splitlines() == [
        "net.yaml:1:1: 'apiVersion' is missing",
        "net.yaml:1:1: 'name' is missing",
        "net.yaml:1:1: 'topology' is missing",
    ]


def test_broken_yaml_is_refused_at_its_place(changed: Changed) -> None:
    assert complaint(changed(("{length: 25km}", "{length: 25km"))).startswith("net.yaml:11:7: not YAML: ")


def test_a_bomb_of_aliases_is_refused_before_it_goes_off() -> None:
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert complaint("\n".join(levels)) == "net.yaml:5:5: holds more than 100000 values"


def test_a_text_too_long_is_refused_unread() -> None:
    assert complaint("#" * 2**20 + "\n") == "net.yaml: longer than 1048576 characters"


@pytest.mark.parametrize(
    ("scalar", "meaning"),
    [("no", "no"), ("on", "on"), ("1e5", "1e5"), ("010", "010"), ("0x1f", "0x1f"), ("12", "12"), ("null", "null")],
)
def test_words_that_older_yaml_reads_as_numbers_are_names(changed: Changed, scalar: str, meaning: str) -> None:
    quoted = f'"{scalar}"' if scalar in ("1e5", "null") else scalar
    topology = parse(changed(("bob: {}", f"{scalar}: {{}}"), ("alice, bob", f"alice, {quoted}")))
    assert list(topology.nodes) == ["alice", meaning]
    assert topology.links[f"alice-{meaning}"].receiver == meaning


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_both_readers_of_pyyaml_give_the_same_places(
    changed: Changed, monkeypatch: pytest.MonkeyPatch, loader: str
) -> None:
    monkeypatch.setattr(yaml, "CSafeLoader", getattr(yaml, loader))
    for old, new, answer in cases():
        assert complaint(changed((old, new))).splitlines() == [f"net.yaml:{line}" for line in answer]


def test_a_dict_is_refused_by_path() -> None:
    content = {
        "apiVersion": "qnetem/v1",
        "name": "lab",
        "topology": {
            "nodes": {"a": {}, "b": {"knid": "endpoint"}},
            "links": [{"endpoints": ("a", "c"), "quantum": {"length": 25}}],
        },
    }
    with pytest.raises(TopologyError) as refused:
        from_dict(content)
    assert str(refused.value).splitlines() == [
        "<dict>: topology.nodes.b: unknown key 'knid' (did you mean 'kind'?)",
        "<dict>: topology.links[0].quantum: length: 25 has no unit (expected m or km, such as 25km)",
        "<dict>: topology.links[0]: endpoints[1]: there is no node 'c' (nodes: a, b)",
    ]


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ({1: 2}, "<dict>: a key must be text, got 1"),
        ({"name": object()}, "<dict>: name: expected a name, got a object"),
        ({"name": {"a"}}, "<dict>: name: expected a name, got a set"),
        ({"name": 10**70}, "<dict>: name: expected a name, got 1" + "0" * 70),
    ],
)
def test_a_dict_of_strange_things_is_refused(content: dict[str, object], answer: str) -> None:
    with pytest.raises(TopologyError) as refused:
        from_dict(content)
    assert answer in str(refused.value).splitlines()


def test_a_dict_that_contains_itself_is_refused() -> None:
    content: dict[str, object] = {"name": "lab"}
    content["topology"] = content
    with pytest.raises(TopologyError, match="nested deeper than 20 levels"):
        from_dict(content)
