"""Operators change a live quantum link: at a block border, recorded, and so that the clicks can be made again."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from qnetem.runtime.clock import from_time
from qnetem.runtime.errors import BadInputError, NotFoundError
from qnetem.runtime.rng import BLOCK_PULSES
from qnetem.v1 import parameters_pb2
from quantum_channel import wire
from quantum_channel.parameters import BadLinkError, effective
from quantum_channel.response import respond
from quantum_channel.sampler import COLD
from quantum_channel.sampler_compiled import sample

LINK = "alice-bob"
BLOCK_PS = BLOCK_PULSES * 1000
MS_PS = 10**9


async def test_a_recorded_change_makes_the_same_clicks_again(
    serving: Any, process_config: Any, link_config: Any, keys_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantum_channel.nature.stretch_limit", lambda *_: 16)
    link = link_config()
    async with (
        serving(process_config(link)) as lab,
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        lab.operator() as operator,
        bob.receive(LINK) as receiver,
        alice.transmit(LINK) as transmitter,
    ):
        start_ps = lab.clock.now_ps() + 10 * MS_PS
        await transmitter.send(0, 960, start_ps)
        stretches = [await anext(aiter(receiver))]
        states = [await operator.set_link(LINK, parameters_pb2.LinkSettings(extra_loss_db=6))]
        async for clicks in receiver:
            stretches.append(clicks)
            if len(stretches) == 8:
                states.append(await operator.reset_link(LINK, ["extra_loss_db"]))
            if clicks.is_last:
                break

    settings: list[dict[str, float]] = [{}, {"extra_loss_db": 6.0}, {}]
    borders = [0, *(state.effective_from_block for state in states), 960]
    assert borders == sorted(set(borders))
    for state, border in zip(states, borders[1:], strict=False):
        assert from_time(state.effective_since) == start_ps + border * BLOCK_PS
    carry, parts = COLD, []
    planned = wire.parameters_from_message(link.planned)
    for setting, first, end in zip(settings, borders, borders[1:], strict=False):
        part, carry = sample(respond(effective(planned, [setting])), keys_of(link), first, end - first, carry)
        parts.append(part)
    for name in ("block_counts", "offsets", "detectors", "arrivals_ps"):
        delivered = b"".join(getattr(s, name).tobytes() for s in stretches)
        assert delivered == b"".join(getattr(p, name).tobytes() for p in parts)
    # 6 dB less leave a mark, dead time or not
    rates = [len(p.offsets) / len(p.block_counts) for p in parts]
    assert rates[1] < 0.95 * rates[0]
    assert rates[2] > rates[1] / 0.95


async def test_a_link_that_is_down_is_dark_and_delivers_on_time(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    async with (
        serving(process_config(link_config(dark_count_hz=1e6))) as lab,
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        lab.operator() as operator,
        bob.receive(LINK) as receiver,
        alice.transmit(LINK) as transmitter,
    ):
        state = await operator.set_link(LINK, parameters_pb2.LinkSettings(is_up=False))
        assert not state.is_up
        start_ps = lab.clock.now_ps()
        await transmitter.send(0, 4, start_ps)
        dark = await anext(aiter(receiver))
        assert dark.is_last
        assert dark.block_counts.tolist() == [0, 0, 0, 0]
        assert lab.clock.now_ps() >= start_ps + 4 * BLOCK_PS
        assert (await anext(transmitter.done())).is_delivered
        state = await operator.reset_link(LINK)
        assert state.is_up
        assert state.effective_from_block == 4
        await transmitter.send(4, 4, lab.clock.now_ps())
        assert (await anext(aiter(receiver))).block_counts.min() > 0


async def test_settings_of_the_configuration_hold_from_the_start_and_merge(
    serving: Any, process_config: Any, link_config: Any, tmp_path: Path
) -> None:
    link = link_config()
    link.settings.efficiency = 0.5
    async with serving(process_config(link)) as lab, lab.operator() as operator:
        state = await operator.get_link(LINK)
        assert state.effective.efficiency == 0.5
        assert (state.has_transmitter, state.has_receiver, state.pulse_count) == (False, False, 0)
        before_ps = lab.clock.now_ps()
        state = await operator.set_link(LINK, parameters_pb2.LinkSettings(dead_time_ps=1000, length_km=50))
        assert before_ps <= from_time(state.effective_since) <= lab.clock.now_ps()
        assert state.settings == parameters_pb2.LinkSettings(efficiency=0.5, dead_time_ps=1000, length_km=50)
        assert (state.effective.efficiency, state.effective.dead_time_ps) == (0.5, 1000)
        state = await operator.reset_link(LINK, ["efficiency", "length_km"])
        assert state.settings == parameters_pb2.LinkSettings(dead_time_ps=1000)
        assert state.effective.efficiency == 0.2
        state = await operator.reset_link(LINK)
        assert state.settings == parameters_pb2.LinkSettings()
        assert wire.parameters_from_message(state.effective) == wire.parameters_from_message(link.planned)

    lines = [json.loads(line) for line in (tmp_path / "qc.journal").read_text().splitlines()]
    changes = [line for line in lines if line["event"] == "quantum_channel.link.changed"]
    assert [change["how"] for change in changes] == ["set", "reset", "reset"]
    assert [change["length_km"] for change in changes] == [50, 25, 25]
    assert {change["by"] for change in changes} == {"spiffe://lab/operator/cli"}
    assert changes[-1]["effective_since_ps"] == from_time(state.effective_since)
    assert changes[-1]["effective_from_block"] == 0


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"length_km": -1}, "link alice-bob: length_km -1 is not in 0 .. 10000"),
        ({"efficiency": 1.5}, "link alice-bob: efficiency 1.5 is not in 0 .. 1"),
        ({"extra_loss_db": float("nan")}, "extra_loss_db nan is not in 0 .. 1000"),
        ({"dark_count_hz": float("inf")}, "dark_count_hz inf is not in"),
        ({"dead_time_ps": -5, "length_km": 3}, "dead_time_ps -5 is not in"),
    ],
)
async def test_a_setting_out_of_range_is_refused_and_changes_nothing(
    settings: dict[str, float], why: str, serving: Any, process_config: Any, link_config: Any
) -> None:
    async with serving(process_config(link_config())) as lab, lab.operator() as operator:
        before = await operator.get_link(LINK)
        with pytest.raises(BadLinkError, match=why):
            await operator.set_link(LINK, parameters_pb2.LinkSettings(**settings))  # type: ignore[arg-type]
        with pytest.raises(BadLinkError, match="'clock_hz' is not the name of a setting"):
            await operator.reset_link(LINK, ["clock_hz"])
        with pytest.raises(NotFoundError, match="no quantum link 'alice-bub' here"):
            await operator.get_link("alice-bub")
        assert await operator.get_link(LINK) == before


async def test_two_links_of_a_process_have_their_own_ends_settings_and_metrics(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    links = link_config(), link_config("alice-carol", "alice", "carol")
    async with (
        serving(process_config(*links)) as lab,
        lab.node("alice") as alice,
        lab.node("bob") as bob,
        lab.node("carol") as carol,
        lab.operator() as operator,
        bob.receive(LINK) as at_bob,
        carol.receive("alice-carol") as at_carol,
        alice.transmit(LINK) as to_bob,
        alice.transmit("alice-carol") as to_carol,
    ):
        await operator.set_link("alice-carol", parameters_pb2.LinkSettings(is_up=False))
        await asyncio.gather(to_bob.send(0, 8, lab.clock.now_ps()), to_carol.send(0, 8, lab.clock.now_ps()))
        lit, dark = await asyncio.gather(anext(aiter(at_bob)), anext(aiter(at_carol)))
        assert (len(lit.offsets) > 0, len(dark.offsets)) == (True, 0)
        await asyncio.gather(anext(to_bob.done()), anext(to_carol.done()))
        state = await operator.get_link(LINK)
        assert (state.has_transmitter, state.has_receiver) == (True, True)
        assert (state.pulse_count, state.click_count) == (8 * BLOCK_PULSES, len(lit.offsets))

        def metric(name: str, link_id: str) -> float | None:
            return lab.process.metrics.get_sample_value(f"qnetem_quantum_channel_{name}", {"link_id": link_id})

        assert metric("clicks_total", LINK) == len(lit.offsets)
        assert metric("pulses_total", "alice-carol") == 8 * BLOCK_PULSES
        assert (metric("is_up", LINK), metric("is_up", "alice-carol")) == (1, 0)
        assert metric("ends", LINK) == 2
        assert metric("lag_seconds", LINK) is not None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"intensity_probs": (0.5, 0.6)}, "link alice-bob: intensity_probs"),
        ({"intensities": (0.1, 0.2)}, "link alice-bob: intensities: each must be smaller"),
        ({"clock_hz": 0.0}, "link alice-bob: clock_hz 0 is not in"),
    ],
)
async def test_a_configuration_that_cannot_be_names_link_and_field(
    change: dict[str, Any], why: str, serving: Any, process_config: Any, link_config: Any
) -> None:
    link = link_config()
    for name, value in change.items():
        if isinstance(value, tuple):
            del getattr(link.planned, name)[:]
            getattr(link.planned, name).extend(value)
        else:
            setattr(link.planned, name, value)
    with pytest.raises(BadInputError, match=why):
        await serving(process_config(link)).__aenter__()


async def test_a_link_given_twice_or_a_secret_of_the_wrong_size_is_refused(
    serving: Any, process_config: Any, link_config: Any
) -> None:
    with pytest.raises(BadInputError, match="link alice-bob: given twice"):
        await serving(process_config(link_config(), link_config())).__aenter__()
    broken = link_config()
    broken.nature_secret = b"short"
    with pytest.raises(BadInputError, match="link alice-bob: a secret has 16 bytes, this one 5"):
        await serving(process_config(broken)).__aenter__()
