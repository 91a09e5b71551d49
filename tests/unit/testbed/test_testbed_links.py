"""Settings of links, and channels that refuse, do not answer, or are away: stored first, told until in force."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from google.protobuf import json_format

from qnetem.runtime.errors import BadInputError, DeadlineError, NotFoundError, QnetemError, StorageError
from qnetem.testbed.desired import Desired, Layer, Plane, Settings
from qnetem.testbed.layout import Layout
from qnetem.testbed.plan import TestbedPlan, planned
from qnetem.testbed.state import State
from qnetem.testbed.supervisor.links import Links
from qnetem.testbed.supervisor.reach import ChannelState, Reach
from qnetem.topology import Topology
from qnetem.v1 import process_pb2, supervisor_pb2
from qnetem.v1.classical_channel_pb2 import ClassicalPathState
from qnetem.v1.parameters_pb2 import ClassicalSettings, EmulatedTime, LinkSettings, SettingsLayer
from qnetem.v1.quantum_channel_pb2 import QuantumLinkState


class Channels:
    """Stands for the channels of a testbed: holds settings in memory, refuses or loses what it is told to."""

    def __init__(self) -> None:
        self.in_force = Desired()
        self.away: set[str] = set()
        self.raises: QnetemError | None = None
        # an answer that is lost after the channel has acted
        self.loses: QnetemError | None = None

    def is_serving(self, name: str) -> bool:
        return name not in self.away

    async def get(self, plane: Plane, channel: str, link_id: str) -> ChannelState:
        assert self.is_serving(channel)
        settings: Any = self.in_force.of(plane, link_id)
        layers: Any = self.in_force.layers_of(plane, link_id)
        state = QuantumLinkState if plane == "quantum" else ClassicalPathState
        return state(link_id=link_id, settings=settings, layers=layers)

    async def replace(
        self, plane: Plane, channel: str, link_id: str, settings: Settings, layers: Iterable[Layer]
    ) -> ChannelState:
        if self.raises is not None:
            raise self.raises
        self.in_force = self.in_force.but(plane, link_id, settings, layers)
        if self.loses is not None:
            raise self.loses
        return await self.get(plane, channel, link_id)


class Bench:
    """Links over such channels."""

    def __init__(self, topology: Topology, folder: Path) -> None:
        processes, links = planned(topology)
        self.plan = TestbedPlan("ring", "/t.yaml", "d", 42, False, 0, 1.0, processes, links)
        self.state = State(Layout(folder / "state"))
        self.state.create()
        self.channels = Channels()
        self.links = Links(self.plan, self.state, cast(Reach, self.channels), self.channels.is_serving)

    async def until_in_force(self, desired: Desired) -> None:
        while self.channels.in_force != desired:  # noqa: ASYNC110 (the timeout of the test ends it)
            await asyncio.sleep(0.01)


@pytest.fixture
def bench(topology_of: Callable[..., Topology], tmp_path: Path) -> Bench:
    return Bench(topology_of(3), tmp_path)


@contextlib.asynccontextmanager
async def catching_up(bench: Bench) -> AsyncIterator[None]:
    """Run the part of Links that tells again."""
    task = asyncio.create_task(bench.links.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


LOSS = LinkSettings(extra_loss_db=3)


async def test_settings_are_stored_and_in_force(bench: Bench) -> None:
    report = await bench.links.set("n0-n1", {"quantum": LOSS, "classical": ClassicalSettings(is_up=False)})
    wanted = Desired({"n0-n1": LOSS}, {"n0-n1": ClassicalSettings(is_up=False)})
    assert bench.state.desired() == bench.channels.in_force == wanted
    assert report.quantum.settings == report.desired_quantum == LOSS
    report = await bench.links.reset("n0-n1", {"quantum": ["extra_loss_db"]})
    assert bench.state.desired() == bench.channels.in_force == Desired({}, wanted.classical)
    assert not report.HasField("desired_quantum")
    assert report.classical.settings == ClassicalSettings(is_up=False)


async def test_what_a_channel_refuses_is_neither_stored_nor_in_force(bench: Bench) -> None:
    await bench.links.set("n0-n1", {"quantum": LOSS})
    before = bench.state.desired()
    bench.channels.raises = BadInputError("not this")
    with pytest.raises(BadInputError, match="not this"):
        await bench.links.set("n0-n1", {"quantum": LinkSettings(length_km=7)})
    assert bench.state.desired() == bench.channels.in_force == before


async def test_a_link_that_is_not_there_and_no_setting_at_all_are_refused(bench: Bench) -> None:
    with pytest.raises(NotFoundError, match="no link is called n0-n9"):
        await bench.links.get("n0-n9")
    with pytest.raises(BadInputError, match="no setting is given"):
        await bench.links.set("n0-n1", {})
    assert not bench.state.layout.desired.exists()


async def test_settings_that_cannot_be_stored_are_not_brought_into_force(bench: Bench) -> None:
    bench.state.layout.desired.mkdir()
    with pytest.raises(StorageError, match=r"desired\.json"):
        await bench.links.set("n0-n1", {"quantum": LOSS})
    assert bench.channels.in_force == Desired()


@pytest.mark.parametrize("has_acted", [False, True])
async def test_a_change_without_an_answer_is_told_again_until_there_is_one(bench: Bench, has_acted: bool) -> None:
    await bench.links.set("n0-n1", {"quantum": LinkSettings(length_km=7)})
    lost = DeadlineError("no answer")
    if has_acted:
        bench.channels.loses = lost
    else:
        bench.channels.raises = lost
    report = await bench.links.set("n0-n1", {"quantum": LOSS})
    assert report.desired_quantum == LinkSettings(length_km=7, extra_loss_db=3)
    await bench.links.reset("n0-n1", {"quantum": ["length_km"]})
    bench.channels.raises = bench.channels.loses = None
    async with catching_up(bench):
        await bench.until_in_force(Desired({"n0-n1": LOSS}))
    assert bench.state.desired() == Desired({"n0-n1": LOSS})


async def test_a_channel_that_is_away_is_told_when_it_comes_back(bench: Bench) -> None:
    bench.channels.away = {"qc-n0-n1", "cc"}
    report = await bench.links.set("n0-n1", {"quantum": LOSS, "classical": ClassicalSettings(delay_ps=5)})
    assert not report.HasField("quantum")
    assert bench.channels.in_force == Desired()
    async with catching_up(bench):
        bench.channels.away = {"cc"}
        bench.links.poke()
        await bench.until_in_force(Desired({"n0-n1": LOSS}))
        bench.channels.away = set()
        bench.links.poke()
        await bench.until_in_force(Desired({"n0-n1": LOSS}, {"n0-n1": ClassicalSettings(delay_ps=5)}))


async def test_a_channel_that_starts_again_finds_the_settings_in_its_configuration(bench: Bench) -> None:
    plan = bench.plan.processes["qc-n0-n1"]
    path = bench.state.layout.config(plan.name)
    path.parent.mkdir(parents=True)
    config = process_pb2.ProcessConfig(testbed="ring", name=plan.name, state_dir="/s")
    config.quantum_channel.links.add(link_id="n0-n1")
    path.write_text(json_format.MessageToJson(config))
    bench.links.prepare(plan)
    assert json_format.Parse(path.read_text(), process_pb2.ProcessConfig()) == config, "nothing to write"
    bench.channels.away = {plan.name}
    await bench.links.set("n0-n1", {"quantum": LOSS})
    bench.links.prepare(plan)
    written = json_format.Parse(path.read_text(), process_pb2.ProcessConfig())
    assert written.quantum_channel.links[0].settings == LOSS
    bench.links.prepare(bench.plan.processes["n0"])  # a node has none


def fault(**fields: Any) -> supervisor_pb2.LinkFault:
    """A fault of the link n0-n1."""
    return supervisor_pb2.LinkFault(link_id="n0-n1", **fields)


def in_force(bench: Bench) -> LinkSettings:
    return bench.channels.in_force.quantum.get("n0-n1", LinkSettings())


@pytest.fixture
def planned_bench(bench: Bench) -> Bench:
    """Links whose channel has a configuration: the topology gives the link a loss of 1 dB."""
    path = bench.state.layout.config("qc-n0-n1")
    path.parent.mkdir(parents=True)
    config = process_pb2.ProcessConfig(testbed="ring", name="qc-n0-n1", state_dir="/s")
    config.quantum_channel.links.add(link_id="n0-n1").planned.extra_loss_db = 1
    path.write_text(json_format.MessageToJson(config))
    return bench


async def test_faults_lie_over_settings_and_are_not_stored(planned_bench: Bench) -> None:
    bench, links = planned_bench, planned_bench.links
    first, report = await links.begin(fault(added_loss_db=6))
    assert report.quantum.settings == LinkSettings(extra_loss_db=7)
    assert [one.fault_id for one in report.faults] == [first]
    second, _ = await links.begin(fault(quantum=LinkSettings(length_km=40)))
    report = await links.set("n0-n1", {"quantum": LinkSettings(extra_loss_db=3, length_km=30)})
    assert in_force(bench) == LinkSettings(extra_loss_db=9, length_km=40)
    assert report.desired_quantum == LinkSettings(extra_loss_db=3, length_km=30)
    await links.heal(first)
    assert in_force(bench) == LinkSettings(extra_loss_db=3, length_km=40)
    await links.reset("n0-n1", {"quantum": ["length_km"]})
    assert in_force(bench) == LinkSettings(extra_loss_db=3, length_km=40)
    report = await links.heal(second)
    assert in_force(bench) == bench.state.desired().quantum["n0-n1"] == LinkSettings(extra_loss_db=3)
    assert not report.faults
    with pytest.raises(NotFoundError, match="no fault n0-n1/2 is in force"):
        await links.heal(second)


async def test_a_fault_whose_holder_has_gone_comes_off_soon(bench: Bench) -> None:
    fault_id, _ = await bench.links.begin(fault(classical=ClassicalSettings(is_up=False)))
    assert bench.channels.in_force.classical
    async with catching_up(bench):
        assert bench.links.drop(fault_id)
        await bench.until_in_force(Desired())
    assert not bench.links.drop(fault_id)


async def test_a_fault_that_a_channel_refuses_has_not_begun(bench: Bench) -> None:
    bench.channels.raises = BadInputError("no")
    with pytest.raises(BadInputError, match="no"):
        await bench.links.begin(fault(quantum=LOSS))
    bench.channels.raises = None
    assert not (await bench.links.get("n0-n1")).faults


async def test_a_fault_whose_holder_goes_while_it_begins_comes_off(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_told = asyncio.Event()
    told = bench.channels.replace

    async def hang(*arguments: Any) -> ChannelState:
        state = await told(*arguments)
        is_told.set()
        await asyncio.Event().wait()
        return state

    monkeypatch.setattr(bench.channels, "replace", hang)
    beginning = asyncio.create_task(bench.links.begin(fault(quantum=LOSS)))
    await is_told.wait()
    assert in_force(bench) == LOSS
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    monkeypatch.undo()
    async with catching_up(bench):
        await bench.until_in_force(Desired())


async def test_a_channel_that_starts_again_under_a_fault_finds_it_in_its_configuration(planned_bench: Bench) -> None:
    plan = planned_bench.plan.processes["qc-n0-n1"]
    path = planned_bench.state.layout.config(plan.name)

    def written() -> LinkSettings:
        config = json_format.Parse(path.read_text(), process_pb2.ProcessConfig())
        return config.quantum_channel.links[0].settings

    fault_id, _ = await planned_bench.links.begin(fault(quantum=LOSS))
    planned_bench.links.prepare(plan)
    assert written() == LOSS
    await planned_bench.links.heal(fault_id)
    planned_bench.links.prepare(plan)
    assert written() == LinkSettings()


@pytest.fixture
def at(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the emulated time, seconds."""

    def turn(now_s: float) -> None:
        monkeypatch.setattr(bench.links._clock, "now_ps", lambda: round(now_s * 10**12))

    return turn


