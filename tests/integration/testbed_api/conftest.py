"""A pair of nodes whose keys come within a second."""

from typing import Any

import pytest

from qnetem.topology import ring


@pytest.fixture
def pair() -> dict[str, Any]:
    """The topology, as a dict."""
    topology = ring(2, name="pair") | {"time": {"scale": 4}, "telemetry": {"broker": "none"}}
    topology["topology"] |= {
        "nodes": {"alice": {}, "bob": {}},
        "links": [{"endpoints": ["alice", "bob"], "protocol": {"block_ramp": ["100kbit"]}}],
        "saes": {"app-1": {"node": "alice"}, "app-2": {"node": "bob"}},
    }
    return topology
