"""qnetem.topology.schema: the shape of a topology file as pydantic models. Pure.

Importing this imports pydantic (0.1 s): only the reader does, when it reads.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from qnetem.topology import quantities
from qnetem.topology.link_schema import (
    Address,
    Block,
    ClassicalBlock,
    EnvironmentName,
    FileName,
    ImageName,
    Label,
    LinkBlock,
    Placement,
    Port,
    ProfileName,
    ProtocolBlock,
    QuantumBlock,
    Username,
    Word,
    block_of,
)
from qnetem.topology.policies import POLICY, policy_contradiction
from qnetem.topology.quantities import POOL

__all__ = ["Block", "DefaultsBlock", "File", "LinkBlock"]


class TimeBlock(Block):
    """How emulated time passes."""

    scale: Annotated[float, PlainValidator(quantities.SCALE.parse), WithJsonSchema(quantities.SCALE.schema())] = Field(
        default=1.0, description="Emulated seconds that pass in one second of the host."
    )


class PortsBlock(Block):
    """Fixed TCP ports of a node's listeners; any free port where none is given."""

    peer: Port | None = Field(default=None, description="Other nodes.")
    management: Port | None = Field(default=None, description="Operators.")
    https: Port | None = Field(default=None, description="SAEs, over ETSI GS QKD 014.")
    metrics: Port | None = Field(default=None, description="Prometheus.")

    @model_validator(mode="after")
    def _distinct(self) -> "PortsBlock":
        ports = [port for port in self.given().values() if port is not None]
        twice = next((port for port in ports if ports.count(port) > 1), None)
        if twice is not None:
            raise ValueError(f"two listeners cannot share port {twice}")
        return self


class NodeDefaultsBlock(Block):
    """What holds for every node that does not say otherwise."""

    kind: Literal["endpoint", "trusted-relay"] = Field(default="endpoint", description="What the node is for.")
    spawn: Literal["zygote", "exec"] = Field(default="zygote", description="Forked from a warm process, or cold.")


class NodeBlock(NodeDefaultsBlock):
    """A network node."""

    ports: PortsBlock = Field(default_factory=PortsBlock, description="Fixed ports of its listeners.")
    command: Annotated[list[Word], Field(min_length=1)] | None = Field(
        default=None, description="A program of another make, run with `--config FILE` in the topology's folder."
    )
    image: ImageName | None = Field(default=None, description="Of another make: what containers run instead of ours.")

    @model_validator(mode="after")
    def _one_make(self) -> "NodeBlock":
        if self.command is not None and self.given().get("spawn") == "zygote":
            raise ValueError("spawn: a command is executed, never forked from the zygote")
        return self


class DefaultsBlock(Block):
    """What holds for every node and link that does not say otherwise."""

    profile: ProfileName | None = Field(default=None, description="Devices of the links.")
    environment: EnvironmentName | None = Field(default=None, description="Where the links lie.")
    quantum: QuantumBlock = Field(default_factory=QuantumBlock, description="Over the profile, under the link's own.")
    classical: ClassicalBlock = Field(default_factory=ClassicalBlock, description="Under the link's own.")
    protocol: ProtocolBlock = Field(default_factory=ProtocolBlock, description="As quantum.")
    node: NodeDefaultsBlock = Field(default_factory=NodeDefaultsBlock, description="Under the node's own.")


class SaeBlock(Block):
    """A client of keys."""

    node: Label = Field(description="The node that serves it.")


class _PolicyBase(Block):
    saes: Annotated[list[Label], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="The pair; every pair that no other policy names if absent."
    )
    priority: Annotated[int, Field(ge=0, le=255)] = Field(
        default=0, description="Pairs of a higher one are not held back by the min_rate of this one."
    )
    allowed_relays: list[Label] | None = Field(default=None, description="Nodes that may relay its keys; [] for none.")
    mode: Literal["qkd", "hybrid"] = Field(default="qkd", description="What its keys are made of.")
    when_dry: Literal["refuse", "pqc"] = Field(default="refuse", description="What is given when the pool is dry.")

    @model_validator(mode="after")
    def _fits(self) -> "_PolicyBase":
        why = policy_contradiction(self.given())
        if why:
            raise ValueError(why)
        return self


if TYPE_CHECKING:

    class PolicyBlock(_PolicyBase): ...

else:
    PolicyBlock = block_of("PolicyBlock", "What a pair of SAEs may have, in either direction.", POLICY, _PolicyBase)


class TopologyBlock(Block):
    """The network."""

    defaults: DefaultsBlock = Field(default_factory=DefaultsBlock, description="What holds where nothing else is said.")
    nodes: Annotated[dict[Label, NodeBlock], Field(min_length=1)] = Field(description="Network nodes by name.")
    links: list[LinkBlock] = Field(default=[], description="Quantum links.")
    saes: dict[Label, SaeBlock] = Field(default={}, description="Clients of keys by SAE id.")
    policies: list[PolicyBlock] = Field(default=[], description="What pairs of SAEs may have.")


class ControlPlaneBlock(Block):
    """Who controls the testbed."""

    kind: Literal["none", "reference", "external"] = Field(default="none", description="The controller's kind.")
    address: Address | None = Field(default=None, description="Where an external controller listens, host:port.")

    @model_validator(mode="after")
    def _addressed(self) -> "ControlPlaneBlock":
        if (self.kind == "external") != (self.address is not None):
            raise ValueError("an external control plane needs an address, and no other has one")
        return self


