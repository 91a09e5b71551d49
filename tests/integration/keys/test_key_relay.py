"""Keys relayed over KMEs on real sockets: hops, several targets, shares, detours, and what failures leave behind."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from node.keys.policy import DEFAULT_TERMS
from node.keys.records import KeysNotFoundError, Pool, PoolExhaustedError
from node.keys.relay_courier import NoRouteError
from node.keys.relay_prefill import ASKED_MARKS, Marks, Prefill
from node.keys.relay_times import RelayTimes, Usual
from qnetem.runtime import identity, rpc
from qnetem.runtime.errors import BadInputError, ConflictError, DeniedError, QnetemError, UnavailableError
from qnetem.runtime.tasks import background
from qnetem.v1 import key_relay_pb2 as pb
from qnetem.v1 import key_relay_pb2_grpc as pb_grpc

LINE = {"a": {"b"}, "b": {"a", "c"}, "c": {"b", "d"}, "d": {"c"}}
# a - b - d and a - c - d
SQUARE = {"a": {"b", "c"}, "b": {"a", "d"}, "c": {"a", "d"}, "d": {"b", "c"}}
PLACES = {"app-a": "a", "app-a2": "a", "app-b": "b", "app-c": "c", "app-d": "d", "app-d2": "d"}
TAG = 128
# the first of a hop takes its hash key, too
TAGS = 2 * TAG
FAST = RelayTimes(
    total_s=1.0, attempt_s=0.3, connect_s=0.2, call_s=0.3, retry_s=0.02, idle_s=0.2, settle_s=0.05, in_flight_s=3.0
)


class Door(pb_grpc.KeyRelayServiceServicer):
    """Stands before a KME's servicer: loses requests or answers, or everything, as the test says."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.plan: list[str] = []
        self.is_frozen = False
        self.came: list[pb.RelayRequest] = []
        self.carried_count = 0

    async def Relay(self, request: pb.RelayRequest, context: Any) -> pb.RelayResponse:
        self.came.append(request)
        plan = self.plan.pop(0) if self.plan else ""
        if self.is_frozen or plan == "lose request":
            await asyncio.Event().wait()
        response = await self.inner.Relay(request, context)
        if plan == "lose answer":
            await asyncio.Event().wait()
        return response

    async def BurnPads(self, request: pb.BurnPadsRequest, context: Any) -> pb.BurnPadsResponse:
        if self.is_frozen:
            await asyncio.Event().wait()
        return await self.inner.BurnPads(request, context)

    async def Carry(self, request: pb.CarryRequest, context: Any) -> pb.CarryResponse:
        self.carried_count += request.WhichOneof("message") == "assign_keys"
        if self.is_frozen:
            await asyncio.Event().wait()
        return await self.inner.Carry(request, context)


class Network:
    """KMEs whose links have key bits."""

    def __init__(self, kmes: Any, doors: dict[str, Door]) -> None:
        self.kmes = kmes
        self.doors = doors

    async def issue(self, master: str, slaves: Iterable[str], number: int = 1, size: int = 256, **terms: Any) -> Any:
        node = PLACES[master]
        wanted = replace(DEFAULT_TERMS, **terms)
        return await self.kmes[node].exchange.issue(master, list(slaves), number, size, wanted)

    async def collect(self, slave: str, master: str, keys: Any) -> Any:
        return await self.kmes[PLACES[slave]].store.collect(slave, master, [key.key_id for key in keys])

    async def pool(self, node: str, peer: str) -> Pool:
        return await self.kmes[node].store.pool(peer)

    async def settled(self) -> None:
        """Wait until nothing is left to be told to anybody."""

        async def is_over() -> bool:
            for kme in self.kmes.kmes.values():
                relays = kme.relaying.relays
                if await relays.targets_to_void() or await relays.peers_to_burn() or await relays.in_flight():
                    return False
            return True

        await until(is_over)


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 a database has no event
            await asyncio.sleep(0.01)


