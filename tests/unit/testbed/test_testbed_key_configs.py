"""What a node is told of policies is what the topology says, and the node reads it as such."""

from typing import Any

import pytest

from node.keys.audit_config import audit_limits_of
from node.keys.audit_files import AuditLimits
from node.keys.policy import DEFAULT_POLICY, KeyMode, Policy, WhenDry
from node.keys.policy_config import policies_of
from node.keys.records import INSECURE
from node.qkd.protocols import PROTOCOLS
from qnetem.runtime.errors import BadInputError
from qnetem.testbed.key_configs import audit_at, insecure_hops, key_delivery, policies_at
from qnetem.topology import from_dict, parse, render
from qnetem.topology.quantities import STUDY
from qnetem.v1.process_pb2 import KeyDeliveryConfig, KeyPolicyConfig

PAIR = {
    "saes": ["app-2", "app-1"],
    "min_rate": "1kbit/s",
    "max_rate": "2kbit/s",
    "burst": "4kbit",
    "priority": 7,
    "key_lifetime": "10min",
    "allowed_relays": [],
    "mode": "hybrid",
    "when_dry": "pqc",
}


def topology(**keys: Any) -> Any:
    return from_dict(
        {
            "apiVersion": "qnetem/v1",
            "name": "lab",
            "topology": {
                "nodes": {"alice": {}, "bob": {}, "carol": {}},
                "saes": {"app-1": {"node": "alice"}, "app-2": {"node": "bob"}, "app-3": {"node": "carol"}},
                "policies": [PAIR, {"allowed_relays": ["bob"]}],
            },
            "keys": keys,
        }
    )


def test_a_policy_goes_to_the_kmes_of_its_saes_and_means_the_same_there() -> None:
    lab = topology()
    at_alice, at_carol = (policies_of(policies_at(lab, node)) for node in ("alice", "carol"))
    assert at_alice.of("app-1", "app-2") == Policy(
        name="app-1/app-2",
        min_secret_hz=1000.0,
        max_secret_hz=2000.0,
        burst_bits=4000,
        priority=7,
        key_lifetime_s=600.0,
        allowed_relays=frozenset(),
        mode=KeyMode.HYBRID,
        when_dry=WhenDry.PQC,
    )
    others = Policy(allowed_relays=frozenset({"bob"}))
    assert at_alice.of("app-1", "app-3") == at_carol.of("app-1", "app-2") == others
    assert policies_of([]).of("app-1", "app-2") == DEFAULT_POLICY


def test_the_switches_of_delivery_are_told() -> None:
    told = key_delivery(topology(sae_id_from="uri", allow_self_association=True))
    assert (told.sae_id_from, told.allow_self_association) == (KeyDeliveryConfig.SAE_ID_FROM_URI, True)
    assert key_delivery(topology()).sae_id_from == KeyDeliveryConfig.SAE_ID_FROM_COMMON_NAME


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"sae_ids": ["a"]}, "names no pair"),
        ({"sae_ids": ["a", "b"], "max_secret_hz": -1}, "max_secret_hz is -1.0"),
        ({"sae_ids": ["a", "b"], "key_lifetime_s": float("nan")}, "key_lifetime_s is nan"),
        ({"sae_ids": ["a", "b"], "min_secret_hz": 2, "max_secret_hz": 1}, "is above 1.0"),
        ({"min_secret_hz": 2}, "for a pair alone"),
        ({"mode": 9}, "mode 9"),
    ],
)
def test_a_node_refuses_a_policy_that_cannot_be(config: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInputError, match=why):
        policies_of([KeyPolicyConfig(**config)])
    with pytest.raises(BadInputError, match="2 policies are for all pairs"):
        policies_of([KeyPolicyConfig(), KeyPolicyConfig()])


def test_how_audit_trails_are_cut_is_what_the_topology_says() -> None:
    assert audit_limits_of(audit_at(topology())) == AuditLimits()
    lab = topology(audit={"segment": "20kB", "segment_age": "1h", "keep": "2MB", "keep_age": "30d"})
    assert audit_limits_of(audit_at(lab)) == AuditLimits(20_000, 3600.0, 2_000_000, 30 * 86_400.0)
    assert parse(render(lab)).audit == lab.audit
    assert topology(audit={"segment": "64MB"}).digest == topology().digest != lab.digest


def test_hops_that_keep_keys_of_a_protocol_for_study_are_told_to_all() -> None:
    def lab(protocol: str, kept: str) -> Any:
        link = {
            "endpoints": ["alice", "bob"],
            "profile": "decoy-bb84-1ghz-snspd",
            "quantum": {"length": "25km"},
            "protocol": {"protocol": protocol, "insecure_keys": kept},
        }
        return from_dict(
            {"apiVersion": "qnetem/v1", "name": "lab", "topology": {"nodes": {"alice": {}, "bob": {}}, "links": [link]}}
        )

    [hop] = insecure_hops(lab("bb84-asymptotic", "give"))
    assert (hop.first_node, hop.second_node) == ("alice", "bob")
    for protocol, kept in (("bb84-asymptotic", "forget"), ("bb84-one-decoy", "give")):
        assert list(insecure_hops(lab(protocol, kept))) == []


def test_the_protocols_for_study_are_those_whose_blocks_are_marked() -> None:
    assert {name: one.block_suffix for name, one in PROTOCOLS.items()} == {
        name: INSECURE if name in STUDY else "" for name in PROTOCOLS
    }
    assert set(PROTOCOLS) > STUDY