async def test_what_comes_and_goes_is_stored_told_with_its_start_and_forgotten(
    bench: Bench, at: Callable[[float], None]
) -> None:
    at(100.25)
    spans = {"ramp_s": 10.0, "duration_s": 60.0}
    report = await bench.links.set("n0-n1", {"quantum": LOSS, "classical": ClassicalSettings(loss_prob=0.5)}, **spans)
    start = EmulatedTime(seconds=100, picoseconds=25 * 10**10)
    assert report.now == start
    assert list(report.quantum_layers) == [SettingsLayer(settings=LOSS, start=start, **spans)]
    assert not report.HasField("desired_quantum")
    assert report.quantum.layers == report.quantum_layers
    assert report.classical.layers == report.classical_layers
    assert bench.state.desired() == bench.channels.in_force
    at(160.0)
    assert len((await bench.links.get("n0-n1")).quantum_layers) == 1
    at(160.25)
    report = await bench.links.get("n0-n1")
    assert not report.quantum_layers
    assert not report.classical_layers
    wanted = Desired({"n0-n1": LinkSettings(length_km=7)})
    async with catching_up(bench):
        await bench.links.set("n0-n1", {"quantum": wanted.quantum["n0-n1"]})
        await bench.until_in_force(wanted)
    assert bench.state.desired() == wanted


