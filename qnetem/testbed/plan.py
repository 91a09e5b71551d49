"""qnetem.testbed.plan: which processes a topology needs and what each of them carries. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

from qnetem.runtime.errors import BadInputError
from qnetem.runtime.identity import Kind
from qnetem.topology.model import Placement, Topology
from qnetem.v1 import process_pb2

__all__ = [
    "BROKER",
    "BROKER_ROOM",
    "CONTROLLER",
    "GROUP_LINKS",
    "KINDS",
    "ROOMS",
    "LinkPlan",
    "ProcessPlan",
    "Runtime",
    "TestbedPlan",
    "planned",
]

Runtime = Literal["process", "compose"]

BROKER: Final = "broker"
BROKER_ROOM: Final = "qnetem.testbed.broker"
# the reference controller; one of another make goes by the same name
CONTROLLER: Final = "controller"
# links in one process with `placement: group`
GROUP_LINKS: Final = 8

ROOMS: Final[Mapping[int, str]] = {
    process_pb2.PROCESS_KIND_NODE: "node.service",
    process_pb2.PROCESS_KIND_QUANTUM_CHANNEL: "quantum_channel.service",
    process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL: "classical_channel.service",
    process_pb2.PROCESS_KIND_BROKER: BROKER_ROOM,
    process_pb2.PROCESS_KIND_CONTROL_PLANE: "control_plane.service",
}
KINDS: Final[Mapping[int, Kind]] = {
    process_pb2.PROCESS_KIND_NODE: "node",
    process_pb2.PROCESS_KIND_QUANTUM_CHANNEL: "quantum-channel",
    process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL: "classical-channel",
    process_pb2.PROCESS_KIND_BROKER: "broker",
    process_pb2.PROCESS_KIND_CONTROL_PLANE: "controller",
}


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """One process.

    Attributes:
        name: Unique in the testbed.
        kind: A value of ProcessKind.
        room: Module that exports `serve(process)`; the zygote forks it, or `python -m` runs its package.
        is_exec: Started as a program of its own, not forked.
        command: Started instead of the room, with `--config FILE`.
        folder: Where the command runs; "": where the supervisor does.
        image: What a container of it runs; None: ours.
        links: Ids of the links that it ends or carries.
        listeners: "host:port" by the names of the fields of Listeners.
    """

    name: str
    kind: int
    room: str
    is_exec: bool = False
    command: tuple[str, ...] | None = None
    folder: str = ""
    image: str | None = None
    links: tuple[str, ...] = ()
    listeners: Mapping[str, str] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """What `python -m` runs."""
        return self.room.removesuffix(".service")


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """A link: its ends in the order of the topology, and the processes that carry it.

    quantum_channel "": there is none, KMEs of another make give its keys.
    """

    id: str
    endpoints: tuple[str, str]
    quantum_channel: str
    classical_channel: str
    transmitter: str = ""


@dataclass(frozen=True, slots=True)
class TestbedPlan:
    """What a supervisor runs. Nothing in it is secret."""

    __test__ = False  # pytest takes any Test* for a test

    testbed: str
    topology_path: str
    digest: str
    seed: int
    is_reproducible: bool
    epoch_ns: int
    scale: float
    processes: Mapping[str, ProcessPlan]
    links: Mapping[str, LinkPlan]
    # what they are: "process" of this machine, or "compose": containers
    runtime: Runtime = "process"

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TestbedPlan":
        """Return the plan that `to_json` gave.

        Raises:
            BadInputError: It is another thing, or of another version.
        """
        try:
            processes = {
                name: ProcessPlan(
                    **{
                        **one,
                        "command": None if one["command"] is None else tuple(one["command"]),
                        "links": tuple(one["links"]),
                    }
                )
                for name, one in values["processes"].items()
            }
            links = {
                name: LinkPlan(**{**one, "endpoints": tuple(one["endpoints"])}) for name, one in values["links"].items()
            }
            return cls(**{**values, "processes": processes, "links": links})
        except (KeyError, TypeError, AttributeError) as error:
            raise BadInputError(f"not a plan of this version: {error}") from error


def _carriers(links: Sequence[str], placement: Placement, prefix: str) -> dict[str, str]:
    """Return the name of the process that carries each link."""
    match placement:
        case "one":
            return dict.fromkeys(links, prefix)
        case "group":
            return {link: f"{prefix}-group-{index // GROUP_LINKS + 1}" for index, link in enumerate(links)}
        case "link":
            return {link: f"{prefix}-{link}" for link in links}


def _inverse(carriers: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    carried: dict[str, list[str]] = {}
    for link, process in carriers.items():
        carried.setdefault(process, []).append(link)
    return {process: tuple(links) for process, links in carried.items()}


def planned(
    topology: Topology,
    *,
    rooms: Mapping[int, str] = ROOMS,
    commands: Mapping[str, Sequence[str]] | None = None,
) -> tuple[dict[str, ProcessPlan], dict[str, LinkPlan]]:
    """Return the processes of a topology, without addresses, and its links.

    Args:
        topology: What is to run.
        rooms: Module by ProcessKind.
        commands: Programs of another make, by process name: `<command> --config FILE`.

    Raises:
        BadInputError: Two processes would have the same name, or a command is for a process that is not there.
    """
    with_light = tuple(link.id for link in topology.links.values() if link.external is None)
    quantum = _carriers(with_light, topology.quantum_placement, "qc")
    classical = _carriers(tuple(topology.links), topology.classical_placement, "cc")
    wanted = commands or {}

    def plans() -> Iterable[ProcessPlan]:
        if topology.has_broker:
            yield make(BROKER, process_pb2.PROCESS_KIND_BROKER)
        if topology.control_plane.kind == "reference":
            yield make(CONTROLLER, process_pb2.PROCESS_KIND_CONTROL_PLANE)
        for name, links in _inverse(classical).items():
            yield make(name, process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL, links)
        for name, links in _inverse(quantum).items():
            yield make(name, process_pb2.PROCESS_KIND_QUANTUM_CHANNEL, links)
        for node in topology.nodes.values():
            ends = tuple(link.id for link in topology.links_of(node.name))
            plan = make(node.name, process_pb2.PROCESS_KIND_NODE, ends, is_exec=node.spawn == "exec")
            if plan.command is None and node.command is not None:
                plan = replace(plan, command=node.command, folder=folder)
            yield replace(plan, image=node.image)

    folder = "" if topology.path is None else str(topology.path.parent)

    def make(name: str, kind: int, links: tuple[str, ...] = (), *, is_exec: bool = False) -> ProcessPlan:
        command = tuple(wanted[name]) if name in wanted else None
        return ProcessPlan(name, kind, rooms[kind], is_exec, command, links=links)

    processes: dict[str, ProcessPlan] = {}
    for plan in plans():
        if plan.name in processes:
            raise BadInputError(f"two processes would be called {plan.name}: a node or link has to be renamed")
        processes[plan.name] = plan
    for name in wanted:
        if name not in processes:
            raise BadInputError(f"a command is given for {name}, which is no process of {topology.name}")
    links = {
        link.id: LinkPlan(link.id, link.endpoints, quantum.get(link.id, ""), classical[link.id], link.transmitter)
        for link in topology.links.values()
    }
    return processes, links
