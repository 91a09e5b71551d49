"""Paths as an operator writes them, and as a table shows them."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from qnetem.cli.paths import HEADER, rows
from qnetem.runtime.errors import BadInputError, NotFoundError
from qnetem.testbed.api.connection import Connection
from qnetem.testbed.paths import NodePaths, PathInForce, Paths, Suspect, path_of, paths_in_file
from qnetem.v1 import process_pb2


@pytest.mark.parametrize("written", ["a/b/c", ["a", "b", "c"], ("a", "b", "c"), {"nodes": ["a", "b", "c"], "rank": 1}])
def test_a_path_is_written_in_any_of_these_ways(written: object) -> None:
    assert path_of(written) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("a", "2 to 16 different nodes"),
        ("a/b/a", "2 to 16 different nodes"),
        ("/".join(f"n{i}" for i in range(17)), "2 to 16 different nodes"),
        (7, "neither a list of nodes nor"),
        (["a", 7], "neither a list of nodes nor"),
        ({"target": "b"}, "neither a list of nodes nor"),
    ],
)
def test_what_is_no_path_is_refused_in_one_line(written: object, why: str) -> None:
    with pytest.raises(BadInputError, match=why) as refused:
        path_of(written)
    assert "\n" not in str(refused.value)


def test_a_file_holds_paths_or_what_list_has_printed(tmp_path: Path) -> None:
    file = tmp_path / "paths.yaml"
    file.write_text("paths: [a/b/c, [c, b, a]]\n")
    assert paths_in_file(file) == [("a", "b", "c"), ("c", "b", "a")]
    file.write_text('[{"node": "a", "paths": [{"nodes": ["a", "b", "c"]}]}, {"node": "b", "paths": []}]')
    assert paths_in_file(file) == [("a", "b", "c")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("paths: [a/b", ":1?: is neither YAML nor JSON|: is neither YAML nor JSON"),
        ("ways: []", "has no list `paths`"),
        ("", "has no list `paths`"),
        ("paths: []", "has no path"),
        ("[]", "has no path"),
        ("paths: [a]", "2 to 16 different nodes"),
    ],
)
def test_a_file_without_paths_is_refused_by_name(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "paths.yaml"
    file.write_text(text)
    with pytest.raises(BadInputError, match=why) as refused:
        paths_in_file(file)
    assert str(refused.value).startswith(str(file))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"none\.yaml: No such file"):
        paths_in_file(tmp_path / "none.yaml")


def test_a_hop_that_is_gone_around_stands_with_its_paths_or_by_itself() -> None:
    paths = (
        PathInForce("c", 1, ("a", "b", "c"), 2048, 0.0012),
        PathInForce("c", 2, ("a", "b", "d", "c"), 0, 0.0),
    )
    suspects = (Suspect("a", "b", 27.0), Suspect("a", "x", 1.25))
    table = rows([NodePaths("a", "operator", 3, paths, suspects), NodePaths("b"), NodePaths("c", unknown="no answer")])
    assert table == [
        ("a", "c", "1", "a/b/c", "2.05 kbit", "1.2 ms", "operator", "3", "a/b 27 s"),
        ("a", "c", "2", "a/b/d/c", "-", "-", "operator", "3", "a/b 27 s"),
        ("a", "-", "-", "-", "-", "-", "operator", "3", "a/x 1.2 s"),
        ("b", "-", "-", "-", "-", "-", "-", "-", "-"),
        ("c", "-", "-", "no answer", "-", "-", "-", "-", "-"),
    ]
    assert {len(row) for row in table} == {len(HEADER)}


class Network:
    """What of a connection `Paths.install` looks at before it asks anybody: a line a, b, c, d; c is no relay."""

    def __init__(self, *, has_controller: bool = False) -> None:
        links = {way: SimpleNamespace(endpoints=tuple(way)) for way in ("ab", "bc", "cd")}
        self.plan = SimpleNamespace(links=links)
        self._has_controller = has_controller

    def node(self, name: str) -> None:
        if name not in "abcd":
            raise NotFoundError(name)

    def config(self, name: str) -> process_pb2.NodeConfig:
        config = process_pb2.NodeConfig(is_relay=name == "b")
        if self._has_controller:
            config.controller.address = "controller:1"
        return config


@pytest.mark.parametrize(
    ("ways", "why", "has_controller"),
    [
        (["a/b/c", "b/c/d"], "path b/c/d: c is no trusted relay", False),
        (["a/c"], "path a/c: no link joins a and c", False),
        (["a/b/c"] * 9, "path a/b/c: more than 8 between a and c", False),
        (["a/b/c"], "take their paths from their controller", True),
    ],
)
async def test_ways_that_cannot_be_are_refused_before_a_node_is_asked(
    ways: list[str], why: str, has_controller: bool
) -> None:
    with pytest.raises(BadInputError, match=why):
        await Paths(cast(Connection, Network(has_controller=has_controller))).install(ways)
