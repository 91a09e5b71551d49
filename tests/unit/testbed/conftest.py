"""Topologies for the tests of planning."""

from collections.abc import Callable
from typing import Any

import pytest

from qnetem.topology import Topology, from_dict, ring


@pytest.fixture
def topology_of() -> Callable[..., Topology]:
    """Make a ring: topology_of(3, telemetry={"broker": "none"})."""

    def make(node_count: int, **changes: Any) -> Topology:
        return from_dict(ring(node_count) | changes)

    return make
