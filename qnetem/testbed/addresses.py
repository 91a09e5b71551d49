"""qnetem.testbed.addresses: which ports a testbed needs, what listens on them, and where it is dialled. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from qnetem.testbed.plan import ProcessPlan
from qnetem.topology.model import Topology
from qnetem.v1 import process_pb2

__all__ = [
    "HOST",
    "LISTENERS",
    "Addresses",
    "LocalAddresses",
    "PortWish",
    "broker_key",
    "listener_key",
    "path_key",
    "port_wishes",
    "with_listeners",
]

HOST: Final = "127.0.0.1"

# by ProcessKind, the fields of Listeners
LISTENERS: Final[Mapping[int, tuple[str, ...]]] = {
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


class Addresses(Protocol):
    """Where processes listen, and where others dial them. Keys are those of `port_wishes`."""

    def bound(self, key: str) -> str:
        """Return the "host:port" that the process of a key binds."""

    def dialled(self, key: str, by: str) -> str:
        """Return the "host:port" at which the process called `by` reaches what a key names."""


@dataclass(frozen=True, slots=True)
class LocalAddresses:
    """All on the loopback of one machine."""

    ports: Mapping[str, int]

    def bound(self, key: str) -> str:
        """Return the "host:port" that the process of a key binds."""
        return f"{HOST}:{self.ports[key]}"

    def dialled(self, key: str, by: str) -> str:
        """Return the same: there is one loopback."""
        return self.bound(key)


def listener_key(process: str, listener: str) -> str:
    """Return the key of a listener of a process."""
    return f"{process}/{listener}"


def broker_key(process: str) -> str:
    """Return the key of the broker's MQTT port."""
    return f"{process}/mqtt"


def path_key(process: str, link: str, from_node: str) -> str:
    """Return the key of the port at which a classical channel takes what a node sends over a link."""
    return f"{process}/{link}/{from_node}"


def port_wishes(topology: Topology, processes: Mapping[str, ProcessPlan]) -> Iterator[PortWish]:
    """Yield every port that the processes need."""
    for plan in processes.values():
        for listener in LISTENERS[plan.kind]:
            is_node = plan.kind == process_pb2.PROCESS_KIND_NODE
            fixed: int | None = getattr(topology.nodes[plan.name].ports, listener) if is_node else None
            yield PortWish(listener_key(plan.name, listener), fixed)
        if plan.kind == process_pb2.PROCESS_KIND_BROKER:
            yield PortWish(broker_key(plan.name))
        if plan.kind == process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL:
            for link in plan.links:
                for node in topology.links[link].endpoints:
                    yield PortWish(path_key(plan.name, link, node))


def with_listeners(processes: Mapping[str, ProcessPlan], ports: Mapping[str, int]) -> dict[str, ProcessPlan]:
    """Return the processes with the addresses of their listeners, the broker's MQTT among them."""
    addresses = LocalAddresses(ports)

    def listeners(plan: ProcessPlan) -> Iterator[str]:
        yield from LISTENERS[plan.kind]
        if plan.kind == process_pb2.PROCESS_KIND_BROKER:
            yield "mqtt"

    return {
        name: replace(plan, listeners={one: addresses.bound(listener_key(name, one)) for one in listeners(plan)})
        for name, plan in processes.items()
    }
