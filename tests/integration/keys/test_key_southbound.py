"""Links whose keys come from KMEs of another make: filled, refused what is not right, settled after a crash."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from foreign_kme import ForeignKeys, container, foreign_kme

from node.keys.records import BlockRole, BlockState, Pool
from node.keys.southbound import ExternalReceiver, external_links
from node.keys.southbound_client import open_external_kme
from node.link_state import LinkRecord, LinkState
from qnetem.runtime import identity, pki
from qnetem.runtime.errors import BadInputError, DeniedError, StartError
from qnetem.v1 import key_agreement_pb2 as pb
from qnetem.v1 import process_pb2

LINK = "alice-bob"
SAES = {"alice": "north", "bob": "south"}
KEYS, BITS = 4, 256


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask ten times as often as nodes do."""
    monkeypatch.setattr("node.keys.southbound._POLL_S", 0.1)


@dataclass
class Foreign:
    """Two KMEs of another make, and what nodes need to be SAEs of theirs."""

    keys: ForeignKeys
    urls: dict[str, str]
    credentials: dict[str, process_pb2.CredentialPaths]


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Foreign]:
    """Run a pair of them."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    with foreign_pair(folder) as pair:
        yield pair


@contextmanager
def foreign_pair(folder: Path) -> Iterator[Foreign]:
    authority = pki.create_authority("acme")
    (folder / "ca.pem").write_bytes(authority.pem.certificate)

    def written(name: str, issued: pki.CertificateAndKey) -> process_pb2.CredentialPaths:
        (folder / name).mkdir()
        return pki.write_credentials(folder / name, issued, folder / "ca.pem")

    own = written("kme", authority.issue("https://acme.example/kme", ["localhost"]))
    paths = (Path(own.certificate_path), Path(own.key_path), folder / "ca.pem")
    keys = ForeignKeys()
    with foreign_kme(keys, *paths) as one, foreign_kme(keys, *paths) as other:
        credentials = {
            node: written(sae, authority.issue(f"https://acme.example/{sae}", common_name=sae))
            for node, sae in SAES.items()
        }
        yield Foreign(keys, {"alice": f"https://localhost:{one}", "bob": f"https://localhost:{other}"}, credentials)


@dataclass
class Ends:
    """Both ends of the link."""

    transmitter: LinkRecord
    receiver: LinkRecord
    receiving: ExternalReceiver


def config_of(foreign: Foreign, node: str, **changes: Any) -> process_pb2.NodeLinkConfig:
    peer = "bob" if node == "alice" else "alice"
    values: dict[str, Any] = {
        "url": foreign.urls[node],
        "own_sae_id": SAES[node],
        "peer_sae_id": SAES[peer],
        "credentials": foreign.credentials[node],
        "key_size_bits": BITS,
        "keys_per_block": KEYS,
    }
    role = process_pb2.LINK_ROLE_TRANSMITTER if node == "alice" else process_pb2.LINK_ROLE_RECEIVER
    config = process_pb2.NodeLinkConfig(link_id=LINK, peer_node=peer, role=role)
    config.external_kme.CopyFrom(process_pb2.ExternalKmeConfig(**values | changes))
    config.protocol.pool_high_water_bits = 2 * KEYS * BITS
    return config


def end_of(kmes: Any, foreign: Foreign, node: str, incarnation: int, **changes: Any) -> Any:
    """Return a link's end at a node, and its record."""
    record = LinkRecord(LINK, lambda: 0, lambda _: None)
    process: Any = SimpleNamespace(
        log=SimpleNamespace(warning=lambda event, **said: logging.getLogger("test").warning("%s %s", event, said)),
        journal=SimpleNamespace(write=lambda *_, **__: None),
    )
    context: Any = SimpleNamespace(store=kmes[node].store, process=process, incarnation=incarnation)
    config = config_of(foreign, node, **changes)
    desk: Any = SimpleNamespace(add=lambda *_: None) if incarnation > 1 else kmes[node].desk
    [end] = external_links([config], context, {LINK: record}, kmes[node].relaying.courier, desk)
    return end, record


