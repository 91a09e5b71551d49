"""node.keys.sae_service: what a node serves to its SAEs, as its configuration says. Wiring."""

from contextlib import AbstractAsyncContextManager
from typing import Final

from node.keys.agreement import AgreementDesk
from node.keys.directory import Directory
from node.keys.etsi004 import KeyStreams
from node.keys.etsi014 import SaeIdSource, serve_etsi014
from node.keys.etsi014_request import DeliveryLimits
from node.keys.hybrid_keys import HybridKeys
from node.keys.key_delivery import KeyDelivery
from node.keys.policy_config import policies_of
from node.keys.relaying import Relaying
from node.keys.store import KeyStore
from qnetem.runtime.clock import PS_PER_S
from qnetem.runtime.errors import BadInputError
from qnetem.runtime.process import Process
from qnetem.v1.process_pb2 import KeyDeliveryConfig

__all__ = ["serve_saes"]

_SAE_ID_FROM: Final[dict[int, SaeIdSource]] = {
    KeyDeliveryConfig.SAE_ID_FROM_UNSPECIFIED: "cn",
    KeyDeliveryConfig.SAE_ID_FROM_COMMON_NAME: "cn",
    KeyDeliveryConfig.SAE_ID_FROM_URI: "uri",
}


def serve_saes(
    process: Process,
    store: KeyStore,
    relaying: Relaying,
    directory: Directory,
    hybrid: HybridKeys,
    desk: AgreementDesk,
) -> AbstractAsyncContextManager[int]:
    """Serve the SAEs of this node at its HTTPS listener while the block runs; yields the port.

    Raises:
        BadInputError: A policy or a switch of the configuration is out of range.
    """
    config = process.config.node
    switches = config.key_delivery
    if switches.sae_id_from not in _SAE_ID_FROM:
        raise BadInputError(f"sae_id_from {switches.sae_id_from} is not known")
    limits = DeliveryLimits(allow_self_association=switches.allow_self_association)

    def emulated_s() -> float:
        return process.clock.now_ps() / PS_PER_S

    policies = policies_of(config.policies)
    delivery = KeyDelivery(store, relaying.exchange, directory, limits, policies, emulated_s, hybrid)
    streams = KeyStreams(store, delivery, relaying.courier, desk, emulated_s)
    address, source = process.config.listeners.https, _SAE_ID_FROM[switches.sae_id_from]
    return serve_etsi014(address, config.https_credentials, delivery, source, streams)
