"""qnetem.testbed.key_configs: what nodes are told of SAEs, policies and how keys are served. Pure."""

from collections.abc import Iterator
from typing import Final

from qnetem.topology.model import ExternalKmes, KeyPolicy, Link, Topology
from qnetem.topology.quantities import STUDY
from qnetem.v1 import process_pb2
from qnetem.v1.process_pb2 import KeyDeliveryConfig, KeyPolicyConfig

__all__ = ["audit_at", "external_kme", "insecure_hops", "key_delivery", "policies_at", "prefills_at"]

_SAE_ID_FROM: Final = {
    "cn": KeyDeliveryConfig.SAE_ID_FROM_COMMON_NAME,
    "uri": KeyDeliveryConfig.SAE_ID_FROM_URI,
}
_MODES: Final = {"qkd": KeyPolicyConfig.MODE_QKD, "hybrid": KeyPolicyConfig.MODE_HYBRID}
_WHEN_DRY: Final = {"refuse": KeyPolicyConfig.WHEN_DRY_REFUSE, "pqc": KeyPolicyConfig.WHEN_DRY_PQC}


def key_delivery(topology: Topology) -> KeyDeliveryConfig:
    """Return how every KME of a testbed serves its SAEs."""
    service = topology.key_service
    return KeyDeliveryConfig(
        sae_id_from=_SAE_ID_FROM[service.sae_id_from], allow_self_association=service.allow_self_association
    )


def policies_at(topology: Topology, node: str) -> Iterator[KeyPolicyConfig]:
    """Yield the policies that a node's KME applies: those that name an SAE of its own, and that of all other pairs."""
    own = set(topology.saes_of(node))
    for policy in topology.policies:
        if policy.saes is None or not own.isdisjoint(policy.saes):
            yield _policy(policy)


def prefills_at(topology: Topology, node: str) -> Iterator[process_pb2.PrefillConfig]:
    """Yield the pools with far nodes that a node keeps filled: each end keeps what it gives itself."""
    for prefill in topology.prefills:
        if node in prefill.between:
            peer = next(other for other in prefill.between if other != node)
            yield process_pb2.PrefillConfig(peer_node=peer, low_bits=prefill.low_bits, high_bits=prefill.high_bits)


def audit_at(topology: Topology) -> process_pb2.AuditConfig:
    """Return how a node cuts and keeps its audit trail."""
    audit = topology.audit
    return process_pb2.AuditConfig(
        segment_bytes=audit.segment_bytes,
        segment_s=audit.segment_s,
        keep_bytes=audit.keep_bytes,
        keep_s=audit.keep_s or 0.0,
    )


def insecure_hops(topology: Topology) -> Iterator[process_pb2.InsecureHop]:
    """Yield the ends of the links that keep keys of a protocol that is not secure."""
    for link in topology.links.values():
        if link.external is None and link.protocol.gives_insecure_keys and link.protocol.protocol in STUDY:
            yield process_pb2.InsecureHop(first_node=link.endpoints[0], second_node=link.endpoints[1])


def external_kme(topology: Topology, link: Link, external: ExternalKmes, node: str) -> process_pb2.ExternalKmeConfig:
    """Return what a node is told of the KME of another make at its end of a link."""
    own, peer = external.kmes[node], external.kmes[link.peer_of(node)]
    return process_pb2.ExternalKmeConfig(
        url=f"https://{own.address}",
        own_sae_id=own.sae,
        peer_sae_id=peer.sae,
        credentials=process_pb2.CredentialPaths(
            certificate_path=str(topology.path_of(own.certificate).absolute()),
            key_path=str(topology.path_of(own.key).absolute()),
            authority_path=str(topology.path_of(own.ca).absolute()),
        ),
        key_size_bits=external.key_size_bits,
        keys_per_block=external.keys_per_block,
    )


def _policy(policy: KeyPolicy) -> KeyPolicyConfig:
    return KeyPolicyConfig(
        sae_ids=policy.saes or (),
        min_secret_hz=policy.min_secret_hz or 0.0,
        max_secret_hz=policy.max_secret_hz or 0.0,
        burst_bits=policy.burst_bits or 0,
        priority=policy.priority,
        key_lifetime_s=policy.key_lifetime_s or 0.0,
        is_relay_bound=policy.allowed_relays is not None,
        allowed_relays=policy.allowed_relays or (),
        mode=_MODES[policy.mode],
        when_dry=_WHEN_DRY[policy.when_dry],
    )
