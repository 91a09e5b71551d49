"""qnetem.testbed.api.saes: an SAE of a testbed, which fetches keys over ETSI GS QKD 014 with its certificate. Edge."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from qnetem.runtime.errors import NotFoundError
from qnetem.testbed.api.connection import Connection
from qnetem.testbed.etsi import Key, SaeClient
from qnetem.topology.words import did_you_mean, shown
from qnetem.v1 import process_pb2

__all__ = ["SaeHandle"]

_TIMEOUT_S: Final = 20.0


class SaeHandle:
    """A client of keys, at the node that the topology gives it. Every call is an HTTPS request to that node."""

    def __init__(
        self, connected: Callable[[], Connection], sae_id: str, node: str | None, known: Sequence[str]
    ) -> None:
        """Name an SAE; see `Testbed.sae`.

        Raises:
            NotFoundError: There is no such SAE (`node` is None); suggests the nearest.
        """
        if node is None:
            raise NotFoundError(f"no SAE {shown(sae_id)}" + did_you_mean(sae_id, known))
        self.sae_id = sae_id
        self.node = node
        self._connected = connected

    @property
    def kme_url(self) -> str:
        """Where its keys are fetched."""
        return f"https://{self._connected().process(self.node).listeners['https']}"

    @property
    def credentials(self) -> process_pb2.CredentialPaths:
        """Its certificate, its key and the authority to trust, for any other HTTP client."""
        return self._connected().layout.credentials("sae", self.sae_id)

    def _client(self) -> SaeClient:
        return SaeClient(self.sae_id, self.kme_url, self.credentials, _TIMEOUT_S)

    async def enc_keys(self, slave: str, number: int = 1, size: int = 256) -> list[Key]:
        """Return new keys that are shared with the SAE `slave`, each of `size` bits.

        Raises:
            NoKeysError: There are none now (503); `eventually` takes it for "not yet".
            KeysRefusedError: The request cannot be (400).
            KeysDeniedError: This SAE may not have them (401).
            UnavailableError: The KME does not answer.
        """
        return await asyncio.to_thread(self._client().enc_keys, slave, number, size)

    async def dec_keys(self, master: str, key_ids: Sequence[str]) -> list[Key]:
        """Return the keys that the SAE `master` has, by their ids. Raises as `enc_keys`."""
        return await asyncio.to_thread(self._client().dec_keys, master, list(key_ids))

    async def status(self, slave: str) -> dict[str, Any]:
        """Return what the KME says of keys with the SAE `slave`. Raises as `enc_keys`."""
        return await asyncio.to_thread(self._client().status, slave)
