"""Two KMEs that lose, repeat and refuse each other's messages: no key is handed out by one alone, none twice."""

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest

from node.keys.exchange import ExchangeTimes, NoRouteError
from node.keys.records import BlockState, KeysNotFoundError, PoolExhaustedError
from node.keys.store import KeyStore
from qnetem.runtime import identity, rpc
from qnetem.runtime.errors import BadInputError, ConflictError, DeniedError, StorageError, UnavailableError
from qnetem.v1 import key_exchange_pb2 as pb
from qnetem.v1 import key_exchange_pb2_grpc as pb_grpc

FAST = ExchangeTimes(total_s=0.4, call_s=0.15, retry_s=0.01, sweep_s=0.05)


class Unreliable(pb_grpc.KeyExchangeServiceServicer):
    """Stands before a KME's servicer: loses requests or answers as the test says."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.assign_plan: list[str] = []
        self.is_voiding = True
        self.assigned: list[pb.AssignKeysRequest] = []
        self.batch_plan: list[str] = []
        self.batches: list[pb.AssignKeysBatchRequest] = []

    async def AssignKeys(self, request: pb.AssignKeysRequest, context: Any) -> pb.AssignKeysResponse:
        self.assigned.append(request)
        plan = self.assign_plan.pop(0) if self.assign_plan else "serve"
        if plan == "lose request":
            await asyncio.Event().wait()
        if plan == "refuse":
            raise ConflictError("bits were given before")
        if plan == "full disk":
            raise StorageError("key store: no space")
        response = await self.inner.AssignKeys(request, context)
        if plan == "lose answer":
            await asyncio.Event().wait()
        if plan == "break":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "connection lost")
        return response

    async def AssignKeysBatch(self, request: pb.AssignKeysBatchRequest, context: Any) -> pb.AssignKeysBatchResponse:
        self.batches.append(request)
        plan = self.batch_plan.pop(0) if self.batch_plan else "serve"
        response = await self.inner.AssignKeysBatch(request, context)
        if plan == "lose answer":
            await asyncio.Event().wait()
        return response

    async def VoidKeys(self, request: pb.VoidKeysRequest, context: Any) -> pb.VoidKeysResponse:
        if not self.is_voiding:
            raise UnavailableError("away")
        return await self.inner.VoidKeys(request, context)


@pytest.fixture
def doors() -> dict[str, Unreliable]:
    """The unreliable servicer of each node, by name."""
    return {}


@pytest.fixture
def wrap(doors: dict[str, Unreliable]) -> Callable[[str, object], object]:
    """Put an unreliable servicer before each node's own."""

    def put(node: str, servicer: object) -> object:
        doors[node] = Unreliable(servicer)
        return doors[node]

    return put


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 a database has no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("plan", ["lose answer", "break", "lose request"])
async def test_a_lost_message_is_sent_again_under_the_same_ids(
    open_kmes: Any, doors: dict[str, Unreliable], wrap: Any, plan: str
) -> None:
    async with open_kmes(wrap=wrap, times=ExchangeTimes(call_s=0.2, retry_s=0.01)) as kmes:
        await kmes.add_block("alice", "bob")
        doors["bob"].assign_plan = [plan]
        [key] = await kmes["alice"].exchange.issue("app-1", ["app-2"], 1, 256)
        first, second = doors["bob"].assigned
        assert first == second
        assert await kmes["bob"].store.collect("app-2", "app-1", [key.key_id]) == [key]
        assert (await kmes["alice"].store.pool("bob")).voided_bits == 0


