"""node.keys.etsi014_request: ETSI GS QKD 014 requests and answers as values, and what is refused in them. Pure.

Source: ETSI GS QKD 014 V1.1.1, clause 6; where it is silent, the choices in docs/etsi014.md.
"""

import base64
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl

from node.keys.policy import KeyMode
from node.keys.records import IssuedKey, is_key_id
from qnetem.runtime.errors import BadInputError

__all__ = [
    "INSECURE_EXTENSION",
    "MODE_EXTENSION",
    "UNMET",
    "DeliveryLimits",
    "EncRequest",
    "RequestError",
    "dec_from_body",
    "dec_from_query",
    "enc_from_body",
    "enc_from_query",
    "error_body",
    "json_object",
    "key_container",
]

# The one extension there is: what the keys are made of, "qkd" or "hybrid".
MODE_EXTENSION: Final = "qnetem_key_mode"
# Marks keys that a protocol for study was part in: true, else it is not there.
INSECURE_EXTENSION: Final = "qnetem_insecure"
UNMET: Final = "not all extension_mandatory request options could be met"
_UNSUPPORTED: Final = "not all extension_mandatory parameters are supported"
_SIZE_STEP: Final = "size shall be a multiple of 8"
_DECIMAL: Final = re.compile(r"[0-9]{1,10}")


class RequestError(BadInputError):
    """The request cannot be met as it stands: 400, with details."""

    reason = "KEY_REQUEST"

    def __init__(self, message: str, details: Iterable[dict[str, str]] = ()) -> None:
        """Say what is wrong."""
        super().__init__(message)
        self.details = list(details)


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """What a KME grants. Sizes in bits, multiples of 8."""

    default_size_bits: int = 256
    min_size_bits: int = 8
    max_size_bits: int = 1024
    max_keys_count: int = 128
    max_additional_saes_count: int = 8
    allow_self_association: bool = False


@dataclass(frozen=True, slots=True)
class EncRequest:
    """A checked enc_keys request; the slave of the path comes first among `slave_saes`.

    `mandatory_mode` is what the keys have to be made of, `optional_mode` what they had better be; None: not said.
    """

    number: int
    size_bits: int
    slave_saes: tuple[str, ...]
    mandatory_mode: KeyMode | None = None
    optional_mode: KeyMode | None = None


