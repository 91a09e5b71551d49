"""Transfers between four KMEs in a square, their messages lost, doubled, late and reordered, their processes killed.

No pad under two texts, no key twice to a party, both ends equal, none to its master before every target has it; and in
the end, when all is told to everybody, nothing was made or lost.
"""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from node.keys import group_commit, relay_arrival, relay_rows, relay_source, relay_tag_keys, relay_voids
from node.keys.records import BlockRole, KeysNotFoundError, PoolExhaustedError, StoreLimits
from node.keys.relay_conservation import imbalances
from node.keys.relay_frame import UnknownTagKeyError, pieces_of
from node.keys.relay_machine import Receipt, Transfer
from node.keys.relay_source import Delivery, Route
from node.keys.relay_store import RelayStore
from node.keys.store import KeyStore
from qnetem.runtime.errors import ConflictError, QnetemError
from qnetem.v1 import key_relay_pb2 as pb

T = TypeVar("T")
LINKS = (("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"))
SAES = {"a": "app-a", "b": "app-b", "c": "app-c", "d": "app-d"}
BY_B, BY_C, NEAR = ("a", "b", "d"), ("a", "c", "d"), ("a", "b")
ROUTES: dict[str, list[Route]] = {
    "one way": [Route("d", ("app-d",), (BY_B,))],
    "two shares": [Route("d", ("app-d",), (BY_B, BY_C))],
    "two targets": [Route("d", ("app-d",), (BY_C,)), Route("b", ("app-b",), (NEAR,))],
}


HOW = st.sampled_from([*ROUTES, "block"])


class Crash(BaseException):
    """The process is killed here."""


@dataclass
class Kme:
    """One KME: its store, and what its process remembers."""

    name: str
    store: KeyStore
    relays: RelayStore


@dataclass
class Sent:
    """A request that was sent, and may arrive at any time, or never."""

    to: str
    transfer_id: str
    request: pb.RelayRequest


@dataclass
class Open:
    """A delivery at its source, as its process remembers it."""

    delivery: Delivery
    routes: list[Route]
    acknowledged: set[str] = field(default_factory=set)
    is_over: bool = False


def transfers_of(found: Open | None) -> tuple[relay_source.Sent, ...]:
    """Return the transfers of a delivery, of none when it could not be opened."""
    return found.delivery.transfers if found is not None else ()


