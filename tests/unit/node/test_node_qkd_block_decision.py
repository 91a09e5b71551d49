"""What becomes of a block is decided by its two ends: whatever somebody between them says, neither holds it alone."""

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from session_wires import Wires

from node.keys.records import BlockState, PadsExhaustedError
from node.keys.store import open_store
from node.link_state import LinkRecord
from node.qkd.authentication import authenticated
from node.qkd.block import BlockJob
from node.qkd.block_receiver import receive_block
from node.qkd.block_transmitter import transmit_block
from node.qkd.errors import LinkTroubleError
from node.qkd.protocols import protocol_of
from node.qkd.session_receiver import ReceiverSession
from node.qkd.session_transmitter import TransmitterSession
from node.qkd.sifting import RawBlock
from node.qkd.transcript import BLOCK_TAG_BITS, Message
from qnetem.v1 import link_session_pb2 as pb
from qnetem.v1 import parameters_pb2, process_pb2

BLOCK_ID, BITS = "l/1.1.0", 20_000
ROLES = {"alice": process_pb2.LINK_ROLE_TRANSMITTER, "bob": process_pb2.LINK_ROLE_RECEIVER}


def config_of(name: str) -> process_pb2.NodeLinkConfig:
    return process_pb2.NodeLinkConfig(
        link_id="l",
        role=ROLES[name],
        peer_node="bob" if name == "alice" else "alice",
        planned=parameters_pb2.LinkParameters(pair_brightness=0.01),
        protocol=parameters_pb2.ProtocolParameters(
            protocol="bbm92", eps_sec=1e-10, eps_cor=1e-15, block_ramp_bits=[BITS]
        ),
        authentication_secret=b"s" * 16,
    )


class Outcome:
    """What the two ends hold in the end, and what they said of it."""

    def __init__(self) -> None:
        self.states: list[BlockState] = []
        self.errors: list[BaseException | None] = []
        self.trails: list[bytes] = []
        self.pools: list[Any] = []


async def processed(folder: Path, tamper: Callable[[Message], None]) -> Outcome:
    """Take a block through post-processing at both ends; who fails hangs up."""
    found = Outcome()
    z_bits = np.random.default_rng(5).integers(0, 2, BITS, dtype=np.uint8)
    counts = np.array([BITS], dtype=np.int64)
    raw = RawBlock(0, z_bits, np.zeros(BITS, dtype=np.uint8), counts, counts, np.zeros(1, dtype=np.int64))
    entropy = SimpleNamespace(draw=lambda label, count: hashlib.shake_128(label.encode()).digest(count))
    process = SimpleNamespace(journal=SimpleNamespace(write=lambda *args, **fields: None))
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(folder / name / "keys.db")) for name in ROLES]
        configs = [config_of(name) for name in ROLES]
        links = [(await authenticated([config], store))["l"] for config, store in zip(configs, stores, strict=True)]
        wires = Wires(links[0], links[1], tamper)
        jobs = []
        for config, store, wire in zip(configs, stores, (wires.alice, wires.bob), strict=True):
            wire.name_session(1, 1)
            node: Any = SimpleNamespace(store=store, process=process, entropy=entropy)
            record = LinkRecord("l", lambda: 0, lambda _: None)
            jobs.append(BlockJob(BLOCK_ID, raw, config, protocol_of(config), node, record, wire))

        async def hear(job: BlockJob) -> None:
            while (message := await job.wire.receive()) is not None:
                job.deliver(message)

        async def receive() -> None:
            start = await wires.bob.receive()
            hearing.append(asyncio.create_task(hear(jobs[1])))
            await receive_block(jobs[1], start.block_start)

        async with wires.writing():
            hearing = [asyncio.create_task(hear(jobs[0]))]
            ends = [asyncio.create_task(transmit_block(jobs[0], 0.01)), asyncio.create_task(receive())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_EXCEPTION)
            for task in (*ends, *hearing):
                if not task.done():
                    task.cancel()
            for task in ends:
                with suppress(asyncio.CancelledError, LinkTroubleError):
                    await task
                found.errors.append(None if task.cancelled() else task.exception())
            await asyncio.gather(*hearing, return_exceptions=True)
        for store, peer in zip(stores, ("bob", "alice"), strict=True):
            found.states.append((await store.block_states([BLOCK_ID]))[BLOCK_ID])
            found.pools.append(await store.pool(peer))
    found.trails = [(folder / name / "keys.audit.jsonl").read_bytes() for name in ROLES]
    return found