class PrefillBlock(Block):
    """A pool that is kept filled over relays."""

    between: Annotated[list[Label], Field(min_length=2, max_length=2)] = Field(description="Two nodes.")
    low: Annotated[int, PlainValidator(POOL.parse), WithJsonSchema(POOL.schema())] = Field(
        default=4_000, description="Bits at an end below which it is filled."
    )
    high: Annotated[int, PlainValidator(POOL.parse), WithJsonSchema(POOL.schema())] = Field(
        default=16_000, description="Bits up to which it is filled."
    )

    @model_validator(mode="after")
    def _rising(self) -> "PrefillBlock":
        if self.low >= self.high:
            raise ValueError(f"low: {self.low} bits must be below high ({self.high} bits)")
        return self


_FileSize = Annotated[int, PlainValidator(quantities.FILE_SIZE.parse), WithJsonSchema(quantities.FILE_SIZE.schema())]
_FileAge = Annotated[float, PlainValidator(quantities.FILE_AGE.parse), WithJsonSchema(quantities.FILE_AGE.schema())]


class AuditBlock(Block):
    """How audit trails are cut into files, and what of them is kept. Host time."""

    segment: _FileSize = Field(default=64_000_000, description="A file that has grown to this is closed.")
    segment_age: _FileAge = Field(default=86_400.0, description="So is one whose first entry is so old.")
    keep: _FileSize = Field(default=1_000_000_000, description="The oldest files go while all are larger together.")
    keep_age: _FileAge | None = Field(default=None, description="And those whose last entry is older; none: never.")

    @model_validator(mode="after")
    def _holds(self) -> "AuditBlock":
        if self.keep < self.segment:
            raise ValueError(f"keep: {self.keep} bytes must be at least a segment ({self.segment} bytes)")
        return self


class KeysBlock(Block):
    """What the keys are made from."""

    reproducible: bool = Field(default=False, description="Keys follow the seed: for tests alone, never for secrets.")
    sae_id_from: Literal["cn", "uri"] = Field(
        default="cn", description="What in a client certificate is the SAE's id: the common name, or the URI."
    )
    allow_self_association: bool = Field(default=False, description="An SAE may share keys with itself.")
    storage_key_file: FileName | None = Field(
        default=None, description="The key that keys at rest are sealed under; none: the testbed keeps one per node."
    )
    audit: AuditBlock = Field(default_factory=AuditBlock, description="The audit trails of the nodes.")
    prefill: list[PrefillBlock] = Field(default=[], description="Pools of far nodes that are kept filled.")
    shares: Annotated[int, Field(ge=1, le=8)] = Field(
        default=1, description="Relayed keys go in so many shares over paths without a relay in common."
    )


class QuantumChannelBlock(Block):
    """How quantum links are laid on processes."""

    placement: Placement = Field(default="link", description="A process per link, per eight links, or one.")


class ClassicalChannelBlock(Block):
    """How classical links are laid on processes."""

    placement: Placement = Field(default="one", description="A process per link, per eight links, or one.")


class TelemetryBlock(Block):
    """Where metrics and events go."""

    broker: Literal["embedded", "mosquitto", "external", "none"] = Field(
        default="embedded", description="The testbed's own MQTT broker, a mosquitto that it runs, another's, or none."
    )
    address: Address | None = Field(default=None, description="Where an external broker listens, host:port.")
    ca: FileName | None = Field(default=None, description="Certificates (PEM) that an external broker's descends from.")
    username: Username | None = Field(default=None, description="Who publishes there.")
    password_file: FileName | None = Field(default=None, description="A file that holds the password.")

    @model_validator(mode="after")
    def _addressed(self) -> "TelemetryBlock":
        is_external = self.broker == "external"
        if is_external and (self.address is None or self.ca is None):
            raise ValueError("an external broker needs an address and a ca")
        given = next((key for key, value in self.given().items() if key != "broker" and value is not None), None)
        if not is_external and given is not None:
            raise ValueError(f"{given} is for an external broker alone")
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file are given together or not at all")
        return self


class File(Block):
    """A topology file of qnetem."""

    apiVersion: Literal["qnetem/v1"] = Field(description="The version of this format.")  # noqa: N815 (the file's key)
    name: Label = Field(description="The testbed's name.")
    seed: Annotated[int, Field(ge=0, lt=2**64)] = Field(default=0, description="Seed of loss, noise and jitter.")
    time: TimeBlock = Field(default_factory=TimeBlock, description="How emulated time passes.")
    topology: TopologyBlock = Field(description="The network.")
    control_plane: ControlPlaneBlock = Field(default_factory=ControlPlaneBlock, description="Who controls the testbed.")
    keys: KeysBlock = Field(default_factory=KeysBlock, description="What the keys are made from.")
    quantum_channel: QuantumChannelBlock = Field(
        default_factory=QuantumChannelBlock, description="How quantum links are laid on processes."
    )
    classical_channel: ClassicalChannelBlock = Field(
        default_factory=ClassicalChannelBlock, description="How classical links are laid on processes."
    )
    telemetry: TelemetryBlock = Field(default_factory=TelemetryBlock, description="Where metrics and events go.")