class Relays(RuleBasedStateMachine):
    """Keys of app-a for app-d and app-b; blocks between a and d."""

    requests: Bundle[Sent] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="qn-relay-", dir=memory))
        self.runner = asyncio.Runner()
        self.now_s = 1000.0
        self.kmes: dict[str, Kme] = {}
        self.blocks = 0
        self.opened: list[Open] = []
        # what each pad was used for: (block, byte) -> transfer
        self.pads: dict[tuple[str, int], tuple[str, bytes]] = {}
        self.issued: dict[str, tuple[bytes, set[str]]] = {}
        self.collected: set[tuple[str, str]] = set()
        self.crash_at: str | None = None
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(group_commit.crashpoint, "reach", self.reach)
        self.patch.setattr(relay_tag_keys, "TAGS_PER_KEY", 3)

    def reach(self, point: str) -> None:
        if self.crash_at is not None and point.endswith(self.crash_at):
            self.crash_at = None
            raise Crash

    @initialize()
    def start(self) -> None:
        for name in SAES:
            limits = StoreLimits(key_lifetime_s=1e6, tombstone_s=1e9, reserve_limit_s=50.0)
            store = KeyStore(self.folder / name / "keys.db", limits, now_s=lambda: self.now_s)
            self.runner.run(store.open())
            self.kmes[name] = Kme(name, store, RelayStore(store, name, lambda: self.now_s))
            self.runner.run(self.kmes[name].relays.start())
        for near, far in LINKS:
            self.link(near, far, 12000)
        for how in (*ROUTES, "block"):
            self.deliver(how, 64, (3, 3), "release", None)
        self.deliver("two shares", 64, (3, 1), "release", None)  # one has not come: refused

    def link(self, near: str, far: str, bit_count: int) -> None:
        self.blocks += 1
        block_id, link_id = f"{near}-{far}/{self.blocks}", f"{near}-{far}"
        secret = bytes((index * 7 + self.blocks * 31) % 251 + 1 for index in range(bit_count // 8))
        giver, taker = self.kmes[near].store, self.kmes[far].store

        async def make() -> None:
            await taker.prepare(block_id, link_id, near, secret, bit_count, BlockRole.RECEIVER)
            await giver.prepare(block_id, link_id, far, secret, bit_count, BlockRole.TRANSMITTER)
            await giver.commit(block_id)
            await taker.commit(block_id)
            await giver.confirm(block_id)

        self.runner.run(make())

    def do(self, kme: Kme, call: Callable[[], Coroutine[Any, Any, T]], crash: str | None = None) -> T | None:
        """Run a call; with `crash`, kill its process around the commit, restart it, and return None."""
        self.crash_at = crash
        try:
            return self.runner.run(call())
        except Crash:
            self.restart(kme.name)
            return None
        finally:
            self.crash_at = None

    def sent(self, to: str, transfer_id: str, request: pb.RelayRequest) -> Sent:
        """Note what is put on a wire: the same bits never cover two texts."""
        for piece in request.pad:
            for byte in range(piece.offset_bits // 8, (piece.offset_bits + piece.length_bits) // 8):
                use = self.pads.setdefault((piece.block_id, byte), (transfer_id, request.SerializeToString()))
                assert use == (transfer_id, request.SerializeToString()), "a pad was used twice"
        for piece in request.tag_key:
            for byte in range(piece.offset_bits // 8, (piece.offset_bits + piece.length_bits) // 8):
                use = self.pads.setdefault((piece.block_id, byte), ("tag key", request.tag_key[0].SerializeToString()))
                assert use[0] == "tag key", "a pad is a hash key"
        return Sent(to, transfer_id, request)

    # the source

    @rule(
        target=requests,
        how=HOW,
        number=st.integers(1, 2),
        size=st.sampled_from([8, 64, 200]),
        crash=st.sampled_from([None, "before", "after"]),
    )
    def begin(self, how: str, number: int, size: int, crash: str | None) -> Any:
        """A delivery is opened; nothing has arrived yet."""
        found = self.open_delivery(how, number, size, crash)
        return multiple(*(self.sent(one.path[1], one.transfer_id, one.request) for one in transfers_of(found)))

    @rule(
        target=requests,
        how=HOW,
        size=st.sampled_from([8, 64]),
        steps=st.tuples(*[st.sampled_from([3, 3, 3, 2, 1, 0])] * 2),
        end=st.sampled_from(["release", "release", "release and collect", "abandon", ""]),
        crash=st.sampled_from([None, None, None, "before", "after"]),
    )
    def deliver(self, how: str, size: int, steps: tuple[int, int], end: str, crash: str | None) -> Any:
        """A delivery goes its way, so many hops of each transfer; then its source does what it does."""
        found = self.open_delivery(how, 1, size, None)
        requests = []
        for one, count in zip(transfers_of(found), steps, strict=False):
            current: Any = self.sent(one.path[1], one.transfer_id, one.request)
            requests.append(current)
            for _ in range(count):
                if isinstance(current, Sent):
                    current = self.arrive(current, None)
        if found is not None and end.startswith("release"):
            self.end(found, crash)
            for key_id, (_, slaves) in list(self.issued.items())[-1:] if end.endswith("collect") else ():
                for slave in sorted(slaves):
                    self.ask(slave, key_id)
        elif found is not None and end == "abandon":
            self.give_up(found, crash)
        return multiple(*requests)

    def open_delivery(self, how: str, number: int, size: int, crash: str | None) -> Open | None:
        kme = self.kmes["a"]
        routes = ROUTES.get(how, [])
        try:
            if routes:
                delivery = self.do(kme, lambda: kme.relays.open_keys("app-a", [], routes, number, size), crash)
            else:
                delivery = self.do(kme, lambda: kme.relays.open_block(BY_B, 16 * size), crash)
        except PoolExhaustedError:
            return None
        if delivery is None:
            return None
        self.opened.append(Open(delivery, routes))
        return self.opened[-1]

    def pick(self, data: st.DataObject) -> Open | None:
        alive = [one for one in self.opened if not one.is_over]
        return data.draw(st.sampled_from(alive)) if alive else None

    @rule(data=st.data(), crash=st.sampled_from([None, None, None, "before", "after"]))
    def release(self, data: st.DataObject, crash: str | None) -> None:
        one = self.pick(data)
        if one is not None:
            self.end(one, crash)

    def end(self, one: Open, crash: str | None) -> None:
        """Hand the keys out, as soon as every transfer is acknowledged."""
        kme = self.kmes["a"]
        try:
            keys = self.do(kme, lambda: kme.relays.release(one.delivery.delivery_id, one.acknowledged), crash)
        except ConflictError:
            return
        one.is_over = True
        if keys is None:
            return
        for sent in one.delivery.transfers:
            row = self.row(sent.path[-1], sent.transfer_id)
            assert row is not None, "released before every target holds it"
            assert row.state == Receipt.HELD, "released before every target holds it"
        for key in keys:
            assert key.key_id not in self.issued, "a key was given to its master twice"
            self.issued[key.key_id] = (key.key.reveal(), {sae for route in one.routes for sae in route.slave_saes})

    def row(self, node: str, transfer_id: str) -> relay_rows.Row | None:
        store = self.kmes[node].store
        return self.runner.run(store.run(None, lambda db: relay_rows.find(db, transfer_id)))

    @rule(data=st.data(), crash=st.sampled_from([None, None, "before", "after"]))
    def abandon(self, data: st.DataObject, crash: str | None) -> None:
        one = self.pick(data)
        if one is not None:
            self.give_up(one, crash)

    def give_up(self, one: Open, crash: str | None) -> None:
        kme = self.kmes["a"]
        with contextlib.suppress(ConflictError):  # it was released, and the answer lost
            self.do(kme, lambda: kme.relays.abandon(one.delivery.delivery_id, "test", one.acknowledged), crash)
        one.is_over = one.is_over or crash is None

    # the way

    @rule(target=requests, request=requests, crash=st.sampled_from([None, None, None, "before", "after"]))
    def arrive(self, request: Sent, crash: str | None) -> Any:
        """A request arrives: the first time, again, or late."""
        kme = self.kmes[request.to]
        try:
            arrival = self.do(kme, lambda: kme.relays.arrive(request.request), crash)
        except QnetemError as error:
            assert error.is_definite  # noqa: PT017
            if isinstance(error, UnknownTagKeyError):
                path = pb.RelayHeader.FromString(request.request.header).path
                sender = self.kmes[path[list(path).index(kme.name) - 1]]
                pieces = pieces_of(request.request.tag_key)
                self.do(sender, lambda: sender.relays.forget_tag_key(kme.name, pieces), crash)
            return multiple()
        if arrival is None:
            return multiple()
        path = list(arrival.header.path)
        if kme.name == path[-1]:
            # its answer comes back, or not
            for one in self.opened:
                if any(sent.transfer_id == request.transfer_id for sent in one.delivery.transfers):
                    one.acknowledged.add(request.transfer_id)
            return multiple()
        if arrival.onward is None:
            return multiple()
        return self.sent(path[path.index(kme.name) + 1], request.transfer_id, arrival.onward)

    @rule(request=requests, data=st.data())
    def go_home(self, request: Sent, data: st.DataObject) -> None:
        """All goes well from here on."""
        current: Any = request
        while isinstance(current, Sent):
            current = self.arrive(current, None)

    @rule(request=requests)
    def middle_gives_up(self, request: Sent) -> None:
        kme = self.kmes[request.to]
        row = self.row(kme.name, request.transfer_id)
        if row is not None and row.role == "middle":
            self.do(kme, lambda: kme.relays.give_up_pad(request.transfer_id))

    @rule(request=requests)
    def middle_settles(self, request: Sent) -> None:
        """The answer of the target came to a middle node."""
        row = self.row(request.to, request.transfer_id)
        target = self.row("d", request.transfer_id)
        if row is not None and row.role == "middle" and target is not None and target.received is not None:
            kme = self.kmes[request.to]
            self.do(kme, lambda: kme.relays.settle([request.transfer_id]))

    # what is told until it is confirmed

    @rule(at=st.sampled_from("abc"), is_confirmed=st.booleans(), crash=st.sampled_from([None, None, "before", "after"]))
    def burn(self, at: str, is_confirmed: bool, crash: str | None) -> None:
        kme = self.kmes[at]
        for peer in sorted(self.runner.run(kme.relays.peers_to_burn())):
            burns = self.runner.run(kme.relays.pending_burns(peer, 2))
            other = self.kmes[peer]
            done = self.do(other, lambda other=other, burns=burns: other.relays.burn(at, burns), crash)
            if is_confirmed and done is not None:
                self.do(kme, lambda burns=burns: kme.relays.confirm_burns([one.transfer_id for one in burns]))

    @rule(is_confirmed=st.booleans(), crash=st.sampled_from([None, None, "before", "after"]))
    def void(self, is_confirmed: bool, crash: str | None) -> None:
        kme = self.kmes["a"]
        for target in sorted(self.runner.run(kme.relays.targets_to_void())):
            ids = self.runner.run(kme.relays.pending_voids(target, 2))
            other = self.kmes[target]
            done = self.do(other, lambda other=other, ids=ids: other.relays.void("a", ids), crash)
            if done is not None:
                assert pb.ACK_STATUS_FAILED_TO_VOID not in done, "a key that was void had been given out"
                if is_confirmed:
                    self.do(kme, lambda ids=ids: kme.relays.confirm_voids(ids))

    # the slaves

    @rule(data=st.data(), slave=st.sampled_from(["app-d", "app-b"]))
    def collect(self, data: st.DataObject, slave: str) -> None:
        """A slave asks for a key that its master has told it of."""
        known = sorted(key_id for key_id, (_, slaves) in self.issued.items() if slave in slaves)
        if known:
            self.ask(slave, data.draw(st.sampled_from(known)))

    def ask(self, slave: str, key_id: str) -> None:
        store = self.kmes[slave[-1]].store
        try:
            [key] = self.runner.run(store.collect(slave, "app-a", [key_id]))
        except KeysNotFoundError:
            assert (slave, key_id) in self.collected, "an acknowledged key is gone"
            return
        assert (slave, key_id) not in self.collected, "a key was given to its slave twice"
        assert key.key.reveal() == self.issued[key_id][0], "the ends differ"
        self.collected.add((slave, key_id))

    # life

    @rule(at=st.sampled_from("abcd"))
    def restart(self, at: str) -> None:
        kme = self.kmes[at]

        async def again() -> None:
            await kme.store.close()
            await kme.store.open()
            await kme.relays.start()

        self.runner.run(again())
        if at == "a":
            for one in self.opened:
                one.is_over = True

    @rule(at=st.sampled_from("abcd"), passed_s=st.sampled_from([1.0, 60.0]), lost=st.sampled_from([None, None, 0, 1]))
    def sweep(self, at: str, passed_s: float, lost: int | None) -> None:
        """Time passes, and hash keys may be lost."""
        self.now_s += passed_s
        kme = self.kmes[at]
        self.runner.run(kme.store.run(None, lambda db: db.execute("DELETE FROM tag_keys WHERE is_own = ?", (lost,))))
        self.do(kme, kme.store.sweep)
        self.do(kme, lambda: kme.relays.sweep(100.0))

    def pools(self) -> dict[str, Any]:
        return {name: self.runner.run(kme.store.pools()) for name, kme in self.kmes.items()}

    def teardown(self) -> None:
        try:
            self.restart("a")  # what is open is given up
            for kme in self.kmes.values():
                self.runner.run(kme.relays.sweep(-1.0))
            for _ in range(100):  # two at a time
                for at in "abc":
                    self.burn(at, True, None)
                self.void(True, None)
                burning = any(self.runner.run(kme.relays.peers_to_burn()) for kme in self.kmes.values())
                if not burning and not self.runner.run(self.kmes["a"].relays.targets_to_void()):
                    break
            assert not any(self.runner.run(kme.relays.in_flight()) for kme in self.kmes.values())
            assert not any(self.runner.run(kme.relays.peers_to_burn()) for kme in self.kmes.values())
            assert not self.runner.run(self.kmes["a"].relays.targets_to_void())
            assert imbalances(self.pools(), is_settled=False) == []
            assert imbalances(self.agreeing(), is_settled=True) == []
            for one in self.opened:
                for sent in one.delivery.transfers:
                    state = self.row("a", sent.transfer_id)
                    assert state is not None
                    assert state.state in (Transfer.DONE, Transfer.VOIDED)
        finally:
            for kme in self.kmes.values():
                self.runner.run(kme.store.close())
            self.patch.undo()
            self.runner.close()
            shutil.rmtree(self.folder)

    def agreeing(self) -> dict[str, Any]:
        """The pools whose ends have to agree: a relayed block that was held and then voided is at its target alone."""
        pools = self.pools()
        if any(pool.quarantined_bits for ones in pools.values() for pool in ones):
            pools = {name: [p for p in ones if {name, p.peer_node} != {"a", "d"}] for name, ones in pools.items()}
        return pools


SETTINGS = settings(
    max_examples=20,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestRelays = Relays.TestCase
TestRelays.settings = SETTINGS


def same_pad(db: Any, next_node: str, header: bytes, value: bytearray) -> Any:
    """Planted: the pad is not taken out of the pool."""
    db.execute("SAVEPOINT planted")
    request = _closed(db, next_node, header, value)
    db.execute("ROLLBACK TO planted")
    return request


def released_early(db: Any, delivery_id: str, acknowledged: Any, now_s: float, **options: Any) -> Any:
    """Planted: one target that holds it is enough."""
    ids = [row.transfer_id for row in relay_rows.of_delivery(db, delivery_id)]
    return _release(db, delivery_id, ids if acknowledged else (), now_s, **options)


def not_claimed(*args: Any) -> set[str]:
    """Planted: a burn is confirmed and not done."""
    return set()


def uncounted(db: Any, peer: str, source: Any, target: Any, bits: int) -> None:
    """Planted: what is relayed is counted at the giver alone."""
    if (source, target) != ("peer_available", "relayed"):
        _move(db, peer, source, target, bits)


def one_for_all(db: Any, next_node: str) -> Any:
    """Planted: a hash key that was lost is not drawn out of the pool, and of the same bits again."""
    db.execute("SAVEPOINT planted")
    drawn = _current(db, next_node)
    db.execute("ROLLBACK TO planted")
    return drawn


_current = relay_tag_keys.current
_closed, _move, _release = relay_rows.closed, relay_arrival.pools.move, relay_source.release


@pytest.mark.parametrize(
    ("room", "name", "planted"),
    [
        (relay_source, "closed", same_pad),
        (relay_source, "release", released_early),
        (relay_voids, "burn", not_claimed),
        (relay_voids, "change_pad", lambda *args: None),
        (relay_arrival.pools, "move", uncounted),
        (relay_tag_keys, "current", one_for_all),
        (relay_tag_keys, "learn", lambda *args: None),
    ],
)
def test_the_machine_finds_a_planted_fault(monkeypatch: pytest.MonkeyPatch, room: Any, name: str, planted: Any) -> None:
    monkeypatch.setattr(room, name, planted)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(Relays, settings=settings(SETTINGS, phases=[Phase.generate]))  # no shrinking
