"""Whatever is in a file, the answer is a topology or a TopologyError, printable and on lines of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qnetem.topology import TopologyError, from_dict, load, parse, template

STEADY = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = template("lab")
WORDS = [*sorted({*TEXT.replace(":", " : ").replace("{", " { ").replace("}", " } ").split()}), "&a", "*a", "!!", "? "]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["25km", "25", "-1km", "alice", "bob", "decoy-bb84-1ghz-apd", "qnetem/v1", "0.5", "10%"]),
)
WORDS_AS_KEYS = """
apiVersion name seed time scale topology defaults profile nodes links saes endpoints transmitter quantum classical
protocol length p_z receiver_p_z intensities delay block_ramp alice bob app-1 node ports kind control_plane keys
quantum_channel placement telemetry broker [key]
"""
KEYS = st.sampled_from(WORDS_AS_KEYS.split())
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=6)
)


def answer(ask: Callable[[], Any]) -> str:
    """Return what a user is told: nothing when it is a topology."""
    try:
        ask()
    except TopologyError as error:
        return str(error)
    return ""


def check(told: str) -> None:
    """Every line names the source and can be printed."""
    for line in told.splitlines():
        assert line.startswith("net.yaml:")
        assert line.isprintable()


def graft(tree: Any, branch: Any, steps: list[int]) -> Any:
    """Return a tree in which one place, chosen by `steps`, holds another value."""
    if not steps or not isinstance(tree, dict | list) or not tree:
        return branch
    if isinstance(tree, list):
        at = steps[0] % len(tree)
        return [graft(each, branch, steps[1:]) if index == at else each for index, each in enumerate(tree)]
    at = steps[0] % len(tree)
    return {key: graft(each, branch, steps[1:]) if i == at else each for i, (key, each) in enumerate(tree.items())}


@STEADY
@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    told = answer(lambda: parse(text, "net.yaml"))
    assert told
    check(told)


@STEADY
@given(st.lists(st.sampled_from(WORDS) | st.sampled_from(["\n", "\n  ", "\n    ", "- ", ", "]), max_size=60))
def test_any_words_of_a_topology_are_answered(words: list[str]) -> None:
    told = answer(lambda: parse(" ".join(words), "net.yaml"))
    assert told
    check(told)


@STEADY
@given(st.integers(0, len(TEXT)), st.integers(0, 12), st.text(max_size=6))
def test_a_damaged_topology_is_answered(start: int, length: int, patch: str) -> None:
    check(answer(lambda: parse(TEXT[:start] + patch + TEXT[start + length :], "net.yaml")))


@STEADY
@given(st.binary(max_size=200))
def test_any_bytes_are_answered(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "net.yaml"
    file.write_bytes(content)
    with pytest.raises(TopologyError) as refused:
        load(file)
    assert all(line.startswith(f"{file}:") and line.isprintable() for line in str(refused.value).splitlines())


@STEADY
@given(TREES, st.lists(st.integers(0, 20), max_size=6))
def test_a_topology_with_a_strange_branch_is_answered(branch: Any, steps: list[int]) -> None:
    content = graft(yaml.safe_load(TEXT), branch, steps)
    told = answer(lambda: from_dict(content if isinstance(content, dict) else {"name": content}, "net.yaml"))
    check(told)
    # The same as text, where it has one.
    text = yaml.safe_dump(content, allow_unicode=True)
    check(answer(lambda: parse(text, "net.yaml")))
