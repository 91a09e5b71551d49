"""node.keys.hybrid_keys: agreeing with other KMEs on secrets, and keys made of those alone. Wiring.

The key pair of a KME may be gone when a share comes (a restart): the request fails, and what it took is void.
"""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from node.keys import audit, hybrid_ledger, ledger
from node.keys.agreement import AgreementDesk, agree
from node.keys.directory import Directory
from node.keys.exchange_servicer import lifetime_of
from node.keys.group_commit import declare_step
from node.keys.hybrid import Agreed, pqc_key
from node.keys.kem import Kem
from node.keys.ledger import Key
from node.keys.policy import KeyMode, Terms
from node.keys.records import IssuedKey, KeyState, is_key_id
from node.keys.relay_courier import Courier
from node.keys.store import KeyStore
from qnetem.runtime.errors import BadInputError, ConflictError, DeniedError, QnetemError, UnavailableError
from qnetem.runtime.log import get_logger
from qnetem.v1 import key_agreement_pb2 as pb

__all__ = ["HybridKeys"]

_RESERVE: Final = declare_step("hybrid.pqc.reserve", "keys without QKD bits are RESERVED at the master's KME")
_ASSIGN: Final = declare_step("hybrid.pqc.assign", "keys without QKD bits are ASSIGNED at the slave's KME")
_MAX_KEYS: Final = 1024
_MAX_SIZE_BITS: Final = 8192
_log = get_logger("node.keys")


