"""A link that drifts, ramps and is told things, over real sockets: applied as asked, and made again byte for byte."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from qnetem.runtime.clock import from_time, to_time
from qnetem.runtime.errors import DeniedError, NotFoundError
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import parameters_pb2, quantum_channel_pb2, quantum_channel_pb2_grpc
from quantum_channel import wire
from quantum_channel.client import Clicks, PartnerClicks, TrainDone
from quantum_channel.link import Link
from quantum_channel.parameters import RANGES, SETTABLE, BadLinkError, is_continuous
from quantum_channel.passage import START, pass_runs
from quantum_channel.sampler_compiled import sample
from quantum_channel.train import Train

LINK: Final = "alice-bob"
ARRAYS: Final = ("block_counts", "offsets", "detectors", "arrivals_ps")
S: Final = 10**12
Settings = parameters_pb2.LinkSettings
ROUGH: Final[dict[str, Any]] = {
    "loss_wander_db": 0.5,
    "loss_wander_tau_s": 3,
    "loss_event_db": 2,
    "loss_event_hz": 1,
    "loss_event_s": 1,
    "polarisation_tau_s": 8,
    "intensity_wander_ratio": 0.05,
    "intensity_wander_tau_s": 5,
    "temperature_swing_k": 5,
    "clock_offset_ps": 5000,
    "clock_skew_ppb": 20,
    "clock_white_ps": 5,
    "clock_walk_ppb": 0.5,
}


def joined(stretches: list[Clicks]) -> tuple[bytes, ...]:
    return tuple(np.concatenate([getattr(s, name) for s in stretches]).tobytes() for name in ARRAYS)


async def everything(call: Any) -> None:
    while await call.read():
        pass


async def train_of(receiver: Any) -> list[Clicks]:
    stretches = []
    async for clicks in receiver:
        stretches.append(clicks)
        if clicks.is_last:
            break
    return stretches


async def test_each_parameter_is_set_by_itself_and_refused_out_of_range(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    config = process_config(link_config(aperture_m=0.1))
    async with serving(config) as lab, lab.operator() as operator:
        assert {field.name for field in Settings.DESCRIPTOR.fields} == SETTABLE
        for name in sorted(SETTABLE - {"is_up"}):
            low, high = RANGES[name]
            good = high if low == 0 else low
            state = await operator.set_link(LINK, Settings(**{name: good if is_continuous(name) else int(good)}))
            assert getattr(state.effective, name) == pytest.approx(good)
            assert wire.settings_from_message(state.settings) == {name: pytest.approx(good)}
            for bad in (low - 1, high * 1.01 + 1):
                if name == "connector_count" and bad < 0:
                    continue  # no number of that field
                why = f"link {LINK}: {name} .* is not in {re.escape(f'{low:g} .. {high:g}')}"
                with pytest.raises(BadLinkError, match=why):
                    await operator.set_link(LINK, Settings(**{name: bad if is_continuous(name) else round(bad)}))
            assert getattr((await operator.get_link(LINK)).effective, name) == pytest.approx(good)
            await operator.reset_link(LINK, [name])
        state = await operator.get_link(LINK)
        assert wire.parameters_from_message(state.effective) == wire.parameters_from_message(
            config.quantum_channel.links[0].planned
        )


async def test_a_ramp_reaches_what_it_says_when_it_says_and_ends(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    async with serving(process_config(link_config(), scale=10)) as lab, lab.operator() as operator:
        state = await operator.set_link(LINK, Settings(extra_loss_db=8), ramp_s=4, duration_s=10)
        (layer,) = state.layers
        start_ps = from_time(layer.start)
        assert (layer.settings.extra_loss_db, layer.ramp_s, layer.duration_s) == (8, 4, 10)
        assert state.settings == Settings()
        seen = set()
        while (before_ps := lab.clock.now_ps()) < start_ps + 11 * S:
            state = await operator.get_link(LINK)
            after_ps = lab.clock.now_ps()
            lines = [8 * min(1.0, (at_ps - start_ps) / (4 * S)) for at_ps in (before_ps, after_ps)]
            if after_ps < start_ps + 10 * S:
                assert lines[0] - 1e-9 <= state.effective.extra_loss_db <= lines[1] + 1e-9
                assert len(state.layers) == 1
                seen.add("ramp" if lines[1] < 8 else "held")
            elif before_ps >= start_ps + 10 * S:
                assert state.effective.extra_loss_db == 0
                assert len(state.layers) == 0
                seen.add("over")
            await lab.clock.sleep_until(after_ps + S // 4)
        assert seen == {"ramp", "held", "over"}
        with pytest.raises(BadLinkError, match=r"link alice-bob: ramp_s 5 is not in 0 \.\. duration_s, 3"):
            await operator.set_link(LINK, Settings(extra_loss_db=8), ramp_s=5, duration_s=3)


async def test_layers_and_tables_of_the_configuration_hold_and_are_replaced(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    link = link_config()
    link.layers.add(settings=Settings(efficiency=0.15))
    link.layers.add(settings=Settings(efficiency=0.1), start=to_time(10**9 * S), duration_s=5)
    link.series.add(field="dark_count_hz", at_s=(0, 10**9), values=(700, 700))
    async with serving(process_config(link)) as lab, lab.operator() as operator:
        state = await operator.get_link(LINK)
        assert (state.effective.efficiency, state.effective.dark_count_hz) == (0.15, 700)
        assert len(state.layers) == 2
        layer = parameters_pb2.SettingsLayer(settings=Settings(misalignment_prob=0.2))
        state = await operator.replace_link(LINK, Settings(efficiency=0.3, dark_count_hz=5), [layer])
        assert (state.effective.efficiency, state.effective.dark_count_hz) == (0.3, 5)
        assert state.effective.misalignment_prob == 0.2
        assert from_time(state.layers[0].start) == from_time(state.effective_since)
        # settings over layers of a field
        state = await operator.set_link(LINK, Settings(misalignment_prob=0.1))
        assert (len(state.layers), state.effective.misalignment_prob) == (0, 0.1)
        # what cannot be changes nothing
        bad = parameters_pb2.SettingsLayer(settings=Settings(efficiency=3))
        with pytest.raises(BadLinkError, match="link alice-bob: efficiency 3 is not in"):
            await operator.replace_link(LINK, Settings(), [bad])
        assert (await operator.get_link(LINK)).settings == state.settings


async def test_a_table_that_cannot_be_is_refused_at_the_start(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    link = link_config()
    link.series.add(field="efficiency", at_s=(0, 0), values=(0.1, 0.2))
    with pytest.raises(BadLinkError, match="link alice-bob: series of efficiency: its times do not ascend"):
        await serving(process_config(link)).__aenter__()


async def test_a_drifting_link_makes_the_same_clicks_again_after_a_restart(
    serving: Any, process_config: Any, link_config: Any, keys_of: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    link = link_config(**ROUGH)
    made, start_ps, layers = [], None, []
    for limit in (1000, 37):
        monkeypatch.setattr("quantum_channel.nature.stretch_limit", lambda *_, limit=limit: limit)
        async with (
            serving(process_config(link)) as lab,
            lab.node("alice") as alice,
            lab.node("bob") as bob,
            lab.operator() as operator,
            bob.receive(LINK) as receiver,
            alice.transmit(LINK) as transmitter,
        ):
            if start_ps is None:
                start_ps = lab.clock.now_ps() + S // 10
                layers = [
                    parameters_pb2.SettingsLayer(
                        settings=Settings(extra_loss_db=3), start=to_time(start_ps + S // 5), ramp_s=0.3, duration_s=0.5
                    )
                ]
            await operator.replace_link(LINK, Settings(dark_count_hz=800), layers)
            await transmitter.send(50, 900, start_ps)
            made.append(await train_of(receiver))
            done = await anext(transmitter.done())
            assert done.is_delivered
            assert 0.7 < done.power_ratio < 1.4
    assert joined(made[0]) == joined(made[1])
    assert len(made[1]) > len(made[0])
    assert sum(len(stretch.offsets) for stretch in made[0]) > 10_000

    # and they are those of the course, which is a function of what was recorded
    course = Link(
        LINK,
        wire.parameters_from_message(link.planned),
        {"dark_count_hz": 800.0},
        link.nature_secret,
        layers=[wire.layer_from_message(layer, 0) for layer in layers],
    ).course
    assert start_ps is not None
    train = Train(50, 900, start_ps, 1000.0)
    passed, _ = pass_runs(sample, keys_of(link), course.weather, train, course.runs(train, 50, 950), START)
    assert joined(made[0]) == tuple(getattr(passed.tagged, name).tobytes() for name in ARRAYS)


async def test_devices_are_told_by_their_own_ends_and_it_is_recorded(
    serving: Any, process_config: Any, link_config: Any, tmp_path: Path
) -> None:
    link = link_config(polarisation_tau_s=60, gate_width_ps=400)
    other = link_config("carol-dave", "carol", "dave")
    async with (
        serving(process_config(link, other)) as lab,
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        lab.node("carol") as carol,
        lab.operator() as operator,
    ):
        before = await operator.get_link(LINK)
        assert before.drift.error_z_prob + before.drift.error_x_prob > 0.02
        assert await bob.align(LINK) == 0
        drift = (await operator.get_link(LINK)).drift
        assert drift.error_z_prob < 0.02
        assert await bob.tune(LINK, gate_offset_ps=120) == 0
        assert await alice.tune(LINK, intensity_trim_ratio=0.9) == 0
        state = await operator.get_link(LINK)
        assert (state.tuned_gate_offset_ps, state.intensity_trim_ratio) == (120, 0.9)
        for node, tell in (
            (alice, lambda: alice.align(LINK)),
            (alice, lambda: alice.tune(LINK, gate_offset_ps=1)),
            (bob, lambda: bob.tune(LINK, intensity_trim_ratio=1)),
            (carol, lambda: carol.tune(LINK)),
            (carol, lambda: carol.align(LINK)),
            (carol, lambda: carol.transfer_time(LINK)),
        ):
            assert node is not None
            with pytest.raises(DeniedError):
                await tell()
        with pytest.raises(BadLinkError, match=r"link alice-bob: intensity_trim_ratio 0 is not in 0\.01 \.\. 100"):
            await alice.tune(LINK, intensity_trim_ratio=0)
        with pytest.raises(NotFoundError):
            await bob.align("nowhere")
    lines = [json.loads(line) for line in (tmp_path / "qc.journal").read_text().splitlines()]
    told = [line for line in lines if line["event"] == "quantum_channel.link.changed"]
    assert [line["how"] for line in told] == ["aligned", "tuned", "tuned"]
    assert told[0]["aligned_ps"] == told[0]["effective_since_ps"]
    assert (told[2]["tuned_gate_offset_ps"], told[2]["intensity_trim_ratio"]) == (120, 0.9)
    assert told[2]["by"] == "spiffe://lab/node/alice"


async def test_both_ends_transfer_time(serving: Any, process_config: Any, link_config: Any) -> None:
    link = link_config(clock_offset_ps=123_456_789, sync_asymmetry_ps=2000)
    async with serving(process_config(link)) as lab, lab.node("alice") as alice, lab.node("bob") as bob:
        for node in (alice, bob):
            before_ps = lab.clock.now_ps()
            read = await node.transfer_time(LINK)
            assert before_ps <= read.t1_ps < read.t4_ps <= lab.clock.now_ps()
            ahead_ps = ((read.t2_ps - read.t1_ps) - (read.t4_ps - read.t3_ps)) / 2
            assert ahead_ps == pytest.approx(123_456_789 + 1000, abs=1)
            # 25 km there and back
            assert read.t4_ps - read.t1_ps == pytest.approx(2 * 25 * 4_897_400 + 2000, abs=3000)


async def test_a_source_of_pairs_tells_its_transmitter_before_the_train_is_done(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    link = link_config(pair_brightness=0.05, transmitter_efficiency=0.3, clock_offset_ps=7000)
    async with (
        serving(process_config(link)) as lab,
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        bob.receive(LINK) as receiver,
        alice.transmit(LINK) as transmitter,
    ):
        await transmitter.send(3, 300, lab.clock.now_ps())
        stretches = await train_of(receiver)
        own: list[PartnerClicks] = []
        async for event in transmitter.events():
            if isinstance(event, TrainDone):
                assert event.train_id == 3
                break
            own.append(event)
    assert [clicks.first_block for clicks in own] == [clicks.first_block for clicks in stretches]
    assert [clicks.is_last for clicks in own] == [clicks.is_last for clicks in stretches]
    both = 0
    for told, heard in zip(own, stretches, strict=True):
        assert len(told.block_counts) == len(heard.block_counts)
        mine = np.repeat(np.arange(len(told.block_counts)), told.block_counts) * BLOCK_PULSES + told.offsets
        theirs = np.repeat(np.arange(len(heard.block_counts)), heard.block_counts) * BLOCK_PULSES + heard.offsets
        # the receiver's clock is seven slots ahead
        assert set(mine.tolist()) <= set((theirs - 7).tolist())
        both += len(mine)
    assert 100 < both < sum(len(heard.offsets) for heard in stretches)


async def test_what_an_end_does_wrong_costs_its_own_stream_alone(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    bad = link_config(pair_brightness=0.05, transmitter_efficiency=0.5, efficiency=0.9, dead_time_ps=20_000)
    good = link_config("carol-dave", "carol", "dave")
    train = quantum_channel_pb2.Train(train_id=0, first_block=0, block_count=4000)
    async with (
        serving(process_config(bad, good)) as lab,
        lab.node("bob") as bob,
        lab.node("carol") as carol,
        lab.node("dave") as dave,
        lab.operator() as operator,
        lab.dial("node", "alice") as channel,
        dave.receive("carol-dave") as at_dave,
        carol.transmit("carol-dave") as to_dave,
    ):
        stub = quantum_channel_pb2_grpc.QuantumChannelServiceStub(channel)
        hello = quantum_channel_pb2.TransmitRequest(hello=quantum_channel_pb2.TransmitHello(link_id=LINK))
        block = 0

        async def others_go_on() -> None:
            nonlocal block
            await to_dave.send(block, 5, lab.clock.now_ps())
            assert (await train_of(at_dave))[-1].train_id == block
            block += 5

        # a transmitter that vanishes within a train, then one that never reads, then one that sends nonsense
        for how in ("vanishes", "stalls", "garbage"):
            async with bob.receive(LINK) as receiver:
                call = stub.Transmit()
                await call.write(hello)
                train.start.CopyFrom(to_time(lab.clock.now_ps()))
                await call.write(quantum_channel_pb2.TransmitRequest(train=train))
                heard = aiter(receiver)
                await anext(heard)
                if how == "garbage":
                    await call.write(hello)
                    with pytest.raises(Exception, match="a stream goes on with trains"):
                        await everything(call)
                await others_go_on()
                if how == "stalls":
                    # it may stand still, for nobody else
                    for _ in range(5):
                        await others_go_on()
                call.cancel()
                async with asyncio.timeout(20):
                    while (await operator.get_link(LINK)).has_transmitter:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
            await others_go_on()
        async with bob.receive(LINK) as receiver, lab.node("alice") as alice, alice.transmit(LINK) as transmitter:
            await transmitter.send(10_000, 3, lab.clock.now_ps())
            assert (await train_of(receiver))[-1].is_last


async def test_what_drifts_is_reported_in_state_and_metrics(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    async with serving(process_config(link_config(**ROUGH))) as lab, lab.operator() as operator:
        drift = (await operator.get_link(LINK)).drift
        assert drift.clock_offset_ps > 5000
        assert drift.intensity_ratio != 1
        for field in quantum_channel_pb2.Drift.DESCRIPTOR.fields:
            name = f"qnetem_quantum_channel_drift_{field.name}"
            value = lab.process.metrics.get_sample_value(name, {"link_id": LINK})
            assert value is not None
        offset_ps = lab.process.metrics.get_sample_value(
            "qnetem_quantum_channel_drift_clock_offset_ps", {"link_id": LINK}
        )
        # between two readings of the state, whichever way this clock goes just now; its white noise is 5 ps
        low_ps, high_ps = sorted((drift.clock_offset_ps, (await operator.get_link(LINK)).drift.clock_offset_ps))
        assert low_ps - 100 <= offset_ps <= high_ps + 100
