"""What a transmitter makes of a receiver that misbehaves: silent, too early, twice, or out of breath. Real sockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from node.service import serve as serve_node
from qnetem import topology
from qnetem.runtime import identity, process, rpc
from qnetem.runtime.errors import UnavailableError
from qnetem.runtime.tasks import background
from qnetem.v1 import link_session_pb2 as pb
from qnetem.v1 import link_session_pb2_grpc, process_pb2
from quantum_channel.client import QuantumChannelClient
from quantum_channel.service import serve as serve_channel

LINK = topology.from_dict(topology.ring(2)).links["n0-n1"]
ALICE, BOB = LINK.endpoints
Script = Callable[["Bob", Any, Any], Any]


class Bob(link_session_pb2_grpc.LinkSessionServiceServicer):
    """A receiver that does what a test says."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.hellos: list[pb.SessionHello] = []
        self.passed: set[int] = set()

    async def Session(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        await self.script(self, aiter(request_iterator), context)

    async def greeted(self, requests: Any, context: Any) -> None:
        """Answer hello and settle nothing."""
        async for request in requests:
            kind = request.WhichOneof("event")
            if kind == "hello":
                self.hellos.append(request.hello)
                answer = pb.SessionHello(link_id=request.hello.link_id, session_counter=request.hello.session_counter)
                await context.write(pb.SessionResponse(hello=answer))
                await context.write(pb.SessionResponse(settlement=pb.Settlement()))
            elif kind == "settlement":
                await context.write(pb.SessionResponse(settlement=pb.Settlement()))
                return

    async def listen(self, address: str, credentials: rpc.Credentials) -> None:
        """Hear the quantum channel out, and remember the trains that have passed."""
        target = identity.dns_name("lab", "quantum-channel", "qc")
        async with (
            rpc.dial(address, credentials, target=target) as dialled,
            QuantumChannelClient(dialled).receive(LINK.id) as stream,
        ):
            async for clicks in stream:
                if clicks.is_last:
                    self.passed.add(clicks.train_id)

    async def train(self, requests: Any, context: Any) -> pb.TrainNotice:
        """Say that we receive, and wait for the next train."""
        await context.write(pb.SessionResponse(receiver=pb.ReceiverNotice(is_receiving=True)))
        async for request in requests:
            if request.WhichOneof("event") == "train":
                notice: pb.TrainNotice = request.train
                return notice
        raise AssertionError("no train")


def report(train: pb.TrainNotice, slots: list[int], **fields: Any) -> pb.SessionResponse:
    counts = np.zeros(train.block_count, "<u4")
    counts[0] = len(slots)
    packed = np.packbits(np.zeros(len(slots), np.uint8)).tobytes()
    return pb.SessionResponse(
        sift_report=pb.SiftReport(
            **{
                "train_id": train.train_id,
                "first_block": train.train_id,
                "block_counts": counts.tobytes(),
                "offsets": np.array(slots, "<i4").tobytes(),
                "bases": packed,
                "values": packed,
                **fields,
            }
        )
    )


def config_of(
    tmp_path: Path, paths: process_pb2.CredentialPaths, name: str, ports: list[int]
) -> process_pb2.ProcessConfig:
    return process_pb2.ProcessConfig(
        testbed="lab",
        name=name,
        state_dir=str(tmp_path / name),
        journal_path=str(tmp_path / f"{name}.jsonl"),
        credentials=paths,
        clock=process_pb2.ClockConfig(scale=1, source=process_pb2.ClockConfig.SOURCE_MONOTONIC),
        listeners=process_pb2.Listeners(peer=f"127.0.0.1:{ports[0]}", management=f"127.0.0.1:{ports[1]}"),
    )


@pytest.fixture
def meet(
    tmp_path: Path,
    credential_paths_of: Callable[..., process_pb2.CredentialPaths],
    credentials_of: Callable[..., rpc.Credentials],
    free_port: Callable[[], int],
) -> Callable[[Script], contextlib.AbstractAsyncContextManager[tuple[Bob, Path]]]:
    """Run a transmitter against a scripted receiver; yield the receiver and the transmitter's journal."""

    @contextlib.asynccontextmanager
    async def run(script: Script) -> AsyncIterator[tuple[Bob, Path]]:
        bob = Bob(script)
        registration = rpc.Registration(
            link_session_pb2_grpc.add_LinkSessionServiceServicer_to_server,
            bob,
            "qnetem.v1.LinkSessionService",
            {"*": [identity.uri("lab", "node", ALICE)]},
        )
        channel = config_of(tmp_path, credential_paths_of("quantum-channel", "qc"), "qc", [free_port(), free_port()])
        channel.quantum_channel.links.add(
            link_id=LINK.id,
            transmitter_uri=identity.uri("lab", "node", ALICE),
            receiver_uri=identity.uri("lab", "node", BOB),
            transmitter_secret=bytes(16),
            receiver_secret=bytes(16),
            nature_secret=bytes(16),
            planned=LINK.planned,
        )
        alice = config_of(tmp_path, credential_paths_of("node", ALICE), ALICE, [free_port(), free_port()])
        async with rpc.serve("127.0.0.1:0", credentials_of("node", BOB), [registration]) as server:
            alice.node.links.add(
                link_id=LINK.id,
                role=process_pb2.LINK_ROLE_TRANSMITTER,
                peer_node=BOB,
                peer=party("node", BOB, f"127.0.0.1:{server.port}"),
                quantum_channel=party("quantum-channel", "qc", channel.listeners.peer),
                device_secret=bytes(16),
                planned=LINK.planned,
                protocol=LINK.protocol,
            )
            async with process.standing(serve_channel, channel), background() as start:
                start(bob.listen(channel.listeners.peer, credentials_of("node", BOB)))
                async with process.standing(serve_node, alice):
                    yield bob, Path(alice.journal_path)

    return run


def party(kind: identity.Kind, name: str, address: str) -> process_pb2.PartyAddress:
    return process_pb2.PartyAddress(
        address=address, target=identity.dns_name("lab", kind, name), uri=identity.uri("lab", kind, name)
    )


async def until(condition: Callable[[], Any], within_s: float = 60.0) -> Any:
    async with asyncio.timeout(within_s):
        while not (value := condition()):  # noqa: ASYNC110 - watched from outside
            await asyncio.sleep(0.02)
    return value


def reasons(journal: Path) -> list[str]:
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    return [event["reason"] for event in events if event["event"] == "link.state.changed" and event["state"] == "DOWN"]


async def test_a_receiver_that_only_beats_is_given_up(meet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.qkd.session_transmitter.GREETING_S", 0.5)

    async def beat(bob: Bob, requests: Any, context: Any) -> None:
        async for request in requests:
            if request.WhichOneof("event") == "hello":
                bob.hellos.append(request.hello)
            await context.write(pb.SessionResponse(heartbeat=pb.Heartbeat(echo=request.heartbeat.number)))

    async with meet(beat) as (bob, journal):
        await until(lambda: len(bob.hellos) >= 2)
        counters = [hello.session_counter for hello in bob.hellos]
        assert counters == sorted(set(counters)), "a counter that was seen is refused: each hello needs its own"
        await until(lambda: "peer-silent" in reasons(journal))


@pytest.mark.parametrize(
    ("slots", "fields", "is_early"),
    [
        ([5, 5], {}, False),
        ([5, 4], {}, False),
        ([-1], {}, False),
        ([5], {"first_block": 1 << 60}, False),
        ([5], {"block_counts": b"\x01\x00\x00"}, False),
        ([5], {"part": 3}, False),
        ([5], {"train_id": 1 << 40}, False),
        ([5], {"bases": b"\xff\xff\xff"}, False),
        ([5], {}, True),
    ],
)
async def test_a_report_that_cannot_be_ends_the_session(
    meet: Any, slots: list[int], fields: dict[str, Any], is_early: bool
) -> None:
    answered: list[pb.SiftAnswer] = []

    async def misreport(bob: Bob, requests: Any, context: Any) -> None:
        await bob.greeted(requests, context)
        train = await bob.train(requests, context)
        if not is_early:
            await until(lambda: train.train_id in bob.passed)
        await context.write(report(train, slots, **fields))
        async for request in requests:
            if request.WhichOneof("event") == "sift_answer":
                answered.append(request.sift_answer)

    async with meet(misreport) as (bob, journal):
        await until(lambda: len(bob.hellos) >= 2)
        assert answered == []
        assert reasons(journal)[-1:] == ["session-refused"]


async def test_a_good_report_is_answered_and_its_pulses_are_not_disclosed_again(meet: Any) -> None:
    answered: list[pb.SiftAnswer] = []

    async def repeat(bob: Bob, requests: Any, context: Any) -> None:
        await bob.greeted(requests, context)
        train = await bob.train(requests, context)
        await until(lambda: train.train_id in bob.passed)
        await context.write(report(train, [5, 9], part=0))
        async for request in requests:
            if request.WhichOneof("event") == "sift_answer":
                answered.append(request.sift_answer)
                await context.write(report(train, [5, 9], part=1))

    async with meet(repeat) as (bob, journal):
        await until(lambda: len(bob.hellos) >= 2)
        assert reasons(journal)[-1:] == ["session-refused"]
    assert {answer.part for answer in answered} == {0}


async def test_the_quantum_channel_is_named_when_it_is_the_one_that_is_gone(
    meet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.asynccontextmanager
    async def gone(self: Any, link_id: str) -> AsyncIterator[None]:
        raise UnavailableError("gone")
        yield

    monkeypatch.setattr("quantum_channel.client.QuantumChannelClient.transmit", gone)

    async def greet(bob: Bob, requests: Any, context: Any) -> None:
        await bob.greeted(requests, context)
        async for _ in requests:
            pass

    async with meet(greet) as (_, journal):
        await until(lambda: "quantum-channel-lost" in reasons(journal))
