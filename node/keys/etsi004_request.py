"""node.keys.etsi004_request: ETSI GS QKD 004 calls as values: statuses, QoS and its negotiation, bodies. Pure.

Source: ETSI GS QKD 004 V2.1.1, clause 6; where it is silent, and how it goes over HTTPS, docs/etsi004.md.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import IntEnum
from typing import Any, Final

from node.keys.etsi014_request import INSECURE_EXTENSION, RequestError, json_object
from node.keys.records import is_key_id

__all__ = [
    "MAX_INDEX",
    "METADATA_TYPE",
    "ChunkRequest",
    "OpenRequest",
    "Qos",
    "QosLimits",
    "Status",
    "chunk_body",
    "close_from_body",
    "get_key_from_body",
    "metadata_of",
    "negotiated",
    "open_body",
    "open_from_body",
]

METADATA_TYPE: Final = "application/json"
MAX_INDEX: Final = (1 << 32) - 1
_NAMES: Final = {
    "Key_chunk_size": "key_chunk_size_bytes",
    "Max_bps": "max_bps",
    "Min_bps": "min_bps",
    "Jitter": "jitter_bps",
    "Priority": "priority",
    "Timeout": "timeout_ms",
    "TTL": "ttl_s",
    "Metadata_mimetype": "metadata_mimetype",
}


class Status(IntEnum):
    """What a call came to, by the standard's numbers."""

    SUCCESSFUL = 0
    PEER_NOT_CONNECTED = 1
    INSUFFICIENT_KEY = 2
    PEER_NOT_YET_CONNECTED = 3
    NO_QKD_CONNECTION = 4
    STREAM_IN_USE = 5
    TIMEOUT = 6
    QOS_NOT_MET = 7
    METADATA_SIZE = 8


@dataclass(frozen=True, slots=True)
class Qos:
    """Quality of service of a stream; 0 or "": nothing is asked for, or no limit."""

    key_chunk_size_bytes: int = 0
    max_bps: int = 0
    min_bps: int = 0
    jitter_bps: int = 0
    priority: int = 0
    timeout_ms: int = 0
    ttl_s: int = 0
    metadata_mimetype: str = ""


@dataclass(frozen=True, slots=True)
class QosLimits:
    """What can be had of a KME by one pair of SAEs. max_bps 0: no limit; min_bps and priority: what its policy says.

    min_jitter_bps: the least that can be kept, if that is more than a chunk; None: no jitter is promised.
    """

    chunk_bytes: tuple[int, int] = (1, 1024)
    default_chunk_bytes: int = 32
    max_bps: int = 0
    min_bps: int = 0
    min_jitter_bps: int | None = 0
    priority: int = 0
    timeout_ms: int = 60_000
    ttl_s: int = 86_400


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """OPEN_CONNECT. stream_id "": the KME makes one."""

    source: str
    destination: str
    stream_id: str
    qos: Qos


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """GET_KEY. index None: the next one; metadata_bytes None: no metadata is asked for."""

    stream_id: str
    index: int | None
    metadata_bytes: int | None


def negotiated(asked: Qos, limits: QosLimits) -> tuple[Qos, bool]:
    """Return what of a QoS can be had, and whether that is what was asked for: if not it is the counter-proposal.

    What is not asked for is filled in, and no reason to refuse.
    """
    low, high = limits.chunk_bytes
    size = asked.key_chunk_size_bytes
    chunk_bytes = min(max(size, low), high) if size else limits.default_chunk_bytes
    max_bps = min(asked.max_bps or limits.max_bps, limits.max_bps or asked.max_bps)
    jitter_bps = 0
    if asked.jitter_bps and max_bps and limits.min_jitter_bps is not None:
        # without a rate there is nothing to deviate from; and a chunk goes out whole
        jitter_bps = max(asked.jitter_bps, 8 * chunk_bytes, limits.min_jitter_bps)
    given = replace(
        asked,
        key_chunk_size_bytes=chunk_bytes,
        max_bps=max_bps,
        min_bps=min(asked.min_bps, limits.min_bps, max_bps or limits.min_bps),
        jitter_bps=jitter_bps,
        priority=min(asked.priority, limits.priority),
        timeout_ms=min(asked.timeout_ms, limits.timeout_ms),
        ttl_s=min(asked.ttl_s or limits.ttl_s, limits.ttl_s),
        metadata_mimetype=METADATA_TYPE if asked.metadata_mimetype else "",
    )
    is_met = all(
        getattr(asked, field.name) in (type(getattr(asked, field.name))(), getattr(given, field.name))
        for field in fields(Qos)
    )
    return given, is_met


