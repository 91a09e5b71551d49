"""The documented crash points of the key store are the declared ones."""

import re
from pathlib import Path

import node.keys.etsi004
import node.keys.relaying  # noqa: F401 both declare them, as what they import does
from qnetem.runtime import crashpoint

PAGE = Path(__file__).parents[3] / "docs" / "crash-points.md"


def test_the_page_lists_every_point_with_its_meaning() -> None:
    rows = re.findall(
        r"^\| `((?:store|keys|pads|audit|hybrid|stream|relay|rates|schema|trail)\.[^`]+)` \| (.+) \|$",
        PAGE.read_text(),
        re.MULTILINE,
    )
    prefixes = ("store.", "keys.", "pads.", "audit.", "hybrid.", "stream.", "relay.", "rates.", "schema.", "trail.")
    declared = {name: what for name, what in crashpoint.names().items() if name.startswith(prefixes)}
    assert dict(rows) == declared
    assert len(rows) == len(declared) > 20