async def test_a_plain_setting_takes_the_place_of_what_layers_say_of_it(bench: Bench) -> None:
    both = LinkSettings(extra_loss_db=6, misalignment_prob=0.1)
    await bench.links.set("n0-n1", {"quantum": both}, duration_s=1000)
    await bench.links.set("n0-n1", {"quantum": LOSS})
    (layer,) = bench.channels.in_force.layers_of("quantum", "n0-n1")
    assert layer.settings == LinkSettings(misalignment_prob=0.1)
    assert in_force(bench) == LOSS
    await bench.links.reset("n0-n1", {"quantum": ["misalignment_prob"]})
    assert bench.channels.in_force == Desired({"n0-n1": LOSS})
    await bench.links.set("n0-n1", {"quantum": both}, ramp_s=1000)
    await bench.links.reset("n0-n1", {"quantum": (), "classical": ()})
    assert bench.channels.in_force == bench.state.desired() == Desired()


@pytest.mark.parametrize(
    ("spans", "text"),
    [
        ({"ramp_s": -1.0}, "ramp_s -1 is out of range"),
        ({"duration_s": float("inf")}, "duration_s inf is out of range"),
        ({"ramp_s": 10.0, "duration_s": 5.0}, "ramp_s 10 is longer than the 5 s that the settings last"),
    ],
)
async def test_spans_that_cannot_be_are_refused(bench: Bench, spans: dict[str, float], text: str) -> None:
    with pytest.raises(BadInputError, match=text):
        await bench.links.set("n0-n1", {"quantum": LOSS}, **spans)
    assert not bench.state.layout.desired.exists()