@pytest.fixture
def open_network(open_kmes: Any) -> Any:
    """Return a context manager that runs a network whose links have 8192 bits each."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def run(shape: dict[str, set[str]], *paths: str, bits: int = 8192, **options: Any) -> Any:
        doors: dict[str, Door] = {}

        def wrap(node: str, servicer: object) -> object:
            doors[node] = Door(servicer)
            return doors[node]

        options = {"relay_times": FAST, **options}
        async with open_kmes(neighbourhoods=shape, places=PLACES, wrap_relay=wrap, **options) as kmes:
            for node, peers in shape.items():
                for peer in sorted(peers):
                    if node < peer:
                        await kmes.add_block(node, peer, bits)
            kmes.install(*paths)
            yield Network(kmes, doors)

    return run


async def test_a_key_is_relayed_over_two_nodes_and_costs_a_pad_and_a_tag_at_each_hop(open_network: Any) -> None:
    async with open_network(LINE, "a b c d") as net:
        keys = await net.issue("app-a", ["app-d"], 3, 512)
        assert await net.collect("app-d", "app-a", keys) == keys
        assert len({key.key.reveal() for key in keys}) == 3
        await net.settled()
        for near, far in (("a", "b"), ("b", "c"), ("c", "d")):
            giver, taker = await net.pool(near, far), await net.pool(far, near)
            assert (giver.relayed_bits, giver.tags_bits, giver.voided_bits) == (3 * 512, TAGS, 0)
            assert (taker.relayed_bits, taker.tags_bits, taker.voided_bits) == (3 * 512, TAGS, 0)
            assert giver.available_bits == 4096 - 3 * 512 - TAGS == taker.peer_available_bits
        with pytest.raises(KeysNotFoundError):
            await net.collect("app-d", "app-a", keys)
        # what each hop sent is sealed anew: nothing of the keys is on any wire
        sent = [door.came[0].ciphertext for node, door in net.doors.items() if node != "a"]
        assert len(set(sent)) == 3
        assert not {key.key.reveal() for key in keys} & {part for one in sent for part in (one[:64], one[64:128])}


async def test_a_tag_costs_128_bits_and_a_lost_hash_key_is_drawn_anew(open_network: Any) -> None:
    async with open_network(LINE, "a b c d") as net:
        given = [await net.issue("app-a", ["app-d"]) for _ in range(3)]
        await net.settled()
        assert (await net.pool("b", "c")).tags_bits == (await net.pool("c", "b")).tags_bits == 4 * TAG
        # the target forgets under which hash key its neighbour tags, and a middle node under which it tags itself
        for node, is_own in (("d", 0), ("b", 1)):
            store = net.kmes[node].store
            lost = await store.run(
                None,
                lambda db, is_own=is_own: db.execute("DELETE FROM tag_keys WHERE is_own = ?", (is_own,)).rowcount,
            )
            assert lost == 1
        count = len(net.doors["d"].came)
        given.append(await net.issue("app-a", ["app-d"]))
        refused, accepted = net.doors["d"].came[count:]
        assert refused.tag_key != accepted.tag_key
        # nothing that was acknowledged is gone, and the bits add up at both ends
        for keys in given:
            assert await net.collect("app-d", "app-a", keys) == keys
        await net.settled()
        for near, far, tags in (("a", "b", 5), ("b", "c", 6), ("c", "d", 6)):
            giver, taker = await net.pool(near, far), await net.pool(far, near)
            assert giver.available_bits == taker.peer_available_bits
            assert giver.tags_bits == tags * TAG
            assert giver.relayed_bits + giver.voided_bits + giver.tags_bits == 4096 - giver.available_bits


async def test_one_key_reaches_slaves_here_next_door_and_far_away(open_network: Any) -> None:
    async with open_network(LINE, "a b c d", "a b c") as net:
        keys = await net.issue("app-a", ["app-a2", "app-b", "app-d", "app-d2"], 2)
        for slave in ("app-a2", "app-b", "app-d", "app-d2"):
            assert await net.collect(slave, "app-a", keys) == keys
        assert (await net.pool("a", "b")).relayed_bits == 2 * 512
        assert (await net.pool("c", "d")).relayed_bits == 512


async def test_no_path_and_no_key_bits_take_nothing(open_network: Any) -> None:
    async with open_network(LINE, "a b c d", bits=1600) as net:
        with pytest.raises(NoRouteError, match="no route to KME c: stored 0 keys, asked 1"):
            await net.issue("app-a", ["app-c"])
        with pytest.raises(PoolExhaustedError, match="not enough key material on the way to KME d"):
            await net.issue("app-a", ["app-d"], 3)
        assert (await net.pool("a", "b")).available_bits == 800
        # the first hop could, the second cannot: what the first gave is burned at both its ends
        await net.kmes["b"].store.reserve("app-b", [], "c", 1, 512)
        with pytest.raises(PoolExhaustedError, match=r"the hop b to c has not enough"):
            await net.issue("app-a", ["app-d"], 1)
        await net.settled()
        near, far = await net.pool("a", "b"), await net.pool("b", "a")
        assert near.voided_bits == far.voided_bits == 256 + TAG
        assert near.tags_bits == far.tags_bits == TAG
        assert near.available_bits == far.peer_available_bits == 800 - 256 - TAGS


@pytest.mark.parametrize("plan", ["lose request", "lose answer"])
@pytest.mark.parametrize("node", ["b", "c", "d"])
async def test_where_no_other_path_is_the_same_bytes_go_again_under_the_same_pads(
    open_network: Any, plan: str, node: str
) -> None:
    async with open_network(LINE, "a b c d") as net:
        net.doors[node].plan = [plan]
        keys = await net.issue("app-a", ["app-d"])
        assert await net.collect("app-d", "app-a", keys) == keys
        first, *again = net.doors[node].came
        assert again
        assert all(request == first for request in again)
        await net.settled()
        for near, far in (("a", "b"), ("b", "c"), ("c", "d")):
            for pool in (await net.pool(near, far), await net.pool(far, near)):
                assert (pool.relayed_bits, pool.tags_bits, pool.voided_bits) == (256, TAGS, 0)


@pytest.mark.parametrize("node", ["b", "c", "d"])
async def test_a_key_in_doubt_is_void_at_its_target_and_its_pads_are_burned(open_network: Any, node: str) -> None:
    async with open_network(LINE, "a b c d") as net:
        net.doors[node].plan = ["lose answer"] * 100
        with pytest.raises(UnavailableError, match="keys were not relayed to KME d"):
            await net.issue("app-a", ["app-d"], 2)
        net.doors[node].plan = []
        header = pb.RelayHeader.FromString(net.doors["b"].came[0].header)
        await net.settled()
        with pytest.raises(KeysNotFoundError):
            await net.kmes["d"].store.collect("app-d", "app-a", header.keys.key_ids)
        near, far = await net.pool("a", "b"), await net.pool("b", "a")
        spent = len({pb.RelayHeader.FromString(one.header).transfer_id for one in net.doors["b"].came}) * (512 + TAG)
        assert near.voided_bits == spent
        # the hash key is kept
        assert near.tags_bits == TAG
        assert far.voided_bits + far.relayed_bits + far.tags_bits == spent + TAG
        assert near.available_bits == far.peer_available_bits
        # late: the target refuses what was voided
        with pytest.raises(QnetemError, match="does not fit"):
            await net.kmes["d"].relaying.relays.arrive(net.doors["d"].came[0])
        keys = await net.issue("app-a", ["app-d"])
        assert await net.collect("app-d", "app-a", keys) == keys


@pytest.mark.parametrize("usual", [None, Usual(1.0, 0.4)], ids=["quick", "slow"])
async def test_a_frozen_relay_costs_one_attempt_and_is_taken_again_when_it_is_back(
    open_network: Any, usual: Usual | None
) -> None:
    times = RelayTimes(idle_s=0.3)
    async with open_network(SQUARE, "a b d", "a c d", relay_times=times) as net:
        await net.issue("app-a", ["app-d"])
        if usual is not None:
            net.kmes["a"].relaying.relay._usual["a", "b", "d"] = usual
        net.doors["b"].is_frozen = True
        came, started_s = len(net.doors["b"].came), asyncio.get_running_loop().time()
        keys = await net.issue("app-a", ["app-d"])
        # however long the path usually takes: there is another
        least_s, most_s = (times.attempt_s, times.total_s) if usual is None else (times.detour_s, usual.limit_s)
        assert least_s < asyncio.get_running_loop().time() - started_s < most_s
        assert len(net.doors["b"].came) == came + 1
        assert await net.collect("app-d", "app-a", keys) == keys
        assert list(pb.RelayHeader.FromString(net.doors["c"].came[-1].header).path) == ["a", "c", "d"]
        # no bits are risked on it from now on
        before = (await net.pool("a", "b")).available_bits
        for _ in range(3):
            await net.issue("app-a", ["app-d"])
        assert (await net.pool("a", "b")).available_bits == before
        net.doors["b"].is_frozen = False
        await net.settled()

        async def is_back() -> bool:
            await net.issue("app-a", ["app-d"], 1, 8)
            return (await net.pool("a", "b")).available_bits < before

        await until(is_back)


async def test_a_void_goes_around_the_relay_that_is_dead(open_network: Any) -> None:
    async with open_network(SQUARE, "a b d", "a c d") as net:
        net.doors["b"].plan = ["lose answer"]
        keys = await net.issue("app-a", ["app-d"])
        net.doors["b"].is_frozen = True
        lost = pb.RelayHeader.FromString(net.doors["b"].came[0].header)
        relays = net.kmes["a"].relaying.relays

        async def is_void() -> bool:
            return not await relays.targets_to_void()

        await until(is_void)
        with pytest.raises(KeysNotFoundError):
            await net.kmes["d"].store.collect("app-d", "app-a", lost.keys.key_ids)
        assert await net.collect("app-d", "app-a", keys) == keys


async def test_shares_go_two_ways_and_a_lost_one_voids_the_other(open_network: Any) -> None:
    async with open_network(SQUARE, "a b d", "a c d", share_count=2) as net:
        keys = await net.issue("app-a", ["app-d"], 2)
        assert await net.collect("app-d", "app-a", keys) == keys
        whole = b"".join(key.key.reveal() for key in keys)
        assert all(whole not in request.SerializeToString() for door in net.doors.values() for request in door.came)
        assert (await net.pool("a", "b")).relayed_bits == (await net.pool("a", "c")).relayed_bits == 512
        assert {len(net.doors[node].came) for node in "bc"} == {1}
        net.doors["c"].is_frozen = True
        with pytest.raises(UnavailableError):
            await net.issue("app-a", ["app-d"])
        net.doors["c"].is_frozen = False
        await net.settled()
        ids = {
            one
            for door in net.doors.values()
            for r in door.came
            for one in pb.RelayHeader.FromString(r.header).keys.key_ids
        }
        for key_id in ids:
            with pytest.raises(KeysNotFoundError):
                await net.kmes["d"].store.collect("app-d", "app-a", [key_id])


async def test_a_relay_that_is_not_allowed_is_not_taken(open_network: Any) -> None:
    async with open_network(SQUARE, "a b d", "a c d") as net:
        for _ in range(3):
            await net.issue("app-a", ["app-d"], allowed_relays=frozenset("c"))
        assert not net.doors["b"].came
        with pytest.raises(NoRouteError):
            await net.issue("app-a", ["app-d"], allowed_relays=frozenset())


async def test_a_dry_or_cut_link_to_a_neighbour_is_gone_around(open_network: Any) -> None:
    async with open_network(SQUARE, "a c d b", "a b d") as net:
        keys = await net.issue("app-a", ["app-b"], 16)
        assert not net.doors["c"].came
        more = await net.issue("app-a", ["app-b"])
        assert len(net.doors["c"].came) == 1
        assert await net.collect("app-b", "app-a", [*keys, *more]) == [*keys, *more]


async def test_a_pool_that_relayed_blocks_fill_serves_both_ends_without_relaying(open_network: Any) -> None:
    async with open_network(LINE, "a b c d") as net:
        await net.kmes["a"].relaying.relay.fill("d", 2048)
        for near, far in (("a", "d"), ("d", "a")):
            pool = await net.pool(near, far)
            assert (pool.made_bits, pool.available_bits, pool.peer_available_bits) == (2048, 1024, 1024)
        count = len(net.doors["b"].came)
        for master, slave in (("app-a", "app-d"), ("app-d", "app-a")):
            keys = await net.issue(master, [slave], 4)
            assert await net.collect(slave, master, keys) == keys
        assert len(net.doors["b"].came) == count
        # the next one is relayed
        keys = await net.issue("app-a", ["app-d"])
        assert len(net.doors["b"].came) == count + 1
        assert await net.collect("app-d", "app-a", keys) == keys
        assert await net.kmes["a"].exchange.stored_bits("d") == (await net.pool("a", "b")).available_bits - TAGS


async def test_an_earlier_lifes_transfers_are_void_after_a_restart(open_network: Any) -> None:
    async with open_network(LINE, "a b c d", with_runs=False) as net:
        from node.keys.relay_source import Route

        relaying = net.kmes["a"].relaying
        route = Route("d", ("app-d",), (("a", "b", "c", "d"),))
        delivery = await relaying.relays.open_keys("app-a", [], [route], 1, 256)
        request = delivery.transfers[0].request
        for node in "bcd":
            request = (await net.kmes[node].relaying.relays.arrive(request)).onward
        await net.kmes["a"].store.close()
        await net.kmes["a"].store.open()
        await relaying.relays.start()
        with pytest.raises(ConflictError):
            await relaying.relays.release(delivery.delivery_id, [delivery.transfers[0].transfer_id])
        await relaying.upkeep.clear()
        assert not await relaying.relays.targets_to_void()
        with pytest.raises(KeysNotFoundError):
            await net.kmes["d"].store.collect("app-d", "app-a", delivery.key_ids)


async def test_the_wrong_party_and_a_forged_tag_are_refused_and_retain_nothing(open_network: Any) -> None:
    async with open_network(LINE, "a b c d") as net:
        await net.issue("app-a", ["app-d"])
        good = net.doors["c"].came[0]

        async def call(caller: str, callee: str, request: pb.RelayRequest) -> Any:
            target = identity.dns_name("metro", "node", callee)
            address = f"localhost:{net.kmes[callee].peer_port}"
            async with rpc.dial(address, net.kmes.peer_credentials(caller), target=target) as channel:
                return await rpc.call(pb_grpc.KeyRelayServiceStub(channel).Relay, request, timeout_s=5)

        with pytest.raises(DeniedError):
            await call("d", "c", good)  # a neighbour of c, and not the one before it
        with pytest.raises(DeniedError):
            await call("a", "d", good)  # no neighbour
        before = await net.pool("c", "b")
        header = pb.RelayHeader.FromString(good.header)
        header.transfer_id = "00000000-0000-4000-8000-000000000000"
        forged = pb.RelayRequest(
            header=header.SerializeToString(),
            pad=good.pad,
            ciphertext=good.ciphertext,
            tag=good.tag,
            tag_key=good.tag_key,
        )
        start = good.pad[0].offset_bits + sum(piece.length_bits for piece in good.pad)
        del forged.pad[1:]
        forged.pad[0].offset_bits, forged.pad[0].length_bits = start, 256 + TAG
        with pytest.raises(ConflictError, match="the tag of a transfer does not fit") as refused:
            await call("b", "c", forged)
        assert refused.value.reason == "BAD_TAG"
        # under a hash key that was never agreed on: of bits that are spent, and of bits that are not
        forged.tag_key[0].offset_bits += 8
        with pytest.raises(ConflictError, match="hash key that is not held here") as refused:
            await call("b", "c", forged)
        assert refused.value.reason == "UNKNOWN_TAG_KEY"
        forged.tag_key[0].offset_bits = start + 256 + TAG
        with pytest.raises(ConflictError, match="the tag of a transfer does not fit"):
            await call("b", "c", forged)
        forged.tag_key[0].length_bits = 136
        with pytest.raises(BadInputError, match="not of 128 bits"):
            await call("b", "c", forged)
        forged.tag_key[0].CopyFrom(good.tag_key[0])
        forged.pad[0].offset_bits = good.pad[0].offset_bits
        with pytest.raises(ConflictError, match="given before"):
            await call("b", "c", forged)
        assert await net.pool("c", "b") == before


async def test_a_pool_between_far_kmes_is_kept_between_its_marks(open_network: Any) -> None:
    async with open_network(LINE, "a b c d", bits=65536) as net:
        relaying = net.kmes["a"].relaying
        prefill = Prefill(net.kmes["a"].store, relaying.relay, {"d": Marks(1024, 4096)})
        async with background() as start:
            start(prefill.run())

            async def is_full() -> bool:
                return (await net.pool("a", "d")).available_bits >= 4096

            await until(is_full)
            assert (await net.pool("d", "a")).available_bits == (await net.pool("a", "d")).available_bits == 4096
            spent = (await net.pool("a", "b")).relayed_bits
            keys = await net.issue("app-a", ["app-d"], 8)
            assert await net.collect("app-d", "app-a", keys) == keys
            # above the low water: nothing is relayed
            assert (await net.pool("a", "b")).relayed_bits == spent
            await net.issue("app-a", ["app-d"], 5)
            await until(is_full)
            assert (await net.pool("a", "b")).relayed_bits == spent + 2 * 13 * 256


async def test_a_pool_is_not_filled_with_what_those_need_who_ask_now(open_network: Any) -> None:
    async with open_network(LINE, "a b c d", bits=8192) as net:
        prefill = Prefill(net.kmes["a"].store, net.kmes["a"].relaying.relay, {"d": Marks(1024, 4096)})
        await prefill._keep("d")
        assert (await net.pool("a", "b")).available_bits == 4096


async def test_a_pool_is_filled_for_those_who_asked(open_network: Any) -> None:
    async with open_network(LINE, "a b c d", bits=65536) as net:
        relaying = net.kmes["a"].relaying
        async with background() as start:
            start(relaying.prefill.run())
            await net.issue("app-a", ["app-b"])
            await net.issue("app-a", ["app-d"])

            async def is_full() -> bool:
                return (await net.pool("a", "d")).available_bits >= ASKED_MARKS.high_bits

            await until(is_full)
            assert (await net.pool("a", "c")).made_bits == 0
            count = len(net.doors["b"].came)
            keys = await net.issue("app-a", ["app-d"])
            assert await net.collect("app-d", "app-a", keys) == keys
            assert len(net.doors["b"].came) == count


async def test_a_pool_is_given_from_though_the_second_relay_of_the_best_way_is_frozen(open_network: Any) -> None:
    shape = {"a": {"b", "c"}, "b": {"a", "e"}, "c": {"a", "d"}, "d": {"c", "e"}, "e": {"b", "d"}}
    async with open_network(shape, "a b e d", "a c d") as net:
        await net.kmes["a"].relaying.relay.fill("d", 2048)
        net.doors["e"].is_frozen = True
        keys = await net.issue("app-a", ["app-d"])
        assert await net.collect("app-d", "app-a", keys) == keys
        assert not net.doors["c"].came  # nothing was relayed
        count = net.doors["e"].carried_count
        assert count == 1
        await net.issue("app-a", ["app-d"])
        assert net.doors["e"].carried_count == count  # the other way at once


async def test_a_node_that_is_no_relay_brings_nothing_that_it_did_not_begin(open_network: Any) -> None:
    async with open_network(LINE, "a b c d", "a b", "b c d", endpoints="c") as net:
        with pytest.raises(UnavailableError, match="NOT_A_RELAY between c and d"):
            await net.issue("app-a", ["app-d"])
        await net.settled()
        assert (await net.pool("d", "c")).relayed_bits == 0
        keys = await net.issue("app-c", ["app-d"])
        assert await net.collect("app-d", "app-c", keys) == keys
        # what c carries for others is not answered either
        probe = pb.CarryRequest(path=["a", "b", "c", "d"], void_transfers=pb.VoidTransfersRequest())
        with pytest.raises(DeniedError, match="c relays for nobody"):
            await rpc.call(pb_grpc.KeyRelayServiceStub(net.kmes["a"].channels["b"]).Carry, probe, timeout_s=5)


async def test_while_the_only_way_is_known_to_be_silent_or_dry_nothing_more_is_spent(open_network: Any) -> None:
    async with open_network(LINE, "a b c d") as net:
        net.doors["c"].is_frozen = True
        with pytest.raises(UnavailableError):
            await net.issue("app-a", ["app-d"])
        await until(lambda: _none_left(net.kmes["a"].relaying.relays.peers_to_burn()))
        spent = await net.pool("a", "b")
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await net.issue("app-a", ["app-d"])
        assert await net.pool("a", "b") == spent
        net.doors["c"].is_frozen = False
        # back: found by the request itself, or by a probe before it
        keys = await net.issue("app-a", ["app-d"])
        assert await net.collect("app-d", "app-a", keys) == keys
        net.kmes["a"].relaying.book.doubt(("b", "c"), time.monotonic() + 100, is_dry=True, asked_bits=512)
        spent = await net.pool("a", "b")
        with pytest.raises(PoolExhaustedError):
            await net.issue("app-a", ["app-d"], 2)
        assert await net.pool("a", "b") == spent
        await net.issue("app-a", ["app-d"], 1)  # less than what was not there


async def _none_left(found: Awaitable[set[str]]) -> bool:
    return not await found
