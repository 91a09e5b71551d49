"""qnetem.testbed.etsi: ETSI GS QKD 014 as a client, with an SAE's certificate. Edge. Blocking; keys are never shown."""

import base64
import hmac
import http.client
import json
import ssl
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlsplit

from qnetem.runtime.errors import BadInputError, DeniedError, QnetemError, StartError, UnavailableError
from qnetem.v1 import process_pb2

__all__ = ["Key", "KeysDeniedError", "KeysRefusedError", "NoKeysError", "SaeClient"]

_TIMEOUT_S: Final = 30.0


class KeysRefusedError(BadInputError):
    """The KME does not take the request (400)."""

    reason: ClassVar[str] = "KEYS_REFUSED"


class KeysDeniedError(DeniedError):
    """The KME does not let this SAE have that (401)."""

    reason: ClassVar[str] = "KEYS_DENIED"


class NoKeysError(UnavailableError):
    """The KME has no keys to give now (503)."""

    reason: ClassVar[str] = "NO_KEYS"


_ERRORS: Final[dict[int, type[QnetemError]]] = {400: KeysRefusedError, 401: KeysDeniedError, 503: NoKeysError}


class Key:
    """A key as the KME gave it.

    No dataclass: pytest shows the fields of two that differ. Two are equal when id and value are.
    """

    __slots__ = ("key_id", "material")

    def __init__(self, key_id: str, material: str) -> None:
        """Hold a key; `material` is base64."""
        self.key_id = key_id
        self.material = material

    @property
    def value(self) -> bytes:
        """The key itself."""
        return base64.b64decode(self.material)

    def __repr__(self) -> str:
        """Say which key it is, not what."""
        return f"Key({self.key_id})"

    def __eq__(self, other: object) -> bool:
        """Compare id and value."""
        if not isinstance(other, Key):
            return NotImplemented
        is_same = hmac.compare_digest(self.material.encode(), other.material.encode())
        return is_same and self.key_id == other.key_id

    def __hash__(self) -> int:
        """Go by the id."""
        return hash(self.key_id)


class SaeClient:
    """Talks to the KME of one SAE."""

    def __init__(
        self, sae_id: str, kme_url: str, paths: process_pb2.CredentialPaths, timeout_s: float = _TIMEOUT_S
    ) -> None:
        """Talk as `sae_id`, whose credentials lie at `paths`, to the KME at `kme_url`; `timeout_s` for each answer.

        Raises:
            StartError: The credentials cannot be used.
        """
        self._sae_id = sae_id
        self._timeout_s = timeout_s
        self._host = urlsplit(kme_url).netloc
        try:
            self._tls = ssl.create_default_context(cafile=paths.authority_path)
            self._tls.load_cert_chain(paths.certificate_path, paths.key_path)
        except (OSError, ssl.SSLError) as error:
            raise StartError(f"{paths.certificate_path}: not usable ({type(error).__name__})") from error

    def status(self, slave: str) -> dict[str, Any]:
        """Return what the KME says of keys with a slave SAE."""
        return self._ask("GET", f"{quote(slave, safe='')}/status", None)

    def enc_keys(self, slave: str, number: int, size_bits: int) -> list[Key]:
        """Return new keys that are shared with a slave SAE."""
        return _keys(self._ask("POST", f"{quote(slave, safe='')}/enc_keys", {"number": number, "size": size_bits}))

    def dec_keys(self, master: str, key_ids: list[str]) -> list[Key]:
        """Return the keys that a master SAE has, by their ids."""
        body = {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}
        return _keys(self._ask("POST", f"{quote(master, safe='')}/dec_keys", body))

    def _ask(self, verb: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        connection = http.client.HTTPSConnection(self._host, timeout=self._timeout_s, context=self._tls)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(verb, f"/api/v1/keys/{path}", data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise UnavailableError(f"{self._sae_id}: its KME at {self._host} does not answer ({why})") from None
        finally:
            connection.close()
        if response.status == 200:
            return dict(json.loads(answer))
        raise _ERRORS.get(response.status, QnetemError)(
            f"{self._sae_id}: its KME answers {response.status}: {_message(answer)}"
        )


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["message"])
    except (ValueError, KeyError, TypeError):
        return "no message"


def _keys(answer: dict[str, Any]) -> list[Key]:
    return [Key(one["key_ID"], one["key"]) for one in answer["keys"]]
