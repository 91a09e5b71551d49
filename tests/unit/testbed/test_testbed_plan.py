"""From a topology to processes: who carries which link, under which name, and at which ports."""

import json
from collections.abc import Callable

import pytest

from qnetem.runtime.errors import BadInputError
from qnetem.testbed.addresses import port_wishes, with_listeners
from qnetem.testbed.plan import GROUP_LINKS, TestbedPlan, planned
from qnetem.topology import Topology
from qnetem.v1 import process_pb2

TopologyOf = Callable[..., Topology]


def test_by_default_each_link_has_a_quantum_channel_and_all_share_one_classical(topology_of: TopologyOf) -> None:
    processes, links = planned(topology_of(3))
    assert list(processes) == ["broker", "cc", "qc-n0-n1", "qc-n1-n2", "qc-n2-n0", "n0", "n1", "n2"]
    assert links["n1-n2"].quantum_channel == "qc-n1-n2"
    assert {link.classical_channel for link in links.values()} == {"cc"}
    assert processes["cc"].links == ("n0-n1", "n1-n2", "n2-n0")
    assert processes["n1"].links == ("n0-n1", "n1-n2")


@pytest.mark.parametrize(
    ("placement", "names"),
    [("one", ["qc"]), ("group", ["qc-group-1", "qc-group-2"]), ("link", [f"qc-n{n}-n{(n + 1) % 9}" for n in range(9)])],
)
def test_quantum_channels_are_placed_as_the_topology_says(
    topology_of: TopologyOf, placement: str, names: list[str]
) -> None:
    processes, links = planned(topology_of(9, quantum_channel={"placement": placement}))
    carriers = [one for one in processes.values() if one.kind == process_pb2.PROCESS_KIND_QUANTUM_CHANNEL]
    assert [one.name for one in carriers] == names
    assert sorted(link for one in carriers for link in one.links) == sorted(links)
    assert all(len(one.links) <= GROUP_LINKS for one in carriers if placement == "group")


def test_without_telemetry_there_is_no_broker(topology_of: TopologyOf) -> None:
    processes, _ = planned(topology_of(2, telemetry={"broker": "none"}))
    assert "broker" not in processes


def test_a_node_alone_needs_no_channel(topology_of: TopologyOf) -> None:
    assert list(planned(topology_of(1))[0]) == ["broker", "n0"]


def test_a_program_of_another_make_replaces_one_process(topology_of: TopologyOf) -> None:
    processes, _ = planned(topology_of(2), commands={"n1": ["their-node", "-v"]})
    assert processes["n1"].command == ("their-node", "-v")
    assert processes["n0"].command is None
    with pytest.raises(BadInputError, match="a command is given for n7, which is no process of ring"):
        planned(topology_of(2), commands={"n7": ["their-node"]})


def test_every_listener_and_every_direction_of_a_path_has_a_port(topology_of: TopologyOf) -> None:
    topology = topology_of(2)
    processes, _ = planned(topology)
    keys = [wish.key for wish in port_wishes(topology, processes)]
    assert keys == [
        *("broker/metrics", "broker/mqtt"),
        *("cc/management", "cc/metrics", "cc/n0-n1/n0", "cc/n0-n1/n1"),
        *("qc-n0-n1/peer", "qc-n0-n1/management", "qc-n0-n1/metrics"),
        *("n0/peer", "n0/management", "n0/https", "n0/metrics"),
        *("n1/peer", "n1/management", "n1/https", "n1/metrics"),
    ]
    ports = {key: 20000 + index for index, key in enumerate(keys)}
    assert with_listeners(processes, ports)["n0"].listeners["https"] == "127.0.0.1:20011"


def test_a_port_that_the_topology_fixes_is_wished_for_as_such(topology_of: TopologyOf) -> None:
    topology = topology_of(
        2,
        topology={
            "defaults": {"profile": "decoy-bb84-1ghz-apd", "quantum": {"length": "1km"}},
            "nodes": {"n0": {"ports": {"https": 8443}}, "n1": {}},
            "links": [{"endpoints": ["n0", "n1"]}],
        },
    )
    wishes = {wish.key: wish.fixed for wish in port_wishes(topology, planned(topology)[0])}
    assert wishes["n0/https"] == 8443
    assert wishes["n0/peer"] is None


def test_a_plan_survives_being_text(topology_of: TopologyOf) -> None:
    processes, links = planned(topology_of(3), commands={"n1": ["their-node"]})
    ports = {wish.key: 20000 + i for i, wish in enumerate(port_wishes(topology_of(3), processes))}
    plan = TestbedPlan("ring", "/t.yaml", "digest", 42, False, 5, 0.5, with_listeners(processes, ports), links)
    assert TestbedPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize("values", [{}, [], {"processes": {"a": {}}, "links": {}}, {"processes": {}, "links": {}}])
def test_a_plan_of_another_version_is_refused(values: object) -> None:
    with pytest.raises(BadInputError, match="not a plan of this version"):
        TestbedPlan.from_json(values)  # type: ignore[arg-type]
