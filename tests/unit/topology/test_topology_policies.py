"""Policies of SAE pairs in a topology: read with their units, written out again, told apart."""

import re
from pathlib import Path
from typing import Any

from qnetem.topology import difference, from_dict, parse, render
from qnetem.topology.model import KeyPolicy, KeyService
from qnetem.topology.policies import POLICY

FILE: dict[str, Any] = {
    "apiVersion": "qnetem/v1",
    "name": "lab",
    "topology": {
        "nodes": {"alice": {}, "relay": {"kind": "trusted-relay"}},
        "saes": {"app-1": {"node": "alice"}, "app-2": {"node": "relay"}, "app-3": {"node": "relay"}},
        "policies": [
            {
                "saes": ["app-2", "app-1"],
                "min_rate": "1.5kbit/s",
                "max_rate": "2Mbit/s",
                "burst": "4kbit",
                "priority": 7,
                "key_lifetime": "10min",
                "allowed_relays": ["relay"],
                "mode": "hybrid",
                "when_dry": "pqc",
            },
            {"allowed_relays": []},
        ],
    },
    "keys": {"sae_id_from": "uri", "allow_self_association": True},
}


def test_a_policy_is_read_with_its_units() -> None:
    topology = from_dict(FILE)
    assert topology.policies == (
        KeyPolicy(
            saes=("app-2", "app-1"),
            min_secret_hz=1500.0,
            max_secret_hz=2e6,
            burst_bits=4000,
            priority=7,
            key_lifetime_s=600.0,
            allowed_relays=("relay",),
            mode="hybrid",
            when_dry="pqc",
        ),
        KeyPolicy(allowed_relays=()),
    )
    assert topology.key_service == KeyService("uri", True)
    assert from_dict(FILE | {"keys": {}}).key_service == KeyService("cn", False)


def test_policies_are_written_out_again() -> None:
    topology = from_dict(FILE)
    again = parse(render(topology))
    assert again.policies == topology.policies
    assert again.digest == topology.digest


def test_a_difference_names_the_pair() -> None:
    network = FILE["topology"]
    pair = network["policies"][0]
    changed = [{**pair, "saes": ["app-1", "app-2"], "max_rate": "3Mbit/s"}, {"saes": ["app-1", "app-3"]}]
    after = from_dict(FILE | {"topology": network | {"policies": changed}})
    before = from_dict(FILE)
    assert difference(before, after) == [
        "policy app-1/app-2: saes [app-2, app-1] -> [app-1, app-2]",
        "policy app-1/app-2: max_rate 2Mbit/s -> 3Mbit/s",
        "policy default: removed",
        "policy app-1/app-3: added",
    ]
    assert before.digest != after.digest


def test_the_page_has_the_ranges_that_hold() -> None:
    page = (Path(__file__).parents[3] / "docs" / "topology.md").read_text(encoding="utf-8")
    section = page.split("## Policies\n", 1)[1].split("\n## ", 1)[0]
    rows = {
        cells[1]: cells[2:] for cells in (re.split(r" *\| *", line) for line in section.splitlines()) if len(cells) > 3
    }
    for field in POLICY:
        units, limits, *_ = rows[f"`{field.key}`"]
        assert units.split(", ") == list(field.quantity.spellings)
        assert limits == field.quantity.range_text
