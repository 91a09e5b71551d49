"""node.controller_report: what a node says of itself to its controller. Pure."""

from collections.abc import Callable, Iterable, Mapping

from node.keys.records import Pool
from node.keys.relay_paths import PathTable
from qnetem.v1 import controller_pb2 as pb
from qnetem.v1 import node_pb2, process_pb2

__all__ = ["attended_report"]


def attended_report(
    config: process_pb2.ProcessConfig,
    incarnation: int,
    links: Iterable[node_pb2.NodeLinkStatus],
    pools: Iterable[Pool],
    is_reachable: Callable[[str], bool],
    table: PathTable,
) -> pb.AttendedReport:
    """Return a report.

    Args:
        config: The node's.
        incarnation: Of this life.
        links: How each stands.
        pools: What is shared with whom.
        is_reachable: Whether a neighbour answers.
        table: The paths in force.
    """
    by_peer: Mapping[str, Pool] = {pool.peer_node: pool for pool in pools}
    return pb.AttendedReport(
        node=config.name,
        incarnation=incarnation,
        is_relay=config.node.is_relay,
        sae_ids=config.node.sae_ids,
        installed_from=table.controller,
        installed_version=table.version,
        links=[
            pb.AttendedLink(
                link_id=link.link_id,
                peer_node=link.peer_node,
                state=link.state,
                reason=link.reason,
                is_reachable=is_reachable(link.peer_node),
                available_bits=by_peer[link.peer_node].available_bits if link.peer_node in by_peer else 0,
                secret_hz=link.secret_net_hz,
                round_trip_s=link.round_trip_s,
            )
            for link in links
        ],
    )