def enc_from_body(body: bytes, slave_sae_id: str, limits: DeliveryLimits) -> EncRequest:
    """Return the request of an enc_keys POST; an empty body asks for one key of the default size.

    Raises:
        RequestError: Says what is wrong.
    """
    members = json_object(body) if body else {}
    for member in ("extension_mandatory", "extension_optional"):
        _check_extensions(member, members.get(member, []))
    mandatory = [item for extension in members.get("extension_mandatory", []) for item in extension.items()]
    unknown = [name for name, _ in mandatory if name != MODE_EXTENSION]
    if unknown:
        raise RequestError(_UNSUPPORTED, [{"extension_mandatory_unsupported": name} for name in unknown])
    modes = {_mode(value) for _, value in mandatory}
    if None in modes or len(modes) > 1:
        raise RequestError(UNMET, [{MODE_EXTENSION: "one of qkd, hybrid"}])
    optional = [extension.get(MODE_EXTENSION) for extension in members.get("extension_optional", [])]
    wishes = [mode for mode in map(_mode, optional) if mode is not None]
    number, size_bits = members.get("number", 1), members.get("size", limits.default_size_bits)
    for name, value in (("number", number), ("size", size_bits)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise RequestError(f"{name} shall be an integer")
    additional = members.get("additional_slave_SAE_IDs", [])
    if not isinstance(additional, list) or not all(isinstance(sae, str) for sae in additional):
        raise RequestError("additional_slave_SAE_IDs shall be an array of strings")
    if len(additional) > limits.max_additional_saes_count:
        raise RequestError(f"additional_slave_SAE_IDs shall name at most {limits.max_additional_saes_count} SAEs")
    if any(not sae.strip() for sae in additional):
        raise RequestError("additional_slave_SAE_IDs names a blank SAE")
    saes = (slave_sae_id, *additional)
    if len(set(saes)) != len(saes):
        raise RequestError("additional_slave_SAE_IDs names an SAE twice, or the slave SAE of the path")
    asked = _bounded(number, size_bits, saes, limits)
    return replace(asked, mandatory_mode=next(iter(modes), None), optional_mode=next(iter(wishes), None))


def enc_from_query(query: str, slave_sae_id: str, limits: DeliveryLimits) -> EncRequest:
    """Return the request of an enc_keys GET: no parameter, or only `number` and `size`.

    Raises:
        RequestError: Says what is wrong.
    """
    values = {"number": 1, "size": limits.default_size_bits}
    for name, text in _parameters(query, ("number", "size")).items():
        if _DECIMAL.fullmatch(text) is None:
            raise RequestError(f"{name} shall be a positive integer")
        values[name] = int(text)
    return _bounded(values["number"], values["size"], (slave_sae_id,), limits)


def dec_from_body(body: bytes, limits: DeliveryLimits) -> list[str]:
    """Return the key ids of a dec_keys POST, lower case.

    Raises:
        RequestError: Says what is wrong.
    """
    entries = json_object(body).get("key_IDs")
    if not isinstance(entries, list) or not entries:
        raise RequestError("key_IDs shall be an array with at least one object")
    if len(entries) > limits.max_keys_count:
        raise RequestError(f"key_IDs shall name at most {limits.max_keys_count} keys")
    if not all(isinstance(entry, dict) for entry in entries):
        raise RequestError("key_IDs shall be an array of objects with a key_ID")
    key_ids = [_key_id(entry.get("key_ID")) for entry in entries]
    if len(set(key_ids)) != len(key_ids):
        raise RequestError("key_IDs names a key twice")
    return key_ids


def dec_from_query(query: str) -> list[str]:
    """Return the key id of a dec_keys GET, lower case.

    Raises:
        RequestError: Says what is wrong.
    """
    return [_key_id(_parameters(query, ("key_ID",)).get("key_ID"))]


def key_container(keys: Sequence[IssuedKey]) -> dict[str, Any]:
    """Return the container that carries keys to their SAE."""
    return {"keys": [_container(key) for key in keys]}


def _container(key: IssuedKey) -> dict[str, Any]:
    value = {"key_ID": key.key_id, "key": base64.b64encode(key.key.reveal()).decode("ascii")}
    marks: dict[str, object] = {} if key.mode is KeyMode.QKD else {MODE_EXTENSION: key.mode}
    if key.is_insecure:
        marks[INSECURE_EXTENSION] = True
    return value | {"key_extension": marks} if marks else value


def error_body(message: str, details: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    """Return the body of an answer that is not 200."""
    return {"message": message, "details": list(details)} if details else {"message": message}


def _bounded(number: int, size_bits: int, saes: tuple[str, ...], limits: DeliveryLimits) -> EncRequest:
    if number < 1:
        raise RequestError("number shall be at least 1")
    if number > limits.max_keys_count:
        raise RequestError(f"number shall be at most {limits.max_keys_count}")
    if size_bits < 1:
        raise RequestError("size shall be positive")
    if size_bits % 8:
        raise RequestError(_SIZE_STEP)
    if not limits.min_size_bits <= size_bits <= limits.max_size_bits:
        raise RequestError(f"size shall be between {limits.min_size_bits} and {limits.max_size_bits} bits")
    return EncRequest(number, size_bits, saes)


def json_object(body: bytes) -> dict[str, Any]:
    """Return the object that a body holds.

    Raises:
        RequestError: It holds something else.
    """
    try:
        value = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise RequestError("the body is not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise RequestError("the body shall be a JSON object")
    return value


def _mode(value: object) -> KeyMode | None:
    """Return a mode that an SAE may ask for; None for all else."""
    return {"qkd": KeyMode.QKD, "hybrid": KeyMode.HYBRID}.get(value) if isinstance(value, str) else None


def _check_extensions(member: str, value: object) -> None:
    if not (isinstance(value, list) and all(isinstance(one, dict) for one in value)):
        raise RequestError(f"{member} shall be an array of objects")


def _parameters(query: str, allowed: Sequence[str]) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=16)
    except ValueError:
        raise RequestError("the query is malformed") from None
    for name, _ in pairs:
        if name not in allowed:
            raise RequestError(f"a GET takes no parameter but {' and '.join(allowed)}")
    if len(dict(pairs)) != len(pairs):
        raise RequestError("a parameter is given twice")
    return dict(pairs)


def _key_id(value: object) -> str:
    if not isinstance(value, str) or not is_key_id(value.lower()):
        raise RequestError("a key_ID is missing or is not a UUID")
    return value.lower()
