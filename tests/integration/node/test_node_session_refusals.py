"""What a receiver refuses: strangers, other sessions, other parameters, messages out of place. Over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from node.qkd.errors import SessionRefusedError
from node.service import serve
from qnetem.runtime import identity, process, rpc
from qnetem.runtime.errors import DeniedError, NotFoundError, QnetemError
from qnetem.v1 import link_session_pb2 as pb
from qnetem.v1 import link_session_pb2_grpc, parameters_pb2, process_pb2

LINK = "alice-bob"
PROTOCOL = parameters_pb2.ProtocolParameters(
    protocol="bb84-one-decoy",
    eps_sec=1e-10,
    eps_cor=1e-15,
    block_ramp_bits=[100],
    qber_degraded_prob=0.05,
    qber_abort_prob=0.11,
    pool_high_water_bits=1_000_000,
    train_blocks=8,
)
PLANNED = parameters_pb2.LinkParameters(
    clock_hz=1e9, intensities=[0.2, 0.05], intensity_probs=[0.25, 0.75], receiver_p_z=0.8
)
Dial = Callable[..., contextlib.AbstractAsyncContextManager[Any]]


@pytest.fixture
async def dial(
    tmp_path: Path,
    credential_paths_of: Callable[..., process_pb2.CredentialPaths],
    credentials_of: Callable[..., rpc.Credentials],
    free_port: Callable[[], int],
) -> AsyncIterator[Dial]:
    """A node bob, receiver of alice-bob whose quantum channel cannot be reached, and how to dial his peer listener."""
    port = free_port()
    config = process_pb2.ProcessConfig(
        testbed="lab",
        name="bob",
        state_dir=str(tmp_path / "bob"),
        credentials=credential_paths_of("node", "bob"),
        clock=process_pb2.ClockConfig(scale=1, source=process_pb2.ClockConfig.SOURCE_MONOTONIC),
        listeners=process_pb2.Listeners(peer=f"127.0.0.1:{port}", management=f"127.0.0.1:{free_port()}"),
        node=process_pb2.NodeConfig(
            links=[
                process_pb2.NodeLinkConfig(
                    link_id=LINK,
                    role=process_pb2.LINK_ROLE_RECEIVER,
                    peer_node="alice",
                    peer=party("node", "alice", free_port()),
                    quantum_channel=party("quantum-channel", "qc", free_port()),
                    device_secret=bytes(16),
                    planned=PLANNED,
                    protocol=PROTOCOL,
                ),
                process_pb2.NodeLinkConfig(
                    link_id="bob-carol",
                    role=process_pb2.LINK_ROLE_RECEIVER,
                    peer_node="carol",
                    peer=party("node", "carol", free_port()),
                    quantum_channel=party("quantum-channel", "qc", free_port()),
                    device_secret=bytes(16),
                    planned=PLANNED,
                    protocol=PROTOCOL,
                ),
            ]
        ),
    )

    @contextlib.asynccontextmanager
    async def open_session(name: str = "alice") -> AsyncIterator[Any]:
        target = identity.dns_name("lab", "node", "bob")
        async with rpc.dial(f"127.0.0.1:{port}", credentials_of("node", name), target=target) as channel:
            call = link_session_pb2_grpc.LinkSessionServiceStub(channel).Session()
            try:
                yield call
            finally:
                call.cancel()

    async with process.standing(serve, config):
        yield open_session


def party(kind: identity.Kind, name: str, port: int) -> process_pb2.PartyAddress:
    return process_pb2.PartyAddress(
        address=f"127.0.0.1:{port}", target=identity.dns_name("lab", kind, name), uri=identity.uri("lab", kind, name)
    )


def hello(link_id: str = LINK, incarnation: int = 1, counter: int = 1, **protocol: Any) -> pb.SessionRequest:
    changed = parameters_pb2.ProtocolParameters()
    changed.CopyFrom(PROTOCOL)
    for name, value in protocol.items():
        setattr(changed, name, value)
    return pb.SessionRequest(
        hello=pb.SessionHello(link_id=link_id, incarnation=incarnation, session_counter=counter, protocol=changed)
    )


async def events(call: Any) -> AsyncIterator[pb.SessionResponse]:
    async for response in rpc.stream(call):
        if response.WhichOneof("event") != "heartbeat":
            yield response


async def end(call: Any) -> QnetemError:
    """Read until the session is refused; say how."""
    async with asyncio.timeout(30):
        try:
            async for _ in rpc.stream(call):
                pass
        except QnetemError as error:
            return error
    raise AssertionError("the session ended without an error")


async def settled(call: Any, counter: int = 1) -> None:
    """Open a session up to its settlement."""
    await call.write(hello(counter=counter))
    responses = events(call)
    assert (await anext(responses)).WhichOneof("event") == "hello"
    assert (await anext(responses)).WhichOneof("event") == "settlement"
    await call.write(pb.SessionRequest(settlement=pb.Settlement()))
    assert (await anext(responses)).WhichOneof("event") == "settlement"
    await responses.aclose()


@pytest.mark.parametrize(
    ("caller", "first", "cls", "message"),
    [
        ("alice", hello("none"), NotFoundError, "link none: this node is not its receiver"),
        ("alice", hello("bob-carol"), DeniedError, "spiffe://lab/node/alice is not the transmitter of link bob-carol"),
        ("mallory", hello(), DeniedError, "spiffe://lab/node/mallory may not call"),
        ("alice", pb.SessionRequest(train=pb.TrainNotice()), SessionRefusedError, "begins with a hello"),
        ("alice", hello(eps_sec=1e-9), SessionRefusedError, "eps_sec is 1e-09 there, 1e-10 here"),
        ("alice", hello(protocol="b92"), SessionRefusedError, "protocol is b92 there"),
    ],
)
async def test_a_session_is_refused_by_name(
    dial: Dial, caller: str, first: pb.SessionRequest, cls: type[QnetemError], message: str
) -> None:
    async with dial(caller) as call:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(first)
        error = await end(call)
    assert isinstance(error, cls)
    assert message in str(error)


async def test_a_session_older_than_the_last_one_is_refused(dial: Dial) -> None:
    async with dial() as call:
        await settled(call, counter=5)
    async with dial() as call:
        await call.write(hello(counter=5))
        assert "older than the last one" in str(await end(call))
    async with dial() as call:
        await settled(call, counter=6)


async def test_a_newer_session_ends_the_older(dial: Dial) -> None:
    async with dial() as old, dial() as new:
        await settled(old, counter=1)
        await settled(new, counter=2)
        await end(old)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (pb.SessionRequest(sift_answer=pb.SiftAnswer(train_id=7)), "an answer to part 0, which is not next"),
        (pb.SessionRequest(block_start=pb.BlockStart(block_id=f"{LINK}/1.1.0")), "is not a block of this session"),
        (pb.SessionRequest(block_start=pb.BlockStart(block_id="other/9.9.9")), "is not a block of this session"),
        (pb.SessionRequest(settlement=pb.Settlement()), "unexpected settlement"),
        (pb.SessionRequest(), "unexpected None"),
    ],
)
async def test_a_message_out_of_place_ends_the_session(dial: Dial, event: pb.SessionRequest, message: str) -> None:
    async with dial() as call:
        await settled(call)
        await call.write(event)
        error = await end(call)
    assert isinstance(error, SessionRefusedError)
    assert message in str(error)


async def test_trains_come_in_order(dial: Dial) -> None:
    async with dial() as call:
        await settled(call)
        for train_id in (16, 8):
            await call.write(pb.SessionRequest(train=pb.TrainNotice(train_id=train_id, block_count=8)))
        assert "train 8: after train 16" in str(await end(call))


async def test_a_late_message_about_a_dropped_block_is_passed_over(dial: Dial) -> None:
    async with dial() as call:
        await settled(call)
        await call.write(pb.SessionRequest(block_decision=pb.BlockDecision(block_id=f"{LINK}/1.0.3", is_commit=True)))
        await call.write(pb.SessionRequest(heartbeat=pb.Heartbeat(number=41)))
        async with asyncio.timeout(10):
            async for response in rpc.stream(call):
                if response.heartbeat.echo == 41:
                    break
