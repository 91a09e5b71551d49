"""Any order of blocks, keys, lost messages, crashes and restarts at two KMEs: never a bit twice, both ends equal.

A crash is what a kill leaves: the transaction under way is not committed (before), or it is, and nobody was told
(after).
"""

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from node.keys import group_commit, ledger, material
from node.keys.records import (
    Assignment,
    BlockRole,
    BlockState,
    IssuedKey,
    KeysNotFoundError,
    PoolExhaustedError,
    StoreLimits,
)
from node.keys.schema import open_database
from node.keys.secret import SecretBytes
from node.keys.store import KeyStore
from qnetem.runtime.errors import ConflictError

T = TypeVar("T")
LIFETIME_S = 100.0
LINK = "alice-bob"


class Crash(BaseException):
    """The process is killed here."""


@dataclass
class End:
    """One KME: its store, and what its process has been told."""

    name: str
    peer: str
    sae: str
    path: Path
    store: KeyStore


@dataclass
class Issued:
    """A key that a master has: from then on its slave can count on it, until it expires."""

    value: bytes
    at: str
    reserved_s: float
    is_collected: bool = False
    is_lost: bool = False


@dataclass
class Request:
    """An assignment that was reserved: it may be sent late, again, or not at all."""

    at: str
    keys: list[Assignment]
    reserved_s: float
    is_answered: bool = False

    @property
    def key_ids(self) -> list[str]:
        """The keys' ids."""
        return [key.key_id for key in self.keys]


