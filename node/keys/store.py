"""node.keys.store: the durable key store of a KME. Wiring: blocks, ledger and transfers over one group commit.

Every call is one durable step: it returns when its effect is on the disk, and may be repeated. What it raises left
nothing behind. Bits are packed eight to a byte, the first in the least significant bit.
"""

import asyncio
import hashlib
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from node.keys import audit, blocks, connection, expiry, hybrid_ledger, ledger, pools, transfers
from node.keys.audit_files import AuditLimits
from node.keys.audit_trail import AuditTrail
from node.keys.authentication import Authentication
from node.keys.group_commit import GroupCommit, declare_step
from node.keys.records import Assignment, Block, BlockRole, BlockState, IssuedKey, Pool, StoreLimits, SweepCounts
from qnetem.runtime.errors import BadInputError

__all__ = ["KeyStore", "open_store"]

_T = TypeVar("_T")
_PREPARE: Final = declare_step("store.block.prepare", "a block is held PREPARED")
_COMMIT: Final = declare_step("store.block.commit", "a block becomes AVAILABLE")
_CONFIRM: Final = declare_step("store.block.confirm", "the peer is noted to hold a block AVAILABLE")
_ABORT: Final = declare_step("store.block.abort", "a block is ABORTED")
_QUARANTINE: Final = declare_step("store.block.quarantine", "a block is QUARANTINED")
_INCARNATION: Final = declare_step("store.incarnation", "a new incarnation is counted")
_PULSES: Final = declare_step("store.pulses", "pulse blocks are reserved ahead")
_RESERVE: Final = declare_step("keys.reserve", "keys are RESERVED at the master's KME")
_ASSIGN: Final = declare_step("keys.assign", "keys are ASSIGNED at the slave's KME")
_AGREE: Final = declare_step("hybrid.agree", "the agreed secret of hybrid keys is held")
_DELIVER: Final = declare_step("keys.deliver", "keys are DELIVERED to the master")
_COLLECT: Final = declare_step("keys.collect", "keys are DELIVERED to a slave")
_VOID: Final = declare_step("keys.void", "keys are VOID_PENDING at the master's KME")
_VOID_CONFIRM: Final = declare_step("keys.void.confirm", "keys are VOIDED at the master's KME")
_VOID_PEER: Final = declare_step("keys.void.peer", "keys are VOIDED at the slave's KME")
_SWEEP: Final = declare_step("keys.sweep", "what was not collected in time has EXPIRED")
_ROTATE: Final = declare_step("store.rotate", "the store is sealed under a new storage key")


