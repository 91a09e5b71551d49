"""Tags of sessions: what was heard is what was said, or the block is not released; each tag is paid for once."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from session_wires import Wires

from node.keys.records import BlockRole, PadsExhaustedError
from node.keys.store import KeyStore, open_store
from node.qkd.authentication import PRESHARED_BITS, RESERVE_BITS, LinkAuthentication, authenticated
from node.qkd.errors import LinkTroubleError
from node.qkd.transcript import BLOCK_TAG_BITS, BlockHashes, Ghash, Message, Transcript, forgery_prob
from qnetem.runtime.errors import BadInputError
from qnetem.v1 import link_session_pb2 as pb
from qnetem.v1 import process_pb2

KEY = bytes(range(16))
SECRET = b"s" * 16


def ghash(h: int, data: bytes) -> int:
    """GHASH of associated data alone, written out after NIST SP 800-38D: bit 0 is the most significant one."""

    def times(x: int, y: int) -> int:
        z = 0
        for bit in range(128):
            if x >> (127 - bit) & 1:
                z ^= y
            y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
        return z

    blocks = [data[at : at + 16].ljust(16, b"\0") for at in range(0, len(data), 16)]
    blocks.append((8 * len(data)).to_bytes(8, "big") + bytes(8))
    value = 0
    for block in blocks:
        value = times(value ^ int.from_bytes(block, "big"), h)
    return value


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 160, 1000])
def test_ghash_is_that_of_the_standard(size: int) -> None:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    h = int.from_bytes(Cipher(algorithms.AES(KEY), modes.ECB()).encryptor().update(bytes(16)), "big")  # noqa: S305
    data = bytes(index * 7 % 256 for index in range(size))
    by_pieces = Ghash(KEY)
    by_pieces.add(data[: size // 3])
    by_pieces.add(data[size // 3 :])
    assert by_pieces.value() == ghash(h, data).to_bytes(16, "big")


def test_a_hash_key_of_another_length_is_refused() -> None:
    with pytest.raises(BadInputError, match="has 16 bytes, this one 15"):
        Ghash(bytes(15))


def test_a_forgery_of_a_long_block_is_hopeless() -> None:
    assert forgery_prob(16) == 2.0 * 2.0**-128
    assert forgery_prob(10_000_000) == pytest.approx(625_001 * 2.0**-128, rel=1e-12)


def story() -> list[pb.SessionRequest]:
    """What a transmitter says around one block."""
    said = [
        pb.SessionRequest(hello=pb.SessionHello(link_id="l", session_counter=3)),
        pb.SessionRequest(train=pb.TrainNotice(train_id=5, block_count=2)),
        pb.SessionRequest(heartbeat=pb.Heartbeat(number=1)),
        pb.SessionRequest(sift_answer=pb.SiftAnswer(train_id=5, matches=b"\5", intensities=b"\1")),
        pb.SessionRequest(block_start=pb.BlockStart(block_id="l/1.1.0", sifted_bits=100, permutation_seed=9)),
        pb.SessionRequest(sift_answer=pb.SiftAnswer(train_id=5, part=1, matches=b"\6")),
        pb.SessionRequest(parity_answer=pb.ParityAnswer(block_id="l/1.1.0", parities=b"\3")),
        pb.SessionRequest(block_seed=pb.BlockSeed(block_id="l/1.1.0", hash=b"h" * 16, secret_bits=64)),
    ]
    for at, message in enumerate(said):
        message.sent.picoseconds = at
    return said


def hashes_of(messages: list[pb.SessionRequest], key: bytes = KEY) -> BlockHashes | None:
    transcript = Transcript(key)
    for message in messages:
        transcript.see(message)
    return transcript.close("l/1.1.0")


def without(at: int) -> Callable[[list[Any]], list[Any]]:
    return lambda told: told[:at] + told[at + 1 :]


def swapped(at: int) -> Callable[[list[Any]], list[Any]]:
    return lambda told: [*told[:at], told[at + 1], told[at], *told[at + 2 :]]


@pytest.mark.parametrize("at", [at for at in range(8) if at not in (2, 5)])
def test_whatever_counts_changes_the_hashes(at: int) -> None:
    """Field by field altered, left out, said twice. What is said of other things later does not count."""
    true = hashes_of(story())
    assert true is not None
    altered = story()
    altered[at].sent.seconds += 1
    assert hashes_of(altered) != true
    if at != 4:
        assert hashes_of(without(at)(story())) != true
        assert hashes_of([*story()[: at + 1], *story()[at:]]) != true


def test_order_counts_and_heartbeats_do_not() -> None:
    true = hashes_of(story())
    assert hashes_of(swapped(0)(story())) != true
    assert hashes_of(swapped(6)(story())) != true
    assert hashes_of(without(2)(story())) == true
    assert hashes_of(without(5)(story())) == true
    assert hashes_of(story(), bytes(16)) != true


def test_tags_do_not_hash_themselves_and_a_later_block_hashes_all_before() -> None:
    tagged = story()
    tagged[7].tags.stream = b"t" * 16
    assert hashes_of(tagged) == hashes_of(story())
    transcripts = [Transcript(KEY), Transcript(KEY)]
    for transcript, told in zip(transcripts, (story(), without(5)(story())), strict=True):
        for message in told:
            transcript.see(message)
        transcript.see(pb.SessionRequest(block_start=pb.BlockStart(block_id="l/1.1.1")))
    one, other = (transcript.close("l/1.1.1") for transcript in transcripts)
    assert one is not None
    assert other is not None
    assert one.stream != other.stream
    assert one.block == other.block


def test_a_block_that_is_over_is_forgotten_and_a_flood_of_blocks_is_bounded() -> None:
    transcript = Transcript(KEY)
    for message in story():
        transcript.see(message)
    assert transcript.close("l/1.1.0") == transcript.close("l/1.1.0") is not None
    transcript.forget("l/1.1.0")
    assert transcript.close("l/1.1.0") is None
    for number in range(1000):
        transcript.see(pb.SessionRequest(block_start=pb.BlockStart(block_id=f"b{number}")))
    assert len(transcript._blocks) == len(transcript._cuts) == 64


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.binary(max_size=40), max_size=6))
def test_two_stories_have_one_hash_only_if_they_are_one(one: list[bytes], other: list[bytes]) -> None:
    """Framing: no two ways to cut the same bytes into messages are the same story."""

    def value(parts: list[bytes]) -> BlockHashes | None:
        told = [pb.SessionRequest(sift_answer=pb.SiftAnswer(matches=part)) for part in parts]
        return hashes_of([*told, *story()[4:]])

    assert (value(one) == value(other)) == (one == other)


def link(role: process_pb2.LinkRole.ValueType, secret: bytes = SECRET) -> process_pb2.NodeLinkConfig:
    peer = "bob" if role == process_pb2.LINK_ROLE_TRANSMITTER else "alice"
    return process_pb2.NodeLinkConfig(link_id="l", role=role, peer_node=peer, authentication_secret=secret)


@asynccontextmanager
async def ends(
    tmp_path: Path, other_secret: bytes = SECRET
) -> AsyncIterator[tuple[KeyStore, LinkAuthentication, KeyStore, LinkAuthentication]]:
    async with AsyncExitStack() as stack:
        found: list[Any] = []
        roles = (process_pb2.LINK_ROLE_TRANSMITTER, process_pb2.LINK_ROLE_RECEIVER)
        for name, role, secret in zip(("alice", "bob"), roles, (SECRET, other_secret), strict=True):
            store = await stack.enter_async_context(open_store(tmp_path / name / "keys.db"))
            found += [store, (await authenticated([link(role, secret)], store))["l"]]
        yield found[0], found[1], found[2], found[3]


HASHES = BlockHashes(b"s" * 16, b"b" * 16)


async def refused(end: LinkAuthentication, hashes: BlockHashes | None, tags: pb.Tags) -> None:
    with pytest.raises(LinkTroubleError, match="authentication"):
        await end.check("l/1.1.0", hashes, tags)


async def test_tags_verify_once_both_ways_and_show_nothing_of_the_hashes(tmp_path: Path) -> None:
    async with ends(tmp_path) as (_, alice, store, bob):
        for sender, taker in ((alice, bob), (bob, alice)):
            tags = [(await sender.tags(HASHES))[0] for _ in range(3)]
            values = {value for each in tags for value in (each.stream, each.block)}
            assert len(values - {HASHES.stream, HASHES.block}) == 6
            for each in (tags[2], tags[0], tags[1]):
                await taker.check("l/1.1.0", HASHES, each)
            await refused(taker, HASHES, tags[0])
        assert [line.count(b"authentication.failed") for line in await trail(store)].count(1) == 1


async def trail(store: KeyStore) -> list[bytes]:
    return store._commit.audit_log.path.read_bytes().splitlines()


@pytest.mark.parametrize("fault", ["stream", "block", "none", "short pad", "pad of mine", "unknown block", "unheard"])
async def test_wrong_tags_of_every_kind_are_refused_and_recorded(tmp_path: Path, fault: str) -> None:
    async with ends(tmp_path) as (_, alice, store, bob):
        tags, _ = await alice.tags(HASHES)
        heard: BlockHashes | None = HASHES
        match fault:
            case "stream":
                tags.stream = bytes([tags.stream[0] ^ 1]) + tags.stream[1:]
            case "block":
                tags.block = tags.block[:-1] + bytes([tags.block[-1] ^ 0x80])
            case "none":
                tags = pb.Tags()
            case "short pad":
                tags.pad[0].length_bits -= 8
            case "pad of mine":
                tags.pad[0].offset_bits += PRESHARED_BITS // 2
            case "unknown block":
                tags.pad[0].block_id = "l/9.9.9"
            case "unheard":
                heard = None
        await refused(bob, heard, tags)
        assert sum(b"authentication.failed" in line for line in await trail(store)) == 1


async def test_another_secret_verifies_nothing(tmp_path: Path) -> None:
    async with ends(tmp_path, b"x" * 16) as (_, alice, _store, bob):
        await refused(bob, HASHES, (await alice.tags(HASHES))[0])


async def block(stores: tuple[KeyStore, KeyStore], number: int, bit_count: int) -> None:
    alice, bob = stores
    block_id, secret = f"l/1.1.{number}", bytes((number + index) % 251 + 1 for index in range(bit_count // 8))
    await bob.prepare(block_id, "l", "alice", secret, bit_count, BlockRole.RECEIVER)
    await alice.prepare(block_id, "l", "bob", secret, bit_count, BlockRole.TRANSMITTER)
    await alice.commit(block_id)
    await bob.commit(block_id)
    await alice.confirm(block_id)


async def test_pads_come_from_the_pool_then_from_before_then_from_what_keys_may_not_take(tmp_path: Path) -> None:
    async with ends(tmp_path) as (a_store, alice, b_store, bob):
        await block((a_store, b_store), 0, 2 * (RESERVE_BITS + 2 * BLOCK_TAG_BITS))
        pool = await a_store.pool("bob")
        assert (pool.available_bits, pool.kept_bits) == (2 * BLOCK_TAG_BITS, RESERVE_BITS)
        with pytest.raises(Exception, match=f"stored 2 keys of {BLOCK_TAG_BITS} bits, asked 3"):
            await a_store.reserve("m", [], "bob", 3, BLOCK_TAG_BITS)
        spent = []
        for _ in range(2 + PRESHARED_BITS // 2 // BLOCK_TAG_BITS + 32):
            tags, _ = await alice.tags(HASHES)
            spent += [(p.block_id, p.offset_bits, p.length_bits) for p in tags.pad]
            await bob.check("l/1.1.0", HASHES, tags)
        names = [name for name, _, _ in spent]
        assert names == ["l/1.1.0"] * 2 + ["l/preshared/0"] * 85 + ["l/1.1.0"] * 32
        assert len(set(spent)) == len(spent)
        with pytest.raises(PadsExhaustedError, match="link l: no 384 bits are left to authenticate with bob"):
            await alice.tags(HASHES)
        for store, peer in ((a_store, "bob"), (b_store, "alice")):
            pool = await store.pool(peer)
            ended = pool.tags_bits
            assert ended == 34 * BLOCK_TAG_BITS
            assert pool.made_bits == pool.held_bits + ended
        # the other direction has pads of its own
        assert await b_store.authentication.left_bits("l") == (
            PRESHARED_BITS // 2,
            PRESHARED_BITS // 2 % BLOCK_TAG_BITS,
        )
        await alice.check("l/1.1.0", HASHES, (await bob.tags(HASHES))[0])

        # what then: somebody brings new ones, once, and they are used when both have them
        assert await alice.provision(1, b"n" * 256)
        with pytest.raises(PadsExhaustedError):
            await alice.tags(HASHES)
        assert await a_store.blocks_in_doubt("l") == []
        assert await bob.provision(1, b"n" * 256)
        assert not await bob.provision(1, b"n" * 256)
        assert await alice.confirm(1)
        assert not await alice.confirm(2)
        await bob.check("l/1.1.0", HASHES, (await alice.tags(HASHES))[0])
        with pytest.raises(BadInputError, match="fewer than 512"):
            await alice.provision(2, b"n" * 63)
        # and key that is made fills up what is held back before it serves keys
        await block((a_store, b_store), 1, 2 * RESERVE_BITS + 1024)
        pool = await a_store.pool("bob")
        assert (pool.available_bits, pool.kept_bits) == (512, RESERVE_BITS)


async def test_what_was_spent_stays_spent_when_the_node_starts_again(tmp_path: Path) -> None:
    async with ends(tmp_path) as (_, alice, _store, bob):
        first, _ = await alice.tags(HASHES)
        await bob.check("l/1.1.0", HASHES, first)
    async with ends(tmp_path) as (_, alice, _store, bob):
        second, _ = await alice.tags(HASHES)
        assert second.pad[0].offset_bits == first.pad[0].offset_bits + BLOCK_TAG_BITS
        await refused(bob, HASHES, first)
        await bob.check("l/1.1.0", HASHES, second)


async def test_bits_shared_beforehand_are_never_given_as_keys(tmp_path: Path) -> None:
    from node.keys.records import Assignment, Piece

    async with ends(tmp_path) as (a_store, _, b_store, _bob):
        with pytest.raises(Exception, match="stored 0 keys of 8 bits, asked 1"):
            await a_store.reserve("m", [], "bob", 1, 8)
        with pytest.raises(BadInputError, match="authenticates, and is given for nothing else"):
            await b_store.assign("alice", "m", ["s"], [Assignment("k", (Piece("l/preshared/0", 0, 64),))])


async def test_a_quarantined_block_takes_what_was_held_back_with_it(tmp_path: Path) -> None:
    async with ends(tmp_path) as (a_store, _, b_store, _bob):
        await block((a_store, b_store), 0, 2 * RESERVE_BITS + 1024)
        await block((a_store, b_store), 1, 1024)
        await a_store.quarantine("l/1.1.0")
        pool = await a_store.pool("bob")
        assert (pool.available_bits, pool.kept_bits) == (0, 512)
        assert pool.made_bits == pool.held_bits + pool.quarantined_bits


class Story(Wires):
    """All that is said around a block."""

    async def tell(self, counter: int = 3, counter_heard: int = 3) -> None:
        """Settle a block, say all that makes another one, both ways, and check the tags at both ends."""
        block_id = "l/1.1.0"
        alice, bob = self.alice, self.bob
        async with self.writing():
            alice.name_session(1, counter)
            bob.name_session(1, counter_heard)
            await alice.send(hello=pb.SessionHello(link_id="l"))
            await bob.receive()
            doubt = pb.BlockInDoubt(block_id="l/0.9.0", holding=pb.BlockInDoubt.HOLDING_AVAILABLE)
            for sender, taker in ((bob, alice), (alice, bob)):
                await sender.settle(pb.Settlement(blocks=[doubt]))
                assert await taker.settled(await taker.receive()) == [doubt]
                await sender.settle(pb.Settlement())
                assert await taker.settled(await taker.receive()) == []
            await bob.send(sift_report=pb.SiftReport(train_id=1, bases=b"\1\2"))
            await alice.receive()
            await alice.send(sift_answer=pb.SiftAnswer(train_id=1, matches=b"\3"))
            await bob.receive()
            await alice.send(block_start=pb.BlockStart(block_id=block_id, sifted_bits=10))
            await bob.receive()
            await bob.send(parity_query=pb.ParityQuery(block_id=block_id, passes=b"\0"))
            await alice.receive()
            await alice.send(parity_answer=pb.ParityAnswer(block_id=block_id, parities=b"\1"))
            await bob.receive()
            await bob.send(block_corrected=pb.BlockCorrected(block_id=block_id, disclosed_bits=1))
            await alice.receive()
            await alice.send_tagged(block_id, block_seed=pb.BlockSeed(block_id=block_id, secret_bits=8))
            seed = await bob.receive()
            await bob.check_tags(block_id, seed.tags)
            await bob.send_tagged(block_id, block_prepared=pb.BlockPrepared(block_id=block_id, is_prepared=True))
            prepared = await alice.receive()
            await alice.check_tags(block_id, prepared.tags)
            await alice.send_decided(block_id, block_decision=pb.BlockDecision(block_id=block_id, is_commit=True))
            await bob.check_decided(block_id, await bob.receive())
            await bob.send_decided(block_id, block_committed=pb.BlockCommitted(block_id=block_id))
            await alice.check_decided(block_id, await alice.receive())


async def test_an_honest_session_verifies(tmp_path: Path) -> None:
    async with ends(tmp_path) as (_, alice, _store, bob):
        for _ in range(2):  # the hash key is recycled, the pads are not
            await Story(alice, bob, lambda message: None).tell()


EVENTS = ("hello", "sift_report", "sift_answer", "block_start", "parity_query", "parity_answer", "block_corrected")


DECISIONS = ("block_decision", "block_committed", "settlement")


@pytest.mark.parametrize("event", [*EVENTS, "block_seed", "block_prepared", *DECISIONS])
async def test_whatever_is_altered_on_the_way_ends_the_session(tmp_path: Path, event: str) -> None:
    def tamper(message: Message) -> None:
        match message.WhichOneof("event"):
            case found if found != event:
                return
            case "hello":
                message.hello.silence_ms += 1
            case "sift_report":
                message.sift_report.bases = b"\1\3"
            case "sift_answer":
                message.sift_answer.matches = b"\2"
            case "block_start":
                message.block_start.permutation_seed ^= 1
            case "parity_query":
                message.parity_query.passes = b"\1"
            case "parity_answer":
                message.parity_answer.parities = b"\0"
            case "block_corrected":
                message.block_corrected.disclosed_bits = 2
            case "block_seed":
                message.block_seed.toeplitz_seed = b"\1"
            case "block_prepared":
                message.block_prepared.reason = "x"
            case "block_decision":
                message.block_decision.is_commit = False
            case "block_committed":
                message.sent.seconds += 1
            case "settlement":
                for block in message.settlement.blocks:
                    block.holding = pb.BlockInDoubt.HOLDING_ABORTED

    async with ends(tmp_path) as (store, alice, other, bob):
        with pytest.raises(LinkTroubleError, match="authentication"):
            await Story(alice, bob, tamper).tell()
        failed = [line for one in (store, other) for line in await trail(one) if b"authentication.failed" in line]
        assert len(failed) == 1
        assert (b"FORGED_DECISION" in failed[0]) == (event in DECISIONS)


@pytest.mark.parametrize("event", DECISIONS)
async def test_a_decision_without_a_tag_is_nobodys(tmp_path: Path, event: str) -> None:
    def tamper(message: Message) -> None:
        if message.WhichOneof("event") == event:
            message.ClearField("tags")

    async with ends(tmp_path) as (_, alice, _store, bob):
        with pytest.raises(LinkTroubleError, match="authentication"):
            await Story(alice, bob, tamper).tell()


async def test_a_decision_of_another_session_is_refused(tmp_path: Path) -> None:
    async with ends(tmp_path) as (_, alice, _store, bob):
        with pytest.raises(LinkTroubleError, match="authentication"):
            await Story(alice, bob, lambda message: None).tell(counter_heard=4)


async def test_a_decision_said_twice_is_taken_once(tmp_path: Path) -> None:
    """A settlement that was held back, or is said again, has a pad that is spent."""
    kept: list[Message] = []
    async with ends(tmp_path) as (_, alice, _store, bob):
        wires = Story(alice, bob, kept.append)
        await wires.tell()
        for message in [each for each in kept if each.HasField("settlement") and each.settlement.blocks]:
            taker = wires.bob if isinstance(message, pb.SessionRequest) else wires.alice
            with pytest.raises(LinkTroubleError, match="authentication"):
                await taker.settled(message)


async def test_who_cannot_pay_settles_nothing_and_decides_what_was_paid_for(tmp_path: Path) -> None:
    async with ends(tmp_path) as (store, alice, _store, bob):
        for _ in range(PRESHARED_BITS // 2 // BLOCK_TAG_BITS - 1):
            await alice.tags(HASHES)
        # a settlement, the block; and what is decided on it, of its own pad
        await Story(alice, bob, lambda message: None).tell()
        with pytest.raises(PadsExhaustedError):
            await alice.tags(HASHES)
        assert await store.authentication.left_bits("l") == (0, PRESHARED_BITS // 2 - 128 - BLOCK_TAG_BITS)
        wires = Story(alice, bob, lambda message: None)
        async with wires.writing():
            await wires.alice.settle(pb.Settlement(blocks=[pb.BlockInDoubt(block_id="l/0.9.0")]))
            message = await wires.bob.receive()
            assert message is not None
            assert await wires.bob.settled(message) == []
