"""What each process is told: whom it dials, whom it expects there, and its own secrets alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from qnetem.runtime import rng
from qnetem.testbed.addresses import LocalAddresses, path_key, port_wishes, with_listeners
from qnetem.testbed.configs import ConfigMaker
from qnetem.testbed.desired import Desired
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import TestbedPlan, planned
from qnetem.topology import Topology
from qnetem.topology.model import Series
from qnetem.v1 import process_pb2
from qnetem.v1.parameters_pb2 import ClassicalSettings, LinkSettings

SECRET = bytes(range(16))
DESIRED = Desired({"n0-n1": LinkSettings(extra_loss_db=3)}, {"n1-n2": ClassicalSettings(is_up=False)})


@dataclass
class Made:
    topology: Topology
    ports: dict[str, int]
    configs: dict[str, process_pb2.ProcessConfig]


@pytest.fixture
def made(topology_of: Callable[..., Topology]) -> Made:
    return make(topology_of(3))


def make(topology: Topology) -> Made:
    processes, links = planned(topology)
    ports = {wish.key: 20000 + index for index, wish in enumerate(port_wishes(topology, processes))}
    plan = TestbedPlan(
        topology.name, "/t.yaml", topology.digest, topology.seed, topology.is_reproducible, 123, topology.scale,
        with_listeners(processes, ports), links,
    )  # fmt: skip
    maker = ConfigMaker(topology, plan, LocalAddresses(ports), Layout(Path("/state")), SECRET, DESIRED)
    return Made(topology, ports, {name: maker.make(process) for name, process in plan.processes.items()})


def secrets_in(config: process_pb2.ProcessConfig) -> Iterator[bytes]:
    """Yield every secret of a configuration, wherever it stands."""
    for link in config.node.links:
        yield from (link.device_secret, link.authentication_secret)
    for channel in config.quantum_channel.links:
        yield from (channel.transmitter_secret, channel.receiver_secret, channel.nature_secret)
    for path in config.classical_channel.paths:
        yield path.nature_secret
    if config.node.reproducible_secret:
        yield config.node.reproducible_secret


def test_a_node_dials_its_peer_through_the_classical_channel_and_expects_the_peer_there(made: Made) -> None:
    link = made.configs["n0"].node.links[0]
    assert link.peer_node == "n1"
    assert link.peer.address == f"127.0.0.1:{made.ports[path_key('cc', 'n0-n1', 'n0')]}"
    assert link.peer.target == "n1.node.ring.qnetem.internal"
    assert link.peer.uri == "spiffe://ring/node/n1"
    path = next(p for p in made.configs["cc"].classical_channel.paths if p.listen == link.peer.address)
    assert (path.from_node, path.to_node) == ("n0", "n1")
    assert path.forward_to == made.configs["n1"].listeners.peer


def test_no_two_nodes_know_an_address_of_each_other(made: Made) -> None:
    for name, config in made.configs.items():
        if config.kind == process_pb2.PROCESS_KIND_NODE:
            others = [made.configs[n].listeners for n in ("n0", "n1", "n2") if n != name]
            text = str(config)
            assert not any(address in text for other in others for address in (other.peer, other.https))


def test_both_ends_dial_the_quantum_channel_of_their_link_directly(made: Made) -> None:
    channel = made.configs["qc-n0-n1"]
    ends = [next(one for one in made.configs[node].node.links if one.link_id == "n0-n1") for node in ("n0", "n1")]
    assert {end.quantum_channel.address for end in ends} == {channel.listeners.peer}
    assert {end.quantum_channel.uri for end in ends} == {"spiffe://ring/quantum-channel/qc-n0-n1"}
    assert {end.role for end in ends} == {process_pb2.LINK_ROLE_TRANSMITTER, process_pb2.LINK_ROLE_RECEIVER}
    config = channel.quantum_channel.links[0]
    assert (config.transmitter_uri, config.receiver_uri) == ("spiffe://ring/node/n0", "spiffe://ring/node/n1")


def test_each_process_gets_only_its_own_secrets(made: Made) -> None:
    shared = {link: rng.derive_secret(SECRET, "authentication", link) for link in made.topology.links}
    assert list(secrets_in(made.configs["n0"])) == [
        *(rng.device_secret(SECRET, "n0-n1", "n0"), shared["n0-n1"]),
        *(rng.device_secret(SECRET, "n2-n0", "n0"), shared["n2-n0"]),
    ]
    for link_id, secret in shared.items():
        holders = {name for name, config in made.configs.items() if secret in secrets_in(config)}
        assert holders == set(made.topology.links[link_id].endpoints), "a link authenticates by what its ends have"
    link = made.configs["qc-n0-n1"].quantum_channel.links[0]
    assert link.transmitter_secret == rng.device_secret(SECRET, "n0-n1", "n0")
    assert link.receiver_secret == rng.device_secret(SECRET, "n0-n1", "n1")
    assert link.nature_secret == rng.nature_secret(42, "ring", "n0-n1")
    devices = {
        rng.device_secret(SECRET, link.id, node) for link in made.topology.links.values() for node in link.endpoints
    }
    assert len(devices) == 6
    assert not devices & set(secrets_in(made.configs["cc"])), "the classical channel plays no device"
    assert not list(secrets_in(made.configs["broker"]))
    for config in made.configs.values():
        assert SECRET not in secrets_in(config)
        assert SECRET not in config.SerializeToString()


def test_keys_are_reproducible_only_when_that_is_asked_for(topology_of: Callable[..., Topology]) -> None:
    plain = make(topology_of(2)).configs["n0"].node
    assert plain.reproducible_secret == b""
    asked = make(topology_of(2, keys={"reproducible": True})).configs
    assert asked["n0"].node.reproducible_secret == rng.derive_secret(SECRET, "node", "n0")
    assert asked["n0"].node.reproducible_secret != asked["n1"].node.reproducible_secret


def test_settings_in_force_are_in_the_configurations_of_the_channels(made: Made) -> None:
    assert made.configs["qc-n0-n1"].quantum_channel.links[0].settings == LinkSettings(extra_loss_db=3)
    assert not made.configs["qc-n1-n2"].quantum_channel.links[0].HasField("settings")
    settings = {(p.link_id, p.from_node): p.settings for p in made.configs["cc"].classical_channel.paths}
    assert settings["n1-n2", "n1"] == settings["n1-n2", "n2"] == ClassicalSettings(is_up=False)
    assert settings["n0-n1", "n0"] == ClassicalSettings()


def test_tables_in_time_reach_the_quantum_channel_and_nobody_else(topology_of: Callable[..., Topology]) -> None:
    topology = topology_of(3)
    table = Series("extra_loss_db", (0.0, 10.0), (0.0, 3.0), is_repeating=True)
    links = {**topology.links, "n0-n1": replace(topology.links["n0-n1"], series=(table,))}
    configs = make(replace(topology, links=links)).configs
    (told,) = configs["qc-n0-n1"].quantum_channel.links[0].series
    assert (told.field, list(told.at_s), list(told.values), told.is_repeating) == (
        "extra_loss_db",
        [0, 10],
        [0, 3],
        True,
    )
    others = [name for name in configs if name != "qc-n0-n1"]
    assert not [name for name in others if "extra_loss_db" in str(configs[name])]


def test_saes_are_known_where_they_are_and_findable_everywhere(made: Made) -> None:
    assert list(made.configs["n0"].node.sae_ids) == ["app-1"]
    assert not made.configs["n2"].node.sae_ids
    for node in ("n0", "n1", "n2"):
        places = {place.sae_id: place.node for place in made.configs[node].node.sae_places}
        assert places == {"app-1": "n0", "app-2": "n1"}


def test_every_party_publishes_with_its_own_password_and_the_broker_does_not(made: Made) -> None:
    broker = made.configs["broker"]
    assert not broker.HasField("telemetry")
    assert broker.broker.listen == f"127.0.0.1:{made.ports['broker/mqtt']}"
    usernames = {config.telemetry.username for name, config in made.configs.items() if name != "broker"}
    assert usernames == set(made.configs) - {"broker"}
    assert len({c.telemetry.password_path for n, c in made.configs.items() if n != "broker"}) == len(usernames)


def test_all_share_one_clock_and_nothing_else_of_the_state(made: Made) -> None:
    assert {config.clock.epoch_ns for config in made.configs.values()} == {123}
    assert len({config.state_dir for config in made.configs.values()}) == len(made.configs)
    assert len({config.credentials.key_path for config in made.configs.values()}) == len(made.configs)
    assert made.configs["n0"].node.https_credentials.key_path != made.configs["n0"].credentials.key_path
