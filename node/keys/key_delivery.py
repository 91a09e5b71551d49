"""node.keys.key_delivery: who may have which keys, as ETSI GS QKD 014 and policies say, without HTTP. Wiring."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from node.keys.directory import Directory
from node.keys.etsi014_request import MODE_EXTENSION, UNMET, DeliveryLimits, EncRequest, RequestError
from node.keys.exchange import KeyExchange, NoRouteError
from node.keys.hybrid_keys import HybridKeys
from node.keys.policy import DEFAULT_POLICY, KeyMode, Policies, Policy, Terms, terms_of
from node.keys.policy_gate import KeptForOthersError, OverBurstError, PolicyGate, RateExceededError
from node.keys.rates import Rates
from node.keys.records import IssuedKey, KeysNotFoundError, NotNamedError, PoolExhaustedError
from node.keys.store import KeyStore
from qnetem.runtime.errors import DeniedError, QnetemError

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
        policies: Policies | None = None,
        emulated_s: Callable[[], float] = lambda: 0.0,
        hybrid: HybridKeys | None = None,
    ) -> None:
        """Serve what the store holds.

        Args:
            store: The KME's.
            exchange: Issues keys.
            directory: Who is where.
            limits: What is granted to all.
            policies: What is granted to whom; None: no limits.
            emulated_s: Emulated time, seconds, which rates go by.
            hybrid: Agrees with other KMEs; None: hybrid keys are refused.
        """
        self.directory = directory
        self.limits = limits
        self._store = store
        self._exchange = exchange
        self._policies = policies or Policies()
        self._hybrid = hybrid
        self._emulated_s = emulated_s
        self._rates = Rates(store)
        self._gate: PolicyGate | None = None
        self._gate_lock = asyncio.Lock()

    async def _opened_gate(self) -> PolicyGate:
        """Return the gate, its buckets as an earlier life left them."""
        if self._gate is not None:
            return self._gate
        async with self._gate_lock:
            if self._gate is None:
                noted = await self._rates.known()
                limits = self.limits.max_size_bits
                self._gate = PolicyGate(self._policies, self.directory, limits, self._emulated_s, noted)
        return self._gate

    async def status(self, caller: str, slave_sae_id: str) -> dict[str, Any]:
        """Return the status data format for the caller as master; without a route it says that nothing is stored.

        Raises:
            NotAttachedError: The caller is no SAE of this KME.
            RequestError: The slave is unknown, or the caller.
        """
        self.admit_master(caller, slave_sae_id)
        policy = self._policies.of(caller, slave_sae_id)
        size_bits = self.limits.default_size_bits
        capacity = min(self._store.limits.capacity_bits // size_bits, _INT32_MAX)
        peer_node = self.directory.places[slave_sae_id]
        pool_bits = capacity * size_bits  # drawn when asked for
        if peer_node != self.directory.own_node:
            pool_bits = await self._exchange.stored_bits(peer_node, terms_of([policy]))
        granted_bits = (await self._opened_gate()).grantable_bits(caller, slave_sae_id, pool_bits)
        status = {
            "source_KME_ID": self.directory.own_node,
            "target_KME_ID": peer_node,
            "master_SAE_ID": caller,
            "slave_SAE_ID": slave_sae_id,
            "key_size": size_bits,
            "stored_key_count": min(granted_bits // size_bits, capacity),
            "max_key_count": capacity,
            "max_key_per_request": self.limits.max_keys_count,
            "max_key_size": self.limits.max_size_bits,
            "min_key_size": self.limits.min_size_bits,
            "max_SAE_ID_count": self.limits.max_additional_saes_count,
        }
        return status if policy == DEFAULT_POLICY else status | {"status_extension": _told(policy)}

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
            RequestError: A slave is unknown, or the caller, or the policy does not allow what is asked for.
            OverBurstError, RateExceededError, KeptForOthersError: The policy of a pair does not grant it (now).
            QnetemError: As KeyExchange.issue and HybridKeys.
        """
        self._admit(caller)
        for slave_sae_id in request.slave_saes:
            self._check_slave(caller, slave_sae_id)
        policies = [self._policies.of(caller, slave_sae_id) for slave_sae_id in request.slave_saes]
        terms = _agreed(terms_of(policies), request)
        names = ",".join(sorted({policy.name for policy in policies}))
        try:
            return await self._issue(caller, request, terms, names)
        except QnetemError as error:
            if isinstance(error, OverBurstError | RateExceededError | KeptForOthersError):
                await self._store.audit.record("policy.decided", party=caller, policy=names, decision=error.reason)
            await self._store.audit.record("key.refused", party=caller, call="enc_keys", reason=error.reason)
            raise

    def policy(self, master_sae_id: str, slave_sae_id: str) -> Policy:
        """Return what holds for a pair."""
        return self._policies.of(master_sae_id, slave_sae_id)

    async def held_key(self, master_sae_id: str, slave_sae_id: str, size_bits: int, lifetime_s: float) -> str:
        """Make a key that master and slave both collect; return its id.

        Raises:
            OverBurstError, RateExceededError, KeptForOthersError: The policy of the pair does not grant it (now).
            QnetemError: As KeyExchange.issue and HybridKeys.
        """
        policy = self._policies.of(master_sae_id, slave_sae_id)
        terms = dataclasses.replace(terms_of([policy]), is_held=True, key_lifetime_s=lifetime_s)
        [key] = await self._issue(master_sae_id, EncRequest(1, size_bits, (slave_sae_id,)), terms, policy.name)
        return key.key_id

    async def _issue(self, caller: str, request: EncRequest, terms: Terms, policies: str) -> list[IssuedKey]:
        number, size_bits = request.number, request.size_bits
        slaves = (*request.slave_saes, caller) if terms.is_held else request.slave_saes
        peers = self.directory.remote_nodes(slaves)
        try:
            async with self._charged(caller, request, peers):
                agreed = None
                if terms.mode is KeyMode.HYBRID and peers:
                    agreed = await self._agreeing().agreed(caller, peers)
                return await self._exchange.issue(caller, slaves, number, size_bits, terms, agreed)
        except (PoolExhaustedError, NoRouteError):
            if not terms.is_pqc_allowed or not peers:
                raise
        async with self._charged(caller, request, ()):
            keys = await self._agreeing().issue_pqc(caller, slaves, number, size_bits, terms)
        await self._store.audit.record("policy.decided", party=caller, policy=policies, decision="pqc")
        return keys

    @asynccontextmanager
    async def _charged(self, caller: str, request: EncRequest, peers: Sequence[str]) -> AsyncIterator[None]:
        """Count a request against its policies while the block runs, for good when that does not fail.

        What it takes is durable when the block begins. `peers`: the KMEs with which it takes bits of a pool.
        """
        gate = await self._opened_gate()
        pool_bits = await self._pool_bits(peers) if gate.has_guarantees else {}
        charge = gate.take(caller, request.slave_saes, request.number, request.size_bits, pool_bits)
        try:
            await self._rates.note(charge.buckets)
            yield
        except QnetemError:
            charge.give_back()
            raise

    def _agreeing(self) -> HybridKeys:
        if self._hybrid is None:
            raise RequestError(UNMET, [{MODE_EXTENSION: "this KME agrees with no other"}])
        return self._hybrid

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
        try:
            return await self._store.collect(caller, master_sae_id, key_ids)
        except (NotNamedError, KeysNotFoundError) as error:
            await self._store.audit.record("key.refused", party=caller, call="dec_keys", reason=error.reason)
            raise

    async def _pool_bits(self, peers: Sequence[str]) -> dict[str, int]:
        """Return what is there to share out in each pool that policies guarantee something of."""
        pools = {peer_node: await self._store.pool(peer_node) for peer_node in peers}
        return {peer_node: pool.available_bits for peer_node, pool in pools.items() if pool.made_bits}

    def _admit(self, caller: str) -> None:
        if not self.directory.is_attached(caller):
            raise NotAttachedError("the caller is not an SAE of this KME")

    def _check_slave(self, caller: str, slave_sae_id: str) -> None:
        if slave_sae_id not in self.directory.places:
            raise RequestError("a slave SAE is not known", [{"slave_SAE_ID": slave_sae_id}])
        if slave_sae_id == caller and not self.limits.allow_self_association:
            raise RequestError("the slave SAE is the caller", [{"slave_SAE_ID": slave_sae_id}])