class KeyStore:
    """Blocks shared with peers, and the keys made of them."""

    def __init__(
        self,
        path: Path,
        limits: StoreLimits = StoreLimits(),  # noqa: B008 frozen
        reproducible_secret: bytes = b"",
        now_s: Callable[[], float] = time.time,
        emulated_s: Callable[[], float] | None = None,
        key_path: Path | None = None,
        audit_limits: AuditLimits = AuditLimits(),  # noqa: B008 frozen
    ) -> None:
        """Nothing is opened before `open`; see `open_store`."""
        self.limits = limits
        self._reproducible_secret = reproducible_secret
        self._now_s = now_s
        self._emulated_s = emulated_s or now_s
        self._commit = GroupCommit(path, key_path, self._emulated_s, audit_limits, now_s)
        self.audit: Final = AuditTrail(self._commit)
        self.authentication: Final = Authentication(self._commit)
        self._ahead: dict[str, tuple[int, int]] = {}
        self._ahead_lock = asyncio.Lock()

    async def open(self) -> None:
        """Open the database; keys reserved before, which nobody was told of, become VOID_PENDING.

        Raises:
            StorageError: It cannot be used; names the path.
        """
        await self._commit.open()
        try:
            await self._commit.run(
                None,
                lambda db: expiry.sweep(db, self.limits, self._now_s(), self._emulated_s(), is_restart=True),
            )
        except BaseException:
            await self._commit.close()
            raise

    async def close(self) -> None:
        """Finish what was asked for and close."""
        await self._commit.close()

    async def run(self, step: str | None, operation: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run an operation of another file of this room as one durable step; see GroupCommit.run."""
        return await self._commit.run(step, operation)

    def draw(self, db: sqlite3.Connection) -> Callable[[int], bytes]:
        """Return what such an operation draws bytes with."""
        return self._draw(db)

    # blocks

    async def prepare(
        self, block_id: str, link_id: str, peer_node: str, secret: bytes, bit_count: int, role: BlockRole
    ) -> None:
        """Hold a block PREPARED; see blocks.prepare.

        Args:
            block_id: Never used for another block.
            link_id: Of the link that made it.
            peer_node: The node at its other end.
            secret: ceil(bit_count / 8) bytes of packed bits.
            bit_count: Length of the secret.
            role: Which end this node is: the transmitter gives the first half, the receiver the second.
        """
        block = Block(block_id, link_id, peer_node, role, bit_count, BlockState.PREPARED, False)
        capacity = self.limits.capacity_bits
        await self._commit.run(_PREPARE, lambda db: blocks.prepare(db, block, secret, capacity))

    async def commit(self, block_id: str) -> None:
        """Make a PREPARED block AVAILABLE; see blocks.commit."""
        await self._commit.run(_COMMIT, lambda db: blocks.commit(db, block_id))

    async def confirm(self, block_id: str) -> None:
        """Note that the peer holds the block AVAILABLE; see blocks.confirm."""
        await self._commit.run(_CONFIRM, lambda db: blocks.confirm(db, block_id))

    async def abort(self, block_id: str) -> None:
        """Give a PREPARED or never seen block up for ever; see blocks.abort."""
        await self._commit.run(_ABORT, lambda db: blocks.abort(db, block_id))

    async def quarantine(self, block_id: str) -> None:
        """Stop giving bits of a block that the peer does not hold, or holds otherwise; see blocks.quarantine."""
        await self._commit.run(_QUARANTINE, lambda db: blocks.quarantine(db, block_id))

    async def blocks_in_doubt(self, link_id: str) -> list[Block]:
        """Return the PREPARED and the AVAILABLE but unconfirmed blocks of a link, in the order they were prepared."""
        return await self._commit.run(None, lambda db: blocks.in_doubt(db, link_id))

    async def blocks_held(self, suffix: str) -> list[Block]:
        """Return the PREPARED and AVAILABLE blocks whose ids end with `suffix`, in the order they were prepared."""
        return await self._commit.run(None, lambda db: blocks.held(db, suffix))

    async def block_states(self, block_ids: Iterable[str]) -> dict[str, BlockState]:
        """Return the state of each block that is known; unknown ones are left out."""
        wanted = list(block_ids)
        return await self._commit.run(None, lambda db: blocks.states(db, wanted))

    # counters that never go back

    async def next_incarnation(self) -> int:
        """Count a new incarnation of this node; 1 for the first."""
        return await self._commit.run(_INCARNATION, lambda db: _advance(db, "incarnation", 1) + 1)

    async def reserve_blocks(self, link_id: str, count: int) -> int:
        """Reserve `count` pulse blocks of a link in a row; return the index of the first. None is ever given twice."""
        if count < 1:
            raise BadInputError(f"link {link_id}: {count} pulse blocks cannot be reserved")
        async with self._ahead_lock:
            first, end = self._ahead.get(link_id, (0, 0))
            if end - first < count:
                stride = max(count, self.limits.pulse_stride)
                first = await self._commit.run(_PULSES, lambda db: _advance(db, f"pulses {link_id}", stride))
                end = first + stride
            self._ahead[link_id] = (first + count, end)
        return first

    # keys

    async def reserve(
        self,
        master_sae_id: str,
        local_saes: Sequence[str],
        peer_node: str,
        number: int,
        size_bits: int,
        lifetime_s: float | None = None,
    ) -> list[Assignment]:
        """Reserve keys for a master attached here; see ledger.reserve.

        Args:
            master_sae_id: Who asks.
            local_saes: The slaves that are attached to this KME.
            peer_node: The KME of the other slaves; "" when there are none.
            number: How many keys.
            size_bits: Of each; a multiple of 8.
            lifetime_s: What the slaves attached here have not collected by then, emulated time, expires; None: as
                the store's limits say.
        """
        if number < 1 or size_bits < 8 or size_bits % 8:
            raise BadInputError(f"{number} keys of {size_bits} bits cannot be reserved")
        return await self._commit.run(
            _RESERVE,
            lambda db: ledger.reserve(
                db,
                master_sae_id,
                local_saes,
                peer_node,
                number,
                size_bits,
                self._now_s(),
                self._draw(db),
                self.expires_s(lifetime_s),
            ),
        )

    async def hold_agreed(self, key_ids: Sequence[str], secret: bytes) -> None:
        """Note what hybrid keys are derived of beside their bits, before they are held; see hybrid_ledger.hold."""
        await self._commit.run(_AGREE, lambda db: hybrid_ledger.hold(db, key_ids, secret, self._now_s()))

    async def deliver(self, key_ids: Sequence[str], *, is_held: bool = False) -> list[IssuedKey]:
        """Hand reserved keys to their master, once; see ledger.deliver."""
        return await self._commit.run(_DELIVER, lambda db: ledger.deliver(db, key_ids, self._now_s(), is_held=is_held))

    async def collect(self, sae_id: str, master_sae_id: str, key_ids: Sequence[str]) -> list[IssuedKey]:
        """Hand keys to one of their slaves, once, all or none; see ledger.collect."""
        return await self._commit.run(
            _COLLECT,
            lambda db: ledger.collect(db, sae_id, master_sae_id, key_ids, self._now_s(), self._emulated_s()),
        )

    async def assign(
        self,
        peer_node: str,
        master_sae_id: str,
        slave_saes: Sequence[str],
        assignments: Sequence[Assignment],
        lifetime_s: float | None = None,
    ) -> None:
        """Hold keys given by a master at `peer_node`, for so long; see transfers.assign."""
        await self._commit.run(
            _ASSIGN,
            lambda db: transfers.assign(
                db, peer_node, master_sae_id, slave_saes, assignments, self._now_s(), self.expires_s(lifetime_s)
            ),
        )

    async def void(self, key_ids: Sequence[str]) -> None:
        """Give reserved keys up and burn their bits; see transfers.void."""
        await self._commit.run(_VOID, lambda db: transfers.void(db, key_ids, self._now_s()))

    async def pending_peers(self) -> list[str]:
        """Return the peers that have not confirmed a void."""
        return await self._commit.run(None, transfers.pending_peers)

    async def pending_voids(self, peer_node: str, limit: int) -> list[Assignment]:
        """Return up to `limit` keys whose void the peer has not confirmed."""
        return await self._commit.run(None, lambda db: transfers.pending_voids(db, peer_node, limit))

    async def confirm_voids(self, key_ids: Sequence[str]) -> None:
        """Note that the peer has voided the keys."""
        await self._commit.run(_VOID_CONFIRM, lambda db: transfers.confirm_voids(db, key_ids, self._now_s()))

    async def void_assigned(self, peer_node: str, assignments: Sequence[Assignment]) -> None:
        """Void keys that a master at `peer_node` gave up; see transfers.void_assigned."""
        await self._commit.run(
            _VOID_PEER, lambda db: transfers.void_assigned(db, peer_node, assignments, self._now_s())
        )

    async def sweep(self) -> SweepCounts:
        """Give up, expire and forget what is due; see expiry.sweep."""
        return await self._commit.run(
            _SWEEP, lambda db: expiry.sweep(db, self.limits, self._now_s(), self._emulated_s())
        )

    def now_s(self) -> float:
        """Return wall time, seconds."""
        return self._now_s()

    def expires_s(self, lifetime_s: float | None) -> float:
        """Return when keys made now expire, emulated seconds; None: as the store's limits say."""
        return self._emulated_s() + (self.limits.key_lifetime_s if lifetime_s is None else lifetime_s)

    async def rotate_storage_key(self) -> bool:
        """Seal everything anew under the successor of the storage key (`<file>.next`); see connection.rotate."""

        def rotate(db: sqlite3.Connection) -> bool:
            is_new = connection.rotate(connection.of(db))
            if is_new:
                audit.record(db, "store.key.rotated")
            return is_new

        return await self._commit.run(_ROTATE, rotate)

    def _draw(self, db: sqlite3.Connection) -> Callable[[int], bytes]:
        secret = self._reproducible_secret
        if not secret:
            return secrets.token_bytes

        def reproducible(count: int) -> bytes:
            number = _advance(db, "draws", 1)
            return hashlib.shake_256(b"qnetem key draw" + secret + number.to_bytes(8, "big")).digest(count)

        return reproducible

    async def pool(self, peer_node: str) -> Pool:
        """Return the sums of the bits shared with a peer."""
        return await self._commit.run(None, lambda db: pools.pool(db, peer_node))

    async def pools(self) -> list[Pool]:
        """Return the sums of the bits shared with every peer."""
        return await self._commit.run(None, pools.pools)

    async def insecure_peers(self) -> set[str]:
        """Return the peers with whom bits that can still be given are of a protocol that is not secure."""
        return await self._commit.run(None, pools.insecure_peers)


@asynccontextmanager
async def open_store(
    path: Path,
    limits: StoreLimits = StoreLimits(),  # noqa: B008 frozen
    *,
    reproducible_secret: bytes = b"",
    now_s: Callable[[], float] = time.time,
    emulated_s: Callable[[], float] | None = None,
    key_path: Path | None = None,
    audit_limits: AuditLimits = AuditLimits(),  # noqa: B008 frozen
) -> AsyncIterator[KeyStore]:
    """Open the key store at `path` while the block runs.

    Args:
        path: The database; made when new.
        limits: What it holds, and for how long.
        reproducible_secret: Key ids, and keys between SAEs of this KME, follow it and a durable counter; empty: they
            come from the operating system.
        now_s: Wall clock, seconds.
        emulated_s: Emulated time, seconds, which keys expire by; None: as `now_s`.
        key_path: The file of the storage key that the store is sealed under; None: one beside it, made when new.
        audit_limits: How the audit trail is cut into files, and what of it is kept.

    Raises:
        WrongStorageKeyError: It is sealed under another storage key.
        StorageError: It cannot be used; names the path.
    """
    store = KeyStore(path, limits, reproducible_secret, now_s, emulated_s, key_path, audit_limits)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def _advance(db: sqlite3.Connection, name: str, by: int) -> int:
    """Advance a counter; return what it was."""
    row = db.execute(
        "INSERT INTO counters VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = value + ?2 RETURNING value - ?2",
        (name, by),
    ).fetchone()
    return int(row[0])
