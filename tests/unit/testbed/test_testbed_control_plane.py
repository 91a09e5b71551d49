"""What a topology's control plane, relays and pools make of a testbed: processes, credentials, configurations."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qnetem.runtime import identity
from qnetem.testbed.addresses import LocalAddresses, port_wishes, with_listeners
from qnetem.testbed.configs import ConfigMaker
from qnetem.testbed.credentials import make_missing
from qnetem.testbed.desired import Desired
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import CONTROLLER, TestbedPlan, planned
from qnetem.topology.model import Topology
from qnetem.topology.reader import from_dict
from qnetem.topology.rendering import as_file
from qnetem.v1 import process_pb2


def configs_of(topology: Topology) -> dict[str, process_pb2.ProcessConfig]:
    processes, links = planned(topology)
    ports = {wish.key: 20000 + index for index, wish in enumerate(port_wishes(topology, processes))}
    plan = TestbedPlan(
        topology.name, "/t.yaml", topology.digest, topology.seed, topology.is_reproducible, 123, topology.scale,
        with_listeners(processes, ports), links,
    )  # fmt: skip
    maker = ConfigMaker(topology, plan, LocalAddresses(ports), Layout(Path("/state")), bytes(32), Desired())
    return {name: maker.make(process) for name, process in plan.processes.items()}


def test_the_reference_controller_is_a_process_that_every_node_is_told_of(topology_of: Callable[..., Topology]) -> None:
    configs = configs_of(topology_of(3, control_plane={"kind": "reference"}))
    controller = configs[CONTROLLER]
    assert controller.kind == process_pb2.PROCESS_KIND_CONTROL_PLANE
    assert list(controller.control_plane.nodes) == ["n0", "n1", "n2"]
    for node in ("n0", "n1", "n2"):
        told = configs[node].node.controller
        assert told.address == controller.listeners.management
        assert told.target == identity.dns_name("ring", "controller", CONTROLLER)
        assert told.uri == "spiffe://ring/controller/controller"


def test_a_controller_of_another_make_is_dialled_and_gets_credentials(
    topology_of: Callable[..., Topology], tmp_path: Path
) -> None:
    topology = topology_of(2, control_plane={"kind": "external", "address": "sdn.example:50051"})
    configs = configs_of(topology)
    assert CONTROLLER not in configs
    assert configs["n0"].node.controller.address == "sdn.example:50051"
    layout = Layout(tmp_path)
    layout.pki.mkdir(mode=0o700)
    make_missing(layout, topology, planned(topology)[0])
    assert Path(layout.credentials("controller", CONTROLLER).key_path).stat().st_mode & 0o777 == 0o600


def test_without_a_control_plane_nobody_is_told_of_one(topology_of: Callable[..., Topology]) -> None:
    configs = configs_of(topology_of(2))
    assert CONTROLLER not in configs
    assert not any(config.node.HasField("controller") for config in configs.values())


def with_relay(**keys: Any) -> Topology:
    return from_dict(
        {
            "apiVersion": "qnetem/v1",
            "name": "lab",
            "topology": {
                "defaults": {"profile": "decoy-bb84-1ghz-apd", "quantum": {"length": "25km"}},
                "nodes": {"a": {}, "b": {"kind": "trusted-relay"}, "c": {}},
                "links": [{"endpoints": ["a", "b"]}, {"endpoints": ["b", "c"]}],
            },
            "keys": keys,
        }
    )


def test_trusted_relays_relay_and_endpoints_do_not() -> None:
    configs = configs_of(with_relay())
    assert [configs[node].node.is_relay for node in "abc"] == [False, True, False]
    assert [list(configs[node].node.relay_nodes) for node in "abc"] == [["b"], [], ["b"]]
    assert [configs[node].node.share_count for node in "abc"] == [1, 1, 1]
    assert not any(configs[node].node.prefills for node in "abc")


def test_both_ends_of_a_pool_keep_it_filled() -> None:
    topology = with_relay(prefill=[{"between": ["a", "c"], "low": "2kbit", "high": "8kbit"}], shares=2)
    configs = configs_of(topology)
    expected = {"a": "c", "b": "", "c": "a"}
    for node, peer in expected.items():
        told = [(one.peer_node, one.low_bits, one.high_bits) for one in configs[node].node.prefills]
        assert told == ([(peer, 2000, 8000)] if peer else [])
        assert configs[node].node.share_count == 2
    again = from_dict(as_file(topology))
    assert again.digest == topology.digest
    assert again.digest != with_relay(shares=2).digest


def test_no_node_goes_by_the_controllers_name(topology_of: Callable[..., Topology]) -> None:
    file = as_file(topology_of(2))
    file["topology"]["nodes"]["controller"] = {}
    with pytest.raises(Exception, match="'controller' is the name of one of the testbed's own processes"):
        from_dict(file)
