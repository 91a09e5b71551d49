"""What time does to keys: expiry in emulated time, and nothing that is over stays for ever."""

from pathlib import Path

import pytest

from node.keys.records import (
    Assignment,
    BlockRole,
    KeysNotFoundError,
    NotNamedError,
    Piece,
    StoreLimits,
    SweepCounts,
    UnusableBlocksError,
)
from node.keys.store import KeyStore, open_store

SECRET = bytes(range(1, 129))
LIMITS = StoreLimits(key_lifetime_s=100.0, tombstone_s=1000.0)


class Times:
    """A wall clock and emulated time, by hand."""

    wall_s = 5000.0
    emulated_s = 10.0


def opened(path: Path, times: Times) -> KeyStore:
    return KeyStore(path, LIMITS, now_s=lambda: times.wall_s, emulated_s=lambda: times.emulated_s)


async def block(store: KeyStore, block_id: str) -> None:
    await store.prepare(block_id, "l", "peer", SECRET, 1024, BlockRole.RECEIVER)
    await store.commit(block_id)


def key(block_id: str, offset_bits: int, length_bits: int = 64) -> Assignment:
    return Assignment(f"key-{block_id}-{offset_bits}", (Piece(block_id, offset_bits, length_bits),))


async def test_a_key_expires_by_emulated_time_at_once_and_each_by_its_own_lifetime(tmp_path: Path) -> None:
    times = Times()
    store = opened(tmp_path / "keys.db", times)
    await store.open()
    await block(store, "b")
    await store.assign("peer", "m", ["s"], [key("b", 0)])
    await store.assign("peer", "m", ["s"], [key("b", 64)], lifetime_s=5.0)
    await store.assign("peer", "m", ["s"], [key("b", 128)])
    times.wall_s += 1e6
    assert await store.sweep() == SweepCounts(0, 0, 0)
    times.emulated_s += 5.0
    # nobody has swept yet
    with pytest.raises(KeysNotFoundError, match="one or more keys specified are not found on KME"):
        await store.collect("s", "m", ["key-b-64"])
    assert len(await store.collect("s", "m", ["key-b-0"])) == 1
    assert await store.sweep() == SweepCounts(0, 1, 0)
    times.emulated_s += 94.999
    assert await store.sweep() == SweepCounts(0, 0, 0)
    times.emulated_s += 0.001
    assert await store.sweep() == SweepCounts(0, 1, 0)
    pool = await store.pool("peer")
    assert (pool.expired_bits, pool.delivered_bits, pool.assigned_bits) == (128, 64, 0)
    # a tombstone tells "not yours" from "not there"
    with pytest.raises(NotNamedError):
        await store.collect("other", "m", ["key-b-128"])
    await store.close()


async def test_what_is_over_is_forgotten_after_its_time_and_its_sums_stay(tmp_path: Path) -> None:
    times = Times()
    store = opened(tmp_path / "keys.db", times)
    await store.open()
    for name in ("spent", "half"):
        await block(store, name)
    await store.prepare("dropped", "l", "peer", SECRET, 1024, BlockRole.RECEIVER)
    await store.abort("dropped")
    await store.assign("peer", "m", ["s"], [key("spent", 0, 512), key("half", 0, 256)])
    await store.collect("s", "m", ["key-spent-0", "key-half-0"])
    given = await store.reserve("s", [], "peer", 1, 512)
    await store.deliver([one.key_id for one in given])
    lost = await store.reserve("s", [], "peer", 1, 256)
    await store.void([lost[0].key_id])
    await store.sweep()
    times.wall_s += 999.0
    assert await store.sweep() == SweepCounts(0, 0, 0, 0)
    assert len(await store.block_states(["spent", "half", "dropped"])) == 3
    times.wall_s += 1.0
    # keys collected, delivered; blocks spent and dropped. The unconfirmed void stays, and the block that has bits left
    assert await store.sweep() == SweepCounts(0, 0, 3, 2)
    assert set(await store.block_states(["spent", "half", "dropped"])) == {"half"}
    assert [one.pieces for one in await store.pending_voids("peer", 9)] == [lost[0].pieces]
    pool = await store.pool("peer")
    assert (pool.made_bits, pool.delivered_bits, pool.voided_bits) == (2048, 512 + 256 + 512, 256)
    # what comes too late for all that is refused, not taken for something new
    with pytest.raises(UnusableBlocksError):
        await store.assign("peer", "m", ["s"], [key("spent", 64)])
    await store.close()


async def test_a_block_that_an_unconfirmed_void_names_stays_until_it_is_confirmed(tmp_path: Path) -> None:
    times = Times()
    store = opened(tmp_path / "keys.db", times)
    await store.open()
    await block(store, "b")
    lost = await store.reserve("s", [], "peer", 1, 512)
    await store.void([lost[0].key_id])
    await store.assign("peer", "m", ["s"], [key("b", 0, 512)])
    await store.collect("s", "m", ["key-b-0"])
    await store.sweep()
    times.wall_s += 2000.0
    assert await store.sweep() == SweepCounts(0, 0, 1, 0)
    assert await store.pending_voids("peer", 9) == lost
    await store.confirm_voids([lost[0].key_id])
    times.wall_s += 2000.0
    assert await store.sweep() == SweepCounts(0, 0, 1, 1)
    await store.close()


async def test_a_forgotten_blocks_row_is_not_taken_by_the_next_one(tmp_path: Path) -> None:
    """Row ids bind sealed rows to their place: they are never given twice."""
    times = Times()
    async with open_store(tmp_path / "keys.db", LIMITS, now_s=lambda: times.wall_s) as store:
        await store.prepare("first", "l", "peer", SECRET, 1024, BlockRole.RECEIVER)
        await store.abort("first")
        await store.sweep()
        times.wall_s += 2000.0
        await store.sweep()
        assert await store.block_states(["first"]) == {}
        await block(store, "second")
        [(row,)] = await store._commit.run(None, lambda db: db.execute("SELECT id FROM blocks").fetchall())
        assert row == 2
