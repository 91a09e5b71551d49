"""node.keys.southbound_client: ETSI GS QKD 014 as a client, to a KME or device of another make. Edge: aiohttp.

What it answers is checked as strictly as what SAEs ask of us, and never shown: only its status is told.
"""

import base64
import binascii
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

import aiohttp

from node.keys.records import is_key_id
from node.keys.secret import SecretBytes
from qnetem.runtime.errors import BadInputError, ConflictError, StartError, UnavailableError
from qnetem.v1 import process_pb2

__all__ = [
    "ExternalAnswerError",
    "ExternalDryError",
    "ExternalKme",
    "ExternalRefusedError",
    "ExternalUnreachableError",
    "TakenKey",
    "open_external_kme",
]

_TIMEOUT_S: Final = 5.0
_LONGEST_BYTES: Final = 1 << 20


class ExternalUnreachableError(UnavailableError):
    """The KME does not answer, or is not who it should be."""

    reason = "EXTERNAL_KME_UNREACHABLE"


class ExternalDryError(UnavailableError):
    """It has no keys to give now (503)."""

    reason = "EXTERNAL_KME_DRY"
    is_definite: ClassVar[bool] = True


class ExternalRefusedError(ConflictError):
    """It refuses the request: not this SAE, not these keys, not this size."""

    reason = "EXTERNAL_KME_REFUSED"


class ExternalAnswerError(ConflictError):
    """What it answered is not what ETSI GS QKD 014 says, or not what was asked for."""

    reason = "EXTERNAL_KME_ANSWER"


@dataclass(frozen=True, slots=True)
class TakenKey:
    """A key as the KME gave it: its id, lower case, and its value."""

    key_id: str
    value: SecretBytes


class ExternalKme:
    """One KME, to which this node is an SAE."""

    def __init__(self, config: process_pb2.ExternalKmeConfig, session: aiohttp.ClientSession) -> None:
        """Ask over `session`, which shows the SAE's certificate."""
        self._config = config
        self._session = session
        self._base = f"{config.url.rstrip('/')}/api/v1/keys/{quote(config.peer_sae_id, safe='')}"

    async def enc_keys(self) -> list[TakenKey]:
        """Take as many new keys as make a block, as their master.

        Raises:
            ExternalDryError: It has none now.
            ExternalRefusedError, ExternalAnswerError, ExternalUnreachableError: See there.
        """
        body = {"number": self._config.keys_per_block, "size": self._config.key_size_bits}
        keys = await self._ask("enc_keys", body)
        if len(keys) != self._config.keys_per_block:
            raise ExternalAnswerError(f"{len(keys)} keys were given, not {self._config.keys_per_block}")
        return keys

    async def dec_keys(self, key_ids: Sequence[str]) -> list[TakenKey]:
        """Take the keys of these ids, in this order, as their slave.

        Raises:
            ExternalRefusedError, ExternalAnswerError, ExternalDryError, ExternalUnreachableError: See there.
        """
        keys = await self._ask("dec_keys", {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]})
        by_id = {key.key_id: key for key in keys}
        if set(by_id) != set(key_ids) or len(keys) != len(key_ids):
            raise ExternalAnswerError("other keys were given than those asked for")
        return [by_id[key_id] for key_id in key_ids]

    async def _ask(self, call: str, body: dict[str, Any]) -> list[TakenKey]:
        try:
            async with self._session.post(f"{self._base}/{call}", json=body, allow_redirects=False) as response:
                data = await response.content.read(_LONGEST_BYTES + 1)
                while data and not response.content.at_eof() and len(data) <= _LONGEST_BYTES:
                    data += await response.content.read(_LONGEST_BYTES + 1 - len(data))
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            host = urlsplit(self._config.url).netloc
            raise ExternalUnreachableError(f"the KME at {host} does not answer ({type(error).__name__})") from None
        if status == 503:
            raise ExternalDryError("the KME has no keys to give now")
        if status != 200:
            raise ExternalRefusedError(f"the KME refuses {call} ({status})")
        if len(data) > _LONGEST_BYTES:
            raise ExternalAnswerError(f"an answer to {call} of more than {_LONGEST_BYTES} bytes")
        return [self._key(entry) for entry in _entries(data)]

    def _key(self, entry: Any) -> TakenKey:
        key_id, text = (entry.get("key_ID"), entry.get("key")) if isinstance(entry, dict) else (None, None)
        if not isinstance(key_id, str) or not is_key_id(key_id.lower()) or not isinstance(text, str):
            raise ExternalAnswerError("a key without a UUID or a value")
        try:
            value = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ExternalAnswerError("a key that is not base64") from None
        if 8 * len(value) != self._config.key_size_bits:
            raise ExternalAnswerError(f"a key of {8 * len(value)} bits, not {self._config.key_size_bits}")
        return TakenKey(key_id.lower(), SecretBytes(value))


def _entries(data: bytes) -> list[Any]:
    try:
        keys = json.loads(data.decode("utf-8")).get("keys")
    except (ValueError, AttributeError, RecursionError):
        keys = None
    if not isinstance(keys, list):
        raise ExternalAnswerError("an answer that is no key container")
    return keys


@asynccontextmanager
async def open_external_kme(config: process_pb2.ExternalKmeConfig) -> AsyncIterator[ExternalKme]:
    """Talk to the KME that `config` names while the block runs; it is dialled when first asked.

    Raises:
        BadInputError: The configuration is out of range.
        StartError: A credential is not usable; names the file.
    """
    if urlsplit(config.url).scheme != "https" or not urlsplit(config.url).netloc:
        raise BadInputError(f"external KME {config.url!r}: not https://host:port")
    if not 8 <= config.key_size_bits <= 1 << 16 or config.key_size_bits % 8 or not 1 <= config.keys_per_block <= 1024:
        raise BadInputError(
            f"external KME {config.url}: {config.keys_per_block} keys of {config.key_size_bits} bits a block"
            " (1 to 1024 keys, a multiple of 8 bits from 8 to 65536)"
        )
    paths = config.credentials
    path = paths.authority_path
    try:
        tls = ssl.create_default_context(cafile=path)
        path = paths.certificate_path
        tls.load_cert_chain(path, paths.key_path)
    except OSError as error:  # ssl.SSLError is one
        raise StartError(f"{path}: {error.strerror or 'not usable as a certificate with its key'}") from error
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls), timeout=timeout) as session:
        yield ExternalKme(config, session)
