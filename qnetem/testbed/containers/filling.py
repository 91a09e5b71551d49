"""qnetem.testbed.containers.filling: what is secret is made once, and each container gets its own. Edge: files.

Run by a container of its own before the others start, at every start: what is there already stays as it is.
"""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from google.protobuf import json_format

from qnetem.runtime import rpc
from qnetem.runtime.errors import StorageError
from qnetem.testbed.addresses import HOST, LISTENERS, Addresses, listener_key
from qnetem.testbed.configs import ConfigMaker
from qnetem.testbed.containers.networks import NamedAddresses, ServiceAddresses, networks, service_ports
from qnetem.testbed.containers.services import HOME, OPERATOR, config_path, ready_path, refuse_what_cannot_be
from qnetem.testbed.credentials import ADMIN, MQTT_OPERATOR, make_missing
from qnetem.testbed.layout import Layout
from qnetem.testbed.mosquitto_files import access_text, config_text, usernames_in
from qnetem.testbed.plan import BROKER, KINDS, ProcessPlan, TestbedPlan, planned
from qnetem.testbed.state import State, write_quickly
from qnetem.testbed.storage_keys import prepare_storage_keys, storage_key_path
from qnetem.testbed.timekeeping import ClockRecord
from qnetem.topology.model import Topology
from qnetem.topology.rendering import render
from qnetem.v1 import process_pb2

