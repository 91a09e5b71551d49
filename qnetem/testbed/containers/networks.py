"""qnetem.testbed.containers.networks: a small network per node and plane, and who is in it. Pure.

What two nodes have in common is no network at all: on every plane a node is alone with those that carry it. So it
reaches its peers through the channels, or not at all.
"""

import ipaddress
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from qnetem.runtime.errors import BadInputError
from qnetem.testbed.addresses import LISTENERS, broker_key, listener_key, path_key
from qnetem.testbed.plan import ProcessPlan
from qnetem.testbed.planes import PLANES, Plane
from qnetem.topology.model import Topology
from qnetem.v1 import process_pb2

__all__ = [
    "CARRIERS",
    "NamedAddresses",
    "Network",
    "ServiceAddresses",
    "default_pool",
    "networks",
    "plane_of",
    "refuse_undiallable",
    "service_ports",
]

# the network of those that are no nodes
CARRIERS: Final = "carriers"
_LEAST_HOSTS: Final = 16
# the network itself, its gateway, and the broadcast address
_RESERVED: Final = 3
_PORTS: Final[Mapping[str, int]] = {"peer": 7001, "management": 7002, "https": 8443, "metrics": 9100}
_MQTT_PORT: Final = 8883
_FIRST_PATH_PORT: Final = 20000
# schemes of targets of gRPC: "dns:7001" is port 443 of the host 7001
_SCHEMES: Final = ("dns", "ipv4", "ipv6", "unix", "vsock", "xds")
_ANY: Final = "0.0.0.0"  # noqa: S104 (of a container: its networks are those below)


@dataclass(frozen=True, slots=True)
class Network:
    """A network of containers.

    Attributes:
        name: "alice-quantum".
        subnet: "10.130.0.16/28"; its upper half is for containers without an address of their own.
        dynamic: That half.
        is_internal: Nothing outside is reached from it.
        addresses: By service.
    """

    name: str
    subnet: str
    dynamic: str
    is_internal: bool
    addresses: Mapping[str, str]


def default_pool(testbed: str) -> str:
    """Return the addresses that a testbed takes when nobody says: of its name, so that two seldom want the same."""
    return f"10.{128 + zlib.crc32(testbed.encode()) % 100}.0.0/16"


