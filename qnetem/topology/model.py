"""qnetem.topology.model: a topology after every default is filled in and every check passed. Pure."""

from __future__ import annotations  # the wire's messages are named in annotations alone, so that import stays cheap

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from qnetem.v1.parameters_pb2 import ClassicalParameters, LinkParameters, ProtocolParameters

__all__ = [
    "ControlPlane",
    "ExternalKme",
    "ExternalKmes",
    "KeyPolicy",
    "KeyService",
    "Link",
    "Node",
    "Placement",
    "Ports",
    "Prefill",
    "Series",
    "Telemetry",
    "Topology",
]

Placement = Literal["link", "group", "one"]


@dataclass(frozen=True, slots=True)
class Ports:
    """Fixed TCP ports of a node's listeners; None: any free one."""

    peer: int | None = None
    management: int | None = None
    https: int | None = None
    metrics: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A network node, one process."""

    name: str
    kind: Literal["endpoint", "trusted-relay"] = "endpoint"
    spawn: Literal["zygote", "exec"] = "zygote"
    ports: Ports = Ports()
    # Of another make: the program that runs instead of ours, with `--config FILE`, in the topology's folder; and the
    # image that containers run instead of ours.
    command: tuple[str, ...] | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """A parameter of a quantum link that follows a table, in lines from point to point."""

    # Of LinkSettings.
    field: str
    # Emulated seconds, ascending, and the value at each.
    at_s: tuple[float, ...]
    values: tuple[float, ...]
    # After the last point it begins again; otherwise the last value holds.
    is_repeating: bool = False


@dataclass(frozen=True, slots=True)
class ExternalKme:
    """A KME of another make, to which a node is an SAE. Paths are as the file gives them."""

    # As host:port.
    address: str
    # The node's own id there.
    sae: str
    ca: str
    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class ExternalKmes:
    """What stands behind a link without a quantum channel: a KME at each end, by node, and how keys are taken."""

    kmes: Mapping[str, ExternalKme]
    key_size_bits: int
    keys_per_block: int


@dataclass(frozen=True, slots=True)
class Link:
    """A quantum link with its classical twin. The messages belong to the topology: copy before changing one."""

    id: str
    # In the order of the file.
    endpoints: tuple[str, str]
    transmitter: str
    receiver: str
    profile: str
    planned: LinkParameters
    protocol: ProtocolParameters
    classical: ClassicalParameters
    environment: str | None = None
    # Over `planned`, under settings; they share their times.
    series: tuple[Series, ...] = ()
    # Set where KMEs of another make give the keys: there is no quantum channel then, and `planned` is empty.
    external: ExternalKmes | None = None

    def peer_of(self, node: str) -> str:
        """Return the other end. Raises ValueError when `node` is no end of this link."""
        first, second = self.endpoints
        if node not in self.endpoints:
            raise ValueError(f"{node} is not an end of link {self.id}")
        return second if node == first else first


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Who controls the testbed. `address` is set for an external one alone."""

    kind: Literal["none", "reference", "external"] = "none"
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where metrics and events go. All but `broker` are of an external one; paths are as the file gives them."""

    broker: Literal["embedded", "mosquitto", "external", "none"] = "embedded"
    address: str | None = None
    ca: str | None = None
    username: str | None = None
    password_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPolicy:
    """What a pair of SAEs may have, in either direction. None: no limit, or as the KME's own rule says."""

    # None: every pair that no other policy names.
    saes: tuple[str, str] | None = None
    min_secret_hz: float | None = None
    max_secret_hz: float | None = None
    burst_bits: int | None = None
    priority: int = 0
    key_lifetime_s: float | None = None
    allowed_relays: tuple[str, ...] | None = None
    mode: Literal["qkd", "hybrid"] = "qkd"
    when_dry: Literal["refuse", "pqc"] = "refuse"


@dataclass(frozen=True, slots=True)
class KeyService:
    """How KMEs serve SAEs, where the standard leaves it open."""

    sae_id_from: Literal["cn", "uri"] = "cn"
    allow_self_association: bool = False


@dataclass(frozen=True, slots=True)
class Prefill:
    """A pool of two nodes that share no link, kept filled over relays: below `low_bits` at an end up to `high_bits`."""

    between: tuple[str, str]
    low_bits: int
    high_bits: int


@dataclass(frozen=True, slots=True)
class AuditFiles:
    """How the audit trails of the nodes are cut into files, and what of them is kept. Host time; None: for ever."""

    segment_bytes: int = 64_000_000
    segment_s: float = 86_400.0
    keep_bytes: int = 1_000_000_000
    keep_s: float | None = None


@dataclass(frozen=True, slots=True)
class Topology:
    """A quantum network, ready to be planned. Mappings keep the order of the file and are read-only."""

    name: str
    seed: int
    # Emulated seconds that pass in one wall second.
    scale: float
    nodes: Mapping[str, Node]
    # By link id.
    links: Mapping[str, Link]
    # SAE id to the node that serves it.
    saes: Mapping[str, str]
    control_plane: ControlPlane
    # Keys follow the run seed (keys: {reproducible: true}).
    is_reproducible: bool
    quantum_placement: Placement
    classical_placement: Placement
    telemetry: Telemetry
    # sha256 in hex of everything but this and the path, however the file writes it.
    digest: str
    # The file it was read from, absolute; None for text and dicts.
    path: Path | None = field(default=None, compare=False)
    policies: tuple[KeyPolicy, ...] = ()
    key_service: KeyService = KeyService()
    # As the file gives it; None: the testbed keeps a storage key for each node.
    storage_key_file: str | None = None
    prefills: tuple[Prefill, ...] = ()
    # Keys that leave a node's neighbourhood go in so many shares over paths without a relay in common.
    share_count: int = 1
    audit: AuditFiles = AuditFiles()

    @property
    def has_broker(self) -> bool:
        """Whether one of the testbed's processes is a broker."""
        return self.telemetry.broker in ("embedded", "mosquitto")

    def path_of(self, name: str) -> Path:
        """Return the path of a file that the topology names: a relative one is beside the topology."""
        return Path(name) if self.path is None else self.path.parent / name

    def links_of(self, node: str) -> Iterator[Link]:
        """Yield the links that end at a node, in the order of the file."""
        return (link for link in self.links.values() if node in link.endpoints)

    def saes_of(self, node: str) -> tuple[str, ...]:
        """Return the ids of the SAEs that a node serves, in the order of the file."""
        return tuple(sae for sae, home in self.saes.items() if home == node)
