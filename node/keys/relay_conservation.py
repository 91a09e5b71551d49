"""node.keys.relay_conservation: what was made is delivered, relayed away, spent on tags, burned, expired or held. Pure.

Checks the sums of pools, at one KME and between the two ends of each pool once all is told to everybody.
"""

from collections.abc import Iterable, Mapping

from node.keys.records import Pool

__all__ = ["imbalances", "spent_bits"]


def spent_bits(pool: Pool) -> int:
    """Return the bits of a pool that have no value any more."""
    return (
        pool.delivered_bits
        + pool.relayed_bits
        + pool.tags_bits
        + pool.voided_bits
        + pool.expired_bits
        + pool.quarantined_bits
    )


def imbalances(pools: Mapping[str, Iterable[Pool]], *, is_settled: bool) -> list[str]:
    """Return what does not add up, each in a line; [] when all does.

    Args:
        pools: Every pool of every KME, by node.
        is_settled: Nothing is under way, and every void and burn is confirmed: the two ends have to agree, too.
    """
    wrongs = []
    ends = {(node, pool.peer_node): pool for node, ones in pools.items() for pool in ones}
    for (node, peer), pool in sorted(ends.items()):
        if pool.made_bits != pool.held_bits + spent_bits(pool):
            wrongs.append(
                f"{node}: of {pool.made_bits} bits made with {peer},"
                f" {pool.held_bits} are held and {spent_bits(pool)} spent"
            )
        other = ends.get((peer, node))
        if not is_settled or node > peer:
            continue
        if other is None:
            wrongs.append(f"{peer}: has no pool with {node}, which has {pool.made_bits} bits")
            continue
        for near, far, there in ((pool, other, peer), (other, pool, node)):
            own_bits = near.available_bits + near.kept_bits
            if near.unconfirmed_bits == 0 and own_bits != far.peer_available_bits:
                wrongs.append(f"{there}: {near.peer_node} can give {far.peer_available_bits} bits, there {own_bits}")
        if pool.made_bits != other.made_bits:
            wrongs.append(f"{node} made {pool.made_bits} bits with {peer}, which made {other.made_bits}")
    return wrongs