@pytest.mark.parametrize("plan", ["lose answer", "lose request", "full disk"])
async def test_a_key_in_doubt_is_voided_at_both_ends(
    open_kmes: Any, doors: dict[str, Unreliable], wrap: Any, plan: str
) -> None:
    async with open_kmes(wrap=wrap, times=FAST) as kmes:
        await kmes.add_block("alice", "bob")
        doors["bob"].assign_plan = [plan] * 100
        doors["bob"].is_voiding = False
        with pytest.raises(UnavailableError, match="did not take the keys"):
            await kmes["alice"].exchange.issue("app-1", ["app-2"], 2, 256)
        key_ids = [key.key_id for key in doors["bob"].assigned[0].keys]
        voids = await kmes["alice"].store.pending_voids("bob", 10)
        assert sorted(void.key_id for void in voids) == sorted(key_ids)
        # while the void is unconfirmed nothing more is risked
        with pytest.raises(NoRouteError):
            await kmes["alice"].exchange.issue("app-1", ["app-2"], 1, 256)
        assert (await kmes["alice"].store.pool("bob")).voided_bits == 512

        doors["bob"].assign_plan = []
        doors["bob"].is_voiding = True
        await until(lambda: _is_empty(kmes["alice"].store.pending_peers()))
        alice, bob = await kmes["alice"].store.pool("bob"), await kmes["bob"].store.pool("alice")
        assert (alice.voided_bits, bob.voided_bits) == (512, 512)
        assert alice.available_bits == bob.peer_available_bits
        with pytest.raises(KeysNotFoundError):
            await kmes["bob"].store.collect("app-2", "app-1", key_ids)
        # a late assignment under a voided id revives nothing
        stub = pb_grpc.KeyExchangeServiceStub(kmes["alice"].channels["bob"])
        with pytest.raises(ConflictError):
            await rpc.call(stub.AssignKeys, doors["bob"].assigned[0], timeout_s=5)
        assert len(await kmes["alice"].exchange.issue("app-1", ["app-2"], 1, 256)) == 1


@pytest.mark.parametrize("plan", ["serve", "lose answer"])
async def test_keys_asked_for_together_are_assigned_together(
    open_kmes: Any, doors: dict[str, Unreliable], wrap: Any, plan: str
) -> None:
    async with open_kmes(wrap=wrap, times=ExchangeTimes(call_s=0.2, retry_s=0.01)) as kmes:
        await kmes.add_block("alice", "bob", 8192)
        doors["bob"].batch_plan = [plan]
        alice, is_busy, is_free = kmes["alice"], threading.Event(), threading.Event()
        busy = asyncio.create_task(alice.store.run(None, lambda db: (is_busy.set(), is_free.wait(20))))
        await asyncio.to_thread(is_busy.wait, 20)
        saes = ["app-2b", "app-2"] * 4
        tasks = [asyncio.create_task(alice.exchange.issue("app-1", [sae], 1, 256)) for sae in saes]
        # more than is there: alone in its failure
        tasks.append(asyncio.create_task(alice.exchange.issue("app-1", ["app-2"], 1, 8192)))
        await until(lambda: _waiting(alice.store, len(tasks)))
        is_free.set()
        ended: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
        await busy
        assert isinstance(ended.pop(), PoolExhaustedError)
        [batch] = doors["bob"].batches
        together = [one.keys[0].key_id for one in batch.assignments]
        assert sorted(together) == sorted(key.key_id for [key] in ended)
        # what was in doubt was sent again, alone, under the same ids
        alone = [one.keys[0].key_id for one in doors["bob"].assigned]
        assert sorted(alone) == (sorted(together) if plan == "lose answer" else [])
        for slave, other, [key] in zip(saes, reversed(saes), ended, strict=True):
            with pytest.raises(DeniedError):
                await kmes["bob"].store.collect(other, "app-1", [key.key_id])
            assert await kmes["bob"].store.collect(slave, "app-1", [key.key_id]) == [key]
        pool = await kmes["alice"].store.pool("bob")
        assert (pool.delivered_bits, pool.voided_bits) == (8 * 256, 0)


async def _waiting(store: KeyStore, count: int) -> bool:
    return store._commit._jobs.qsize() == count


