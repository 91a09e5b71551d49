"""qnetem.topology.resolve: from what a file says to what holds. Pure.

Layers of a link, each over the one before: its profile, the file's defaults, the link itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from qnetem.topology import fields
from qnetem.topology.errors import Path, Problem
from qnetem.topology.markers import Marked, locate
from qnetem.topology.model import ControlPlane, Link, Node, Ports, Telemetry, Topology
from qnetem.topology.profiles import PROFILES
from qnetem.topology.schema import Block, DefaultsBlock, File, LinkBlock
from qnetem.v1.parameters_pb2 import ClassicalParameters, LinkParameters, ProtocolParameters

__all__ = ["PROTOCOL_NAME", "link_problems", "resolved"]

PROTOCOL_NAME: Final = "bb84-one-decoy"
_INTENSITIES: Final = 2
# Group index of standard single-mode fibre at 1550 nm over the speed of light: 4.8974 us/km. Source: PHYSICS 2.
_FIBRE_PS_PER_KM: Final = 1.4682 / 299_792.458 * 1e12


@dataclass(frozen=True, slots=True)
class _Layers:
    """Values of a link by block and key, and where those that the file gives stand in it."""

    profile: str
    values: dict[str, dict[str, Any]]
    places: dict[tuple[str, str], Path]


def _layers(link: LinkBlock, defaults: DefaultsBlock, path: Path) -> _Layers:
    """Return a link's merged values. Raises ValueError when they are not complete."""
    name = link.profile or defaults.profile
    if name is None:
        known = ", ".join(PROFILES)
        raise ValueError(f"the link has no profile (its own or topology.defaults.profile; known: {known})")
    profile = PROFILES[name]
    values: dict[str, dict[str, Any]] = {"quantum": dict(profile.quantum), "protocol": dict(profile.protocol)}
    values["classical"] = {"jitter": 0, "loss": 0.0}
    places: dict[tuple[str, str], Path] = {}
    for layer, origin in ((defaults, ("topology", "defaults")), (link, path)):
        for part in values:
            block: Block = getattr(layer, part)
            for key, value in block.given().items():
                values[part][key] = value
                places[part, key] = (*origin, part, key)
    if "length" not in values["quantum"]:
        raise ValueError("the link has no length (its own quantum.length or that of topology.defaults)")
    values["protocol"].setdefault("train_blocks", profile.train_blocks(values["quantum"]["clock"]))
    values["classical"].setdefault("delay", round(values["quantum"]["length"] * _FIBRE_PS_PER_KM))
    return _Layers(name, values, places)


def link_problems(link: LinkBlock, defaults: DefaultsBlock, path: Path, tree: Marked) -> Iterator[Problem]:
    """Yield what is missing from a link, and which of its values contradict each other after merging."""
    try:
        layers = _layers(link, defaults, path)
    except ValueError as error:
        yield Problem(*locate(tree, path), str(error), path)
        return
    for part, keys, text in _contradictions(layers.values["quantum"], layers.values["protocol"]):
        where = next((layers.places[part, key] for key in keys if (part, key) in layers.places), path)
        yield Problem(*locate(tree, where), f"{keys[0]}: {text}", where[:-1] if where != path else path)


def _contradictions(
    quantum: Mapping[str, Any], protocol: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[str, str], str]]:
    """Yield the block, the two keys and the text of each pair of values that cannot hold together."""
    count, probs_count = len(quantum["intensities"]), len(quantum["intensity_probabilities"])
    if count != _INTENSITIES:
        text = f"{PROTOCOL_NAME} needs {_INTENSITIES} of them, got {count}"
        yield "quantum", ("intensities", "intensity_probabilities"), text
    elif probs_count != count:
        text = f"one is due for each of the {count} intensities, got {probs_count}"
        yield "quantum", ("intensity_probabilities", "intensities"), text
    if quantum["dark_counts"] > quantum["clock"]:
        dark, clock = (_rendered(key, quantum[key]) for key in ("dark_counts", "clock"))
        yield "quantum", ("dark_counts", "clock"), f"{dark} is more than one in each period of the clock ({clock})"
    if quantum["afterpulse_probability"] > 0 and quantum["afterpulse_time"] == 0:
        text = "must be above 0ps where afterpulse_probability is above 0"
        yield "quantum", ("afterpulse_time", "afterpulse_probability"), text
    degraded, abort = protocol["qber_degraded"], protocol["qber_abort"]
    if degraded >= abort:
        yield "protocol", ("qber_degraded", "qber_abort"), f"{degraded} must be below qber_abort ({abort})"


def _rendered(key: str, value: float) -> str | float:
    return next(each for each in fields.QUANTUM if each.key == key).quantity.render(value)


def resolved(file: File, digest: str = "") -> Topology:
    """Return the topology of a file that has no problems."""
    network = file.topology
    links: dict[str, Link] = {}
    for index, block in enumerate(network.links):
        link = _link(block, network.defaults, ("topology", "links", index))
        links[link.id] = link
    nodes: dict[str, Node] = {}
    for name, node in network.nodes.items():
        chosen = network.defaults.node.given() | node.given()
        ports = Ports(**node.ports.given())
        nodes[name] = Node(name, chosen.get("kind", "endpoint"), chosen.get("spawn", "zygote"), ports)
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
    )


def _link(block: LinkBlock, defaults: DefaultsBlock, path: Path) -> Link:
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
        protocol=ProtocolParameters(protocol=PROTOCOL_NAME, **_wire(fields.PROTOCOL, values["protocol"])),
        classical=ClassicalParameters(**_wire(fields.CLASSICAL, values["classical"])),
    )


def _wire(table: tuple[fields.Field, ...], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by their names on the wire."""
    return {each.wire: values[each.key] for each in table}
