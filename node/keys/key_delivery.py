"""node.keys.key_delivery: who may have which keys, as ETSI GS QKD 014 says, without HTTP. Wiring."""

from typing import Any, Final

from node.keys.directory import Directory
from node.keys.etsi014_request import DeliveryLimits, EncRequest, RequestError
from node.keys.exchange import KeyExchange
from node.keys.records import IssuedKey
from node.keys.store import KeyStore
from qnetem.runtime.errors import DeniedError

__all__ = ["KeyDelivery", "NotAttachedError"]

_INT32_MAX: Final = (1 << 31) - 1


class NotAttachedError(DeniedError):
    """The caller is no SAE of this KME."""

    reason = "NOT_ATTACHED"


class KeyDelivery:
    """Serves the SAEs that are attached to one KME."""

    def __init__(
        self,
        store: KeyStore,
        exchange: KeyExchange,
        directory: Directory,
        limits: DeliveryLimits = DeliveryLimits(),  # noqa: B008 frozen
    ) -> None:
        """Serve what `store` holds, and `exchange` issues, within `limits`."""
        self.directory = directory
        self.limits = limits
        self._store = store
        self._exchange = exchange

    async def status(self, caller: str, slave_sae_id: str) -> dict[str, Any]:
        """Return the status data format for the caller as master; without a route it says that nothing is stored.

        Raises:
            NotAttachedError: The caller is no SAE of this KME.
            RequestError: The slave is unknown, or the caller.
        """
        self._admit(caller)
        self._check_slave(caller, slave_sae_id)
        size_bits = self.limits.default_size_bits
        capacity = min(self._store.limits.capacity_bits // size_bits, _INT32_MAX)
        peer_node = self.directory.places[slave_sae_id]
        if peer_node == self.directory.own_node:
            stored = capacity  # drawn when asked for
        else:
            stored = min((await self._store.pool(peer_node)).available_bits // size_bits, capacity)
        return {
            "source_KME_ID": self.directory.own_node,
            "target_KME_ID": peer_node,
            "master_SAE_ID": caller,
            "slave_SAE_ID": slave_sae_id,
            "key_size": size_bits,
            "stored_key_count": stored,
            "max_key_count": capacity,
            "max_key_per_request": self.limits.max_keys_count,
            "max_key_size": self.limits.max_size_bits,
            "min_key_size": self.limits.min_size_bits,
            "max_SAE_ID_count": self.limits.max_additional_saes_count,
        }

    def admit_master(self, caller: str, slave_sae_id: str) -> None:
        """Check who asks for new keys, and for whom, before the request is read.

        Raises:
            NotAttachedError: The caller is no SAE of this KME.
            RequestError: The slave is unknown, or the caller.
        """
        self._admit(caller)
        self._check_slave(caller, slave_sae_id)

    async def enc_keys(self, caller: str, request: EncRequest) -> list[IssuedKey]:
        """Return new keys for the caller as master.

        Raises:
            NotAttachedError: The caller is no SAE of this KME.
            RequestError: A slave is unknown, or the caller.
            QnetemError: As KeyExchange.issue.
        """
        self._admit(caller)
        for slave_sae_id in request.slave_saes:
            self._check_slave(caller, slave_sae_id)
        return await self._exchange.issue(caller, request.slave_saes, request.number, request.size_bits)

    async def dec_keys(self, caller: str, master_sae_id: str, key_ids: list[str]) -> list[IssuedKey]:
        """Return keys that the master of the path was given, to the caller as one of their slaves; all or none.

        Raises:
            NotAttachedError: The caller is no SAE of this KME.
            RequestError: The master is the caller.
            NotNamedError, KeysNotFoundError: As KeyStore.collect.
        """
        self._admit(caller)
        if master_sae_id == caller and not self.limits.allow_self_association:
            raise RequestError("the master SAE is the caller")
        return await self._store.collect(caller, master_sae_id, key_ids)

    def _admit(self, caller: str) -> None:
        if not self.directory.is_attached(caller):
            raise NotAttachedError("the caller is not an SAE of this KME")

    def _check_slave(self, caller: str, slave_sae_id: str) -> None:
        if slave_sae_id not in self.directory.places:
            raise RequestError("a slave SAE is not known", [{"slave_SAE_ID": slave_sae_id}])
        if slave_sae_id == caller and not self.limits.allow_self_association:
            raise RequestError("the slave SAE is the caller", [{"slave_SAE_ID": slave_sae_id}])
