"""The durable key store by itself: states of blocks and keys, zeroisation, counters, limits."""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.keys import material
from node.keys.group_commit import GroupCommit
from node.keys.records import (
    Assignment,
    BlockPendingError,
    BlockRole,
    BlockState,
    KeysNotFoundError,
    NotNamedError,
    Piece,
    Pool,
    PoolFullError,
    StoreLimits,
    UnknownBlockError,
    UnusableBlocksError,
)
from node.keys.schema import open_database
from node.keys.store import KeyStore, open_store
from qnetem.runtime.errors import BadInputError, ConflictError, DeniedError

TX, RX = BlockRole.TRANSMITTER, BlockRole.RECEIVER
SECRET = bytes(range(1, 129))  # 1024 bits, no zero byte


async def make(store: KeyStore, role: BlockRole = TX, block_id: str = "b1", secret: bytes = SECRET) -> None:
    await store.prepare(block_id, "alice-bob", "peer", secret, 8 * len(secret), role)
    await store.commit(block_id)
    await store.confirm(block_id)


def stored(path: Path) -> bytes:
    """Return all bytes of the store's files."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()))


def held(path: Path) -> bytes:
    """Return the secrets of blocks that who has the storage key finds, chunk after chunk."""
    with contextlib.closing(open_database(path)) as db:
        rows = db.execute("SELECT id, sealed FROM secrets ORDER BY id").fetchall()
        return b"".join(db.vault.open(sealed, material.place_of(chunk)) for chunk, sealed in rows)


async def test_a_block_goes_from_prepared_to_available_once(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        for _ in range(2):
            await store.prepare("b1", "alice-bob", "peer", SECRET, 1024, TX)
        [block] = await store.blocks_in_doubt("alice-bob")
        assert (block.block_id, block.state, block.bit_count, block.role) == ("b1", BlockState.PREPARED, 1024, TX)
        assert await store.pool("peer") == Pool("peer")
        for _ in range(2):
            await store.commit("b1")
        [block] = await store.blocks_in_doubt("alice-bob")
        assert (block.state, block.is_confirmed) == (BlockState.AVAILABLE, False)
        assert await store.pool("peer") == Pool("peer", 1024, unconfirmed_bits=512, peer_available_bits=512)
        for _ in range(2):
            await store.confirm("b1")
        assert await store.blocks_in_doubt("alice-bob") == []
        assert await store.pools() == [Pool("peer", 1024, available_bits=512, peer_available_bits=512)]


async def test_a_receivers_block_needs_no_confirmation(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        await store.prepare("b1", "alice-bob", "peer", SECRET, 1024, RX)
        await store.commit("b1")
        assert await store.blocks_in_doubt("alice-bob") == []
        assert (await store.pool("peer")).available_bits == 512


async def test_wrong_transitions_are_conflicts(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        for call in (store.commit, store.confirm, store.quarantine):
            with pytest.raises(UnknownBlockError, match="nowhere"):
                await call("nowhere")
        await store.prepare("b1", "alice-bob", "peer", SECRET, 1024, TX)
        for call in (store.confirm, store.quarantine):
            with pytest.raises(ConflictError, match="b1"):
                await call("b1")
        with pytest.raises(ConflictError, match="b1"):
            await store.prepare("b1", "alice-bob", "peer", SECRET[::-1], 1024, TX)
        with pytest.raises(ConflictError, match="b1"):
            await store.prepare("b1", "alice-bob", "peer", SECRET, 1024, RX)
        await store.commit("b1")
        with pytest.raises(ConflictError, match="b1"):
            await store.abort("b1")
        with pytest.raises(ConflictError, match="b1"):
            await store.prepare("b1", "alice-bob", "peer", SECRET, 1024, TX)


@pytest.mark.parametrize("is_prepared", [True, False])
async def test_an_aborted_block_stays_aborted(tmp_path: Path, is_prepared: bool) -> None:
    path = tmp_path / "s" / "keys.db"
    async with open_store(path) as store:
        if is_prepared:
            await store.prepare("b1", "alice-bob", "peer", SECRET, 1024, TX)
        for _ in range(2):
            await store.abort("b1")
    async with open_store(path) as store:
        assert await store.block_states(["b1", "b2"]) == {"b1": BlockState.ABORTED}
        for refused in (store.prepare("b1", "alice-bob", "peer", SECRET, 1024, TX), store.commit("b1")):
            with pytest.raises(ConflictError, match="aborted"):
                await refused
        assert await store.blocks_in_doubt("alice-bob") == []
    assert SECRET[:16] not in stored(path)


async def test_secrets_that_are_none_are_refused(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        for secret, bit_count in ((SECRET, 1000), (SECRET, 1025), (b"", 0), (b"\x01", 8)):
            with pytest.raises(BadInputError, match="b1"):
                await store.prepare("b1", "alice-bob", "peer", secret, bit_count, TX)


async def test_a_pool_has_a_capacity(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db", StoreLimits(capacity_bits=2047)) as store:
        await make(store)
        with pytest.raises(PoolFullError, match=r"b2: the pool of peer is full \(2047 bits\)"):
            await store.prepare("b2", "alice-bob", "peer", SECRET, 1024, TX)
        [key] = await store.reserve("app-1", [], "peer", 1, 8)
        await store.deliver([key.key_id])
        await store.prepare("b2", "alice-bob", "peer", SECRET[:-1], 1016, TX)


async def test_the_master_gets_pieces_of_its_half_in_order(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        await make(store, TX, "b1")
        await make(store, TX, "b2", SECRET[::-1])
        first, second = await store.reserve("app-1", [], "peer", 2, 328)
        assert first.pieces == (Piece("b1", 0, 328),)
        assert second.pieces == (Piece("b1", 328, 184), Piece("b2", 0, 144))
        keys = await store.deliver([first.key_id, second.key_id])
        assert [key.key.reveal() for key in keys] == [SECRET[:41], SECRET[41:64] + SECRET[::-1][:18]]
        with pytest.raises(ConflictError):
            await store.deliver([first.key_id])
        assert (await store.pool("peer")).delivered_bits == 656


async def test_the_receivers_half_is_the_second(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        await make(store, RX)
        [key] = await store.reserve("app-2", [], "peer", 1, 512)
        assert key.pieces == (Piece("b1", 512, 512),)
        assert (await store.deliver([key.key_id]))[0].key.reveal() == SECRET[64:]


async def test_unconfirmed_blocks_give_nothing(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        await store.prepare("b1", "alice-bob", "peer", SECRET, 1024, TX)
        await store.commit("b1")
        with pytest.raises(Exception, match="stored 0 keys of 8 bits, asked 1"):
            await store.reserve("app-1", [], "peer", 1, 8)


async def test_delivered_material_is_gone_from_the_files(tmp_path: Path) -> None:
    path = tmp_path / "s" / "keys.db"
    async with open_store(path) as store:
        await make(store)
        [key] = await store.reserve("app-1", [], "peer", 1, 256)
        [issued] = await store.deliver([key.key_id])
        assert issued.key.reveal() == SECRET[:32]
        await store.assign("peer", "app-2", ["app-1"], [Assignment("k", (Piece("b1", 512, 256),))])
        await store.collect("app-1", "app-2", ["k"])
    left = stored(path)
    assert not any(SECRET[at : at + 16] in left for at in range(0, 128, 16)), "a secret lies there in the clear"
    # and who has the storage key finds no more than what was not given
    assert held(path) == bytes(32) + SECRET[32:64] + bytes(32) + SECRET[96:]


async def test_a_block_without_value_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "s" / "keys.db"
    async with open_store(path) as store:
        await make(store)
        [key] = await store.reserve("app-1", [], "peer", 1, 512)
        await store.deliver([key.key_id])
        await store.assign("peer", "app-2", ["app-1"], [Assignment("k", (Piece("b1", 512, 512),))])
        await store.collect("app-1", "app-2", ["k"])
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM secrets").fetchone() == (0,)
    db.close()


async def test_keys_of_one_kme_are_drawn_and_destroyed(tmp_path: Path) -> None:
    path = tmp_path / "s" / "keys.db"
    async with open_store(path) as store:
        [key] = await store.reserve("app-1", ["app-1b"], "", 1, 256)
        assert key.pieces == ()
        given = await store.deliver([key.key_id])
        # the slave is still to collect it
        assert given[0].key.reveal() not in stored(path)
        assert await store.collect("app-1b", "app-1", [key.key_id]) == given
        assert await store.pools() == []
    assert given[0].key.reveal() not in stored(path)


async def test_what_is_drawn_can_be_reproducible_and_never_repeats(tmp_path: Path) -> None:
    drawn: dict[str, list[Any]] = {}
    for folder, secret in (("a", b"s" * 16), ("b", b"s" * 16), ("c", b"t" * 16), ("d", b"")):
        drawn[folder] = []
        for _ in range(2):
            async with open_store(tmp_path / folder / "keys.db", reproducible_secret=secret) as store:
                for key in await store.reserve("app-1", ["app-1b"], "", 2, 128):
                    [issued] = await store.deliver([key.key_id])
                    drawn[folder].append((issued.key_id, issued.key.reveal()))
    assert drawn["a"] == drawn["b"]
    values = {value for folder in ("a", "c", "d") for pair in drawn[folder] for value in pair}
    assert len(values) == 24


async def test_each_slave_collects_once(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        await make(store, RX)
        await store.assign("peer", "app-1", ["s1", "s2"], [Assignment("k", (Piece("b1", 0, 64),))])
        first = await store.collect("s1", "app-1", ["k"])
        for sae, master, error in (
            ("s1", "app-1", KeysNotFoundError),
            ("s2", "app-9", KeysNotFoundError),
            ("s3", "app-1", NotNamedError),
        ):
            with pytest.raises(error):
                await store.collect(sae, master, ["k"])
        assert (await store.pool("peer")).assigned_bits == 64
        assert await store.collect("s2", "app-1", ["k"]) == first
        assert (await store.pool("peer")).delivered_bits == 64


async def test_reserved_keys_are_not_collected(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        await make(store)
        [key] = await store.reserve("app-1", ["app-1b"], "peer", 1, 64)
        with pytest.raises(KeysNotFoundError):
            await store.collect("app-1b", "app-1", [key.key_id])


async def test_assignments_of_blocks_that_cannot_be_used(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        await store.prepare("b1", "alice-bob", "peer", SECRET, 1024, RX)
        with pytest.raises(BlockPendingError, match="b1"):
            await store.assign("peer", "m", ["s"], [Assignment("k", (Piece("b1", 0, 8),))])
        await store.commit("b1")
        with pytest.raises(DeniedError, match="b1"):
            await store.assign("other", "m", ["s"], [Assignment("k", (Piece("b1", 0, 8),))])
        await make(store, RX, "b2")
        await store.quarantine("b2")
        pieces = (Piece("b1", 0, 8), Piece("b2", 0, 8), Piece("b3", 0, 8))
        with pytest.raises(UnusableBlocksError) as caught:
            await store.assign("peer", "m", ["s"], [Assignment("k", pieces)])
        assert caught.value.block_ids == ("b2", "b3")
        # all or none: the piece of b1 is free still
        await store.assign("peer", "m", ["s"], [Assignment("k", (Piece("b1", 0, 8),))])


async def test_pieces_in_any_order_never_overlap(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        await make(store, RX)
        for index, start in enumerate((64, 192, 128, 0, 256, 448)):
            await store.assign("peer", "m", ["s"], [Assignment(f"k{index}", (Piece("b1", start, 64),))])
        for start, length in ((0, 8), (56, 16), (312, 8), (440, 16), (320, 136), (0, 512)):
            with pytest.raises(ConflictError, match="given before"):
                await store.assign("peer", "m", ["s"], [Assignment("other", (Piece("b1", start, length),))])
        await store.assign("peer", "m", ["s"], [Assignment("last", (Piece("b1", 320, 128),))])
        assert (await store.pool("peer")).peer_available_bits == 0


async def test_quarantine_destroys_what_was_not_given(tmp_path: Path) -> None:
    path = tmp_path / "s" / "keys.db"
    async with open_store(path) as store:
        await make(store, RX)
        await store.assign("peer", "m", ["s"], [Assignment("k", (Piece("b1", 128, 64),))])
        await store.assign("peer", "m", ["s"], [Assignment("l", (Piece("b1", 256, 64),))])
        for _ in range(2):
            await store.quarantine("b1")
        expected = Pool("peer", 1024, assigned_bits=128, quarantined_bits=1024 - 128)
        assert await store.pool("peer") == expected
    assert held(path) == bytes(16) + SECRET[16:24] + bytes(8) + SECRET[32:40] + bytes(88)
    async with open_store(path) as store:
        assert (await store.collect("s", "m", ["k"]))[0].key.reveal() == SECRET[16:24]


async def test_a_restart_voids_what_nobody_was_told(tmp_path: Path) -> None:
    path = tmp_path / "s" / "keys.db"
    async with open_store(path) as store:
        await make(store)
        kept, lost = await store.reserve("app-1", [], "peer", 2, 64)
        [local] = await store.reserve("app-1", ["app-1b"], "", 1, 64)
        await store.deliver([kept.key_id])
    async with open_store(path) as store:
        assert await store.pending_voids("peer", 10) == [lost]
        with pytest.raises(ConflictError):
            await store.deliver([lost.key_id])
        with pytest.raises(KeysNotFoundError):
            await store.collect("app-1b", "app-1", [local.key_id])
        await store.confirm_voids([lost.key_id])
        assert await store.pending_peers() == []
        assert (await store.pool("peer")).voided_bits == 64
    assert SECRET[8:16] not in stored(path)


async def test_a_void_outruns_its_assignment(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        await make(store, RX)
        late = Assignment("k", (Piece("b1", 0, 64), Piece("unknown", 0, 64)))
        for _ in range(2):
            await store.void_assigned("peer", [late])
        with pytest.raises(ConflictError):
            await store.assign("peer", "m", ["s"], [Assignment("k", (Piece("b1", 0, 64),))])
        with pytest.raises(ConflictError):
            await store.assign("peer", "m", ["s"], [Assignment("l", (Piece("b1", 56, 64),))])
        with pytest.raises(DeniedError):
            await store.void_assigned("other", [late])
        with pytest.raises(KeysNotFoundError):
            await store.collect("s", "m", ["k"])
        assert await store.pool("peer") == Pool(
            "peer", 1024, available_bits=512, peer_available_bits=448, voided_bits=64
        )


async def test_a_void_does_not_undo_a_delivery(tmp_path: Path) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        await make(store, TX)
        [key] = await store.reserve("app-1", [], "peer", 1, 64)
        await store.deliver([key.key_id])
        with pytest.raises(ConflictError):
            await store.void([key.key_id])
        with pytest.raises(DeniedError):
            await store.void_assigned("peer", [key])


async def test_time_ends_reservations_keys_and_tombstones(tmp_path: Path) -> None:
    now = [0.0]
    limits = StoreLimits(key_lifetime_s=100, tombstone_s=1000, reserve_limit_s=10)
    async with open_store(tmp_path / "keys.db", limits, now_s=lambda: now[0]) as store:
        await make(store, RX)
        await store.assign("peer", "m", ["s"], [Assignment("k", (Piece("b1", 0, 64),))])
        await store.reserve("app-1", [], "peer", 1, 64)
        seen = []
        for now[0] in (9.0, 11.0, 99.0, 101.0, 1000.0, 1102.0):
            counts = await store.sweep()
            seen.append((counts.given_up_count, counts.expired_count, counts.forgotten_count))
        assert seen == [(0, 0, 0), (1, 0, 0), (0, 0, 0), (0, 1, 0), (0, 0, 0), (0, 0, 1)]
        # unconfirmed voids are never forgotten
        assert len(await store.pending_voids("peer", 9)) == 1
        with pytest.raises(ConflictError, match="given before"):
            await store.assign("peer", "m", ["s"], [Assignment("k", (Piece("b1", 0, 64),))])


async def test_counters_never_go_back(tmp_path: Path) -> None:
    path = tmp_path / "s" / "keys.db"
    incarnations, ends = [], [0]
    for _ in range(3):
        async with open_store(path, StoreLimits(pulse_stride=100)) as store:
            incarnations.append(await store.next_incarnation())
            for count in (1, 30, 200, 5, 99):
                first = await store.reserve_blocks("alice-bob", count)
                assert first >= ends[-1]
                ends.append(first + count)
            assert await store.reserve_blocks(f"other-{len(incarnations)}", 1) == 0
    assert incarnations == [1, 2, 3]
    async with open_store(path) as store:
        with pytest.raises(BadInputError):
            await store.reserve_blocks("alice-bob", 0)


@pytest.mark.parametrize(("number", "size_bits"), [(0, 8), (1, 0), (1, 12), (-1, 8)])
async def test_nonsense_is_not_reserved(tmp_path: Path, number: int, size_bits: int) -> None:
    async with open_store(tmp_path / "keys.db") as store:
        with pytest.raises(BadInputError):
            await store.reserve("app-1", [], "peer", number, size_bits)


async def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        async with open_store(tmp_path / "s" / "keys.db") as store:
            await make(store)
            modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "s").iterdir()}
    finally:
        os.umask(old)
    assert modes == dict.fromkeys(("keys.db", "keys.db-wal", "keys.db.key", "keys.audit.jsonl"), 0o600)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700


async def test_many_callers_share_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    plain: Callable[..., Any] = GroupCommit._commit

    def counted(self: GroupCommit, db: sqlite3.Connection, jobs: list[Any]) -> None:
        commits.append(len(jobs))
        plain(self, db, jobs)

    async with open_store(tmp_path / "keys.db") as store:
        await make(store)
        monkeypatch.setattr(GroupCommit, "_commit", counted)
        keys = await asyncio.gather(*(store.reserve("app-1", [], "peer", 1, 8) for _ in range(60)))
    assert sum(commits) == 60
    assert len(commits) < 30
    assert sorted(key.pieces[0].offset_bits for [key] in keys) == list(range(0, 480, 8))
