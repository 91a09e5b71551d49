"""qnetem.testbed.addresses: which ports a testbed needs, and what listens on them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from qnetem.testbed.plan import ProcessPlan
from qnetem.topology.model import Topology
from qnetem.v1 import process_pb2

__all__ = ["HOST", "PortWish", "broker_key", "path_key", "port_wishes", "with_listeners"]

HOST: Final = "127.0.0.1"

_LISTENERS: Final[Mapping[int, tuple[str, ...]]] = {
    process_pb2.PROCESS_KIND_NODE: ("peer", "management", "https", "metrics"),
    process_pb2.PROCESS_KIND_QUANTUM_CHANNEL: ("peer", "management", "metrics"),
    process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL: ("management", "metrics"),
    process_pb2.PROCESS_KIND_BROKER: ("metrics",),
    process_pb2.PROCESS_KIND_CONTROL_PLANE: ("management", "metrics"),
}


@dataclass(frozen=True, slots=True)
class PortWish:
    """A port that is needed. `key` names it for good; `fixed` is set when the topology says which it has to be."""

    key: str
    fixed: int | None = None


def broker_key(process: str) -> str:
    """Return the key of the broker's MQTT port."""
    return f"{process}/mqtt"


def path_key(process: str, link: str, from_node: str) -> str:
    """Return the key of the port at which a classical channel takes what a node sends over a link."""
    return f"{process}/{link}/{from_node}"


def port_wishes(topology: Topology, processes: Mapping[str, ProcessPlan]) -> Iterator[PortWish]:
    """Yield every port that the processes need."""
    for plan in processes.values():
        for listener in _LISTENERS[plan.kind]:
            is_node = plan.kind == process_pb2.PROCESS_KIND_NODE
            fixed: int | None = getattr(topology.nodes[plan.name].ports, listener) if is_node else None
            yield PortWish(f"{plan.name}/{listener}", fixed)
        if plan.kind == process_pb2.PROCESS_KIND_BROKER:
            yield PortWish(broker_key(plan.name))
        if plan.kind == process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL:
            for link in plan.links:
                for node in topology.links[link].endpoints:
                    yield PortWish(path_key(plan.name, link, node))


def with_listeners(processes: Mapping[str, ProcessPlan], ports: Mapping[str, int]) -> dict[str, ProcessPlan]:
    """Return the processes with the addresses of their listeners."""
    return {
        name: replace(
            plan,
            listeners={listener: f"{HOST}:{ports[f'{name}/{listener}']}" for listener in _LISTENERS[plan.kind]},
        )
        for name, plan in processes.items()
    }
