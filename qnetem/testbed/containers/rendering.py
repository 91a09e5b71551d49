"""qnetem.testbed.containers.rendering: a testbed as a file for docker compose, the same bytes every time. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from qnetem import __version__
from qnetem.testbed.containers.networks import CARRIERS, Network, networks
from qnetem.testbed.containers.services import (
    HEARTBEAT,
    HEARTBEAT_TEST,
    HOME,
    MOSQUITTO,
    MQTT_TEST,
    OPERATOR,
    USER,
    Limits,
    command,
    entrypoint,
    host_ports,
    limits,
    refuse_what_cannot_be,
)
from qnetem.testbed.plan import BROKER, ProcessPlan, planned
from qnetem.topology.model import Topology
from qnetem.topology.rendering import render
from qnetem.v1 import process_pb2

__all__ = [
    "AS_ROOT",
    "FILLING",
    "Deployment",
    "another_make",
    "bounds",
    "compose_files",
    "flow",
    "header",
    "health",
    "hub_networks",
    "image",
    "ports_text",
    "standing_alone",
]

# fills the volumes
FILLING: Final = ("python", "-m", "qnetem.testbed.containers", "--owner", str(USER))
# who gives files to others
AS_ROOT: Final = ('    user: "0:0"', "    cap_add: [CHOWN, DAC_OVERRIDE, FOWNER]")
_PROMETHEUS: Final = "prom/prometheus:latest"


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where and how a testbed is to be deployed.

    Attributes:
        pool: IPv4 network that all subnets are cut from.
        source: Name of the topology file, for the header.
        text: What that file says.
        build_context: Where the image is built from, relative to the compose file; None: it is there, or pulled.
    """

    pool: str
    source: str
    text: str
    build_context: str | None = None


def compose_files(topology: Topology, deployment: Deployment) -> dict[str, str]:
    """Return the files of a compose project, by name.

    Raises:
        BadInputError: The topology cannot be carried into containers, or its subnets do not fit.
    """
    processes, _ = planned(topology)
    refuse_what_cannot_be(topology, processes)
    nets = networks(topology, processes, deployment.pool)
    head = header(topology, deployment.source)
    text = _Compose(topology, processes, nets, deployment).text()
    return {
        "docker-compose.yml": f"{head}\n{text}",
        "topology.yaml": f"{head}\n{standing_alone(topology, deployment.text)}",
        "prometheus.yml": f"{head}\n{_prometheus(processes, nets)}",
        "credentials/.gitignore": "*\n!.gitignore\n",
    }


def header(topology: Topology, source: str) -> str:
    """Return the first line of each file: what made it, and of what."""
    return f"# Made by qnetem {__version__} from {source} (digest {topology.digest}). Do not edit."


def standing_alone(topology: Topology, text: str) -> str:
    """Return a file that says the same and names no other: the topology's own, where it can."""
    has_tables = any(link.series for link in topology.links.values())
    return render(topology) if has_tables else text


