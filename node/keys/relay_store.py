"""node.keys.relay_store: transfers in the durable store of a KME. Wiring: relay_* operations over its group commit.

Every call is one durable step, as those of node.keys.store.
"""

import math
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import pairwise
from typing import Final

from node.keys import relay_arrival, relay_rows, relay_source, relay_tag_keys, relay_voids
from node.keys.group_commit import declare_step
from node.keys.hybrid import Agreed
from node.keys.records import IssuedKey, Piece
from node.keys.relay_arrival import Arrival
from node.keys.relay_source import Delivery, Route
from node.keys.relay_voids import Burn, Outcome, RelaySweep
from node.keys.store import KeyStore
from qnetem.runtime.errors import BadInputError
from qnetem.v1 import key_relay_pb2 as pb

__all__ = ["RelayStore"]

_OPEN: Final = declare_step("relay.open", "fresh keys are RESERVED at their source and sealed for the first hop")
_OPEN_BLOCK: Final = declare_step("relay.open.block", "a fresh block is PREPARED at its source and sealed")
_RELEASE: Final = declare_step("relay.release", "every target holds the keys: they are handed to their master")
_ABANDON: Final = declare_step("relay.abandon", "a delivery is given up at its source")
_ARRIVE: Final = declare_step("relay.arrive", "a transfer is sealed for the next hop, or HELD at its target")
_SETTLE: Final = declare_step("relay.settle", "a middle node notes that transfers went through")
_GIVE_UP: Final = declare_step("relay.give_up", "a middle node gives up the pad of a transfer that failed behind it")
_BURN: Final = declare_step("relay.burn", "pads that a neighbour gave up are burned")
_BURN_CONFIRM: Final = declare_step("relay.burn.confirm", "the neighbour is noted to have burned pads")
_TAG_KEY: Final = declare_step("relay.tag_key.forget", "the hash key of a hop is given up, another is due")
_VOID: Final = declare_step("relay.void", "transfers are VOIDED at their target")
_VOID_CONFIRM: Final = declare_step("relay.void.confirm", "the target is noted to have voided transfers")
_SWEEP: Final = declare_step("relay.sweep", "what was in flight for too long is given up")


