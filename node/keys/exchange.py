"""node.keys.exchange: giving keys, as the master's KME: reserve here, assign at the slave's KME, hand out. Edge: gRPC.

Keys for SAEs of one other KME are named bits of the pool that is shared with it: a link's, or one that relayed blocks
fill. Where that has not enough, and for SAEs of several KMEs, fresh keys are relayed (node.keys.relay).

A key is handed to its master only after every slave's KME holds it durably. When an assignment fails, its keys are
voided and their bits burned; the void is durable before anyone is told, and is sent to the peer until it is confirmed.
While one is unconfirmed, nothing new is reserved with that peer: an outage burns what was under way, and nothing more.
"""

import asyncio
import dataclasses
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from node.keys.directory import Directory
from node.keys.exchange_gathering import Gathering
from node.keys.exchange_servicer import key_assignments
from node.keys.hybrid import Agreed
from node.keys.policy import DEFAULT_TERMS, Terms
from node.keys.records import Assignment, IssuedKey
from node.keys.relay import Relay, RelayWish
from node.keys.relay_courier import Courier, NoRouteError
from node.keys.relay_frame import HOP_BITS
from node.keys.store import KeyStore
from qnetem.runtime.errors import ConflictError, DeadlineError, QnetemError, StorageError, UnavailableError
from qnetem.runtime.log import get_logger
from qnetem.v1 import key_exchange_pb2 as pb

__all__ = ["ExchangeTimes", "KeyExchange", "NoRouteError"]

_VOIDS_PER_CALL: Final = 512
_CONFLICT_ROUNDS: Final = 3
_log = get_logger("node.keys")


@dataclass(frozen=True, slots=True)
class ExchangeTimes:
    """Wall seconds. total_s: to have a request assigned. call_s: one call."""

    total_s: float = 3.0
    call_s: float = 1.0
    retry_s: float = 0.05
    sweep_s: float = 5.0


