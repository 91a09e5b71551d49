"""qnetem.topology.rendering: a topology as a file again, every default filled in. Pure."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from qnetem.topology import fields, series
from qnetem.topology.model import AuditFiles, ExternalKmes, KeyPolicy, Link, Prefill, Topology
from qnetem.topology.policies import POLICY
from qnetem.topology.quantities import FILE_AGE, FILE_SIZE, KEY_SIZE, POOL

__all__ = ["as_file", "render", "to_yaml"]

_WIDTH: Final = 100
_PLAIN: Final = re.compile(r"(?!0[xo])[0-9A-Za-z][0-9A-Za-z_./-]*\Z")
_NUMBER: Final = re.compile(r"[0-9.]+(?:[eE][0-9.]*)?\Z|[0-9]{4}-[0-9]")
# What YAML 1.1 or 1.2 reads as something other than a word.
_NO_WORDS: Final = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan"))


def render(topology: Topology) -> str:
    """Return the file that says everything; parsing it gives a topology of the same digest."""
    return "# Every default filled in.\n" + to_yaml(as_file(topology))


def as_file(topology: Topology) -> dict[str, Any]:
    """Return a topology in the file's shape and units, as `from_dict` takes it."""
    nodes: dict[str, Any] = {}
    for node in topology.nodes.values():
        ports = {key: getattr(node.ports, key) for key in ("peer", "management", "https", "metrics")}
        ports = {key: port for key, port in ports.items() if port is not None}
        make = {"command": list(node.command) if node.command else None, "image": node.image}
        make = {key: value for key, value in make.items() if value is not None}
        nodes[node.name] = {"kind": node.kind, "spawn": node.spawn} | ({"ports": ports} if ports else {}) | make
    control = topology.control_plane
    return {
        "apiVersion": "qnetem/v1",
        "name": topology.name,
        "seed": topology.seed,
        "time": {"scale": topology.scale},
        "topology": {
            "nodes": nodes,
            "links": [_link(link) for link in topology.links.values()],
            "saes": {sae: {"node": node} for sae, node in topology.saes.items()},
            "policies": [_policy(policy) for policy in topology.policies],
        },
        "control_plane": {"kind": control.kind} | ({"address": control.address} if control.address else {}),
        "keys": {
            "reproducible": topology.is_reproducible,
            **asdict(topology.key_service),
            **({"storage_key_file": topology.storage_key_file} if topology.storage_key_file else {}),
            **({"prefill": [_prefill(one) for one in topology.prefills]} if topology.prefills else {}),
            **({"audit": _audit(topology.audit)} if topology.audit != AuditFiles() else {}),
            "shares": topology.share_count,
        },
        "quantum_channel": {"placement": topology.quantum_placement},
        "classical_channel": {"placement": topology.classical_placement},
        "telemetry": {key: value for key, value in asdict(topology.telemetry).items() if value is not None},
    }


def _audit(audit: AuditFiles) -> dict[str, Any]:
    return {
        "segment": FILE_SIZE.render(audit.segment_bytes),
        "segment_age": FILE_AGE.render(audit.segment_s),
        "keep": FILE_SIZE.render(audit.keep_bytes),
        **({} if audit.keep_s is None else {"keep_age": FILE_AGE.render(audit.keep_s)}),
    }


def _prefill(prefill: Prefill) -> dict[str, Any]:
    low, high = (POOL.render(bits) for bits in (prefill.low_bits, prefill.high_bits))
    return {"between": list(prefill.between), "low": low, "high": high}


def _link(link: Link) -> dict[str, Any]:
    if link.external is not None:
        return {
            "endpoints": list(link.endpoints),
            "name": link.id,
            "transmitter": link.transmitter,
            "kind": "external-kme",
            "external": _external(link.external, link.protocol),
            "classical": _part(fields.CLASSICAL, link.classical),
        }
    return {
        "endpoints": list(link.endpoints),
        "name": link.id,
        "transmitter": link.transmitter,
        "profile": link.profile,
        **({"environment": link.environment} if link.environment else {}),
        "quantum": _part(fields.QUANTUM, link.planned),
        "classical": _part(fields.CLASSICAL, link.classical),
        "protocol": _part(fields.PROTOCOL, link.protocol),
        **({"series": series.as_file(link.series)} if link.series else {}),
    }


def _external(external: ExternalKmes, protocol: Any) -> dict[str, Any]:
    return {
        "key_size": KEY_SIZE.render(external.key_size_bits),
        "keys_per_block": external.keys_per_block,
        "pool_high_water": POOL.render(protocol.pool_high_water_bits),
        "kmes": {node: asdict(kme) for node, kme in external.kmes.items()},
    }


def _policy(policy: KeyPolicy) -> dict[str, Any]:
    values: dict[str, Any] = {"saes": None if policy.saes is None else list(policy.saes)}
    for each in POLICY:
        value = getattr(policy, each.wire)
        values[each.key] = None if value is None else each.render(value)
    relays = policy.allowed_relays
    values |= {"priority": policy.priority, "allowed_relays": None if relays is None else list(relays)}
    values |= {"mode": policy.mode, "when_dry": policy.when_dry}
    return {key: value for key, value in values.items() if value is not None}


def _part(table: tuple[fields.Field, ...], message: Any) -> dict[str, Any]:
    return {each.key: each.render(getattr(message, each.wire)) for each in table}


def to_yaml(content: dict[str, Any]) -> str:
    """Return nested dicts, lists and scalars as YAML: short leaves on one line, the rest as a block."""
    return "\n".join(_block(content, 0)) + "\n"


def _block(value: Any, indent: int) -> Iterator[str]:
    """Yield the lines of a mapping or list that is not written in flow style."""
    margin = " " * indent
    if isinstance(value, list):
        for each in value:
            first, *rest = _block(each, indent + 2) if isinstance(each, dict) else [f"{margin}  {_flow(each)}"]
            yield f"{margin}- {first.lstrip()}"
            yield from rest
        return
    for key, each in value.items():
        is_leaf = not any(isinstance(one, dict) for one in (each if isinstance(each, list) else (each,)))
        flow = _flow(each)
        if is_leaf or (len(margin) + len(key) + len(flow) + 2 <= _WIDTH and not (indent == 0 and key == "topology")):
            yield f"{margin}{_flow(key)}: {flow}"
        else:
            yield f"{margin}{_flow(key)}:"
            yield from _block(each, indent + 2)


def _flow(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{_flow(key)}: {_flow(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(_flow(each) for each in value) + "]"
        case bool():
            return "true" if value else "false"
        case float():
            # YAML 1.1 takes 1e-10 for a word; 1.0e-10 is a number to everyone.
            return re.sub(r"^(-?[0-9]+)e", r"\1.0e", repr(value))
        case int():
            return str(value)
    text = str(value)
    is_plain = _PLAIN.match(text) and not _NUMBER.match(text) and text.lower() not in _NO_WORDS
    return text if is_plain else json.dumps(text)
