"""node.context: what the links of one node share. Wiring."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from node.entropy import Entropy
from node.keys.store import KeyStore
from node.qkd.authentication import LinkAuthentication
from qnetem.runtime.process import Process

__all__ = ["NodeContext"]


@dataclass(frozen=True)
class NodeContext:
    """What a link needs of its node.

    Attributes:
        process: Clock, credentials, journal, telemetry, log.
        store: The durable key store.
        entropy: Where seeds come from.
        incarnation: Never goes back within the node's state folder.
        authentications: Tags of the links that have them, by link id.
    """

    process: Process
    store: KeyStore
    entropy: Entropy
    incarnation: int
    authentications: Mapping[str, LinkAuthentication] = field(default_factory=dict)
