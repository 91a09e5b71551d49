"""A topology written out again means the same, and a difference says what does not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from qnetem.topology import Topology, TopologyError, difference, fields, from_dict, parse, render, ring
from qnetem.topology.profiles import PROFILES
from qnetem.topology.rendering import as_file, to_yaml
from qnetem.topology.units import Choice

Changed = Callable[..., str]
STEADY = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name not in ("cc", "qc", "broker", "supervisor", "zygote") and name[:3] not in ("cc-", "qc-")
)


@st.composite
def blocks(draw: st.DrawFn, table: tuple[fields.Field, ...]) -> dict[str, Any]:
    """Some fields of a block of a link, each within its range; lists are left to the profile."""
    block: dict[str, Any] = {}
    scalars = {each.key: each for each in table if not each.is_list}
    for field in map(scalars.__getitem__, draw(st.lists(st.sampled_from(sorted(scalars)), unique=True, max_size=6))):
        quantity = field.quantity
        if isinstance(quantity, Choice):
            block[field.key] = draw(st.sampled_from(sorted(quantity.words)))
            continue
        low, high = quantity.minimum, quantity.maximum
        value = draw(
            st.integers(int(low), int(high))
            if quantity.is_whole
            else st.floats(low, high, exclude_min=quantity.is_minimum_open, exclude_max=quantity.is_maximum_open)
        )
        block[field.key] = quantity.render(value)
    return block


@st.composite
def topologies(draw: st.DrawFn) -> dict[str, Any]:
    """Dicts in the file's shape; most are topologies."""
    names = draw(st.lists(LABELS, min_size=1, max_size=5, unique=True))
    pairs = [(one, two) for one in names for two in names if one < two]
    links = []
    for pair in draw(st.lists(st.sampled_from(pairs), unique=True, max_size=4)) if pairs else []:
        ends = draw(st.permutations(pair))
        link: dict[str, Any] = {"endpoints": list(ends), "transmitter": draw(st.sampled_from(ends))}
        link["quantum"] = {"length": "25km"} | draw(blocks(fields.QUANTUM))
        link["classical"] = draw(blocks(fields.CLASSICAL))
        link["protocol"] = draw(blocks(fields.PROTOCOL))
        links.append(link | draw(st.fixed_dictionaries({}, optional={"name": LABELS})))
    ports = st.lists(st.integers(1, 65_535), min_size=4, max_size=4, unique=True)
    keys = ("peer", "management", "https", "metrics")
    node = st.fixed_dictionaries(
        {},
        optional={
            "kind": st.sampled_from(["endpoint", "trusted-relay"]),
            "spawn": st.sampled_from(["zygote", "exec"]),
            "ports": ports.map(lambda numbers: dict(zip(keys, numbers, strict=True))),
        },
    )
    return {
        "apiVersion": "qnetem/v1",
        "name": draw(LABELS),
        "seed": draw(st.integers(0, 2**64 - 1)),
        "time": {"scale": draw(st.floats(1e-3, 1e3))},
        "keys": {"reproducible": draw(st.booleans())},
        "quantum_channel": {"placement": draw(st.sampled_from(["link", "group", "one"]))},
        "topology": {
            "defaults": {"profile": draw(st.sampled_from(sorted(PROFILES))), "node": {"spawn": "exec"}},
            "nodes": {name: draw(node) for name in names},
            "links": links,
            "saes": draw(st.dictionaries(LABELS, st.sampled_from(names).map(lambda name: {"node": name}), max_size=3)),
        },
    }


def accepted(content: dict[str, Any]) -> Topology:
    """Return the topology of a dict; gives the example up when it is none."""
    try:
        return from_dict(content)
    except TopologyError:
        assume(False)
        raise


@STEADY
@given(topologies())
def test_a_rendered_topology_means_the_same(content: dict[str, Any]) -> None:
    topology = accepted(content)
    text = render(topology)
    again = parse(text)
    assert again == topology
    assert again.digest == topology.digest
    assert render(again) == text
    assert difference(topology, again) == []
    # Any reader of YAML sees the words and numbers that we see.
    assert yaml.safe_load(text) == as_file(topology)