def _agreed(terms: Terms, request: EncRequest) -> Terms:
    """Return the terms with what the SAE asks for: more than the policy asks for, never less.

    Raises:
        RequestError: It has to have less.
    """
    wanted = request.mandatory_mode
    if wanted is KeyMode.QKD and terms.mode is KeyMode.HYBRID:
        raise RequestError(UNMET, [{MODE_EXTENSION: f"the policy is {terms.mode}"}])
    if wanted is not None:
        # a key of another making is not what was asked for
        return dataclasses.replace(terms, mode=wanted, is_pqc_allowed=False)
    if request.optional_mode is KeyMode.HYBRID:
        return dataclasses.replace(terms, mode=KeyMode.HYBRID)
    return terms


def _told(policy: Policy) -> dict[str, Any]:
    """Return what an SAE is told of the policy that it is under."""
    return {
        "qnetem_policy": {
            "mode": policy.mode,
            "when_dry": policy.when_dry,
            "priority": policy.priority,
            **({"min_rate_bps": policy.min_secret_hz} if policy.min_secret_hz else {}),
            **({"max_rate_bps": policy.max_secret_hz} if policy.max_secret_hz else {}),
            **({"key_lifetime_s": policy.key_lifetime_s} if policy.key_lifetime_s is not None else {}),
            **({"allowed_relays": sorted(policy.allowed_relays)} if policy.allowed_relays is not None else {}),
        }
    }
