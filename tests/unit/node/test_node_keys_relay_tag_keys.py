"""Hash keys of hops: one for many tags, the same at both ends whatever comes when, sealed, renewed, paid for once."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from node.keys import connection, relay_tag_keys
from node.keys.records import BlockRole, Piece, PoolExhaustedError
from node.keys.relay_conservation import imbalances
from node.keys.relay_frame import TAG_KEY_BITS, UnknownTagKeyError
from node.keys.store import KeyStore, open_store
from qnetem.runtime.errors import BadInputError, DeniedError
from qnetem.runtime.storage_key_file import make_storage_key, next_path

T = TypeVar("T")
Pieces = tuple[Piece, ...]


@asynccontextmanager
async def ends(folder: Path, *bit_counts: int) -> AsyncIterator[tuple[KeyStore, KeyStore]]:
    """The stores of a and b, whose link has blocks of so many bits."""
    async with AsyncExitStack() as stack:
        a, b = [await stack.enter_async_context(open_store(folder / name / "keys.db")) for name in "ab"]
        for number, bit_count in enumerate(bit_counts):
            secret = bytes((7 * at + 31 * number) % 251 + 1 for at in range(bit_count // 8))
            block_id = f"a-b/1.1.{number}"
            await b.prepare(block_id, "a-b", "a", secret, bit_count, BlockRole.RECEIVER)
            await a.prepare(block_id, "a-b", "b", secret, bit_count, BlockRole.TRANSMITTER)
            await a.commit(block_id)
            await b.commit(block_id)
            await a.confirm(block_id)
        yield a, b


async def do(store: KeyStore, operation: Callable[[sqlite3.Connection], T]) -> T:
    return await store.run(None, operation)


async def current(store: KeyStore) -> tuple[Pieces, bytes]:
    pieces, value = await do(store, lambda db: relay_tag_keys.current(db, "b"))
    return pieces, bytes(value)


async def of_peer(store: KeyStore, pieces: Pieces, peer: str = "a") -> bytes:
    return bytes(await do(store, lambda db: relay_tag_keys.of_peer(db, peer, pieces)))


async def tags_bits(a: KeyStore, b: KeyStore) -> int:
    pools = {"a": await a.pools(), "b": await b.pools()}
    assert imbalances(pools, is_settled=True) == []
    assert pools["a"][0].tags_bits == pools["b"][0].tags_bits
    return pools["a"][0].tags_bits


async def test_one_hash_key_serves_many_tags_and_both_ends_through_restarts(tmp_path: Path) -> None:
    async with ends(tmp_path, 4096) as (a, b):
        pieces, value = await current(a)
        assert (len(value), pieces) == (16, (Piece("a-b/1.1.0", 0, 128),))
        assert [await current(a) for _ in range(5)] == [(pieces, value)] * 5
        assert await of_peer(b, pieces) == await of_peer(b, pieces) == value
        assert await tags_bits(a, b) == TAG_KEY_BITS
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or value not in path.read_bytes()
    async with ends(tmp_path) as (a, b):
        assert await current(a) == (pieces, value)
        assert await of_peer(b, pieces) == value
        # the other direction has one of its own, of the other half
        back, other = await do(b, lambda db: relay_tag_keys.current(db, "a"))
        assert back == (Piece("a-b/1.1.0", 2048, 128),)
        assert other != value
        assert await of_peer(a, back, "b") == other
        assert await tags_bits(a, b) == 2 * TAG_KEY_BITS
        assert (await a.audit.verify()).fault == ""


async def test_it_is_renewed_after_so_many_tags_and_late_ones_still_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert relay_tag_keys.TAGS_PER_KEY == 65_536  # as key_relay.proto and docs/relay.md say
    monkeypatch.setattr(relay_tag_keys, "TAGS_PER_KEY", 3)
    async with ends(tmp_path, 144, 4096) as (a, b):
        seen = [await current(a) for _ in range(15)]
        drawn = list(dict.fromkeys(seen))
        assert [seen.count(one) for one in drawn] == [3] * 5
        # over the border of two blocks
        assert [piece.block_id for piece in drawn[0][0]] == ["a-b/1.1.0", "a-b/1.1.1"]
        for pieces, value in (drawn[1], drawn[0], drawn[2], drawn[3]):
            assert await of_peer(b, pieces) == value
        for pieces, value in drawn[:4]:
            assert await of_peer(b, pieces) == value
        # of a fifth it lets the first go that it was told of
        assert await of_peer(b, drawn[4][0]) == drawn[4][1]
        with pytest.raises(UnknownTagKeyError, match="KME a tags under a hash key that is not held here"):
            await of_peer(b, drawn[1][0])
        assert await of_peer(b, drawn[0][0]) == drawn[0][1]
        assert await tags_bits(a, b) == 5 * TAG_KEY_BITS


async def test_what_comes_in_a_burn_alone_is_held_and_what_is_lost_is_not_revived(tmp_path: Path) -> None:
    async with ends(tmp_path, 4096) as (a, b):
        pieces, value = await current(a)
        for _ in range(2):
            await do(b, lambda db: relay_tag_keys.learn(db, "a", pieces))
        assert await of_peer(b, pieces) == value
        await do(b, lambda db: db.execute("DELETE FROM tag_keys"))
        await do(b, lambda db: relay_tag_keys.learn(db, "a", pieces))
        with pytest.raises(UnknownTagKeyError):
            await of_peer(b, pieces)
        await do(a, lambda db: relay_tag_keys.forget(db, "b", (Piece("a-b/1.1.0", 8, 128),)))
        assert await current(a) == (pieces, value)
        await do(a, lambda db: relay_tag_keys.forget(db, "b", pieces))
        again, other = await current(a)
        assert again != pieces
        assert await of_peer(b, again) == other
        assert await tags_bits(a, b) == 2 * TAG_KEY_BITS


async def test_what_is_no_hash_key_is_refused_and_spends_nothing(tmp_path: Path) -> None:
    async with ends(tmp_path, 4096) as (a, b):
        key = Piece("a-b/1.1.0", 0, 128)
        for pieces, error, said in (
            ((Piece("a-b/1.1.0", 0, 120),), BadInputError, "not of 128 bits"),
            ((Piece("a-b/1.1.0", 0, 64), Piece("a-b/1.1.0", 56, 64)), BadInputError, "names a bit twice"),
            ((Piece("a-b/1.1.0", 2048, 128),), BadInputError, "not whole bytes of the half of a"),
            ((Piece("a-b/1.1.9", 0, 128),), UnknownTagKeyError, "not held here"),
        ):
            with pytest.raises(error, match=said):
                await of_peer(b, pieces)
        with pytest.raises(DeniedError, match="is not shared with c"):
            await of_peer(b, (key,), "c")
        assert (await b.pool("a")).peer_available_bits == 2048
        # bits of a key that was given are no hash key
        [given] = await a.reserve("app-a", [], "b", 1, 256)
        await b.assign("a", "app-a", ["app-b"], [given])
        with pytest.raises(UnknownTagKeyError):
            await of_peer(b, (key,))


async def test_too_few_bits_take_none(tmp_path: Path) -> None:
    async with ends(tmp_path, 240) as (a, _):
        with pytest.raises(PoolExhaustedError, match="not enough key material shared with KME b"):
            await current(a)
        assert (await a.pool("b")).available_bits == 120


async def test_a_rotated_storage_key_seals_those_of_peers_anew_and_gives_up_its_own(tmp_path: Path) -> None:
    async with ends(tmp_path, 4096) as (a, b):
        pieces, value = await current(a)
        assert await of_peer(b, pieces) == value
        for store, name in ((a, "a"), (b, "b")):
            make_storage_key(next_path(connection.default_key_path(tmp_path / name / "keys.db")))
            assert await store.rotate_storage_key()
        assert await of_peer(b, pieces) == value
        renewed, other = await current(a)
        assert renewed != pieces
        assert await of_peer(b, renewed) == other
        assert await tags_bits(a, b) == 2 * TAG_KEY_BITS
