"""qnetem.testbed.containers.services: what a container of each process runs, mounts and is let have. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from qnetem.runtime.errors import BadInputError
from qnetem.testbed.layout import FOLDER
from qnetem.testbed.plan import ProcessPlan
from qnetem.topology.model import Topology
from qnetem.v1 import process_pb2

__all__ = [
    "HEARTBEAT",
    "HEARTBEAT_TEST",
    "HELPERS",
    "HOME",
    "MOSQUITTO",
    "MQTT_TEST",
    "OPERATOR",
    "USER",
    "Limits",
    "command",
    "config_path",
    "entrypoint",
    "host_ports",
    "limits",
    "program",
    "ready_path",
    "refuse_what_cannot_be",
]

# where a container keeps what is its own: the volume of its name
HOME: Final = PurePosixPath("/qnetem")
OPERATOR: Final = "operator"
# containers beside the processes
HELPERS: Final = ("pki", OPERATOR, "prometheus", "authority")
# user and group of what is ours
USER: Final = 10001
MOSQUITTO: Final = "eclipse-mosquitto:2"
# for a shell, in the container: the heartbeat is fresh
HEARTBEAT: Final = "/run/qnetem/heartbeat"
HEARTBEAT_TEST: Final = f"[ $(( $(date +%s) - $(stat -c %Y {HEARTBEAT}) )) -lt 5 ]"
# 8883, listening: the broker's container has neither a certificate of a client nor a client
MQTT_TEST: Final = "grep -q ':22B3 .* 0A ' /proc/net/tcp /proc/net/tcp6"
_FIRST_HTTPS_PORT: Final = 8443


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may have at most."""

    memory: str
    pids: int
    cpus: float = 2.0


def config_path(testbed: str, process: str) -> PurePosixPath:
    """Return where a process finds what it is told, in its container."""
    return HOME / FOLDER / testbed / "processes" / process / "config.json"


def ready_path(testbed: str, digest: str) -> PurePosixPath:
    """Return the file whose being there says that the others of a volume are those of the topology of this digest."""
    return HOME / FOLDER / testbed / f"ready-{digest[:12]}"


def program(plan: ProcessPlan) -> Sequence[str]:
    """Return what a container of our image runs before a configuration; an image of another make knows it itself."""
    return () if plan.image is not None else ("python", "-m", plan.package)


def command(testbed: str, plan: ProcessPlan) -> Sequence[str]:
    """Return what the container of a process of ours runs; the broker is a mosquitto."""
    if plan.kind == process_pb2.PROCESS_KIND_BROKER:
        path = config_path(testbed, plan.name).parent / "state" / "mosquitto.conf"
        return ("mosquitto", "-c", str(path))
    return (*program(plan), "--config", str(config_path(testbed, plan.name)))


def entrypoint(plan: ProcessPlan) -> Sequence[str]:
    """Return what is run instead of the image's own entrypoint; nothing: that one."""
    return plan.command or () if plan.image is not None else ()


def limits(plan: ProcessPlan) -> Limits:
    """Return what the container of a process may have."""
    match plan.kind:
        case process_pb2.PROCESS_KIND_NODE:
            return Limits("1G", 256)
        case process_pb2.PROCESS_KIND_QUANTUM_CHANNEL:
            return Limits("768M", 128)
        case process_pb2.PROCESS_KIND_BROKER:
            return Limits("128M", 32)
        case _:
            return Limits("384M", 128)


def host_ports(topology: Topology) -> dict[str, int]:
    """Return the port of the host at which SAEs find each node: as the topology says, or counted from 8443."""
    given = {name: node.ports.https for name, node in topology.nodes.items()}
    free = (port for port in range(_FIRST_HTTPS_PORT, 1 << 16) if port not in given.values())
    return {name: port if port is not None else next(free) for name, port in given.items()}


def refuse_what_cannot_be(topology: Topology, processes: Mapping[str, ProcessPlan]) -> None:
    """Refuse a topology that cannot be carried into containers.

    Raises:
        BadInputError: It names files of this machine, a program of it without an image, or a process has the name of a
            helper.
    """
    for plan in processes.values():
        if plan.command is not None and plan.image is None:
            raise BadInputError(f"node {plan.name}: a command is of this machine; in containers an image is needed")
    for helper in HELPERS:
        if helper in processes:
            raise BadInputError(f"{topology.name}: a process is called {helper}, as is a container beside them")
    files = {
        "keys.storage_key_file": topology.storage_key_file,
        "telemetry.ca": topology.telemetry.ca,
        "telemetry.password_file": topology.telemetry.password_file,
    }
    for what, name in files.items():
        if name is not None:
            raise BadInputError(f"{what}: {name} is a file of this machine, which containers do not see")
    for link in topology.links.values():
        if link.external is not None:
            raise BadInputError(
                f"link {link.id}: the files of its KMEs are of this machine, which containers do not see"
            )