class KeyStores(RuleBasedStateMachine):
    """Alice (transmitter) and bob (receiver)."""

    requests: Bundle[Request] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        # in memory where there is such a place: these crashes are a process's, not the machine's
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="qn-keys-", dir=memory))
        self.runner = asyncio.Runner()
        self.now_s = 1000.0
        self.blocks = 0
        self.issued: dict[str, Issued] = {}
        self.given: dict[tuple[str, int], str] = {}
        self.voids_sent: set[str] = set()
        self.crash_at: str | None = None
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(group_commit.crashpoint, "reach", self.reach)
        self.ends: dict[str, End] = {}

    def reach(self, point: str) -> None:
        if self.crash_at is not None and point.endswith(self.crash_at):
            self.crash_at = None
            raise Crash

    @initialize()
    def start(self) -> None:
        for name, peer, sae in (("alice", "bob", "app-1"), ("bob", "alice", "app-2")):
            path = self.folder / name / "keys.db"
            limits = StoreLimits(key_lifetime_s=LIFETIME_S, tombstone_s=1e9, reserve_limit_s=50.0)
            store = KeyStore(path, limits, now_s=lambda: self.now_s)
            self.runner.run(store.open())
            self.ends[name] = End(name, peer, sae, path, store)
        for bit_count in (1003, 1200):
            self.block(bit_count, 5, None)

    def teardown(self) -> None:
        for end in self.ends.values():
            self.runner.run(end.store.close())
        self.patch.undo()
        self.runner.close()
        try:
            for end in self.ends.values():
                check_sums(end.path)
        finally:
            shutil.rmtree(self.folder)

    def do(self, end: End, call: Callable[[], Coroutine[Any, Any, T]], crash: str | None = None) -> T | None:
        """Run a call of a store; with `crash`, kill its process around the commit, restart it, and return None."""
        self.crash_at = crash
        try:
            return self.runner.run(call())
        except Crash:
            self.runner.run(end.store.close())
            self.runner.run(end.store.open())
            return None
        finally:
            self.crash_at = None

    # blocks

    @rule(
        bit_count=st.integers(24, 1500),
        steps=st.sampled_from([5, 5, 5, 0, 1, 2, 3, 4]),
        crash=st.sampled_from([None, "before", "after"]),
    )
    def make_block(self, bit_count: int, steps: int, crash: str | None) -> None:
        self.block(bit_count, steps, crash)

    def block(self, bit_count: int, steps: int, crash: str | None) -> None:
        """Prepare and commit a block at both ends, up to a step at which the process may be killed."""
        self.blocks += 1
        block_id = f"{LINK}/1.1.{self.blocks}"
        # no zero byte: what is zero was destroyed
        secret = bytes((index * 7 + self.blocks * 31) % 251 + 1 for index in range((bit_count + 7) // 8))
        alice, bob = self.ends["alice"], self.ends["bob"]
        calls: list[tuple[End, Callable[[], Coroutine[Any, Any, None]]]] = [
            (bob, lambda: bob.store.prepare(block_id, LINK, "alice", secret, bit_count, BlockRole.RECEIVER)),
            (alice, lambda: alice.store.prepare(block_id, LINK, "bob", secret, bit_count, BlockRole.TRANSMITTER)),
            (alice, lambda: alice.store.commit(block_id)),
            (bob, lambda: bob.store.commit(block_id)),
            (alice, lambda: alice.store.confirm(block_id)),
        ]
        for index, (end, call) in enumerate(calls):
            if index == steps:
                if crash is not None:
                    self.do(end, call, crash)
                return
            self.do(end, call)

    @rule()
    def settle(self) -> None:
        """The session reconnects: blocks in doubt are decided."""
        alice, bob = self.ends["alice"], self.ends["bob"]

        async def decide() -> None:
            for block in await alice.store.blocks_in_doubt(LINK):
                if block.state is BlockState.PREPARED:
                    await alice.store.abort(block.block_id)
            for block in await bob.store.blocks_in_doubt(LINK):
                held = (await alice.store.block_states([block.block_id])).get(block.block_id)
                await (bob.store.commit if held is BlockState.AVAILABLE else bob.store.abort)(block.block_id)
            for block in await alice.store.blocks_in_doubt(LINK):
                held = (await bob.store.block_states([block.block_id])).get(block.block_id)
                assert held is BlockState.AVAILABLE
                await alice.store.confirm(block.block_id)

        self.runner.run(decide())

    # keys

    @rule(
        target=requests,
        at=st.sampled_from(["alice", "bob"]),
        number=st.integers(1, 3),
        size=st.sampled_from([8, 64, 200, 512]),
        crash=st.sampled_from([None, None, None, "before", "after"]),
    )
    def reserve(self, at: str, number: int, size: int, crash: str | None) -> Any:
        end = self.ends[at]
        stored = self.runner.run(end.store.pool(end.peer)).available_bits
        try:
            keys = self.do(end, lambda: end.store.reserve(end.sae, [], end.peer, number, size), crash)
        except PoolExhaustedError:
            assert stored < number * size
            return multiple()
        if keys is None:
            return multiple()
        assert stored >= number * size
        for key in keys:
            for piece in key.pieces:
                for bit in range(piece.offset_bits, piece.end_bits, 8):
                    other = self.given.setdefault((piece.block_id, bit), key.key_id)
                    assert other == key.key_id, f"bits of {piece.block_id} at {bit} were given twice"
        return Request(at, keys, self.now_s)

    @rule(
        target=requests, at=st.sampled_from(["alice", "bob"]), number=st.integers(1, 3), size=st.sampled_from([8, 72])
    )
    def issue(self, at: str, number: int, size: int) -> Any:
        """All goes well."""
        request = self.reserve(at, number, size, None)
        if isinstance(request, Request):
            self.assign(request, None)
            self.deliver(request, None)
        return request

    @rule(request=requests, crash=st.sampled_from([None, None, "before", "after"]))
    def assign(self, request: Request, crash: str | None) -> None:
        """The assignment arrives at the slave's KME: the first time, again, or late."""
        end = self.ends[request.at]
        other = self.ends[end.peer]

        def call() -> Coroutine[Any, Any, None]:
            return other.store.assign(end.name, end.sae, [other.sae], request.keys)

        try:
            self.do(other, call, crash)
        except ConflictError:
            is_ended = bool(self.voids_sent.intersection(request.key_ids)) or self.is_old(request.reserved_s)
            assert is_ended, "a good assignment was refused"
            return
        request.is_answered = request.is_answered or crash is None

    def is_old(self, since_s: float) -> bool:
        return self.now_s - since_s >= LIFETIME_S

    @rule(request=requests, crash=st.sampled_from([None, None, None, "before", "after"]))
    def deliver(self, request: Request, crash: str | None) -> None:
        """The answer of the slave's KME has come: hand the keys to their master."""
        assume(request.is_answered)
        request.is_answered = False
        end = self.ends[request.at]
        try:
            keys = self.do(end, lambda: end.store.deliver(request.key_ids), crash)
        except ConflictError:
            return  # delivered, voided or given up before
        for key in keys or ():
            assert key.key_id not in self.issued, "a key was given to its master twice"
            self.issued[key.key_id] = Issued(key.key.reveal(), request.at, request.reserved_s)

    @rule(request=requests)
    def give_up(self, request: Request) -> None:
        """No answer came: void, before anyone is told. What was delivered is not voided."""
        end = self.ends[request.at]
        with contextlib.suppress(ConflictError):
            self.do(end, lambda: end.store.void(request.key_ids))
            assert not self.issued.keys() & set(request.key_ids), "an acknowledged key was voided"

    @rule(at=st.sampled_from(["alice", "bob"]), is_confirmed=st.booleans())
    def send_voids(self, at: str, is_confirmed: bool) -> None:
        end = self.ends[at]
        other = self.ends[end.peer]
        voids = self.runner.run(end.store.pending_voids(end.peer, 2))
        assert not {void.key_id for void in voids} & self.issued.keys(), "an acknowledged key was voided"
        if voids:
            self.voids_sent.update(void.key_id for void in voids)
            self.do(other, lambda: other.store.void_assigned(end.name, voids))
            if is_confirmed:
                self.do(end, lambda: end.store.confirm_voids([void.key_id for void in voids]))

    @precondition(lambda self: self.known(False))
    @rule(data=st.data(), crash=st.sampled_from([None, None, None, "before", "after"]))
    def collect(self, data: st.DataObject, crash: str | None) -> None:
        """A slave asks for a key that its master has told it of."""
        self.ask(data.draw(st.sampled_from(self.known(False))), crash)

    @precondition(lambda self: self.known(True))
    @rule(data=st.data())
    def collect_again(self, data: st.DataObject) -> None:
        self.ask(data.draw(st.sampled_from(self.known(True))), None)

    def known(self, is_collected: bool) -> list[str]:
        return [key_id for key_id, issued in self.issued.items() if issued.is_collected == is_collected]

    def ask(self, key_id: str, crash: str | None) -> None:
        issued = self.issued[key_id]
        master = self.ends[issued.at]
        slave = self.ends[master.peer]
        is_due = not issued.is_collected and not issued.is_lost
        try:
            found = self.do(slave, lambda: slave.store.collect(slave.sae, master.sae, [key_id]), crash)
        except KeysNotFoundError:
            assert not is_due or self.is_old(issued.reserved_s), "an acknowledged key is gone"
            issued.is_lost = True
            return
        if found is None:
            issued.is_lost = issued.is_lost or crash == "after"
            return
        assert is_due, "a key was given to its slave twice"
        assert found[0].key.reveal() == issued.value, "the ends differ"
        issued.is_collected = True

    # life

    @rule(at=st.sampled_from(["alice", "bob"]))
    def restart(self, at: str) -> None:
        end = self.ends[at]
        self.runner.run(end.store.close())
        self.runner.run(end.store.open())

    @rule(at=st.sampled_from(["alice", "bob"]), passed_s=st.sampled_from([1.0, 60.0]))
    def sweep(self, at: str, passed_s: float) -> None:
        self.now_s += passed_s
        self.do(self.ends[at], self.ends[at].store.sweep)

    @invariant()
    def nothing_vanishes(self) -> None:
        for end in self.ends.values():
            pool = self.runner.run(end.store.pool(end.peer))
            ended = pool.delivered_bits + pool.voided_bits + pool.expired_bits + pool.quarantined_bits
            assert pool.made_bits == pool.held_bits + ended


def check_sums(path: Path) -> None:
    """The sums kept are those of the rows, and what has no value any more is overwritten."""
    with contextlib.closing(open_database(path)) as db:

        def one(query: str) -> int:
            return int(db.execute(query).fetchone()[0] or 0)

        row = db.execute("SELECT * FROM pools").fetchone()
        if row is None:
            return
        kept = dict(zip([column[1] for column in db.execute("PRAGMA table_info(pools)")], row, strict=True))
        left = "SELECT sum(own_end_bits - own_next_bits) FROM blocks WHERE state = 'available' AND is_confirmed = "
        size = "SELECT sum(size_bits) FROM keys WHERE state = "
        assert kept["available_bits"] == one(left + "1")
        assert kept["unconfirmed_bits"] == one(left + "0")
        assert kept["peer_available_bits"] == one("SELECT sum(peer_left_bits) FROM blocks WHERE state = 'available'")
        for column, state in (("reserved", "reserved"), ("assigned", "assigned"), ("delivered", "consumed")):
            assert kept[f"{column}_bits"] == one(f"{size}'{state}'")
        assert kept["expired_bits"] == one(f"{size}'expired'")
        assert kept["voided_bits"] >= one(f"{size}'voided'") + one(f"{size}'void_pending'")
        for block, live_bits, bit_count, state in db.execute(
            "SELECT id, live_bits, bit_count, state FROM blocks WHERE state != 'aborted'"
        ).fetchall():
            chunks = db.execute("SELECT id, live_bytes, sealed FROM secrets WHERE id >> 20 = ?", (block,)).fetchall()
            held = [db.vault.open(sealed, material.place_of(chunk)) for chunk, _, sealed in chunks]
            assert sum(len(plain) for plain in held) <= bit_count // 8 + 1
            left = 8 * sum(byte != 0 for plain in held for byte in plain)
            assert left == live_bits == 8 * sum(live for _, live, _ in chunks), f"{state} block holds too much"


SETTINGS = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestKeyStores = KeyStores.TestCase
TestKeyStores.settings = SETTINGS


def take_again(db: sqlite3.Connection, peer_node: str, number: int, size_bits: int) -> Any:
    """Planted: the last byte of every reservation is given again."""
    taken = _take(db, peer_node, number, size_bits)
    block, offset, length = taken[-1][-1][1]
    db.execute("UPDATE blocks SET own_next_bits = ? WHERE id = ?", (offset + length - 8, block))
    return taken


def collect_again(db: sqlite3.Connection, sae: str, master: str, key_ids: Any, *times_s: float) -> Any:
    """Planted: a collection is answered and not noted."""
    db.execute("SAVEPOINT planted")
    found = _collect(db, sae, master, key_ids, *times_s)
    db.execute("ROLLBACK TO planted")
    return found


def keep(db: sqlite3.Connection, spans: Any) -> None:
    """Planted: material is not overwritten."""
    for block, _, length in spans:
        db.execute("UPDATE blocks SET live_bits = live_bits - ? WHERE id = ?", (length, block))


def collect_other(db: sqlite3.Connection, sae: str, master: str, key_ids: Any, *times_s: float) -> Any:
    """Planted: the slave gets other bits than the master."""
    found = _collect(db, sae, master, key_ids, *times_s)
    return [IssuedKey(key.key_id, SecretBytes(bytes(b ^ 1 for b in key.key.reveal()))) for key in found]


_take, _collect = ledger.take, ledger.collect


@pytest.mark.parametrize(
    ("room", "name", "planted"),
    [
        (ledger, "take", take_again),
        (ledger, "collect", collect_again),
        (material, "destroy", keep),
        (ledger, "collect", collect_other),
    ],
)
def test_the_machine_finds_a_planted_fault(monkeypatch: pytest.MonkeyPatch, room: Any, name: str, planted: Any) -> None:
    monkeypatch.setattr(room, name, planted)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(KeyStores, settings=settings(SETTINGS, phases=[Phase.generate]))  # no shrinking
