"""The two ends of a quantum link over real sockets: what arrives, when, and who may listen."""

import asyncio
from typing import Any

import numpy as np
import pytest

from qnetem.runtime.errors import DeniedError, NotFoundError, UnavailableError
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import quantum_channel_pb2, quantum_channel_pb2_grpc
from quantum_channel import wire
from quantum_channel.client import Clicks, QuantumChannelClient, ReceiveStream
from quantum_channel.fibre import latency_ps
from quantum_channel.response import respond
from quantum_channel.sampler import COLD, sample
from quantum_channel.seat import ReplacedError
from quantum_channel.train import BadTrainError

LINK = "alice-bob"
BLOCK_PS = BLOCK_PULSES * 1000
MS_PS = 10**9


async def whole_train(stream: ReceiveStream) -> list[Clicks]:
    stretches = []
    async for clicks in stream:
        stretches.append(clicks)
        if clicks.is_last:
            break
    return stretches


def joined(stretches: list[Clicks]) -> tuple[bytes, ...]:
    names = ("block_counts", "offsets", "detectors", "arrivals_ps")
    return tuple(np.concatenate([getattr(s, name) for s in stretches]).tobytes() for name in names)


# at scale 10^4 the channel is behind: each stretch is begun before the one before it is on its way
@pytest.mark.parametrize(("limit", "scale"), [(1, 1.0), (5, 1.0), (1000, 1.0), (1, 1e4), (5, 1e4)])
async def test_a_train_gives_the_same_clicks_however_it_is_cut(
    limit: int,
    scale: float,
    serving: Any,
    process_config: Any,
    link_config: Any,
    keys_of: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("quantum_channel.nature.stretch_limit", lambda *_: limit)
    link = link_config()
    async with (
        serving(process_config(link, scale=scale)) as lab,
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        bob.receive(LINK) as receiver,
        alice.transmit(LINK) as transmitter,
    ):
        assert transmitter.has_receiver
        start_ps = lab.clock.now_ps() + 10 * MS_PS
        await transmitter.send(7, 12, start_ps)
        stretches = await whole_train(receiver)
        arrived_ps = lab.clock.now_ps()
        done = await anext(transmitter.done())

    assert len(stretches) == -(-12 // limit)
    assert [len(s.block_counts) for s in stretches] == {1: [1] * 12, 5: [4, 4, 4], 1000: [12]}[limit]
    assert {s.train_id for s in stretches} == {7}
    assert (done.train_id, done.is_delivered) == (7, True)
    # no earlier than its last pulse arrives
    assert arrived_ps >= start_ps + 12 * BLOCK_PS + latency_ps(25)
    expected, _ = sample(respond(wire.parameters_from_message(link.planned)), keys_of(link), 7, 12, COLD)
    assert joined(stretches) == tuple(
        getattr(expected, name).tobytes() for name in ("block_counts", "offsets", "detectors", "arrivals_ps")
    )
    assert len(expected.offsets) > 1000


async def test_trains_follow_each_other_and_each_starts_cold(
    serving: Any, process_config: Any, link_config: Any, keys_of: Any
) -> None:
    link = link_config()
    response = respond(wire.parameters_from_message(link.planned))
    async with (
        serving(process_config(link)) as lab,
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        bob.receive(LINK) as receiver,
        alice.transmit(LINK) as transmitter,
    ):
        start_ps = lab.clock.now_ps() + 10 * MS_PS
        for number, first in enumerate((0, 4, 100)):
            await transmitter.send(first, 4, start_ps + number * 4 * BLOCK_PS)
        for first in (0, 4, 100):
            stretches = await whole_train(receiver)
            expected, _ = sample(response, keys_of(link), first, 4, COLD)
            assert joined(stretches)[1] == expected.offsets.tobytes()
        dones = transmitter.done()
        assert [(await anext(dones)).train_id for _ in range(3)] == [0, 4, 100]


async def test_without_a_receiver_a_train_passes_in_its_time_and_is_not_delivered(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    async with (
        serving(process_config(link_config())) as lab,
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        alice.transmit(LINK) as transmitter,
    ):
        assert not transmitter.has_receiver
        start_ps = lab.clock.now_ps()
        await transmitter.send(0, 20, start_ps)
        dones = transmitter.done()
        done = await anext(dones)
        assert not done.is_delivered
        assert lab.clock.now_ps() >= start_ps + 20 * BLOCK_PS + latency_ps(25)
        # who comes later gets what starts later
        async with bob.receive(LINK) as receiver:
            await transmitter.send(20, 2, lab.clock.now_ps())
            assert (await whole_train(receiver))[0].train_id == 20
        assert (await anext(dones)).is_delivered


async def test_a_receiver_that_leaves_misses_the_rest_and_one_that_comes_waits_for_the_next_train(
    serving: Any, process_config: Any, link_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantum_channel.nature.stretch_limit", lambda *_: 20)
    async with (
        serving(process_config(link_config())) as lab,
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        alice.transmit(LINK) as transmitter,
    ):
        async with bob.receive(LINK) as receiver:
            start_ps = lab.clock.now_ps()
            await transmitter.send(0, 1000, start_ps)
            await transmitter.send(1000, 2, start_ps + 1000 * BLOCK_PS)
            await anext(aiter(receiver))
        async with bob.receive(LINK) as receiver:
            assert (await anext(aiter(receiver))).train_id == 1000
        dones = transmitter.done()
        assert [(d.train_id, d.is_delivered) for d in (await anext(dones), await anext(dones))] == [
            (0, False),
            (1000, True),
        ]


async def test_a_newer_stream_puts_the_older_out(serving: Any, process_config: Any, link_config: Any) -> None:
    async with (
        serving(process_config(link_config())) as lab,
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        bob.receive(LINK) as first,
        alice.transmit(LINK) as older,
        bob.receive(LINK) as second,
        alice.transmit(LINK) as newer,
    ):
        with pytest.raises(ReplacedError, match="replaced: a newer stream is the receiver of link alice-bob"):
            await anext(aiter(first))
        with pytest.raises(ReplacedError, match="replaced: a newer stream is the transmitter"):
            await anext(older.done())
        with pytest.raises(ReplacedError):
            await older.send(0, 1, lab.clock.now_ps())
        await newer.send(0, 1, lab.clock.now_ps())
        assert (await whole_train(second))[-1].is_last
        assert (await anext(newer.done())).is_delivered


@pytest.mark.parametrize(("caller", "transmits"), [("bob", True), ("carol", True), ("alice", False), ("carol", False)])
async def test_only_its_two_ends_reach_a_link(
    caller: str, transmits: bool, serving: Any, process_config: Any, link_config: Any
) -> None:
    # carol and dave have a link of their own on the same process
    other = link_config("carol-dave", "carol", "dave")
    async with serving(process_config(link_config(), other)) as lab, lab.node(caller) as node:
        entered = node.transmit(LINK) if transmits else node.receive(LINK)
        with pytest.raises(DeniedError, match=caller):
            await entered.__aenter__()
        if caller == "carol" and transmits:
            with pytest.raises(NotFoundError, match="no quantum link 'nowhere' here"):
                await node.transmit("nowhere").__aenter__()


async def test_a_node_may_not_change_links_nor_an_operator_listen(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    async with serving(process_config(link_config())) as lab:
        async with lab.dial("node", "alice", "management") as channel:
            stub = quantum_channel_pb2_grpc.QuantumLinkServiceStub(channel)
            with pytest.raises(Exception, match="may not call"):
                await stub.GetLink(quantum_channel_pb2.GetLinkRequest(link_id=LINK))
        async with lab.dial("operator", "cli") as channel:
            with pytest.raises(DeniedError):
                await QuantumChannelClient(channel).receive(LINK).__aenter__()


@pytest.mark.parametrize(
    ("first", "count", "ahead_ps", "why"),
    [
        (5, 0, 0, "block_count 0"),
        (5, 1 << 17, 0, "block_count 131072 is not in 1 .. 65536"),
        (4, 1, 0, "blocks up to 4 have been used"),
        (2, 10, 0, "blocks up to 4 have been used"),
        (5, 1, -MS_PS * 100, "starts at .* before"),
        (5, 1, 61_000 * MS_PS, "from now"),
        ((1 << 43) - 1, 2, 0, "beyond the last"),
    ],
)
async def test_a_train_that_cannot_be_ends_the_stream_and_nothing_else(
    first: int, count: int, ahead_ps: int, why: str, serving: Any, process_config: Any, link_config: Any
) -> None:
    async with (
        serving(process_config(link_config())) as lab,
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        bob.receive(LINK) as receiver,
    ):
        async with alice.transmit(LINK) as transmitter:
            start_ps = lab.clock.now_ps()
            await transmitter.send(0, 5, start_ps)
            await whole_train(receiver)
            dones = transmitter.done()
            await anext(dones)
            await transmitter.send(first, count, max(start_ps + 5 * BLOCK_PS, lab.clock.now_ps()) + ahead_ps)
            with pytest.raises(BadTrainError, match=why):
                await anext(dones)
        async with alice.transmit(LINK) as transmitter:
            await transmitter.send(5, 1, lab.clock.now_ps())
            assert (await whole_train(receiver))[0].train_id == 5


async def test_garbage_and_silence_cost_that_stream_alone(
    serving: Any, process_config: Any, link_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantum_channel.service._HELLO_S", 0.2)
    train = quantum_channel_pb2.TransmitRequest(train=quantum_channel_pb2.Train(block_count=1))
    async with serving(process_config(link_config())) as lab, lab.dial("node", "alice") as channel:
        path = "/qnetem.v1.QuantumChannelService/Transmit"
        raw = channel.stream_stream(path, lambda data: data, lambda data: data)
        stub = quantum_channel_pb2_grpc.QuantumChannelServiceStub(channel)
        garbage, silent, early = raw(), stub.Transmit(), stub.Transmit()
        await garbage.write(b"\xff" * 100)
        await early.write(train)
        with pytest.raises(Exception, match=r".*") as caught:
            await garbage.read()
        assert caught.value.code().name in {"INTERNAL", "UNKNOWN", "CANCELLED", "INVALID_ARGUMENT"}
        with pytest.raises(Exception, match="begins with a hello"):
            await early.read()
        with pytest.raises(Exception, match="without a hello"):
            await silent.read()
        async with lab.node("alice") as alice, alice.transmit(LINK) as transmitter:
            await transmitter.send(0, 1, lab.clock.now_ps())
            assert not (await anext(transmitter.done())).is_delivered


async def test_a_receiver_that_does_not_read_holds_the_sampling_up(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    # 17 MB of clicks per second of emulated time, of which a receiver that stalls takes what fits its windows
    link = link_config(efficiency=0.9, dead_time_ps=20_000, afterpulse_prob=0.0)
    async with (
        serving(process_config(link)) as lab,
        lab.node("alice") as alice,
        lab.operator() as operator,
        lab.dial("node", "bob") as channel,
        alice.transmit(LINK) as transmitter,
    ):
        call = quantum_channel_pb2_grpc.QuantumChannelServiceStub(channel).Receive(
            quantum_channel_pb2.ReceiveRequest(link_id=LINK)
        )
        assert (await call.read()).WhichOneof("event") == "ready"
        blocks = 4000
        await transmitter.send(0, blocks, lab.clock.now_ps())
        async with asyncio.timeout(60):
            while (state := await operator.get_link(LINK)).lag_ps < 1500 * MS_PS:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            held = state.pulse_count
            while (state := await operator.get_link(LINK)).lag_ps < 2500 * MS_PS:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert state.pulse_count == held
        assert held < blocks * BLOCK_PULSES
        # it reads again: what was held up comes, whole
        total, count, is_last = 0, 0, False
        while not is_last and count < 200:
            clicks = wire.clicks_from_message((await call.read()).clicks)
            assert clicks.first_block == total
            total, count, is_last = total + len(clicks.block_counts), count + 1, clicks.is_last
        call.cancel()
        assert total > held // BLOCK_PULSES


async def test_when_the_channel_dies_both_ends_are_told(serving: Any, process_config: Any, link_config: Any) -> None:
    lab_of = serving(process_config(link_config()))
    lab = await lab_of.__aenter__()
    async with (
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        bob.receive(LINK) as receiver,
        alice.transmit(LINK) as transmitter,
    ):
        await transmitter.send(0, 5000, lab.clock.now_ps())
        stretches = aiter(receiver)
        await anext(stretches)
        await lab_of.__aexit__(None, None, None)
        with pytest.raises(UnavailableError):
            async for _ in stretches:
                pass
        with pytest.raises(UnavailableError):
            await anext(transmitter.done())