async def test_each_assignment_of_a_batch_is_held_or_refused_by_itself(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        block_id = await kmes.add_block("alice", "bob", 4096)
        good, same_bits, lost = _request(block_id), _request(block_id), _request("no-such-block")
        malformed, other = _request(block_id, 4, 8), _request(block_id, 256)
        batch = pb.AssignKeysBatchRequest(assignments=[good, same_bits, lost, malformed, other])
        answer = await _call(kmes, "alice", "bob", batch)
        reasons = [one.refusal.reason for one in answer.outcomes]
        assert reasons == ["", "CONFLICT", "", "BAD_INPUT", ""]
        assert [list(one.response.unusable_block_ids) for one in answer.outcomes] == [[], [], ["no-such-block"], [], []]
        assert (await kmes["bob"].store.pool("alice")).assigned_bits == 512
        with pytest.raises(DeniedError):
            await _call(kmes, "carol", "alice", batch)
        denied = await _call(kmes, "carol", "bob", batch)
        assert {one.refusal.reason for one in denied.outcomes} == {"DENIED"}
        for count in (0, 65):
            with pytest.raises(BadInputError, match="not 1 to 64"):
                await _call(kmes, "alice", "bob", pb.AssignKeysBatchRequest(assignments=[good] * count))


async def _is_empty(found: Awaitable[list[str]]) -> bool:
    return not await found


async def test_a_refusal_is_answered_with_other_bits(open_kmes: Any, doors: dict[str, Unreliable], wrap: Any) -> None:
    async with open_kmes(wrap=wrap) as kmes:
        await kmes.add_block("alice", "bob")
        doors["bob"].assign_plan = ["refuse", "refuse"]
        [key] = await kmes["alice"].exchange.issue("app-1", ["app-2"], 1, 256)
        spans = {request.keys[0].pieces[0].offset_bits for request in doors["bob"].assigned}
        assert spans == {0, 256, 512}
        assert await kmes["bob"].store.collect("app-2", "app-1", [key.key_id]) == [key]
        doors["bob"].assign_plan = ["refuse"] * 3
        with pytest.raises(UnavailableError, match="refuses"):
            await kmes["alice"].exchange.issue("app-1", ["app-2"], 1, 256)


async def test_blocks_that_the_peer_lost_are_quarantined(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        lost = await kmes.add_block("alice", "bob", 4096)
        kept = await kmes.add_block("alice", "bob", 4096)
        await kmes["bob"].store.quarantine(lost)
        [key] = await kmes["alice"].exchange.issue("app-1", ["app-2"], 1, 256)
        assert await kmes["bob"].store.collect("app-2", "app-1", [key.key_id]) == [key]
        states = await kmes["alice"].store.block_states([lost, kept])
        assert states == {lost: BlockState.QUARANTINED, kept: BlockState.AVAILABLE}
        pool = await kmes["alice"].store.pool("bob")
        assert (pool.quarantined_bits, pool.voided_bits, pool.available_bits) == (4096 - 256, 256, 2048 - 256)


async def test_an_unreachable_kme_burns_nothing(open_kmes: Any) -> None:
    async with open_kmes(times=FAST) as kmes:
        await kmes.add_block("alice", "bob")
        target = identity.dns_name("metro", "node", "bob")
        # where bob should be, carol answers: the connection is refused, not misused
        wrong = f"localhost:{kmes['carol'].peer_port}"
        async with rpc.dial(wrong, kmes["alice"].credentials, target=target) as channel:
            kmes["alice"].channels["bob"] = channel
            for _ in range(3):
                with pytest.raises(NoRouteError, match="bob"):
                    await kmes["alice"].exchange.issue("app-1", ["app-2"], 1, 256)
        del kmes["alice"].channels["bob"]
        with pytest.raises(NoRouteError, match="bob"):
            await kmes["alice"].exchange.issue("app-1", ["app-2"], 1, 256)
        assert (await kmes["alice"].store.pool("bob")).available_bits == 4096


async def test_reservations_of_an_earlier_life_are_voided_at_the_peer(open_kmes: Any) -> None:
    async with open_kmes(with_runs=False) as kmes:
        await kmes.add_block("alice", "bob")
        alice, bob = kmes["alice"].store, kmes["bob"].store
        reserved = await alice.reserve("app-1", [], "bob", 2, 256)
        await bob.assign("alice", "app-1", ["app-2"], reserved)
        await alice.close()
        await alice.open()
        assert await alice.pending_peers() == ["bob"]
        [key] = await kmes["alice"].exchange.issue("app-1", ["app-2"], 1, 256)
        assert await alice.pending_peers() == []
        assert (await bob.pool("alice")).voided_bits == 512
        assert await bob.collect("app-2", "app-1", [key.key_id]) == [key]


async def _call(kmes: Any, caller: str, callee: str, request: Any) -> Any:
    target = identity.dns_name("metro", "node", callee)
    async with rpc.dial(f"localhost:{kmes[callee].peer_port}", kmes.peer_credentials(caller), target=target) as channel:
        stub = pb_grpc.KeyExchangeServiceStub(channel)
        methods: dict[type, Any] = {
            pb.AssignKeysRequest: stub.AssignKeys,
            pb.AssignKeysBatchRequest: stub.AssignKeysBatch,
            pb.VoidKeysRequest: stub.VoidKeys,
        }
        method = methods[type(request)]
        return await rpc.call(method, request, timeout_s=5)


def _request(
    block_id: str, offset: int = 0, length: int = 256, master: str = "app-1", slaves: tuple[str, ...] = ("app-2",)
) -> pb.AssignKeysRequest:
    piece = pb.KeyPiece(block_id=block_id, offset_bits=offset, length_bits=length)
    keys = [pb.KeyAssignment(key_id=str(uuid.uuid4()), pieces=[piece])]
    return pb.AssignKeysRequest(master_sae_id=master, slave_sae_ids=slaves, keys=keys)


async def test_the_wrong_party_is_refused(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        ours = await kmes.add_block("alice", "bob")
        # carol is a neighbour of bob, and neither the block nor the master is hers
        for request in (_request(ours, master="app-1"), _request(ours, master="app-3")):
            with pytest.raises(DeniedError):
                await _call(kmes, "carol", "bob", request)
        request = _request(ours)
        await _call(kmes, "alice", "bob", request)
        with pytest.raises(DeniedError):
            await _call(kmes, "carol", "bob", pb.VoidKeysRequest(keys=request.keys))
        # no link between alice and carol
        with pytest.raises(DeniedError):
            await _call(kmes, "alice", "carol", _request(ours, slaves=("app-3",)))
        assert (await kmes["bob"].store.pool("alice")).assigned_bits == 256


async def test_what_an_assignment_may_not_be(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        block_id = await kmes.add_block("alice", "bob", 1000)
        bad_inputs = [
            _request(block_id, 4, 8),
            _request(block_id, 0, 12),
            _request(block_id, 0, 0),
            _request(block_id, 496, 8),  # bob's half
            _request(block_id, 488, 16),
            _request(block_id, 2**31, 2**31),
            _request(block_id, slaves=()),
            _request(block_id, slaves=("app-2", "app-2")),
            _request(block_id, slaves=("app-1b",)),
            pb.AssignKeysRequest(master_sae_id="app-1", slave_sae_ids=["app-2"]),
        ]
        for spoil in ("id", "no pieces"):
            request = _request(block_id)
            if spoil == "id":
                request.keys[0].key_id = request.keys[0].key_id.upper() + "'"
            else:
                del request.keys[0].pieces[:]
            bad_inputs.append(request)
        before = await kmes["bob"].store.pool("alice")
        for request in bad_inputs:
            with pytest.raises(BadInputError):
                await _call(kmes, "alice", "bob", request)
        response = await _call(kmes, "alice", "bob", _request("no-such-block"))
        assert response.unusable_block_ids == ["no-such-block"]
        assert await kmes["bob"].store.pool("alice") == before


async def test_no_bit_and_no_id_is_assigned_twice(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        block_id = await kmes.add_block("alice", "bob", 4096)
        request = _request(block_id, 256, 256)
        for _ in range(3):
            assert await _call(kmes, "alice", "bob", request) == pb.AssignKeysResponse()
        for offset, length in ((256, 256), (0, 264), (504, 8), (0, 1024), (320, 8)):
            with pytest.raises(ConflictError):
                await _call(kmes, "alice", "bob", _request(block_id, offset, length))
        other = pb.AssignKeysRequest()
        other.CopyFrom(request)
        other.slave_sae_ids.append("app-2b")
        with pytest.raises(ConflictError):
            await _call(kmes, "alice", "bob", other)
        for offset in (512, 0):
            await _call(kmes, "alice", "bob", _request(block_id, offset, 256))
        pool = await kmes["bob"].store.pool("alice")
        assert (pool.assigned_bits, pool.peer_available_bits) == (768, 2048 - 768)


async def test_more_than_is_there_takes_nothing(open_kmes: Any) -> None:
    async with open_kmes() as kmes:
        await kmes.add_block("alice", "bob", 1024)
        with pytest.raises(PoolExhaustedError, match="stored 2 keys of 256 bits, asked 3"):
            await kmes["alice"].exchange.issue("app-1", ["app-2"], 3, 256)
        assert (await kmes["alice"].store.pool("bob")).available_bits == 512
