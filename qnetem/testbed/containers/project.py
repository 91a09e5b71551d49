"""qnetem.testbed.containers.project: a compose project that a supervisor runs, on the files of its state folder. Pure.

What a container sees of the state folder lies at the same paths as outside: its own parts, and no more.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from qnetem.runtime.liveness import HEARTBEAT, NOTIFY_SOCKET
from qnetem.testbed.addresses import HOST, listener_key
from qnetem.testbed.containers.networks import Network, service_ports
from qnetem.testbed.containers.services import entrypoint, limits, program
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import KINDS, ProcessPlan, TestbedPlan
from qnetem.topology.model import Topology
from qnetem.v1 import process_pb2

__all__ = ["LOG", "ProjectFiles", "project_name", "project_text"]

# a file that a container writes its standard error to
LOG: Final = "QNETEM_LOG"
_HASH_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class ProjectFiles:
    """Files of this machine that containers see, besides those of the layout.

    Attributes:
        notify: The socket of each process, see sd_notify(3).
        storage_keys: What each node's keys at rest are sealed under.
        heartbeats: Files that processes of another make may touch instead.
    """

    notify: Mapping[str, Path]
    storage_keys: Mapping[str, Path]
    heartbeats: Mapping[str, Path] = field(default_factory=dict)


def project_name(testbed: str, root: Path) -> str:
    """Return the name of the project of the testbed with this state folder: no other has it on this machine."""
    return f"qnetem-{testbed}-{hashlib.sha256(bytes(root)).hexdigest()[:_HASH_DIGITS]}"


def project_text(
    topology: Topology,
    plan: TestbedPlan,
    nets: Mapping[str, Network],
    ports: Mapping[str, int],
    layout: Layout,
    files: ProjectFiles,
    image: str,
    user: str,
) -> str:
    """Return the compose file, as JSON.

    Args:
        topology, plan: What runs.
        nets: Its networks.
        ports: Of the host, by key, see `port_wishes`: where listeners are published.
        layout: The state folder.
        files: What else containers see.
        image: What ours run in.
        user: "uid:gid" of whoever owns the state folder.
    """
    inside = service_ports(topology, plan.processes)

    def service(process: ProcessPlan) -> dict[str, Any]:
        most = limits(process)
        return {
            "image": process.image or image,
            **({"entrypoint": list(instead)} if (instead := entrypoint(process)) else {}),
            "command": [*program(process), "--config", str(layout.config(process.name))],
            "user": user,
            "init": True,
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "tmpfs": ["/run/qnetem:mode=1777", "/tmp:mode=1777"],  # noqa: S108 (of a container)
            "restart": "no",
            "environment": {
                NOTIFY_SOCKET: str(files.notify[process.name]),
                LOG: str(layout.log(process.name)),
                **({HEARTBEAT: str(files.heartbeats[process.name])} if process.image is not None else {}),
                "HOME": "/tmp",  # noqa: S108
            },
            "networks": {
                net.name: {"ipv4_address": net.addresses[process.name]}
                for net in nets.values()
                if process.name in net.addresses
            },
            "ports": [
                f"{HOST}:{ports[key]}:{inside[key]}"
                for key in (listener_key(process.name, one) for one in process.listeners)
                # nodes alone dial it, through the channels
                if not key.endswith("/peer")
            ],
            "volumes": list(_binds(process, topology, layout, files)),
            "deploy": {"resources": {"limits": {"memory": most.memory, "pids": most.pids}}},
        }

    content = {
        "services": {name: service(process) for name, process in plan.processes.items()},
        "networks": {
            net.name: {
                "internal": net.is_internal,
                "ipam": {"config": [{"subnet": net.subnet, "ip_range": net.dynamic}]},
            }
            for net in nets.values()
        },
    }
    return json.dumps(content, indent=1) + "\n"


def _binds(process: ProcessPlan, topology: Topology, layout: Layout, files: ProjectFiles) -> Iterator[dict[str, Any]]:
    name = process.name
    yield _bind(layout.config(name), is_read_only=True)
    yield _bind(layout.state(name))
    yield _bind(layout.journal(name))
    yield _bind(layout.log(name))
    yield _bind(files.notify[name])
    if process.image is not None:
        yield _bind(files.heartbeats[name])
    yield _bind(layout.authority, is_read_only=True)
    yield _bind(layout.party(KINDS[process.kind], name), is_read_only=True)
    if process.kind == process_pb2.PROCESS_KIND_NODE:
        # the folder: a rotation lays a successor beside the key, and puts it in its place
        yield _bind(files.storage_keys[name].parent, is_read_only=True)
    if process.kind == process_pb2.PROCESS_KIND_BROKER:
        yield _bind(layout.mqtt_users(topology.telemetry.broker), is_read_only=True)
    elif topology.has_broker:
        yield _bind(layout.mqtt_password(name), is_read_only=True)


def _bind(path: Path, *, is_read_only: bool = False) -> dict[str, Any]:
    # a folder that is not there would be made, by root
    bind = {"create_host_path": False}
    return {"type": "bind", "source": str(path), "target": str(path), "read_only": is_read_only, "bind": bind}