async def test_faults_lie_over_what_comes_and_goes(planned_bench: Bench, at: Callable[[float], None]) -> None:
    bench, links = planned_bench, planned_bench.links
    at(100)
    await links.set("n0-n1", {"quantum": LinkSettings(extra_loss_db=6, length_km=30)}, ramp_s=10)
    fault_id, _ = await links.begin(fault(quantum=LinkSettings(length_km=40), added_loss_db=2))
    own, top = bench.channels.in_force.layers_of("quantum", "n0-n1")
    assert in_force(bench) == LinkSettings(extra_loss_db=3)  # planned 1, and 2 added
    assert own.settings == LinkSettings(extra_loss_db=8, length_km=30)
    assert (top.settings, top.start, top.duration_s) == (LinkSettings(length_km=40), EmulatedTime(), 0)
    await links.heal(fault_id)
    assert bench.channels.in_force == bench.state.desired()


async def test_a_channel_that_starts_again_finds_what_is_left_of_layers(
    planned_bench: Bench, at: Callable[[float], None]
) -> None:
    plan = planned_bench.plan.processes["qc-n0-n1"]
    path = planned_bench.state.layout.config(plan.name)
    at(100)
    await planned_bench.links.set("n0-n1", {"quantum": LOSS}, ramp_s=5, duration_s=60)
    at(150)
    planned_bench.links.prepare(plan)
    link = json_format.Parse(path.read_text(), process_pb2.ProcessConfig()).quantum_channel.links[0]
    assert list(link.layers) == [SettingsLayer(settings=LOSS, start=EmulatedTime(seconds=100), ramp_s=5, duration_s=60)]
    at(170)
    planned_bench.links.prepare(plan)
    assert not json_format.Parse(path.read_text(), process_pb2.ProcessConfig()).quantum_channel.links[0].layers