def altered(event: str, change: Callable[[Any], None]) -> Callable[[Message], None]:
    def tamper(message: Message) -> None:
        if message.WhichOneof("event") == event:
            change(getattr(message, event))

    return tamper


async def test_a_block_that_nobody_meddles_with_is_held_by_both_and_paid_for_by_both(tmp_path: Path) -> None:
    found = await processed(tmp_path, lambda message: None)
    assert found.errors == [None, None]
    assert found.states == [BlockState.AVAILABLE] * 2
    for pool, trail in zip(found.pools, found.trails, strict=True):
        assert pool.unconfirmed_bits == 0
        assert pool.available_bits + pool.kept_bits > 4000
        # of what was shared beforehand: the pool was empty
        assert pool.tags_bits == 0
        for event in (b'"pads.spent"', b'"pads.taken"'):
            [line] = [line for line in trail.splitlines() if event in line]
            assert b'"bits":%d' % BLOCK_TAG_BITS in line


async def test_a_forged_abort_is_refused_and_aborts_nothing(tmp_path: Path) -> None:
    def abort(decision: Any) -> None:
        decision.is_commit = False

    found = await processed(tmp_path, altered("block_decision", abort))
    assert found.errors[0] is None
    assert isinstance(found.errors[1], LinkTroubleError)
    assert found.errors[1].why == "authentication"
    assert b"FORGED_DECISION" in found.trails[1]
    # in doubt at the receiver: the next session settles it
    assert found.states == [BlockState.AVAILABLE, BlockState.PREPARED]
    assert found.pools[0].unconfirmed_bits > 4000


async def test_a_forged_commit_is_refused_and_commits_nothing(tmp_path: Path) -> None:
    """The transmitter was made to give the block up; the receiver is told that it did not."""

    def tamper(message: Message) -> None:
        match message.WhichOneof("event"):
            case "block_prepared":
                message.block_prepared.is_prepared = False
            case "block_decision":
                message.block_decision.is_commit = True

    found = await processed(tmp_path, tamper)
    assert isinstance(found.errors[1], LinkTroubleError)
    assert b"FORGED_DECISION" in found.trails[1]
    assert found.states == [BlockState.ABORTED, BlockState.PREPARED]


async def test_a_forged_confirmation_is_refused_and_confirms_nothing(tmp_path: Path) -> None:
    """Bits of a block that the receiver is only said to hold are not given."""

    def tamper(message: Message) -> None:
        if message.WhichOneof("event") == "block_committed":
            message.sent.seconds += 1

    found = await processed(tmp_path, tamper)
    assert isinstance(found.errors[0], LinkTroubleError)
    assert found.errors[0].why == "authentication"
    assert b"FORGED_DECISION" in found.trails[0]
    assert found.states == [BlockState.AVAILABLE] * 2
    assert found.pools[0].available_bits == found.pools[0].kept_bits == 0


@pytest.mark.parametrize("event", ["block_decision", "block_committed"])
async def test_the_tests_above_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str) -> None:
    """Planted: tags of decisions are not looked at."""

    async def unchecked(*_args: Any) -> None:
        return None

    def tamper(message: Message) -> None:
        if message.WhichOneof("event") == event:
            message.ClearField("tags")

    assert any((await processed(tmp_path / "honest", tamper)).errors)
    monkeypatch.setattr("node.qkd.authentication.LinkAuthentication.check_decision", unchecked)
    assert not any((await processed(tmp_path / "planted", tamper)).errors)


