"""qnetem.testbed.containers.swarm: a testbed as a stack for a swarm, the same bytes every time. Pure.

What differs from a project: addresses are a swarm's own, so that names are dialled; nothing waits for another's end, so
that containers wait for their files; and there are neither profiles nor security options.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from qnetem.testbed.containers.networks import Network, default_pool, networks, refuse_undiallable
from qnetem.testbed.containers.rendering import (
    AS_ROOT,
    FILLING,
    Deployment,
    another_make,
    bounds,
    flow,
    header,
    health,
    hub_networks,
    image,
    ports_text,
    standing_alone,
)
from qnetem.testbed.containers.services import (
    HEARTBEAT_TEST,
    HOME,
    MOSQUITTO,
    MQTT_TEST,
    OPERATOR,
    USER,
    command,
    host_ports,
    limits,
    ready_path,
    refuse_what_cannot_be,
)
from qnetem.testbed.plan import ProcessPlan, planned
from qnetem.topology.model import Topology
from qnetem.v1 import process_pb2

__all__ = ["STACK", "swarm_files"]

STACK: Final = "docker-stack.yml"
_PKI: Final = "pki"
_MARK_DIGITS: Final = 12


def swarm_files(topology: Topology, deployment: Deployment) -> dict[str, str]:
    """Return the files of a stack, by name. The deployment's pool and build context are of no account.

    Raises:
        BadInputError: The topology cannot be carried into containers.
    """
    processes, _ = planned(topology)
    refuse_what_cannot_be(topology, processes)
    refuse_undiallable(processes)
    head = header(topology, deployment.source)
    nets = networks(topology, processes, default_pool(topology.name))
    return {
        STACK: "\n".join((head, *_Stack(topology, processes, nets).lines(), "")),
        "topology.yaml": f"{head}\n{standing_alone(topology, deployment.text)}",
        "credentials/.gitignore": "*\n!.gitignore\n",
    }


class _Stack:
    """The lines of the file, service after service."""

    def __init__(self, topology: Topology, processes: Mapping[str, ProcessPlan], nets: Mapping[str, Network]) -> None:
        self._topology = topology
        self._processes = processes
        self._nets = nets
        self._ports = host_ports(topology)
        self._ready = str(ready_path(topology.name, topology.digest))

    def lines(self) -> Iterator[str]:
        yield 'version: "3.9"'
        yield ""
        yield "x-hardened: &hardened"
        yield "  read_only: true"
        yield "  cap_drop: [ALL]"
        yield "  init: true"
        yield "x-process: &process"
        yield "  <<: *hardened"
        yield f"  image: {image()}"
        yield f'  user: "{USER}:{USER}"'
        yield "  stop_grace_period: 10s"
        yield f"  environment: {{QNETEM_AWAIT: {self._ready}}}"
        yield f"  healthcheck: {health(HEARTBEAT_TEST)}"
        yield ""
        yield "services:"
        yield from self._pki()
        for plan in self._processes.values():
            yield from self._process(plan)
        yield from self._operator()
        yield ""
        yield "networks:"
        for net in self._nets.values():
            yield f"  {net.name}: {{driver: overlay{', internal: true' if net.is_internal else ''}}}"
        yield f"  {_PKI}: {{driver: overlay, internal: true}}"
        yield ""
        yield "volumes:"
        for volume in (*self._processes, OPERATOR, "authority"):
            yield f"  {volume}: {{}}"
        yield ""
        yield "# what a config says never changes: another topology is another config"
        yield "configs:"
        mark = self._topology.digest[:_MARK_DIGITS]
        yield f"  topology: {{name: qnetem-{self._topology.name}-{mark}, file: ./topology.yaml}}"

    def _pki(self) -> Iterator[str]:
        yield "  # makes what is secret, at the first start, and gives each container its own: all on its machine"
        yield f"  {_PKI}:"
        yield "    <<: *hardened"
        yield f"    image: {image()}"
        yield from AS_ROOT
        yield f"    command: {flow(FILLING)}"
        yield f'    environment: {{QNETEM_HTTPS_PORTS: "{ports_text(self._ports)}"}}'
        yield f"    configs: [{{source: topology, target: {HOME}/topology.yaml}}]"
        yield f"    networks: [{_PKI}]"
        yield "    volumes:"
        yield from _in_memory()
        yield f"      - authority:{HOME}/.qnetem"
        for volume in (*self._processes, OPERATOR):
            yield f"      - {volume}:/volumes/{volume}"
        yield "    deploy:"
        # no replicated-job: engines keep its container when the stack goes, and with it all volumes
        yield "      restart_policy: {condition: on-failure, delay: 2s, max_attempts: 5}"
        yield from _placement(_PKI)

    def _process(self, plan: ProcessPlan) -> Iterator[str]:
        words = command(self._topology.name, plan)
        yield f"  {plan.name}:"
        yield "    <<: *process"
        if plan.kind == process_pb2.PROCESS_KIND_BROKER:
            yield f"    image: {MOSQUITTO}"
            waiting = f"until [ -e {self._ready} ]; do sleep 1; done; exec {' '.join(words)}"
            yield f"    entrypoint: {flow(('sh', '-c', waiting))}"
            yield f"    healthcheck: {health(MQTT_TEST)}"
        else:
            yield from another_make(plan, f", QNETEM_AWAIT: {self._ready}")
            yield f"    command: {flow(words)}"
        if plan.kind == process_pb2.PROCESS_KIND_NODE:
            yield f"    ports: [{{target: 8443, published: {self._ports[plan.name]}, mode: host}}]"
        yield "    volumes:"
        yield f"      - {plan.name}:{HOME}"
        yield from _in_memory()
        yield f"    networks: {flow(net.name for net in self._nets.values() if plan.name in net.addresses)}"
        yield "    deploy:"
        yield "      restart_policy: {condition: any, delay: 1s}"
        yield f"      resources: {{limits: {bounds(limits(plan))}}}"
        yield from _placement(plan.name)

    def _operator(self) -> Iterator[str]:
        yield "  # docker exec into it: qnetem VERB ..."
        yield f"  {OPERATOR}:"
        yield "    <<: *hardened"
        yield f"    image: {image()}"
        yield from AS_ROOT
        yield '    entrypoint: ["sleep", "infinity"]'
        yield "    stop_grace_period: 1s"
        yield "    working_dir: /credentials"
        yield f"    environment: {{QNETEM_TOPOLOGY: {HOME}/topology.yaml}}"
        yield "    volumes:"
        yield f"      - {OPERATOR}:{HOME}"
        yield "      - ./credentials:/credentials"
        yield from _in_memory()
        yield f"    networks: {flow(hub_networks(self._topology))}"
        yield "    deploy:"
        yield from _placement(OPERATOR)


def _in_memory() -> Iterator[str]:
    for target in ("/run/qnetem", "/tmp"):  # noqa: S108 (of a container)
        yield f"      - {{type: tmpfs, target: {target}}}"


def _placement(service: str) -> Iterator[str]:
    # a volume stays on its machine, and so has its service to; the machines have no virtual addresses for certain
    on = f"QNETEM_ON_{service.upper().replace('-', '_')}"
    yield "      endpoint_mode: dnsrr"
    yield f'      placement: {{constraints: ["${{{on}:-node.role == manager}}"]}}'
