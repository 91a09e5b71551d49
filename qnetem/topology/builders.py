"""qnetem.topology.builders: topologies of a regular shape, for tests and benchmarks. Pure."""

from typing import Any

__all__ = ["ring"]


def ring(
    node_count: int,
    *,
    name: str = "ring",
    length: str = "25km",
    profile: str = "decoy-bb84-1ghz-apd",
    seed: int = 42,
) -> dict[str, Any]:
    """Return a ring of nodes n0, n1, ... in the file's shape, for `from_dict`; two nodes have one link, one has none.

    SAE app-1 is at the first node and app-2 at the second, its neighbour.

    Raises:
        ValueError: Fewer than one node.
    """
    if node_count < 1:
        raise ValueError(f"a ring needs a node, not {node_count}")
    width = len(str(node_count - 1))
    nodes = [f"n{index:0{width}d}" for index in range(node_count)]
    link_count = node_count if node_count > 2 else node_count - 1
    return {
        "apiVersion": "qnetem/v1",
        "name": name,
        "seed": seed,
        "topology": {
            "defaults": {"profile": profile, "quantum": {"length": length}},
            "nodes": {node: {} for node in nodes},
            "links": [{"endpoints": [nodes[i], nodes[(i + 1) % node_count]]} for i in range(link_count)],
            "saes": {"app-1": {"node": nodes[0]}, "app-2": {"node": nodes[1 % node_count]}},
        },
    }