async def greeted(folder: Path, tamper: Callable[[Message], None], *, is_starved: bool = False) -> Outcome:
    """Begin the next session: what was in doubt is settled, or not."""
    found = Outcome()
    process = SimpleNamespace(journal=SimpleNamespace(write=lambda *args, **fields: None))
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(folder / name / "keys.db")) for name in ROLES]
        configs = [config_of(name) for name in ROLES]
        links = [(await authenticated([config], store))["l"] for config, store in zip(configs, stores, strict=True)]
        if is_starved:
            with suppress(PadsExhaustedError):
                while True:
                    await stores[0].authentication.take_pad("bob", 128, "l")
        wires = Wires(links[0], links[1], tamper)
        nodes: list[Any] = [SimpleNamespace(store=store, process=process, incarnation=1) for store in stores]
        record = LinkRecord("l", lambda: 0, lambda _: None)
        anything: Any = SimpleNamespace(verdict=None)
        transmitter = TransmitterSession(configs[0], nodes[0], record, anything, wires.alice, 2)

        async def receive() -> None:
            first = await wires.bob.receive()
            await ReceiverSession(configs[1], nodes[1], record, anything, wires.bob, first.hello)._greet()

        async with wires.writing():
            ends = [asyncio.create_task(transmitter.greet()), asyncio.create_task(receive())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_EXCEPTION)
            for task in ends:
                task.cancel()
                with suppress(asyncio.CancelledError, LinkTroubleError):
                    await task
                found.errors.append(None if task.cancelled() else task.exception())
        for store, peer in zip(stores, ("bob", "alice"), strict=True):
            found.states.append((await store.block_states([BLOCK_ID]))[BLOCK_ID])
            found.pools.append(await store.pool(peer))
    return found


def forged(message: Message) -> None:
    if isinstance(message, pb.SessionRequest):
        for block in message.settlement.blocks:
            block.holding = pb.BlockInDoubt.HOLDING_ABORTED


def silenced(message: Message) -> None:
    if isinstance(message, pb.SessionRequest) and message.settlement.blocks:
        message.settlement.ClearField("blocks")
        message.ClearField("tags")


async def test_a_block_in_doubt_is_settled_by_its_transmitter_alone(tmp_path: Path) -> None:
    def abort(decision: Any) -> None:
        decision.is_commit = False

    in_doubt = [BlockState.AVAILABLE, BlockState.PREPARED]
    assert (await processed(tmp_path, altered("block_decision", abort))).states == in_doubt
    found = await greeted(tmp_path, forged)
    assert found.states == in_doubt
    assert isinstance(found.errors[1], LinkTroubleError)
    assert found.errors[1].why == "authentication"
    # an answer that was taken away decides nothing, and one that cannot be paid for is not given
    for tamper, is_starved in ((silenced, False), (lambda message: None, True)):
        found = await greeted(tmp_path, tamper, is_starved=is_starved)
        assert (found.states, found.errors) == (in_doubt, [None, None])
        assert found.pools[0].unconfirmed_bits > 4000
    async with open_store(tmp_path / "alice" / "keys.db") as alice, open_store(tmp_path / "bob" / "keys.db") as bob:
        for name, store in (("alice", alice), ("bob", bob)):
            link = (await authenticated([config_of(name)], store))["l"]
            assert await link.provision(1, b"n" * 256)
            assert await link.confirm(1)
    found = await greeted(tmp_path, lambda message: None)
    assert (found.states, found.errors) == ([BlockState.AVAILABLE] * 2, [None, None])
    assert found.pools[0].unconfirmed_bits == 0


async def test_the_test_of_settlements_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: tags of settlements are not looked at."""

    async def unchecked(*_args: Any) -> None:
        return None

    def lost(message: Message) -> None:
        if message.WhichOneof("event") == "block_decision":
            message.ClearField("tags")

    assert (await processed(tmp_path, lost)).states[1] is BlockState.PREPARED
    monkeypatch.setattr("node.qkd.authentication.LinkAuthentication.check_settlement", unchecked)
    assert (await greeted(tmp_path, forged)).states[1] is BlockState.ABORTED