@STEADY
@given(topologies(), topologies(), st.booleans())
def test_there_is_a_difference_just_where_the_digests_differ(
    one: dict[str, Any], two: dict[str, Any], is_shuffled: bool
) -> None:
    if is_shuffled:
        nodes = dict(reversed(one["topology"]["nodes"].items()))
        two = one | {"topology": one["topology"] | {"nodes": nodes, "links": one["topology"]["links"][::-1]}}
    old, new = accepted(one), accepted(two)
    assert (difference(old, new) == []) == (old.digest == new.digest)
    assert not is_shuffled or old.digest == new.digest


def test_a_dict_written_as_yaml_is_read_as_the_dict() -> None:
    content = ring(12)
    assert parse(to_yaml(content)).digest == from_dict(content).digest


def test_the_digest_knows_neither_order_nor_spelling(changed: Changed) -> None:
    digest = parse(changed()).digest
    assert len(digest) == 64
    same = changed(
        ("    alice: {}\n    bob: {}\n", "    bob: {spawn: zygote}\n    alice:\n"),
        ("25km", "25000 m"),
        ("{profile", "{quantum: {p_z: 80%}, profile"),
    )
    assert parse(same, "other.yaml").digest == digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("25km", "25.000000000001km"),
        ("25km", "26km"),
        ("name: lab", "name: lob"),
        ("name: lab", "name: lab\nseed: 1"),
        ("name: lab", "name: lab\ntime: {scale: 2}"),
        ("name: lab", "name: lab\nkeys: {reproducible: true}"),
        ("name: lab", "name: lab\ntelemetry: {broker: none}"),
        ("name: lab", "name: lab\ncontrol_plane: {kind: reference}"),
        ("name: lab", "name: lab\nquantum_channel: {placement: one}"),
        ("name: lab", "name: lab\nclassical_channel: {placement: link}"),
        ("bob: {}", "bob: {kind: trusted-relay}"),
        ("bob: {}", "bob: {ports: {peer: 7000}}"),
        ("node: alice", "node: bob"),
        ("      quantum", "      transmitter: bob\n      quantum"),
        ("{length: 25km}", "{length: 25km}\n      classical: {jitter: 1ps}"),
        ("{length: 25km}", "{length: 25km}\n      protocol: {train_blocks: 191}"),
    ],
)
def test_the_digest_and_the_difference_see_every_change(changed: Changed, old: str, new: str) -> None:
    before, after = parse(changed()), parse(changed((old, new)))
    assert before.digest != after.digest
    assert len(difference(before, after)) == (2 if new == "26km" else 1)  # a longer fibre has a longer latency


def test_a_difference_reads_like_the_file(changed: Changed) -> None:
    before = parse(changed())
    after = parse(
        changed(
            ("name: lab", "name: lab\nseed: 1\nkeys: {reproducible: true}"),
            ("topology:", "control_plane: {kind: external, address: 'c:1'}\ntopology:"),
            ("    bob: {}\n", "    bob: {ports: {https: 8443}}\n    carol: {}\n"),
            ("{length: 25km}", "{length: 30km, intensities: [0.3, 0.05]}"),
            ("  saes:\n    app-1", "    - {endpoints: [bob, carol], quantum: {length: 1km}}\n  saes:\n    app-2"),
        )
    )
    assert difference(before, after) == [
        "seed 0 -> 1",
        "control_plane.kind none -> external",
        "control_plane.address none -> c:1",
        "keys.reproducible false -> true",
        "node bob: ports.https none -> 8443",
        "node carol: added",
        "link alice-bob: quantum.length 25km -> 30km",
        "link alice-bob: quantum.intensities [0.2, 0.05] -> [0.3, 0.05]",
        "link alice-bob: classical.delay 122.434701us -> 146.921641us",
        "link bob-carol: added",
        "sae app-1: removed",
        "sae app-2: added",
    ]
    assert "node carol: removed" in difference(after, before)


def test_the_path_is_no_part_of_what_a_topology_means(changed: Changed, tmp_path: Any) -> None:
    topology = parse(changed())
    assert replace(topology, path=tmp_path) == topology
