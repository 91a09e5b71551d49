"""The files of storage keys: made once, apart from the stores, replaced when all is sealed under the next."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qnetem.runtime.errors import StartError, StorageError
from qnetem.runtime.storage_key_file import make_storage_key
from qnetem.testbed.known_secrets import known_secrets
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import planned
from qnetem.testbed.storage_keys import (
    begin_rotation,
    finish_rotation,
    prepare_storage_keys,
    storage_key_path,
)
from qnetem.topology import Topology


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path / ".qnetem" / "ring")
    for folder in found.folders:
        folder.mkdir(mode=0o700, exist_ok=True)
    return found


def test_each_node_gets_one_and_keeps_it(layout: Layout, topology_of: Callable[..., Topology]) -> None:
    topology = topology_of(2)
    processes, _ = planned(topology)
    prepare_storage_keys(topology, layout, processes)
    texts = {node: layout.storage_key(node).read_text() for node in ("n0", "n1")}
    assert {path.name for path in layout.storage_keys.iterdir()} == {"n0", "n1"}
    assert len(set(texts.values())) == 2
    assert all(re.fullmatch(r"[0-9a-f]{64}\n", text) for text in texts.values())
    assert {layout.storage_key(node).stat().st_mode & 0o777 for node in texts} == {0o600}
    assert all(layout.state(node) not in storage_key_path(topology, layout, node).parents for node in ("n0", "n1"))
    prepare_storage_keys(topology, layout, processes)
    assert texts == {node: layout.storage_key(node).read_text() for node in texts}
    found, _ = known_secrets(layout)
    assert {text.strip().encode() for text in texts.values()} <= set(found), "a report of a fault would tell them"


def test_a_key_that_is_gone_is_not_made_anew_for_a_store_that_needs_it(
    layout: Layout, topology_of: Callable[..., Topology]
) -> None:
    topology = topology_of(2)
    layout.state("n0").mkdir(parents=True)
    (layout.state("n0") / "keys.sqlite").touch()
    prepare_storage_keys(topology, layout, planned(topology)[0])
    assert [path.parent.name for path in layout.storage_keys.glob("*/*")] == ["n1"]


def test_a_key_and_its_successor_are_adopted_from_where_they_lay_before(
    layout: Layout, topology_of: Callable[..., Topology]
) -> None:
    topology = topology_of(2)
    processes, _ = planned(topology)
    for end in ("", ".next"):
        (layout.storage_keys / f"n0.key{end}").write_text(f"old{end}")
    prepare_storage_keys(topology, layout, processes)
    assert [layout.storage_key("n0").with_name(name).read_text() for name in ("key", "key.next")] == ["old", "old.next"]
    assert {path.name for path in layout.storage_keys.iterdir()} == {"n0", "n1"}


@pytest.mark.parametrize(
    ("text", "mode", "refusal"),
    [
        (None, 0o600, "No such file"),
        ("0" * 63, 0o600, "does not hold 64 hexadecimal digits"),
        ("0" * 64, 0o604, "mode 0604 lets others read it"),
    ],
)
def test_the_operators_file_is_looked_at(
    layout: Layout,
    tmp_path: Path,
    topology_of: Callable[..., Topology],
    text: str | None,
    mode: int,
    refusal: str,
) -> None:
    path = tmp_path / "key"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    topology = replace(topology_of(2, keys={"storage_key_file": "key"}), path=tmp_path / "topology.yaml")
    with pytest.raises(StartError, match=rf"keys\.storage_key_file: {path}: {refusal}"):
        prepare_storage_keys(topology, layout, planned(topology)[0])
    path.write_text("0" * 64)
    path.chmod(0o400)
    prepare_storage_keys(topology, layout, planned(topology)[0])
    assert storage_key_path(topology, layout, "n0") == storage_key_path(topology, layout, "n1") == path
    assert not list(layout.storage_keys.iterdir())


def test_a_rotation_that_was_interrupted_goes_on_with_the_same_successor(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert make_storage_key(path)
    old = path.read_text()
    assert begin_rotation(path)
    successor = (tmp_path / "key.next").read_text()
    assert not begin_rotation(path)
    assert (path.read_text(), (tmp_path / "key.next").read_text()) == (old, successor)
    finish_rotation(path)
    assert path.read_text() == successor != old
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]
    with pytest.raises(StorageError, match=r"key.*No such file"):
        finish_rotation(path)
    with pytest.raises(StorageError, match="No such file"):
        make_storage_key(tmp_path / "none" / "key")