__all__ = ["Places", "fill"]


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are.

    Attributes:
        home: Below it lies what is secret of the whole testbed, for the container that fills alone.
        volumes: A folder for each service and the operator.
        owner: User and group id of what processes own.
        pool: IPv4 network that all subnets are cut from; None: containers are dialled by their names.
        https_ports: Port of the host by node; a node that has none is where its peers find it.
    """

    home: Path
    volumes: Path
    owner: int
    pool: str | None
    https_ports: Mapping[str, int]


def fill(topology: Topology, places: Places) -> TestbedPlan:
    """Make what is missing, and lay what each container needs into its volume.

    Raises:
        BadInputError: The topology cannot be carried into containers.
        StorageError: A file cannot be read or written; names it.
    """
    processes, links = planned(topology)
    refuse_what_cannot_be(topology, processes)
    state = State(Layout.beside(places.home / "topology.yaml", topology.name))
    state.create()
    made_here, in_container = state.layout, Layout.beside(Path(HOME / "topology.yaml"), topology.name)
    make_missing(made_here, _with_mosquitto(topology), processes)
    prepare_storage_keys(topology, made_here, processes)
    addresses = _addresses(topology, processes, places.pool)
    plan = TestbedPlan(
        testbed=topology.name,
        topology_path=str(HOME / "topology.yaml"),
        digest=topology.digest,
        seed=topology.seed,
        is_reproducible=topology.is_reproducible,
        epoch_ns=_epoch_ns(state, topology.scale),
        scale=topology.scale,
        processes={name: _as_seen_outside(one, places, addresses) for name, one in processes.items()},
        links=links,
    )
    maker = ConfigMaker(
        _with_mosquitto(topology),
        plan,
        addresses,
        in_container,
        state.secret(topology.seed if topology.is_reproducible else None),
        state.desired(),
        clock_source=process_pb2.ClockConfig.SOURCE_REALTIME,
    )
    try:
        for process in processes.values():
            _lay(process, maker.make(process), topology, made_here, places)
        _lay_operator(plan, topology, made_here, places)
    except OSError as error:
        raise StorageError(f"{error.filename or places.volumes}: {error.strerror}") from error
    return plan


def _with_mosquitto(topology: Topology) -> Topology:
    """Return the topology with the broker that its containers have, whichever it asks for."""
    if not topology.has_broker:
        return topology
    return replace(topology, telemetry=replace(topology.telemetry, broker="mosquitto"))


def _addresses(topology: Topology, processes: Mapping[str, ProcessPlan], pool: str | None) -> Addresses:
    ports = service_ports(topology, processes)
    return NamedAddresses(ports) if pool is None else ServiceAddresses(networks(topology, processes, pool), ports)


def _as_seen_outside(plan: ProcessPlan, places: Places, addresses: Addresses) -> ProcessPlan:
    """Return a process with what of it SAEs see."""
    if "https" not in LISTENERS[plan.kind]:
        return plan
    port = places.https_ports.get(plan.name)
    seen = f"{HOST}:{port}" if port else addresses.dialled(listener_key(plan.name, "https"), plan.name)
    return replace(plan, listeners={"https": seen})


def _epoch_ns(state: State, scale: float) -> int:
    """Return when emulated time began, by the clock of the day: it goes on while nothing runs, and never back."""
    record = state.clock()
    now_ns = time.time_ns()
    if record is None:
        record = ClockRecord(boot_id="", epoch_ns=now_ns, scale=scale, reached_ps=0, is_final=True)
        state.write_clock(record)
    elif record.scale != scale:
        # time stands where it stood, and goes on at another pace
        stood_ns = round((now_ns - record.epoch_ns) * record.scale / scale)
        record = replace(record, epoch_ns=now_ns - stood_ns - 1, scale=scale)
        state.write_clock(record)
    return record.epoch_ns


def _lay(
    process: ProcessPlan, config: process_pb2.ProcessConfig, topology: Topology, made: Layout, places: Places
) -> None:
    volume = places.volumes / process.name
    target = volume / config_path(topology.name, process.name).relative_to(HOME)
    root = target.parents[2]
    for folder in (root.parent, root, target.parent.parent, target.parent, target.parent / "state", root / "journals"):
        folder.mkdir(mode=0o700, exist_ok=True)
    for stale in root.glob("ready-*"):
        stale.unlink()
    write_quickly(target, json_format.MessageToJson(config, indent=2).encode())
    for source in _own_files(process, topology, made):
        _copy(source, root / source.relative_to(made.root), root)
    if process.name == BROKER:
        _lay_broker(target.parent / "state", config, made.mqtt_users("mosquitto").read_text())
    _give(volume, places.owner)
    # the last of all: who has waited for it finds the rest
    ready = volume / ready_path(topology.name, topology.digest).relative_to(HOME)
    ready.touch(mode=0o600)
    os.chown(ready, places.owner, places.owner)


def _own_files(process: ProcessPlan, topology: Topology, made: Layout) -> Iterator[Path]:
    kind = KINDS[process.kind]
    yield made.authority
    yield from made.party(kind, process.name).iterdir()
    if process.kind == process_pb2.PROCESS_KIND_NODE:
        yield storage_key_path(topology, made, process.name)
    if topology.has_broker:
        yield made.mqtt_users("mosquitto") if process.name == BROKER else made.mqtt_password(process.name)


def _lay_broker(folder: Path, config: process_pb2.ProcessConfig, users: str) -> None:
    """Write what the mosquitto is told; its paths are those of its container."""
    write_quickly(folder / "access", access_text(config.testbed, usernames_in(users)).encode())
    host, port = rpc.split_address(config.broker.listen)
    text = config_text(
        host,
        port,
        certificate=config.credentials.certificate_path,
        key=config.credentials.key_path,
        authority=config.credentials.authority_path,
        users=config.broker.users_path,
        access=str(Path(config.state_dir) / "access"),
        user="nobody",
        is_mutual=True,
    )
    write_quickly(folder / "mosquitto.conf", text.encode())


def _lay_operator(plan: TestbedPlan, topology: Topology, made: Layout, places: Places) -> None:
    """Give who works at the command line everything that an operator has, and nothing of a process."""
    volume = places.volumes / OPERATOR
    state = State(Layout.beside(volume / "topology.yaml", topology.name))
    state.create()
    write_quickly(volume / "topology.yaml", render(topology).encode())
    write_quickly(state.layout.topology, render(topology).encode())
    state.write_plan(plan)
    sources = [made.authority, *made.party("operator", ADMIN).iterdir()]
    for sae in topology.saes:
        sources += made.party("sae", sae).iterdir()
    if topology.has_broker:
        sources.append(made.mqtt_password(MQTT_OPERATOR))
    for source in sources:
        _copy(source, state.layout.root / source.relative_to(made.root), state.layout.root)


def _copy(source: Path, target: Path, root: Path) -> None:
    for folder in reversed(target.relative_to(root).parents[:-1]):
        (root / folder).mkdir(mode=0o700, exist_ok=True)
    part = target.with_name(target.name + ".part")
    shutil.copyfile(source, part)
    part.chmod(0o600)
    part.replace(target)


def _give(volume: Path, owner: int) -> None:
    os.chown(volume, owner, owner)
    volume.chmod(0o700)
    for folder, names, files in os.walk(volume):
        for name in (*names, *files):
            os.chown(Path(folder) / name, owner, owner, follow_symlinks=False)