def open_from_body(body: bytes) -> OpenRequest:
    """Return an OPEN_CONNECT.

    Raises:
        RequestError: Says what is wrong.
    """
    members = json_object(body)
    qos = members.get("QoS")
    if qos is not None and not isinstance(qos, dict):
        raise RequestError("QoS shall be an object")
    stream_id = members.get("Key_stream_ID")
    return OpenRequest(
        _text(members, "Source"),
        _text(members, "Destination"),
        "" if stream_id is None else _stream_id(members),
        Qos(**{wire: _quality(qos or {}, name) for name, wire in _NAMES.items()}),
    )


def get_key_from_body(body: bytes) -> ChunkRequest:
    """Return a GET_KEY.

    Raises:
        RequestError: Says what is wrong.
    """
    members = json_object(body)
    sizes = {name: members.get(name) for name in ("Index", "Metadata_size")}
    for name, value in sizes.items():
        if value is not None and not _is_uint32(value):
            raise RequestError(f"{name} shall be an integer from 0 to {MAX_INDEX}")
    return ChunkRequest(_stream_id(members), sizes["Index"], sizes["Metadata_size"])


def close_from_body(body: bytes) -> str:
    """Return the stream id of a CLOSE.

    Raises:
        RequestError: Says what is wrong.
    """
    return _stream_id(json_object(body))


def open_body(stream_id: str, qos: Qos, status: Status) -> dict[str, Any]:
    """Return the answer to an OPEN_CONNECT."""
    values = asdict(qos)
    return {
        "Status": int(status),
        "Key_stream_ID": stream_id,
        "QoS": {name: values[wire] for name, wire in _NAMES.items()},
    }


def metadata_of(index: int, key_id: str, *, is_insecure: bool = False) -> str:
    """Return the metadata of a chunk; one that a protocol for study was part in is marked as in ETSI 014."""
    marks = {INSECURE_EXTENSION: True} if is_insecure else {}
    return json.dumps({"Index": index, "key_ID": key_id, **marks}, separators=(",", ":"))


def chunk_body(
    status: Status, index: int | None = None, key: bytes | None = None, metadata: str | None = None, size: int = 0
) -> dict[str, Any]:
    """Return the answer to a GET_KEY; `size` is what the metadata would have needed."""
    body: dict[str, Any] = {"Status": int(status)}
    if index is not None:
        body["Index"] = index
    if key is not None:
        body["Key_buffer"] = base64.b64encode(key).decode("ascii")
    if metadata is not None:
        body["Metadata"] = {"Metadata_size": len(metadata.encode()), "Metadata_buffer": metadata}
    elif size:
        body["Metadata"] = {"Metadata_size": size}
    return body


def _quality(qos: Mapping[str, Any], name: str) -> Any:
    value = qos.get(name)
    if name == "Metadata_mimetype":
        if value is not None and not isinstance(value, str):
            raise RequestError(f"QoS {name} shall be a string")
        return value or ""
    if value is not None and not _is_uint32(value):
        raise RequestError(f"QoS {name} shall be an integer from 0 to {MAX_INDEX}")
    return value or 0


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value.strip():
        raise RequestError(f"{name} shall be the URI of an application")
    return value


def _stream_id(members: Mapping[str, Any]) -> str:
    value = members.get("Key_stream_ID")
    if not isinstance(value, str) or not is_key_id(value.lower()):
        raise RequestError("Key_stream_ID is missing or is not a UUID")
    return value.lower()


def _is_uint32(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INDEX
