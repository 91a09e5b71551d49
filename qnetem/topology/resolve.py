"""qnetem.topology.resolve: from what a file says to what holds. Pure.

Layers of a link, each over the one before: defaults of fields, its profile, its environment, the file's defaults, the
link itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from qnetem.topology import fields
from qnetem.topology.attacks import ATTACKS
from qnetem.topology.contradictions import contradictions
from qnetem.topology.environments import ENVIRONMENTS
from qnetem.topology.errors import Path, Problem
from qnetem.topology.external import EXTERNAL
from qnetem.topology.link_schema import ExternalBlock
from qnetem.topology.markers import Marked, locate
from qnetem.topology.model import (
    AuditFiles,
    ControlPlane,
    ExternalKme,
    ExternalKmes,
    KeyPolicy,
    KeyService,
    Link,
    Node,
    Ports,
    Prefill,
    Series,
    Telemetry,
    Topology,
)
from qnetem.topology.policies import POLICY
from qnetem.topology.profiles import PROFILES
from qnetem.topology.schema import Block, DefaultsBlock, File, LinkBlock, PolicyBlock
from qnetem.topology.words import shown
from qnetem.v1.parameters_pb2 import ClassicalParameters, LinkParameters, ProtocolParameters

__all__ = ["link_problems", "resolved"]

# How keys of an external KME are told to be made.
EXTERNAL_KME: Final = "external-kme"
_DEFAULTS: Final = {
    part: {each.key: each.default for each in table if each.default is not None}
    for part, table in (("quantum", fields.QUANTUM), ("protocol", fields.PROTOCOL))
}
# Group index of standard single-mode fibre at 1550 nm over the speed of light: 4.8974 us/km. Source: PHYSICS 2.
_FIBRE_PS_PER_KM: Final = 1.4682 / 299_792.458 * 1e12


@dataclass(frozen=True, slots=True)
class _Layers:
    """Values of a link by block and key, and where those that the file gives stand in it."""

    profile: str
    environment: str | None
    values: dict[str, dict[str, Any]]
    places: dict[tuple[str, str], Path]


def _layers(link: LinkBlock, defaults: DefaultsBlock, path: Path) -> _Layers:
    """Return a link's merged values. Raises ValueError when they are not complete."""
    name = link.profile or defaults.profile
    if name is None:
        known = ", ".join(PROFILES)
        raise ValueError(f"the link has no profile (its own or topology.defaults.profile; known: {known})")
    profile = PROFILES[name]
    environment = link.environment or defaults.environment
    around = ENVIRONMENTS[environment].quantum if environment else {}
    values: dict[str, dict[str, Any]] = {
        "quantum": {**_DEFAULTS["quantum"], **profile.quantum, **around},
        "protocol": {**_DEFAULTS["protocol"], **profile.protocol},
    }
    values["classical"] = {"jitter": 0, "loss": 0.0}
    places: dict[tuple[str, str], Path] = {}
    for layer, origin in ((defaults, ("topology", "defaults")), (link, path)):
        for part in values:
            block: Block = getattr(layer, part)
            for key, value in block.given().items():
                values[part][key] = value
                places[part, key] = (*origin, part, key)
    for attack, strength in link.eve.given().items():
        key = ATTACKS[attack].field.key
        values["quantum"][key] = strength
        places["quantum", key] = (*path, "eve", attack)
    if "length" not in values["quantum"]:
        raise ValueError("the link has no length (its own quantum.length or that of topology.defaults)")
    values["protocol"].setdefault("train_blocks", profile.train_blocks(values["quantum"]["clock"]))
    values["classical"].setdefault("delay", round(values["quantum"]["length"] * _FIBRE_PS_PER_KM))
    return _Layers(name, environment, values, places)


def link_problems(link: LinkBlock, defaults: DefaultsBlock, path: Path, tree: Marked) -> Iterator[Problem]:
    """Yield what is missing from a link, and which of its values contradict each other after merging."""
    if link.external is not None:
        yield from _external_problems(link, path, tree)
        return
    try:
        layers = _layers(link, defaults, path)
    except ValueError as error:
        yield Problem(*locate(tree, path), str(error), path)
        return
    for part, keys, text in contradictions(layers.values["quantum"], layers.values["protocol"]):
        where = next((layers.places[part, key] for key in keys if (part, key) in layers.places), path)
        yield Problem(*locate(tree, where), f"{keys[0]}: {text}", where[:-1] if where != path else path)


