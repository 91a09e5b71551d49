"""qnetem.testbed.configs: what each process is told, and nothing that belongs to another. Pure."""

from dataclasses import dataclass, field

from qnetem.runtime import identity, rng
from qnetem.testbed.addresses import LISTENERS, Addresses, broker_key, listener_key, path_key
from qnetem.testbed.desired import Desired, apply
from qnetem.testbed.key_configs import audit_at, external_kme, insecure_hops, key_delivery, policies_at, prefills_at
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import BROKER, CONTROLLER, KINDS, ProcessPlan, TestbedPlan
from qnetem.testbed.storage_keys import storage_key_path
from qnetem.topology.model import Link, Topology
from qnetem.v1 import process_pb2
from qnetem.v1.parameters_pb2 import ParameterSeries

__all__ = ["ConfigMaker"]


@dataclass(frozen=True)
class ConfigMaker:
    """Makes the ProcessConfig of each process of a plan."""

    topology: Topology
    plan: TestbedPlan
    addresses: Addresses
    layout: Layout
    testbed_secret: bytes = field(repr=False)
    desired: Desired
    # absolute path of the mosquitto to run as the broker
    broker_program: str = ""
    # what emulated time is counted by
    clock_source: process_pb2.ClockConfig.Source.ValueType = process_pb2.ClockConfig.SOURCE_MONOTONIC

    def make(self, process: ProcessPlan) -> process_pb2.ProcessConfig:
        """Return what a process is told."""
        config = process_pb2.ProcessConfig(
            testbed=self.topology.name,
            name=process.name,
            kind=process_pb2.ProcessKind.ValueType(process.kind),
            state_dir=str(self.layout.state(process.name)),
            journal_path=str(self.layout.journal(process.name)),
            credentials=self.layout.credentials(KINDS[process.kind], process.name),
            clock=process_pb2.ClockConfig(epoch_ns=self.plan.epoch_ns, scale=self.plan.scale, source=self.clock_source),
            listeners=process_pb2.Listeners(
                **{one: self.addresses.bound(listener_key(process.name, one)) for one in LISTENERS[process.kind]}
            ),
        )
        if self.topology.telemetry.broker != "none" and process.name != BROKER:
            config.telemetry.CopyFrom(self._telemetry(process.name))
        links = [self.topology.links[link] for link in process.links]
        match process.kind:
            case process_pb2.PROCESS_KIND_NODE:
                self._fill_node(config.node, process.name, links)
            case process_pb2.PROCESS_KIND_QUANTUM_CHANNEL:
                config.quantum_channel.links.extend(self._quantum_link(link) for link in links)
                apply(self.desired, config)
            case process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL:
                for link in links:
                    config.classical_channel.paths.extend(
                        self._path(process.name, link, node) for node in link.endpoints
                    )
                apply(self.desired, config)
            case process_pb2.PROCESS_KIND_CONTROL_PLANE:
                config.control_plane.nodes.extend(self.topology.nodes)
            case process_pb2.PROCESS_KIND_BROKER:
                config.broker.listen = self.addresses.bound(broker_key(process.name))
                config.broker.users_path = str(self.layout.mqtt_users(self.topology.telemetry.broker))
                config.broker.program = self.broker_program
        return config

    def _telemetry(self, name: str) -> process_pb2.TelemetryConfig:
        telemetry = self.topology.telemetry
        if telemetry.broker != "external":
            host, _, port = self.addresses.dialled(broker_key(BROKER), name).rpartition(":")
            return process_pb2.TelemetryConfig(
                host=host,
                port=int(port),
                username=name,
                password_path=str(self.layout.mqtt_password(name)),
            )
        host, _, port = (telemetry.address or "").rpartition(":")
        paths = {"authority_path": telemetry.ca, "password_path": telemetry.password_file}
        return process_pb2.TelemetryConfig(
            host=host.strip("[]"),
            port=int(port),
            username=telemetry.username or "",
            **{key: str(self.topology.path_of(path)) for key, path in paths.items() if path is not None},
        )

    def _device_secret(self, link: Link, node: str) -> bytes:
        return rng.device_secret(self.testbed_secret, link.id, node)

    def _nature_secret(self, link: Link) -> bytes:
        return rng.nature_secret(self.topology.seed, self.topology.name, link.id)

    def _fill_node(self, config: process_pb2.NodeConfig, name: str, links: list[Link]) -> None:
        config.https_credentials.CopyFrom(self.layout.credentials("node", name, "https-"))
        config.links.extend(self._node_link(link, name) for link in links)
        config.sae_ids.extend(self.topology.saes_of(name))
        config.sae_places.extend(
            process_pb2.SaePlace(sae_id=sae, node=node) for sae, node in self.topology.saes.items()
        )
        config.key_delivery.CopyFrom(key_delivery(self.topology))
        config.audit.CopyFrom(audit_at(self.topology))
        config.is_relay = self.topology.nodes[name].kind == "trusted-relay"
        peers = {link.peer_of(name) for link in links}
        config.relay_nodes.extend(sorted(p for p in peers if self.topology.nodes[p].kind == "trusted-relay"))
        config.insecure_hops.extend(insecure_hops(self.topology))
        config.prefills.extend(prefills_at(self.topology, name))
        config.share_count = self.topology.share_count
        address = self._controller_address(name)
        if address is not None:
            config.controller.address = address
            config.controller.target = identity.dns_name(self.topology.name, "controller", CONTROLLER)
            config.controller.uri = identity.uri(self.topology.name, "controller", CONTROLLER)
        config.policies.extend(policies_at(self.topology, name))
        config.storage_key_path = str(storage_key_path(self.topology, self.layout, name))
        if self.topology.is_reproducible:
            config.reproducible_secret = rng.derive_secret(self.testbed_secret, "node", name)

    def _controller_address(self, node: str) -> str | None:
        if self.topology.control_plane.kind == "reference":
            return self.addresses.dialled(listener_key(CONTROLLER, "management"), node)
        return self.topology.control_plane.address

    def _node_link(self, link: Link, node: str) -> process_pb2.NodeLinkConfig:
        testbed, peer, place = self.topology.name, link.peer_of(node), self.plan.links[link.id]
        is_transmitter = node == link.transmitter
        config = process_pb2.NodeLinkConfig(
            link_id=link.id,
            role=process_pb2.LINK_ROLE_TRANSMITTER if is_transmitter else process_pb2.LINK_ROLE_RECEIVER,
            peer_node=peer,
            peer=process_pb2.PartyAddress(
                address=self.addresses.dialled(path_key(place.classical_channel, link.id, node), node),
                target=identity.dns_name(testbed, "node", peer),
                uri=identity.uri(testbed, "node", peer),
            ),
            protocol=link.protocol,
        )
        if link.external is not None:
            config.external_kme.CopyFrom(external_kme(self.topology, link, link.external, node))
            return config
        config.quantum_channel.CopyFrom(
            process_pb2.PartyAddress(
                address=self.addresses.dialled(listener_key(place.quantum_channel, "peer"), node),
                target=identity.dns_name(testbed, "quantum-channel", place.quantum_channel),
                uri=identity.uri(testbed, "quantum-channel", place.quantum_channel),
            )
        )
        config.device_secret = self._device_secret(link, node)
        config.authentication_secret = rng.derive_secret(self.testbed_secret, "authentication", link.id)
        config.planned.CopyFrom(link.planned)
        return config

    def _quantum_link(self, link: Link) -> process_pb2.QuantumLinkConfig:
        return process_pb2.QuantumLinkConfig(
            link_id=link.id,
            transmitter_uri=identity.uri(self.topology.name, "node", link.transmitter),
            receiver_uri=identity.uri(self.topology.name, "node", link.receiver),
            transmitter_secret=self._device_secret(link, link.transmitter),
            receiver_secret=self._device_secret(link, link.receiver),
            nature_secret=self._nature_secret(link),
            planned=link.planned,
            series=[
                ParameterSeries(field=one.field, at_s=one.at_s, values=one.values, is_repeating=one.is_repeating)
                for one in link.series
            ],
        )

    def _path(self, process: str, link: Link, from_node: str) -> process_pb2.ClassicalPathConfig:
        to_node = link.peer_of(from_node)
        return process_pb2.ClassicalPathConfig(
            link_id=link.id,
            from_node=from_node,
            to_node=to_node,
            listen=self.addresses.bound(path_key(process, link.id, from_node)),
            forward_to=self.addresses.dialled(listener_key(to_node, "peer"), process),
            planned=link.classical,
            nature_secret=self._nature_secret(link),
        )