def networks(topology: Topology, processes: Mapping[str, ProcessPlan], pool: str) -> dict[str, Network]:
    """Return the networks by name, in the order of their subnets.

    Args:
        topology: Its nodes.
        processes: All of them.
        pool: An IPv4 network that the subnets are cut from, "10.130.0.0/16".

    Raises:
        BadInputError: The pool is none, or too small.
    """
    try:
        space = ipaddress.IPv4Network(pool)
    except ValueError as error:
        raise BadInputError(f"subnet pool {pool!r}: {error}") from None
    start = int(space.network_address)
    made: dict[str, Network] = {}
    for name, services, is_internal in _members(topology, processes):
        size = _LEAST_HOSTS
        while size // 2 < len(services) + _RESERVED:
            size *= 2
        start = -(-start // size) * size
        if start + size > int(space.broadcast_address) + 1:
            raise BadInputError(f"subnet pool {pool}: too small for the networks of {topology.name}")
        bits = 32 - (size.bit_length() - 1)
        made[name] = Network(
            name=name,
            subnet=f"{ipaddress.IPv4Address(start)}/{bits}",
            dynamic=f"{ipaddress.IPv4Address(start + size // 2)}/{bits + 1}",
            is_internal=is_internal,
            # the first is the gateway's
            addresses={one: str(ipaddress.IPv4Address(start + 2 + index)) for index, one in enumerate(services)},
        )
        start += size
    return made


def plane_of(network: str) -> Plane:
    """Return the plane that a network is a part of, by its name."""
    last = network.rpartition("-")[2]
    return next((plane for plane in PLANES if plane == last), "management")


def _members(topology: Topology, processes: Mapping[str, ProcessPlan]) -> Iterator[tuple[str, Sequence[str], bool]]:
    """Yield name, services, and whether nothing outside is reached."""
    by_kind: dict[int, list[ProcessPlan]] = {}
    for plan in processes.values():
        by_kind.setdefault(plan.kind, []).append(plan)
    hubs = [
        plan.name
        for kind in (process_pb2.PROCESS_KIND_BROKER, process_pb2.PROCESS_KIND_CONTROL_PLANE)
        for plan in by_kind.get(kind, ())
    ]
    carriers = {
        "quantum": by_kind.get(process_pb2.PROCESS_KIND_QUANTUM_CHANNEL, []),
        "classical": by_kind.get(process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL, []),
    }
    yield CARRIERS, [*hubs, *(plan.name for plans in carriers.values() for plan in plans)], False
    for node in topology.nodes:
        ends = {link.id for link in topology.links_of(node)}
        for plane, plans in carriers.items():
            yield f"{node}-{plane}", [node, *(plan.name for plan in plans if ends.intersection(plan.links))], True
        # a port of the host leads here
        yield f"{node}-management", [node, *hubs], False


def service_ports(topology: Topology, processes: Mapping[str, ProcessPlan]) -> dict[str, int]:
    """Return the port of each key of `port_wishes` inside its container: the same for every process of a kind."""
    ports: dict[str, int] = {}
    for plan in processes.values():
        ports |= {listener_key(plan.name, one): _PORTS[one] for one in LISTENERS[plan.kind]}
        if plan.kind == process_pb2.PROCESS_KIND_BROKER:
            ports[broker_key(plan.name)] = _MQTT_PORT
        if plan.kind == process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL:
            ends = [(link, node) for link in plan.links for node in topology.links[link].endpoints]
            ports |= {path_key(plan.name, *end): _FIRST_PATH_PORT + index for index, end in enumerate(ends)}
    return ports


@dataclass(frozen=True, slots=True)
class ServiceAddresses:
    """Where containers listen, and where others dial them: at fixed addresses, which outlive a restart.

    A name would have to be looked up again after each, by a resolver that waits longer the longer somebody was away.
    The broker goes by its name, which its certificate carries.
    """

    networks: Mapping[str, Network]
    ports: Mapping[str, int]

    def bound(self, key: str) -> str:
        """Return the "host:port" that the process of a key binds."""
        return f"{_ANY}:{self.ports[key]}"

    def dialled(self, key: str, by: str) -> str:
        """Return the "host:port" at which the process called `by` reaches what a key names."""
        service, _, listener = key.partition("/")
        if listener == "mqtt":
            return f"{service}:{self.ports[key]}"
        planes = ("management",) if listener in ("management", "metrics", "https") else PLANES
        for node in (by, service):
            for plane in planes:
                network = self.networks.get(f"{node}-{plane}")
                if network is not None and by in network.addresses and service in network.addresses:
                    return f"{network.addresses[service]}:{self.ports[key]}"
        return f"{self.networks[CARRIERS].addresses[service]}:{self.ports[key]}"


@dataclass(frozen=True, slots=True)
class NamedAddresses:
    """Where containers listen, and where others dial them where no address is fixed: by their names."""

    ports: Mapping[str, int]

    def bound(self, key: str) -> str:
        """Return the "host:port" that the process of a key binds."""
        return f"{_ANY}:{self.ports[key]}"

    def dialled(self, key: str, by: str) -> str:
        """Return the "host:port" at which everybody reaches what a key names."""
        return f"{key.partition('/')[0]}:{self.ports[key]}"


def refuse_undiallable(processes: Iterable[str]) -> None:
    """Refuse names that mean something else where they are dialled.

    Raises:
        BadInputError: A process has one.
    """
    for name in processes:
        if name in _SCHEMES:
            raise BadInputError(f"a process is called {name}, which as an address means another thing")
