"""What the path switch decides, without a network."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

LINKS = {"a-n": ("a", "n"), "n-b": ("n", "b"), "a-s": ("a", "s"), "s-t": ("s", "t"), "t-b": ("b", "t")}


@pytest.fixture
def path_switch() -> Any:
    """The module of the program."""
    path = Path(__file__).with_name("path_switch.py")
    spec = importlib.util.spec_from_file_location("path_switch", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def switch(path_switch: Any) -> Any:
    """From a to b, all links usable."""
    switch = path_switch.PathSwitch(LINKS, "a", "b")
    for link_id, ends in LINKS.items():
        for node in ends:
            switch.heard(node, link_id, is_usable=True)
    return switch


def test_every_path_without_a_loop_is_found(path_switch: Any) -> None:
    assert sorted(path_switch.paths(LINKS, "a", "b")) == [["a", "n", "b"], ["a", "s", "t", "b"]]
    assert list(path_switch.paths(LINKS, "a", "nowhere")) == []


def test_the_first_choice_waits_for_every_node(path_switch: Any) -> None:
    switch = path_switch.PathSwitch(LINKS, "a", "b")
    for node, link_id in (("a", "a-s"), ("s", "a-s"), ("s", "s-t"), ("t", "s-t"), ("t", "t-b"), ("b", "t-b")):
        switch.heard(node, link_id, is_usable=True)
    assert switch.path is None, "the longer path answered first"
    for node, link_id in (("a", "a-n"), ("n", "a-n"), ("n", "n-b"), ("b", "n-b")):
        switch.heard(node, link_id, is_usable=True)
    assert switch.path == ["a", "n", "b"]


def test_a_silent_node_does_not_hold_the_first_choice_up(path_switch: Any) -> None:
    switch = path_switch.PathSwitch(LINKS, "a", "b")
    switch.lost("n")
    for link_id, ends in LINKS.items():
        for node in set(ends) - {"n"}:
            switch.heard(node, link_id, is_usable=True)
    assert switch.path == ["a", "s", "t", "b"]


def test_a_path_counts_when_both_ends_of_each_link_say_so(path_switch: Any) -> None:
    switch = path_switch.PathSwitch(LINKS, "a", "b")
    for node in ("s", "t"):
        switch.lost(node)
    switch.heard("a", "a-s", is_usable=True)
    switch.heard("b", "t-b", is_usable=True)
    for node, link_id in (("a", "a-n"), ("n", "a-n"), ("n", "n-b")):
        switch.heard(node, link_id, is_usable=True)
        assert switch.path is None
    switch.heard("b", "n-b", is_usable=True)
    assert switch.path == ["a", "n", "b"]


def test_it_leaves_a_path_that_breaks_and_stays_on_one_that_works(switch: Any) -> None:
    assert switch.path == ["a", "n", "b"]
    switch.heard("n", "n-b", is_usable=False)
    assert switch.path == ["a", "s", "t", "b"]
    switch.heard("n", "n-b", is_usable=True)
    assert switch.path == ["a", "s", "t", "b"]
    switch.lost("t")
    assert switch.path == ["a", "n", "b"]


def test_there_is_no_path_when_all_are_broken(switch: Any) -> None:
    switch.lost("a")
    assert switch.path is None
