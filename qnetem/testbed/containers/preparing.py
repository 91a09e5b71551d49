"""qnetem.testbed.containers.preparing: what containers need besides what processes do. Edge: files."""

import os
import zlib
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Final

from qnetem.runtime.errors import BadInputError, StartError
from qnetem.testbed.containers.engine import image_name, remove_project
from qnetem.testbed.containers.networks import Network, networks
from qnetem.testbed.containers.project import ProjectFiles, project_name, project_text
from qnetem.testbed.containers.services import refuse_what_cannot_be
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import ProcessPlan, TestbedPlan, planned
from qnetem.testbed.state import State, write_quickly
from qnetem.testbed.storage_keys import storage_key_path
from qnetem.topology.model import Topology

__all__ = ["chosen_networks", "containable", "remove_containers", "write_project"]

# pools are cut from it: as many small testbeds as may run at a time, or fewer large ones
_SPACE: Final = IPv4Network("10.128.0.0/9")
_PREFIXES: Final = (21, 18, 16, 14)


def containable(topology: Topology) -> Topology:
    """Return what containers run of a topology: its broker is the embedded one, whichever the file asks for.

    Raises:
        BadInputError: It names files of this machine, or a process has the name of a helper.
    """
    refuse_what_cannot_be(topology, planned(topology)[0])
    if not topology.has_broker:
        return topology
    return replace(topology, telemetry=replace(topology.telemetry, broker="embedded"))


def chosen_networks(state: State, topology: Topology, processes: Mapping[str, ProcessPlan]) -> dict[str, Network]:
    """Return networks that no other testbed of this user has; the caller is choosing ports.

    Raises:
        StartError: No pool is free.
        BadInputError: The testbed is too large.
    """
    taken = [IPv4Network(pool) for pool in state.run_folder.pools()]
    first = zlib.crc32(bytes(state.layout.root))
    for prefix in _PREFIXES:
        count = 1 << (prefix - _SPACE.prefixlen)
        for step in range(count):
            start = int(_SPACE.network_address) + ((first + step) % count << (32 - prefix))
            pool = IPv4Network((start, prefix))
            if any(pool.overlaps(other) for other in taken):
                continue
            try:
                nets = networks(topology, processes, str(pool))
            except BadInputError:
                break  # larger ones may do
            state.run_folder.take_pool(str(pool))
            return nets
    raise StartError(f"no subnets are left in {_SPACE} for {topology.name}")


def write_project(
    state: State, topology: Topology, plan: TestbedPlan, nets: Mapping[str, Network], ports: Mapping[str, int]
) -> None:
    """Write the compose file, and make what it mounts."""
    layout = state.layout
    for name in plan.processes:
        layout.state(name).mkdir(mode=0o700, exist_ok=True)
        for path in (layout.journal(name), layout.log(name)):
            path.touch(mode=0o600, exist_ok=True)
    files = ProjectFiles(
        notify={name: state.run_folder.notify_socket(index) for index, name in enumerate(plan.processes)},
        storage_keys={name: storage_key_path(topology, layout, name) for name in topology.nodes},
        heartbeats={name: state.run_folder.heartbeat(index) for index, name in enumerate(plan.processes)},
    )
    user = f"{os.getuid()}:{os.getgid()}"
    text = project_text(topology, plan, nets, ports, layout, files, image_name(), user)
    write_quickly(layout.project, text.encode())


def remove_containers(testbed: str, layout: Layout) -> None:
    """Remove what a supervisor and its guardian that were both killed have left.

    Raises:
        StartError: The engine does not do it.
    """
    remove_project(project_name(testbed, layout.root), layout.project)
