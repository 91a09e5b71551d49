"""Links of kind external-kme: read, written out again, without a quantum channel."""

import re
from pathlib import Path
from typing import Any

from qnetem.testbed.plan import planned
from qnetem.topology import difference, from_dict, parse, render
from qnetem.topology.external import EXTERNAL
from qnetem.topology.model import ExternalKme

KME = {"address": "kme.example.org:8443", "ca": "ca.pem", "certificate": "sae.pem", "key": "sae.key"}
LINK: dict[str, Any] = {
    "endpoints": ["alice", "bob"],
    "kind": "external-kme",
    "transmitter": "bob",
    "external": {"key_size": "512bit", "kmes": {"alice": {**KME, "sae": "north"}, "bob": {**KME, "sae": "south"}}},
}


def topology(**changes: Any) -> Any:
    return from_dict(
        {
            "apiVersion": "qnetem/v1",
            "name": "lab",
            "topology": {
                "defaults": {"profile": "decoy-bb84-1ghz-apd", "classical": {"jitter": "1us"}},
                "nodes": {"alice": {}, "bob": {}, "carol": {}},
                "links": [{**LINK, **changes}, {"endpoints": ["bob", "carol"], "quantum": {"length": "25km"}}],
            },
        }
    )


def test_an_external_link_is_read_with_its_defaults() -> None:
    link = topology().links["alice-bob"]
    assert link.external is not None
    assert dict(link.external.kmes) == {
        "alice": ExternalKme("kme.example.org:8443", "north", "ca.pem", "sae.pem", "sae.key"),
        "bob": ExternalKme("kme.example.org:8443", "south", "ca.pem", "sae.pem", "sae.key"),
    }
    assert (link.external.key_size_bits, link.external.keys_per_block) == (512, 32)
    assert (link.protocol.protocol, link.protocol.pool_high_water_bits) == ("external-kme", 4_000_000)
    assert (link.transmitter, link.classical.delay_ps, link.classical.jitter_ps) == ("bob", 0, 1_000_000)


def test_it_is_written_out_again_and_compared() -> None:
    before = topology()
    again = parse(render(before))
    assert again.digest == before.digest
    assert again.links == before.links
    after = topology(external={**LINK["external"], "keys_per_block": 8})
    assert difference(before, after) == ["link alice-bob: external.keys_per_block 32 -> 8"]


def test_no_process_plays_its_fibre() -> None:
    processes, links = planned(topology())
    assert links["alice-bob"].quantum_channel == ""
    assert links["bob-carol"].quantum_channel == "qc-bob-carol"
    assert sorted(processes) == ["alice", "bob", "broker", "carol", "cc", "qc-bob-carol"]
    assert processes["cc"].links == ("alice-bob", "bob-carol")


def test_the_page_has_the_ranges_that_hold() -> None:
    page = (Path(__file__).parents[3] / "docs" / "topology.md").read_text(encoding="utf-8")
    section = page.split("### external\n", 1)[1].split("\n### ", 1)[0]
    rows = {
        cells[1]: cells[2:] for cells in (re.split(r" *\| *", line) for line in section.splitlines()) if len(cells) > 3
    }
    for field in EXTERNAL:
        units, limits, default, *_ = rows[f"`{field.key}`"]
        assert units.split(", ") == list(field.quantity.spellings)
        assert (limits, default) == (field.quantity.range_text, f"`{field.quantity.render(field.default)}`")