class RelayStore:
    """Transfers that begin at, pass through and end at one KME."""

    def __init__(
        self,
        store: KeyStore,
        own_node: str,
        now_s: Callable[[], float] = time.time,
        emulated_s: Callable[[], float] | None = None,
        insecure_hops: Collection[frozenset[str]] = (),
    ) -> None:
        """Keep them in `store`, which is open; see `start`.

        Args:
            store: The KME's.
            own_node: Its node.
            now_s: Wall clock, seconds.
            emulated_s: Emulated time, seconds, which keys expire by; None: as `now_s`.
            insecure_hops: The hops, as their ends, whose pools hold bits of a protocol that is not secure.
        """
        self._store = store
        self._insecure_hops = frozenset(insecure_hops)
        self._own_node = own_node
        self._now_s = now_s
        self._emulated_s = emulated_s or now_s

    async def start(self) -> RelaySweep:
        """Give up what an earlier life of this process had open: nobody was told of it. Before anything else."""
        return await self.sweep(is_restart=True)

    # at the source

    async def open_keys(
        self,
        master_sae_id: str,
        local_saes: Sequence[str],
        routes: Sequence[Route],
        number: int,
        size_bits: int,
        lifetime_s: float | None = None,
        agreed: Agreed | None = None,
    ) -> Delivery:
        """Make keys for a master attached here, sealed for the first hop of each path; see relay_source.open_keys.

        Args:
            master_sae_id: Who asks.
            local_saes: The slaves that are attached to this KME.
            routes: The other slaves, by target.
            number: How many keys.
            size_bits: Of each; a multiple of 8.
            lifetime_s: Emulated; None: as the store's limits say.
            agreed: They are hybrid: a secret, and the shares of the targets.
        """
        if number < 1 or size_bits < 8 or size_bits % 8:
            raise BadInputError(f"{number} keys of {size_bits} bits cannot be relayed")
        lifetime = self._store.limits.key_lifetime_s if lifetime_s is None else lifetime_s
        expires_s = self._emulated_s() + lifetime
        # who has every share has the key: one share over sound hops is enough
        is_insecure = any(all(map(self._is_insecure, route.paths)) for route in routes)
        return await self._store.run(
            _OPEN,
            lambda db: relay_source.open_keys(
                db,
                self._own_node,
                master_sae_id,
                local_saes,
                routes,
                number,
                size_bits,
                self._now_s(),
                expires_s,
                self._store.draw(db),
                agreed,
                is_insecure=is_insecure,
            ),
        )

    async def open_block(self, path: tuple[str, ...], size_bits: int) -> Delivery:
        """Make a block for the pool shared with the end of `path`; see relay_source.open_block."""
        if size_bits < 16 or size_bits % 16:
            raise BadInputError(f"a block of {size_bits} bits cannot be relayed: not a multiple of 16")
        return await self._store.run(
            _OPEN_BLOCK,
            lambda db: relay_source.open_block(
                db,
                self._own_node,
                path,
                size_bits,
                self._store.limits.capacity_bits,
                self._now_s(),
                self._store.draw(db),
                is_insecure=self._is_insecure(path),
            ),
        )

    def _is_insecure(self, path: Sequence[str]) -> bool:
        return any(frozenset(hop) in self._insecure_hops for hop in pairwise(path))

    async def release(self, delivery_id: str, acknowledged: Iterable[str], *, is_held: bool = False) -> list[IssuedKey]:
        """Hand a delivery out, all of whose transfers are acknowledged; see relay_source.release."""
        held = frozenset(acknowledged)
        return await self._store.run(
            _RELEASE, lambda db: relay_source.release(db, delivery_id, held, self._now_s(), is_held=is_held)
        )

    async def abandon(
        self, delivery_id: str, reason: str, acknowledged: Collection[str] = (), refused: Collection[str] = ()
    ) -> None:
        """Give a delivery up, for good; see relay_source.abandon."""
        await self._store.run(
            _ABANDON,
            lambda db: relay_source.abandon(db, delivery_id, self._now_s(), reason, acknowledged, refused),
        )

    async def targets_to_void(self) -> set[str]:
        """Return the targets that have not confirmed a void."""
        return await self._store.run(None, relay_voids.targets_to_void)

    async def pending_voids(self, target_node: str, limit: int) -> list[str]:
        """Return up to `limit` transfers whose void the target has not confirmed."""
        return await self._store.run(None, lambda db: relay_voids.pending_voids(db, target_node, limit))

    async def confirm_voids(self, transfer_ids: Sequence[str]) -> None:
        """Note that the target has voided the transfers."""
        await self._store.run(_VOID_CONFIRM, lambda db: relay_voids.confirm_voids(db, transfer_ids, self._now_s()))

    # where transfers come to

    async def arrive(self, request: pb.RelayRequest) -> Arrival:
        """Take a transfer in; see relay_arrival.arrive."""
        limits = self._store.limits
        expires_s = self._emulated_s() + limits.key_lifetime_s
        return await self._store.run(
            _ARRIVE,
            lambda db: relay_arrival.arrive(
                db, self._own_node, request, limits.capacity_bits, self._now_s(), expires_s
            ),
        )

    async def is_known(self, transfer_id: str) -> bool:
        """Return whether a transfer has come here, or was announced to be void or burned."""
        return await self._store.run(None, lambda db: relay_rows.find(db, transfer_id) is not None)

    async def settle(self, transfer_ids: Iterable[str]) -> None:
        """Note that transfers that passed through here reached their targets."""
        done = list(transfer_ids)
        await self._store.run(_SETTLE, lambda db: relay_arrival.settle(db, done, self._now_s()))

    async def give_up_pad(self, transfer_id: str) -> None:
        """Note that a transfer that passed through here failed: its pad is to be burned."""
        await self._store.run(_GIVE_UP, lambda db: relay_arrival.give_up_pad(db, transfer_id, self._now_s()))

    async def void(self, source_node: str, transfer_ids: Sequence[str]) -> list[Outcome]:
        """Void transfers of a source, come or not; see relay_voids.void."""
        return await self._store.run(_VOID, lambda db: relay_voids.void(db, source_node, transfer_ids, self._now_s()))

    # pads of hops

    async def in_flight(self) -> int:
        """Return how many pads were spent on transfers of which it is not known here whether they went through."""
        return await self._store.run(None, relay_voids.in_flight)

    async def peers_to_burn(self) -> set[str]:
        """Return the neighbours that have not confirmed a burn."""
        return await self._store.run(None, relay_voids.peers_to_burn)

    async def pending_burns(self, peer_node: str, limit: int) -> list[Burn]:
        """Return up to `limit` pads that the neighbour has not confirmed to have burned."""
        return await self._store.run(None, lambda db: relay_voids.pending_burns(db, peer_node, limit))

    async def confirm_burns(self, transfer_ids: Sequence[str]) -> None:
        """Note that the neighbour has burned the pads too."""
        await self._store.run(_BURN_CONFIRM, lambda db: relay_voids.confirm_burns(db, transfer_ids, self._now_s()))

    async def burn(self, previous_node: str, burns: Sequence[Burn]) -> set[str]:
        """Burn pads that a neighbour gave up; see relay_voids.burn."""
        return await self._store.run(_BURN, lambda db: relay_voids.burn(db, previous_node, burns, self._now_s()))

    async def forget_tag_key(self, next_node: str, pieces: Sequence[Piece]) -> None:
        """Tag nothing more towards a neighbour under that hash key; see relay_tag_keys.forget."""
        await self._store.run(_TAG_KEY, lambda db: relay_tag_keys.forget(db, next_node, pieces))

    # time

    async def sweep(self, in_flight_s: float = math.inf, *, is_restart: bool = False) -> RelaySweep:
        """Give up and forget what is due; see relay_voids.sweep."""
        return await self._store.run(
            _SWEEP,
            lambda db: relay_voids.sweep(db, self._store.limits, in_flight_s, self._now_s(), is_restart=is_restart),
        )