def _external_problems(link: LinkBlock, path: Path, tree: Marked) -> Iterator[Problem]:
    kmes = link.external.kmes if link.external is not None else {}
    where = (*path, "external", "kmes")
    for node in link.endpoints:
        if node not in kmes:
            yield Problem(*locate(tree, where), f"kmes: none is given for {shown(node)}", (*path, "external"))
    for node in kmes:
        if node not in link.endpoints:
            text = f"kmes: {shown(node)} is no end of this link"
            yield Problem(*locate(tree, (*where, node), is_key=True), text, (*path, "external"))


def resolved(file: File, series: Mapping[int, tuple[Series, ...]] | None = None, digest: str = "") -> Topology:
    """Return the topology of a file that has no problems; `series` are those of its links, by their index."""
    network = file.topology
    links: dict[str, Link] = {}
    for index, block in enumerate(network.links):
        link = _link(block, network.defaults, ("topology", "links", index), (series or {}).get(index, ()))
        links[link.id] = link
    nodes: dict[str, Node] = {}
    for name, node in network.nodes.items():
        chosen = network.defaults.node.given() | node.given()
        ports = Ports(**node.ports.given())
        command = tuple(node.command) if node.command is not None else None
        if command is not None:
            chosen["spawn"] = "exec"
        make = chosen.get("kind", "endpoint"), chosen.get("spawn", "zygote")
        nodes[name] = Node(name, *make, ports, command, node.image)
    return Topology(
        name=file.name,
        seed=file.seed,
        scale=file.time.scale,
        nodes=MappingProxyType(nodes),
        links=MappingProxyType(links),
        saes=MappingProxyType({sae: body.node for sae, body in network.saes.items()}),
        control_plane=ControlPlane(file.control_plane.kind, file.control_plane.address),
        is_reproducible=file.keys.reproducible,
        quantum_placement=file.quantum_channel.placement,
        classical_placement=file.classical_channel.placement,
        telemetry=Telemetry(**file.telemetry.given()),
        digest=digest,
        policies=tuple(_policy(block) for block in network.policies),
        key_service=KeyService(file.keys.sae_id_from, file.keys.allow_self_association),
        storage_key_file=file.keys.storage_key_file,
        prefills=tuple(Prefill((one.between[0], one.between[1]), one.low, one.high) for one in file.keys.prefill),
        share_count=file.keys.shares,
        audit=AuditFiles(
            file.keys.audit.segment, file.keys.audit.segment_age, file.keys.audit.keep, file.keys.audit.keep_age
        ),
    )


def _policy(block: PolicyBlock) -> KeyPolicy:
    return KeyPolicy(
        saes=None if block.saes is None else (block.saes[0], block.saes[1]),
        priority=block.priority,
        allowed_relays=None if block.allowed_relays is None else tuple(block.allowed_relays),
        mode=block.mode,
        when_dry=block.when_dry,
        **{each.wire: getattr(block, each.key) for each in POLICY},
    )


def _external_link(block: LinkBlock, defaults: DefaultsBlock, external: ExternalBlock) -> Link:
    first, second = block.endpoints
    transmitter = block.transmitter or first
    classical = {"delay": 0, "jitter": 0, "loss": 0.0} | defaults.classical.given() | block.classical.given()
    sizes = _wire(EXTERNAL, {each.key: each.default for each in EXTERNAL} | external.given())
    kmes = {node: ExternalKme(**kme.given()) for node, kme in external.kmes.items()}
    return Link(
        id=block.name or f"{first}-{second}",
        endpoints=(first, second),
        transmitter=transmitter,
        receiver=second if transmitter == first else first,
        profile="",
        planned=LinkParameters(),
        protocol=ProtocolParameters(protocol=EXTERNAL_KME, pool_high_water_bits=sizes["pool_high_water_bits"]),
        classical=ClassicalParameters(**_wire(fields.CLASSICAL, classical)),
        external=ExternalKmes(MappingProxyType(kmes), sizes["key_size_bits"], external.keys_per_block),
    )


def _link(block: LinkBlock, defaults: DefaultsBlock, path: Path, series: tuple[Series, ...]) -> Link:
    if block.external is not None:
        return _external_link(block, defaults, block.external)
    layers = _layers(block, defaults, path)
    first, second = block.endpoints
    transmitter = block.transmitter or first
    values = layers.values
    return Link(
        id=block.name or f"{first}-{second}",
        endpoints=(first, second),
        transmitter=transmitter,
        receiver=second if transmitter == first else first,
        profile=layers.profile,
        planned=LinkParameters(**_wire(fields.QUANTUM, values["quantum"])),
        protocol=ProtocolParameters(**_wire(fields.PROTOCOL, values["protocol"])),
        classical=ClassicalParameters(**_wire(fields.CLASSICAL, values["classical"])),
        environment=layers.environment,
        series=series,
    )


def _wire(table: tuple[fields.Field, ...], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by their names on the wire."""
    return {each.wire: values[each.key] for each in table}