class _Compose:
    """The lines of the file, service after service."""

    def __init__(
        self,
        topology: Topology,
        processes: Mapping[str, ProcessPlan],
        nets: Mapping[str, Network],
        deployment: Deployment,
    ) -> None:
        self._topology = topology
        self._processes = processes
        self._nets = nets
        self._deployment = deployment
        self._ports = host_ports(topology)

    def text(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        name = self._topology.name
        yield f"name: qnetem-{name}"
        yield ""
        yield from _HARDENED.splitlines()
        yield "x-process: &process"
        yield "  <<: *hardened"
        yield f"  image: {image()}"
        yield f'  user: "{USER}:{USER}"'
        yield "  init: true"
        yield "  restart: unless-stopped"
        yield "  stop_grace_period: 10s"
        yield "  depends_on: {pki: {condition: service_completed_successfully}}"
        yield f"  healthcheck: {health(HEARTBEAT_TEST)}"
        yield ""
        yield "services:"
        yield from self._pki()
        for plan in self._processes.values():
            yield from self._broker(plan) if plan.kind == process_pb2.PROCESS_KIND_BROKER else self._process(plan)
        yield from self._operator()
        yield from self._prometheus()
        yield ""
        yield "networks:"
        for net in self._nets.values():
            yield f"  {net.name}:"
            if net.is_internal:
                yield "    internal: true"
            yield f'    ipam: {{config: [{{subnet: "{net.subnet}", ip_range: "{net.dynamic}"}}]}}'
        yield ""
        yield "volumes:"
        for volume in (*self._processes, OPERATOR, "authority"):
            yield f"  {volume}: {{}}"

    def _pki(self) -> Iterator[str]:
        yield "  # makes what is secret, at the first start, and gives each container its own"
        yield "  pki:"
        yield "    <<: *hardened"
        yield f"    image: {image()}"
        if self._deployment.build_context is not None:
            yield f"    build: {{context: {self._deployment.build_context}, dockerfile: compose/Dockerfile}}"
        yield from AS_ROOT
        yield "    network_mode: none"
        yield '    restart: "no"'
        yield f"    command: {flow(FILLING)}"
        told = f'QNETEM_POOL: "{self._deployment.pool}", QNETEM_HTTPS_PORTS: "{ports_text(self._ports)}"'
        yield f"    environment: {{{told}}}"
        yield "    volumes:"
        yield f"      - ./topology.yaml:{HOME}/topology.yaml:ro"
        yield f"      - authority:{HOME}/.qnetem"
        for volume in (*self._processes, OPERATOR):
            yield f"      - {volume}:/volumes/{volume}"

    def _process(self, plan: ProcessPlan) -> Iterator[str]:
        yield f"  {plan.name}:"
        yield "    <<: *process"
        yield from another_make(plan)
        yield f"    command: {flow(command(self._topology.name, plan))}"
        if plan.kind == process_pb2.PROCESS_KIND_NODE:
            yield f'    ports: ["127.0.0.1:{self._ports[plan.name]}:8443"]'
        yield from self._common(plan.name, limits(plan))

    def _broker(self, plan: ProcessPlan) -> Iterator[str]:
        yield f"  {plan.name}:"
        yield "    <<: *process"
        yield f"    image: {MOSQUITTO}"
        yield f"    entrypoint: {flow(command(self._topology.name, plan))}"
        yield f"    healthcheck: {health(MQTT_TEST)}"
        yield from self._common(plan.name, limits(plan))

    def _common(self, name: str, limit: Limits) -> Iterator[str]:
        yield f"    volumes: [{name}:{HOME}]"
        yield "    networks:"
        for net in self._nets.values():
            if name in net.addresses:
                yield f"      {net.name}: {{ipv4_address: {net.addresses[name]}}}"
        yield f"    deploy: {{resources: {{limits: {bounds(limit)}}}}}"

    def _operator(self) -> Iterator[str]:
        yield "  # docker compose run --rm operator VERB ...: the command line, where it reaches everybody"
        yield "  operator:"
        yield "    <<: *hardened"
        yield f"    image: {image()}"
        yield "    profiles: [operator]"
        yield from AS_ROOT
        yield "    init: true"
        yield "    entrypoint: [qnetem]"
        yield "    working_dir: /credentials"
        yield f"    environment: {{QNETEM_TOPOLOGY: {HOME}/topology.yaml}}"
        yield f"    volumes: [operator:{HOME}, ./credentials:/credentials]"
        yield f"    networks: {flow(hub_networks(self._topology))}"

    def _prometheus(self) -> Iterator[str]:
        yield "  prometheus:"
        yield "    <<: *hardened"
        yield f"    image: {_PROMETHEUS}"
        yield "    profiles: [prometheus]"
        yield '    user: "65534:65534"'
        yield "    restart: unless-stopped"
        yield '    ports: ["127.0.0.1:9090:9090"]'
        yield "    volumes: [./prometheus.yml:/etc/prometheus/prometheus.yml:ro]"
        yield '    tmpfs: ["/prometheus:uid=65534,gid=65534,mode=0700"]'
        yield f"    networks: {flow(hub_networks(self._topology))}"


_HARDENED: Final = """\
x-hardened: &hardened
  read_only: true
  cap_drop: [ALL]
  security_opt: ["no-new-privileges:true"]
  tmpfs: ["/run/qnetem:uid=10001,gid=10001,mode=0700", "/tmp:mode=1777"]"""


def image() -> str:
    """Return what ours run in: of this version, or what the environment says."""
    return f"${{QNETEM_IMAGE:-qnetem:{__version__}}}"


def another_make(plan: ProcessPlan, told: str = "") -> Iterator[str]:
    """Yield the lines that put an image of another make in the place of ours; `told`: what its environment says too."""
    if plan.image is not None:
        yield f"    image: {plan.image}"
        if words := entrypoint(plan):
            yield f"    entrypoint: {flow(words)}"
        # what our image says by itself
        yield f"    environment: {{QNETEM_HEARTBEAT: {HEARTBEAT}{told}}}"


def health(test: str) -> str:
    """Return the health check that runs a line of a shell."""
    escaped = test.replace("$", "$$")
    return f'{{test: ["CMD-SHELL", "{escaped}"], interval: 3s, timeout: 5s, retries: 3, start_period: 60s}}'


def hub_networks(topology: Topology) -> Sequence[str]:
    """Return the networks of who reaches everybody."""
    return [CARRIERS, *(f"{node}-management" for node in topology.nodes)]


def bounds(most: Limits) -> str:
    """Return limits in one line."""
    return f'{{cpus: "{most.cpus:g}", memory: {most.memory}, pids: {most.pids}}}'


def ports_text(ports: Mapping[str, int]) -> str:
    """Return ports by node, as who fills volumes reads them."""
    return ",".join(f"{node}={port}" for node, port in ports.items())


def flow(words: Iterable[str]) -> str:
    """Return words as a list in one line."""
    return json.dumps(list(words))


def _prometheus(processes: Mapping[str, ProcessPlan], nets: Mapping[str, Network]) -> str:
    targets = []
    for plan in processes.values():
        if plan.name == BROKER:
            continue  # a mosquitto tells its figures under $SYS
        is_node = plan.kind == process_pb2.PROCESS_KIND_NODE
        net = nets[f"{plan.name}-management" if is_node else CARRIERS]
        targets.append(f'      - {{targets: ["{net.addresses[plan.name]}:9100"], labels: {{process: {plan.name}}}}}')
    return "\n".join(
        (
            "global: {scrape_interval: 5s}",
            "scrape_configs:",
            "  - job_name: qnetem",
            "    static_configs:",
            *targets,
            "",
        )
    )