class HybridKeys:
    """The agreements of one KME."""

    def __init__(self, store: KeyStore, directory: Directory, kem: Kem, courier: Courier, desk: AgreementDesk) -> None:
        """Agree by `kem`; what others ask is answered at `desk`."""
        self._store = store
        self._directory = directory
        self._kem = kem
        self._courier = courier
        desk.add("offer_kem", self._offer)
        desk.add("assign_pqc_keys", self._assign)

    async def agreed(self, master_sae_id: str, nodes: Sequence[str]) -> Agreed:
        """Agree on a fresh secret with the KMEs of a master's slaves.

        Raises:
            DeniedError: An offer is not signed by its KME.
            NoRouteError, UnavailableError, DeadlineError: A KME cannot be asked.
        """
        asked = [agree(self._courier, node, "offer_kem", pb.OfferKemRequest()) for node in nodes]
        answers = await asyncio.gather(*asked)
        secret: bytes | None = None
        shares = {}
        for node, answer in zip(nodes, answers, strict=True):
            secret, shares[node] = self._kem.share(answer.offer, node, master_sae_id, secret)
        if secret is None:
            raise BadInputError("there is no other KME to agree with")
        return Agreed(secret, shares)

    async def issue_pqc(
        self, master_sae_id: str, slave_saes: Sequence[str], number: int, size_bits: int, terms: Terms
    ) -> list[IssuedKey]:
        """Return new keys for a master attached here, of an agreed secret alone, which the slaves' KMEs hold by then.

        Raises:
            QnetemError: A KME could not be asked, or did not take them; nothing comes of them then.
        """
        by_node: dict[str, list[str]] = {}
        for sae in slave_saes:
            by_node.setdefault(self._directory.places[sae], []).append(sae)
        local = by_node.pop(self._directory.own_node, [])
        agreed = await self.agreed(master_sae_id, sorted(by_node))
        key_ids = await self._store.run(
            _RESERVE, lambda db: self._reserve(db, master_sae_id, local, number, size_bits, terms, agreed.secret)
        )
        try:
            await asyncio.gather(
                *(
                    agree(
                        self._courier,
                        node,
                        "assign_pqc_keys",
                        pb.AssignPqcKeysRequest(
                            master_sae_id=master_sae_id,
                            slave_sae_ids=saes,
                            key_ids=key_ids,
                            size_bits=size_bits,
                            lifetime_s=terms.key_lifetime_s or 0.0,
                            kem=agreed.shares[node],
                        ),
                    )
                    for node, saes in by_node.items()
                )
            )
        except QnetemError as error:
            await self._store.void(key_ids)
            raise UnavailableError(f"KME {', '.join(by_node)} did not take the keys ({error.reason})") from error
        _log.warning("keys.pqc.issued", master=master_sae_id, keys_count=number)
        return await self._store.deliver(key_ids, is_held=terms.is_held)

    def _reserve(
        self,
        db: sqlite3.Connection,
        master_sae_id: str,
        local_saes: Sequence[str],
        number: int,
        size_bits: int,
        terms: Terms,
        secret: bytes,
    ) -> list[str]:
        now_s, expires_s = self._store.now_s(), self._store.expires_s(terms.key_lifetime_s)
        draw = self._store.draw(db)
        reserved = ledger.reserve(db, master_sae_id, local_saes, "", number, size_bits, now_s, draw, expires_s)
        for key in reserved:
            value = pqc_key(secret, key.key_id, size_bits // 8)
            ledger.replace_drawn(db, key.key_id, value, KeyState.RESERVED, now_s)
            hybrid_ledger.mark_pqc(db, key.key_id, now_s)
            value[:] = bytes(len(value))
        return [key.key_id for key in reserved]

    async def _offer(self, from_node: str, request: pb.OfferKemRequest) -> pb.OfferKemResponse:
        return pb.OfferKemResponse(offer=self._kem.offer())

    async def _assign(self, from_node: str, request: pb.AssignPqcKeysRequest) -> pb.AssignPqcKeysResponse:
        """Hold keys of a master at `from_node` durably, all or none; see the .proto."""
        master, slaves, key_ids = request.master_sae_id, list(request.slave_sae_ids), list(request.key_ids)
        if self._directory.places.get(master) != from_node:
            raise DeniedError(f"SAE {master!r} is not attached to {from_node}")
        if not slaves or len(set(slaves)) != len(slaves) or not all(map(self._directory.is_attached, slaves)):
            raise BadInputError(f"slave_sae_ids are not SAEs of {self._directory.own_node}, each once")
        if not 1 <= len(key_ids) <= _MAX_KEYS or len(set(key_ids)) != len(key_ids) or not all(map(is_key_id, key_ids)):
            raise BadInputError(f"key_ids are not 1 to {_MAX_KEYS} UUIDs in lower case, each once")
        if not 8 <= request.size_bits <= _MAX_SIZE_BITS or request.size_bits % 8:
            raise BadInputError(f"size_bits is {request.size_bits}, not a multiple of 8 in 8..{_MAX_SIZE_BITS}")
        lifetime_s = lifetime_of(request.lifetime_s)
        secret = self._kem.opened(request.kem, from_node, master)
        await self._store.run(
            _ASSIGN,
            lambda db: self._hold(db, from_node, master, slaves, key_ids, request.size_bits, lifetime_s, secret),
        )
        return pb.AssignPqcKeysResponse()

    def _hold(
        self,
        db: sqlite3.Connection,
        peer_node: str,
        master_sae_id: str,
        slave_saes: Sequence[str],
        key_ids: Sequence[str],
        size_bits: int,
        lifetime_s: float | None,
        secret: bytes,
    ) -> None:
        now_s, expires_s = self._store.now_s(), self._store.expires_s(lifetime_s)
        for key_id in key_ids:
            key = Key(key_id, "", False, master_sae_id, size_bits, KeyState.ASSIGNED)
            known = ledger.find(db, key_id)
            if known is not None:
                if known not in (key, Key(key_id, "", False, master_sae_id, size_bits, KeyState.CONSUMED)):
                    raise ConflictError(f"key {key_id}: is known already, as another one or ended ({known.state})")
                continue
            value = pqc_key(secret, key_id, size_bits // 8)
            ledger.insert(db, key, slave_saes, (), now_s, expires_s, value)
            hybrid_ledger.mark_pqc(db, key_id, now_s)
            value[:] = bytes(len(value))
            noted: Mapping[str, Any] = {"master": master_sae_id, "peer_node": peer_node, "slaves": ",".join(slave_saes)}
            audit.record(db, "key.assigned", key_id=key_id, size_bits=size_bits, mode=KeyMode.PQC, **noted)