class KeyExchange:
    """Issues keys to masters attached to this KME."""

    def __init__(
        self,
        store: KeyStore,
        directory: Directory,
        courier: Courier,
        relay: Relay,
        times: ExchangeTimes = ExchangeTimes(),
        share_count: int = 1,
        far_asked: Callable[[str], None] = lambda node: None,
    ) -> None:
        """Give from `store`.

        Args:
            store: Where the blocks are.
            directory: Who is where.
            courier: Asks other KMEs.
            relay: Relays to them.
            times: Deadlines and pauses.
            share_count: Keys that leave for other KMEs go in so many shares over paths without a relay in common.
            far_asked: Told of each far KME that keys were asked for.
        """
        self._store = store
        self._directory = directory
        self._courier = courier
        self._gathering = Gathering(courier)
        self._relay = relay
        self._times = times
        self._share_count = share_count
        self._far_asked = far_asked
        # peers with unconfirmed voids, None before the store was asked; and how often there was a new one
        self._unconfirmed: set[str] | None = None
        self._voids_count = 0
        self._wake = asyncio.Event()

    async def issue(
        self,
        master_sae_id: str,
        slave_saes: Sequence[str],
        number: int,
        size_bits: int,
        terms: Terms = DEFAULT_TERMS,
        agreed: Agreed | None = None,
    ) -> list[IssuedKey]:
        """Return `number` new keys for the master, which all the slaves' KMEs hold for them by then.

        Args:
            master_sae_id: Attached to this KME.
            slave_saes: Known SAEs, each once.
            number: At least 1.
            size_bits: Of each key; a multiple of 8.
            terms: What holds for them.
            agreed: They are hybrid: a secret, and the shares of the slaves' KMEs.

        Raises:
            PoolExhaustedError: Less is there than asked for.
            NoRouteError: A slave's KME cannot be reached, over any path.
            UnavailableError: The slaves' KMEs did not take the keys; they are voided.
            StorageError: The store cannot be written.
        """
        local = [sae for sae in slave_saes if self._directory.is_attached(sae)]
        remote = [sae for sae in slave_saes if not self._directory.is_attached(sae)]
        peers = self._directory.remote_nodes(remote)
        if not peers:
            reserved = await self._store.reserve(
                master_sae_id, local, "", number, size_bits, lifetime_s=terms.key_lifetime_s
            )
            return await self._store.deliver([key.key_id for key in reserved], is_held=terms.is_held)
        wish = dataclasses.replace(self._wish(terms), agreed=agreed)
        if await self._is_pooled(peers, number * size_bits, wish):
            try:
                return await self._given(peers[0], master_sae_id, local, remote, number, size_bits, terms, agreed)
            except UnavailableError as error:
                # the keys that were taken are void: fresh ones may go another way
                if not self._relay.has_detour(peers[0], wish):
                    raise
                _log.info("keys.detour", peer_node=peers[0], reason=error.reason)
        by_node = {node: [sae for sae in remote if self._directory.places[sae] == node] for node in peers}
        return await self._relay.issue(master_sae_id, local, by_node, number, size_bits, wish)

    async def stored_bits(self, node: str, terms: Terms = DEFAULT_TERMS) -> int:
        """Return how many bits a master here could get now for slaves at a node; relayed ones as far as is known."""
        wish = self._wish(terms)
        pooled = (await self._store.pool(node)).available_bits if await self._is_pooled([node], 0, wish) else 0
        relayable = 0
        for path in self._relay.paths(node, wish):
            first_hop = (await self._store.pool(path.nodes[1])).available_bits
            relayable = max(relayable, min(first_hop, path.available_bits) - HOP_BITS)
        return pooled + relayable

    def _wish(self, terms: Terms) -> RelayWish:
        return RelayWish(self._share_count, terms.allowed_relays, terms.key_lifetime_s, is_held=terms.is_held)

    async def _is_pooled(self, peers: Sequence[str], bits: int, wish: RelayWish) -> bool:
        """Return whether the pool shared with the peer is where to take keys from."""
        if len(peers) > 1 or wish.share_count > 1:
            return False
        if peers[0] in self._directory.neighbours:
            return True
        if bits:
            self._far_asked(peers[0])
        # relayed blocks may have gone over any relay
        return wish.allowed_relays is None and (await self._store.pool(peers[0])).available_bits >= bits

    async def _given(
        self,
        peer_node: str,
        master_sae_id: str,
        local: Sequence[str],
        remote: Sequence[str],
        number: int,
        size_bits: int,
        terms: Terms,
        agreed: Agreed | None,
    ) -> list[IssuedKey]:
        """Give bits of the pool shared with a peer."""
        deadline_s = time.monotonic() + self._times.total_s
        conflicts_count = 0
        while True:
            await self._courier.reach(peer_node)
            await self._flush_if_unconfirmed(peer_node)
            reserved = await self._store.reserve(
                master_sae_id, local, peer_node, number, size_bits, lifetime_s=terms.key_lifetime_s
            )
            key_ids = [key.key_id for key in reserved]
            request = pb.AssignKeysRequest(
                master_sae_id=master_sae_id,
                slave_sae_ids=remote,
                keys=key_assignments(reserved),
                lifetime_s=terms.key_lifetime_s or 0.0,
                kem=None if agreed is None else agreed.shares[peer_node],
            )
            if agreed is not None:
                await self._store.hold_agreed(key_ids, agreed.secret)
            try:
                response = await self._assign(peer_node, request, deadline_s)
            except ConflictError as error:
                await self._void(peer_node, key_ids, error)
                conflicts_count += 1
                if conflicts_count == _CONFLICT_ROUNDS:
                    raise UnavailableError(f"KME {peer_node} refuses the assignment: {error}") from error
                continue
            except QnetemError as error:
                await self._void(peer_node, key_ids, error)
                raise UnavailableError(f"KME {peer_node} did not take the keys ({error.reason})") from error
            if not response.unusable_block_ids:
                return await self._store.deliver(key_ids, is_held=terms.is_held)
            named = {piece.block_id for key in reserved for piece in key.pieces}
            for block_id in named.intersection(response.unusable_block_ids):
                _log.error("keys.block.quarantined", peer_node=peer_node, block_id=block_id)
                await self._store.quarantine(block_id)
            await self._void(peer_node, key_ids, None)
            if time.monotonic() > deadline_s:
                raise UnavailableError(f"KME {peer_node} does not hold the blocks that it should")

    async def run(self) -> None:
        """Sweep the store and bring voids to their peers, until cancelled. One such task per KME."""
        pause_s = self._times.retry_s
        while True:
            self._wake.clear()
            try:
                swept = await self._store.sweep()
                if swept.expired_count or swept.given_up_count:
                    _log.warning("keys.swept", expired_count=swept.expired_count, given_up_count=swept.given_up_count)
                left = False
                for peer_node in sorted(await self._with_unconfirmed()):
                    left = not await self._try_flush(peer_node) or left
            except StorageError as error:
                _log.error("keys.store.failed", detail=str(error))
                left = True
            pause_s = min(2 * pause_s, self._times.sweep_s) if left else self._times.retry_s
            await self._pause(pause_s * random.uniform(0.5, 1.0) if left else self._times.sweep_s)

    async def _pause(self, pause_s: float) -> None:
        try:
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _assign(self, peer_node: str, request: pb.AssignKeysRequest, deadline_s: float) -> pb.AssignKeysResponse:
        """Send the same assignment until it is answered or the deadline is near. A refusal after doubt is doubt."""
        doubt: QnetemError | None = None
        # a far one is reached by Carry; and what is sent again goes alone, with the time that it has left
        ask = self._gathering.assign if peer_node in self._directory.neighbours else self._courier.ask
        while True:
            left_s = deadline_s - time.monotonic()
            try:
                timeout_s = max(0.05, min(self._times.call_s, left_s))
                answer: pb.AssignKeysResponse = await ask(peer_node, request, timeout_s)
                return answer
            except (UnavailableError, DeadlineError) as error:
                if not error.is_definite:
                    doubt = error
                if time.monotonic() + self._times.retry_s > deadline_s:
                    raise doubt or error from None
            except QnetemError as error:
                raise doubt or error from None
            ask = self._courier.ask
            await asyncio.sleep(self._times.retry_s * random.uniform(0.5, 1.5))

    async def _void(self, peer_node: str, key_ids: Sequence[str], cause: QnetemError | None) -> None:
        reason = cause.reason if cause is not None else "UNUSABLE_BLOCKS"
        _log.warning("keys.assignment.failed", peer_node=peer_node, keys_count=len(key_ids), reason=reason)
        await self._store.void(key_ids)
        (await self._with_unconfirmed()).add(peer_node)
        self._voids_count += 1
        self._wake.set()

    async def _with_unconfirmed(self) -> set[str]:
        if self._unconfirmed is None:
            found = await self._store.pending_peers()
            self._unconfirmed = set(found) | (self._unconfirmed or set())  # another may have asked meanwhile
        return self._unconfirmed

    async def _flush_if_unconfirmed(self, peer_node: str) -> None:
        if peer_node in await self._with_unconfirmed():
            try:
                await self._flush(peer_node)
            except QnetemError as error:
                raise NoRouteError(f"no route to KME {peer_node}: it does not answer ({error.reason})") from error

    async def _try_flush(self, peer_node: str) -> bool:
        try:
            await self._flush(peer_node)
        except StorageError:
            raise
        except QnetemError as error:
            _log.warning("keys.void.unconfirmed", peer_node=peer_node, reason=error.reason)
            return False
        return True

    async def _flush(self, peer_node: str) -> None:
        """Bring every void to the peer and note its confirmation."""
        while True:
            seen_count = self._voids_count
            voids: list[Assignment] = await self._store.pending_voids(peer_node, _VOIDS_PER_CALL)
            if not voids:
                if seen_count == self._voids_count:  # else one was added while the store answered
                    (await self._with_unconfirmed()).discard(peer_node)
                return
            request = pb.VoidKeysRequest(keys=key_assignments(voids))
            await self._courier.ask(peer_node, request, self._times.call_s)
            await self._store.confirm_voids([void.key_id for void in voids])
