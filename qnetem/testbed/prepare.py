"""qnetem.testbed.prepare: everything a supervisor needs, written to the state folder before it starts. Wiring."""

import os
import shutil
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf import json_format

from qnetem.runtime.errors import BadInputError, StartError, StorageError
from qnetem.testbed import linux
from qnetem.testbed.addresses import LocalAddresses, port_wishes, with_listeners
from qnetem.testbed.configs import ConfigMaker
from qnetem.testbed.containers.networks import ServiceAddresses, service_ports
from qnetem.testbed.containers.preparing import chosen_networks, containable, write_project
from qnetem.testbed.credentials import make_missing
from qnetem.testbed.plan import Runtime, TestbedPlan, planned
from qnetem.testbed.ports import chosen
from qnetem.testbed.state import State, write_quickly
from qnetem.testbed.storage_keys import prepare_storage_keys
from qnetem.testbed.timekeeping import epoch_of
from qnetem.topology.model import Topology
from qnetem.topology.rendering import render

__all__ = ["prepare"]


def prepare(
    state: State,
    topology: Topology,
    rooms: Mapping[int, str],
    commands: Mapping[str, Sequence[str]],
    runtime: Runtime = "process",
) -> TestbedPlan:
    """Choose what is open, make what is missing, write what processes are told; the caller holds the state's lock.

    Args:
        state: Where to.
        topology: What is to run.
        rooms: Module by ProcessKind.
        commands: Programs of another make, by process name.
        runtime: What the processes are.

    Raises:
        BadInputError: The topology and the commands, or containers, do not fit.
        StartError: A fixed port is in use, no port is free, the authority that is there cannot be used, or what the
            topology says of its broker is not there.
        StorageError: A file cannot be written.
    """
    if runtime == "compose":
        topology = containable(topology)
    else:
        _refuse_images(topology, commands)
    broker_program = _mosquitto() if topology.telemetry.broker == "mosquitto" else ""
    _check_files(topology)
    processes, links = planned(topology, rooms=rooms, commands=commands)
    with state.run_folder.choosing_ports() as taken:
        first = zlib.crc32(bytes(state.layout.root))
        ports = chosen(port_wishes(topology, processes), state.ports(), taken, first)
        state.run_folder.take_ports(ports)
        nets = chosen_networks(state, topology, processes) if runtime == "compose" else {}
    make_missing(state.layout, topology, processes)
    prepare_storage_keys(topology, state.layout, processes)
    secret = state.secret(topology.seed if topology.is_reproducible else None)
    plan = TestbedPlan(
        testbed=topology.name,
        topology_path=str(topology.path),
        digest=topology.digest,
        seed=topology.seed,
        is_reproducible=topology.is_reproducible,
        epoch_ns=epoch_of(state.clock(), linux.boot_id(), time.monotonic_ns(), topology.scale),
        scale=topology.scale,
        processes=with_listeners(processes, ports),
        links=links,
        runtime=runtime,
    )
    desired = state.desired()
    kept = desired.only(links)
    if kept != desired:  # settings of a link that is no more are not for a later one of its name
        state.write_desired(kept)
    addresses = ServiceAddresses(nets, service_ports(topology, processes)) if nets else LocalAddresses(ports)
    maker = ConfigMaker(topology, plan, addresses, state.layout, secret, kept, broker_program)
    try:
        for process in plan.processes.values():
            path = state.layout.config(process.name)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_quickly(path, json_format.MessageToJson(maker.make(process), indent=None).encode())
        write_quickly(state.layout.topology, render(topology).encode())
        if nets:
            write_project(state, topology, plan, nets, ports)
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}") from error
    state.write_ports(ports)
    state.write_plan(plan)
    return plan


def _refuse_images(topology: Topology, commands: Mapping[str, Sequence[str]]) -> None:
    for node in topology.nodes.values():
        if node.image is not None and node.command is None and node.name not in commands:
            raise BadInputError(f"node {node.name}: {node.image} is an image; without containers a command is needed")


def _mosquitto() -> str:
    """Return the path of the mosquitto of this machine; Debian's is where only root looks."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"))
    program = shutil.which("mosquitto", path=path)
    if program is None:
        raise StartError("telemetry.broker: no program mosquitto here (install it, or take the embedded broker)")
    return str(Path(program).absolute())


def _check_files(topology: Topology) -> None:
    """Look whether the files that the topology names can be read: later one would cost telemetry, or a link."""
    named = {f"telemetry.{key}": getattr(topology.telemetry, key) for key in ("ca", "password_file")}
    for link in topology.links.values():
        for node, kme in link.external.kmes.items() if link.external is not None else ():
            names = {"ca": kme.ca, "certificate": kme.certificate, "key": kme.key}
            named |= {f"link {link.id}: kmes.{node}.{key}": name for key, name in names.items()}
    for what, name in named.items():
        if name is None:
            continue
        try:
            with topology.path_of(name).open("rb") as file:
                file.read(1)
        except OSError as error:
            raise StartError(f"{what}: {topology.path_of(name)}: {error.strerror}") from None