@asynccontextmanager
async def running(kmes: Any, foreign: Foreign, **changes: Any) -> AsyncIterator[Ends]:
    """Run both ends of the link."""
    sending, transmitter = end_of(kmes, foreign, "alice", 1, **changes)
    receiving, receiver = end_of(kmes, foreign, "bob", 1, **changes)
    tasks = [asyncio.create_task(end.run_forever()) for end in (receiving, sending)]
    try:
        yield Ends(transmitter, receiver, receiving)
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition."""
    try:
        async with asyncio.timeout(60):
            while not await condition():  # noqa: ASYNC110 - watched from outside
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within 60 s: {what}") from None


async def state_is(record: LinkRecord, state: LinkState, reason: str = "") -> None:
    async def reached() -> bool:
        return (record.state, record.reason) == (state, reason)

    await until(reached, f"{state.name} {reason}, is {record.state.name} {record.reason}")


async def check_both_ends(kmes: Any) -> None:
    """Both ends come to hold the same (a block becomes AVAILABLE at one first), and every bit is accounted for."""

    async def pools() -> tuple[Pool, Pool]:
        return await kmes["alice"].store.pool("bob"), await kmes["bob"].store.pool("alice")

    async def agree() -> bool:
        one, other = await pools()
        held = (one.available_bits, one.peer_available_bits, one.made_bits)
        return held == (other.peer_available_bits, other.available_bits, other.made_bits)

    await until(agree, "both ends hold the same")
    for pool in await pools():
        ended = pool.delivered_bits + pool.voided_bits + pool.expired_bits + pool.quarantined_bits
        assert pool.made_bits == pool.held_bits + ended


async def give(kmes: Any, number: int) -> list[str]:
    """Have app-1 and app-2 share keys; return their values."""
    url = kmes.url("alice", "/api/v1/keys/app-2/enc_keys")
    async with kmes.sae("app-1").post(url, json={"number": number, "size": BITS}) as response:
        given = await response.json()
        assert response.status == 200, given
    ids = {"key_IDs": [{"key_ID": key["key_ID"]} for key in given["keys"]]}
    async with kmes.sae("app-2").post(kmes.url("bob", "/api/v1/keys/app-1/dec_keys"), json=ids) as response:
        assert await response.json() == given
    return [key["key"] for key in given["keys"]]


async def test_a_foreign_pair_fills_the_pool_up_to_its_mark(open_kmes: Any, foreign: Foreign) -> None:
    async with open_kmes() as kmes, running(kmes, foreign) as ends:
        await state_is(ends.transmitter, LinkState.OPERATING)
        await state_is(ends.receiver, LinkState.OPERATING)

        async def is_idle() -> bool:
            return ends.transmitter.is_idle

        await until(is_idle, "the pool is full")
        assert foreign.keys.callers == {"north", "south"}
        # half of each block is for either end to give
        assert (await kmes["alice"].store.pool("bob")).available_bits == 2 * KEYS * BITS
        assert foreign.keys.calls.count("enc_keys") == 4 == ends.transmitter.blocks_made_count
        values = await give(kmes, 2)
        assert b"".join(map(base64.b64decode, values)) in b"".join(foreign.keys.made)
        assert foreign.keys.waiting == {}
        await check_both_ends(kmes)


async def test_another_testbeds_kmes_stand_behind_the_link(open_kmes: Any, tmp_path: Path) -> None:
    async with (
        open_kmes() as kmes,
        open_kmes(folder=tmp_path / "other", places={"north": "alice", "south": "bob"}) as other,
    ):
        await other.add_block("alice", "bob", 1 << 14)
        credentials = {
            node: other.write(sae, other.authority.issue(identity.uri("metro", "sae", sae), common_name=sae))
            for node, sae in SAES.items()
        }
        theirs = Foreign(ForeignKeys(), {node: other.url(node, "") for node in SAES}, credentials)
        async with running(kmes, theirs) as ends:
            await state_is(ends.receiver, LinkState.OPERATING)
            assert len(set(await give(kmes, 2))) == 2
            await check_both_ends(kmes)
            assert (await other["alice"].store.pool("bob")).assigned_bits == 0


async def test_a_dry_kme_degrades_the_link_until_it_gives_again(open_kmes: Any, foreign: Foreign) -> None:
    foreign.keys.left = KEYS
    async with open_kmes() as kmes, running(kmes, foreign) as ends:
        await state_is(ends.transmitter, LinkState.DEGRADED, "external-kme-dry")
        await state_is(ends.receiver, LinkState.DEGRADED, "external-kme-dry")
        assert (await kmes["alice"].store.pool("bob")).available_bits == KEYS * BITS // 2
        foreign.keys.left = 100
        await state_is(ends.transmitter, LinkState.OPERATING)
        await check_both_ends(kmes)


def keys_of(count: int, bits: int) -> dict[str, bytes]:
    return {f"00000000-0000-4000-8000-{i:012d}": bytes(bits // 8) for i in range(count)}


@pytest.mark.parametrize(
    ("call", "status", "answer", "reason"),
    [
        ("enc_keys", 401, {"message": "no"}, "external-kme-refused"),
        ("enc_keys", 302, {}, "external-kme-refused"),
        ("enc_keys", 200, b"nonsense", "external-kme-answer"),
        ("enc_keys", 200, [], "external-kme-answer"),
        ("enc_keys", 200, {"keys": {}}, "external-kme-answer"),
        ("enc_keys", 200, container(keys_of(KEYS - 1, BITS)), "external-kme-answer"),
        ("enc_keys", 200, container(keys_of(KEYS, BITS - 8)), "external-kme-answer"),
        ("enc_keys", 200, {"keys": [{"key_ID": "x", "key": "AA=="}] * KEYS}, "external-kme-answer"),
        ("enc_keys", 200, {"keys": [{"key_ID": key, "key": "*"} for key in keys_of(KEYS, 8)]}, "external-kme-answer"),
        ("enc_keys", 200, b" " * (1 << 20) + b"{}", "external-kme-answer"),
        ("dec_keys", 400, {"message": "no such keys"}, "external-kme-refused"),
        ("dec_keys", 200, container(keys_of(KEYS, BITS)), "external-kme-refused"),
    ],
)
async def test_what_a_foreign_kme_must_not_do(
    open_kmes: Any, foreign: Foreign, caplog: Any, call: str, status: int, answer: Any, reason: str
) -> None:
    """Whatever it answers: a reason, nothing that one end alone holds, and a link that comes back when it behaves."""
    foreign.keys.spoil[call] = lambda *_: (status, answer)
    async with open_kmes() as kmes, running(kmes, foreign) as ends:
        await state_is(ends.transmitter, LinkState.DOWN, reason)
        await state_is(ends.receiver, LinkState.DOWN, reason)
        assert (await kmes["alice"].store.pool("bob")).made_bits == 0
        assert (await kmes["bob"].store.pool("alice")).made_bits == 0
        foreign.keys.spoil.clear()
        await state_is(ends.transmitter, LinkState.OPERATING)
        await check_both_ends(kmes)
    assert "link.external.failed" in caplog.text
    for key in foreign.keys.made:
        assert not any(text in caplog.text for text in (base64.b64encode(key).decode(), key.hex(), repr(key)))


async def test_a_kme_that_is_not_who_it_should_be_is_not_asked(
    open_kmes: Any, foreign: Foreign, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_bytes(pki.create_authority("acme").pem.certificate)
    foreign.credentials["alice"].authority_path = str(stranger)
    async with open_kmes() as kmes, running(kmes, foreign) as ends:
        await state_is(ends.transmitter, LinkState.DOWN, "external-kme-unreachable")
        assert foreign.keys.calls == []


async def test_a_silent_transmitter_takes_the_link_down_at_the_receiver(
    open_kmes: Any, foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.keys.southbound._SILENCE_S", 0.3)
    async with open_kmes() as kmes:
        receiving, record = end_of(kmes, foreign, "bob", 1)
        task = asyncio.create_task(receiving.run_forever())
        try:
            await receiving.settle(pb.SettleBlocksRequest(link_id=LINK, state=LinkState.OPERATING.value))
            assert record.state is LinkState.OPERATING
            await state_is(record, LinkState.DOWN, "peer-unreachable")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_blocks_in_doubt_are_settled_by_the_next_incarnation(open_kmes: Any, foreign: Foreign) -> None:
    """What the transmitter had decided holds at both ends; what it had not, at neither; what the peer lost, nowhere."""
    async with open_kmes() as kmes:
        alice, bob = kmes["alice"].store, kmes["bob"].store
        for name in ("decided", "undecided", "lost"):
            block = f"{LINK}/0.0.{name}"
            await alice.prepare(block, LINK, "bob", bytes(128), 1024, BlockRole.TRANSMITTER)
            if name != "lost":
                await bob.prepare(block, LINK, "alice", bytes(128), 1024, BlockRole.RECEIVER)
            if name != "undecided":
                await alice.commit(block)
        foreign.keys.left = 0
        async with running(kmes, foreign) as ends:
            await state_is(ends.receiver, LinkState.DEGRADED, "external-kme-dry")
            names = [f"{LINK}/0.0.{name}" for name in ("decided", "undecided", "lost")]
            assert list((await alice.block_states(names)).values()) == [
                BlockState.AVAILABLE,
                BlockState.ABORTED,
                BlockState.QUARANTINED,
            ]
            assert await bob.block_states(names) == {
                names[0]: BlockState.AVAILABLE,
                names[1]: BlockState.ABORTED,
                names[2]: BlockState.ABORTED,
            }
            one, other = await alice.pool("bob"), await bob.pool("alice")
            assert (one.available_bits, one.peer_available_bits) == (other.peer_available_bits, other.available_bits)
            late = pb.FillBlockRequest(link_id=LINK, block_id=names[2], key_ids=list(keys_of(1, 8)), key_size_bits=BITS)
            assert not (await ends.receiving.fill(late)).is_prepared


async def test_strangers_fill_and_settle_nothing(open_kmes: Any, foreign: Foreign) -> None:
    async with open_kmes() as kmes, running(kmes, foreign) as ends:
        await state_is(ends.receiver, LinkState.OPERATING)
        ask = kmes["carol"].relaying.courier.ask
        for message in (
            {"settle_blocks": pb.SettleBlocksRequest(link_id=LINK, state=LinkState.DOWN.value, reason="lie")},
            {"fill_block": pb.FillBlockRequest(link_id=LINK, block_id=f"{LINK}/9.9.9", key_size_bits=BITS)},
        ):
            with pytest.raises(DeniedError):
                await ask("bob", pb.AgreeRequest(**message))
        with pytest.raises(BadInputError, match="not answered here"):
            await ask("bob", pb.AgreeRequest(settle_blocks=pb.SettleBlocksRequest(link_id="other")))
        for wrong in ({"block_id": "other/1.0.1"}, {"key_ids": ["x"]}, {"key_ids": []}):
            values = {
                "link_id": LINK,
                "block_id": f"{LINK}/9.9.9",
                "key_ids": list(keys_of(1, 8)),
                "key_size_bits": BITS,
            }
            with pytest.raises(BadInputError, match="not of it"):
                await ends.receiving.fill(pb.FillBlockRequest(**values | wrong))
        assert ends.receiver.state is LinkState.OPERATING


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        ({"url": "http://localhost:1"}, BadInputError, "not https"),
        ({"key_size_bits": 12}, BadInputError, "12 bits"),
        ({"keys_per_block": 0}, BadInputError, "0 keys"),
        ({"credentials": process_pb2.CredentialPaths(authority_path="/nowhere/ca.pem")}, StartError, "ca.pem"),
    ],
)
async def test_an_external_kme_that_cannot_be_is_refused(
    foreign: Foreign, change: dict[str, Any], error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        async with open_external_kme(config_of(foreign, "alice", **change).external_kme):
            pass
