"""Settings of links: in force at the real channels, stored before that, and there again whatever restarts."""

import json
from typing import Any

import pytest

from qnetem.runtime.errors import BadInputError, NotFoundError
from qnetem.testbed.launching import TopologyChangedError, down
from qnetem.testbed.plan import ROOMS
from qnetem.v1 import process_pb2
from qnetem.v1.parameters_pb2 import ClassicalSettings, LinkSettings
from qnetem.v1.supervisor_pb2 import (
    PROCESS_ACTION_KILL,
    PROCESS_ACTION_PAUSE,
    PROCESS_ACTION_RESUME,
    PROCESS_ACTION_START,
    PROCESS_ACTION_STOP,
    PROCESS_STATE_HEALTHY,
)

Lab = Any
CHANNELS = ["qc-n0-n1", "cc"]
# the nodes serve nothing here
REAL_CHANNELS = {**ROOMS, process_pb2.PROCESS_KIND_NODE: "qnetem_test_room"}


async def test_settings_take_effect_at_once_and_hold_when_the_channels_die(lab: Lab) -> None:
    async with lab.up(rooms=REAL_CHANNELS) as client:
        plain = await client.get_link("n0-n1")
        assert plain.quantum.effective.extra_loss_db == 0
        report = await client.set_link("n0-n1", LinkSettings(extra_loss_db=3), ClassicalSettings(delay_ps=5 * 10**9))
        assert report.quantum.effective.extra_loss_db == 3
        assert report.classical.effective.delay_ps == 5 * 10**9
        assert report.quantum.HasField("effective_since")
        report = await client.set_link("n0-n1", LinkSettings(is_up=False))
        assert report.desired_quantum == LinkSettings(extra_loss_db=3, is_up=False)
        assert not report.quantum.is_up
        await client.act(PROCESS_ACTION_KILL, CHANNELS)
        await client.wait_for(CHANNELS, [PROCESS_STATE_HEALTHY], 20)
        report = await client.get_link("n0-n1")
        assert report.quantum.settings == LinkSettings(extra_loss_db=3, is_up=False)
        assert not report.quantum.is_up
        assert report.classical.effective.delay_ps == 5 * 10**9
        report = await client.reset_link("n0-n1", quantum_fields=["is_up"])
        assert report.quantum.is_up
        assert report.quantum.effective.extra_loss_db == 3
        report = await client.reset_link("n0-n1", is_all=True)
        assert report.quantum.effective == plain.quantum.effective
        assert report.classical.effective == plain.classical.effective
        assert not report.HasField("desired_quantum")
        assert not report.HasField("desired_classical")
    events = [(line["event"], line.get("link_id")) for line in lab.journal() if line["event"].startswith("link.")]
    assert events == [("link.set", "n0-n1")] * 2 + [("link.reset", "n0-n1")] * 2


async def test_what_comes_and_goes_goes_on_where_it_was_when_the_channels_die(lab: Lab) -> None:
    async with lab.up(rooms=REAL_CHANNELS) as client:
        plain = await client.get_link("n0-n1")
        light, line = LinkSettings(extra_loss_db=10), ClassicalSettings(delay_ps=10**12, is_up=False)
        report = await client.set_link("n0-n1", light, line, ramp_s=1000, duration_s=2000)
        start = report.quantum_layers[0].start
        assert report.quantum.layers == report.quantum_layers
        assert report.classical.layers == report.classical_layers
        await client.act(PROCESS_ACTION_KILL, CHANNELS)
        await client.wait_for(CHANNELS, [PROCESS_STATE_HEALTHY], 20)
        report = await client.get_link("n0-n1")
        assert report.quantum.layers == report.quantum_layers
        assert report.quantum.layers[0].start == start
        age_s = report.now.seconds - start.seconds + (report.now.picoseconds - start.picoseconds) / 1e12
        # a second for the way between the clocks' readings
        assert report.quantum.effective.extra_loss_db == pytest.approx(age_s / 100, abs=0.01)
        assert report.classical.effective.delay_ps == pytest.approx(age_s * 10**9, abs=10**9)
        assert not report.classical.is_up
        assert report.quantum.effective.extra_loss_db > 0
        await client.reset_link("n0-n1", is_all=True)
        await client.set_link("n0-n1", light, line, duration_s=0.5)

        async def is_over() -> bool:
            report = await client.get_link("n0-n1")
            layers = [*report.quantum.layers, *report.quantum_layers, *report.classical.layers]
            return not layers and report.quantum.effective == plain.quantum.effective and report.classical.is_up

        while not await is_over():  # the timeout of the test ends it
            pass


async def test_a_table_and_a_planned_eve_reach_the_channel(lab: Lab) -> None:
    topology = lab.write()
    (lab.folder / "loss.csv").write_text("time_s,extra_loss_db\n0,3\n100000,4\n")
    topology["topology"]["links"][0] |= {
        "environment": "storm",
        "series": {"file": "loss.csv"},
        "eve": {"intercept-resend": "10%", "delay": "5ns"},
    }
    lab.path.write_text(json.dumps(topology))
    async with lab.up(rooms=REAL_CHANNELS) as client:
        quantum = (await client.get_link("n0-n1")).quantum
        assert quantum.effective.extra_loss_db == pytest.approx(3, abs=0.01)
        assert (quantum.effective.eve_intercept_prob, quantum.effective.eve_delay_ps) == (0.1, 5000)
        assert quantum.effective.polarisation_tau_s == 5
        assert quantum.drift.clock_offset_ps != 0
    await down(lab.state)
    (lab.folder / "loss.csv").write_text("time_s,extra_loss_db\n0,3\n100000,5\n")
    with pytest.raises(TopologyChangedError, match=r"link n0-n1: series\.extra_loss \[3dB, 4dB\] -> \[3dB, 5dB\]"):
        async with lab.up(rooms=REAL_CHANNELS):
            pass


async def test_settings_of_a_channel_that_is_away_wait_for_it(lab: Lab) -> None:
    async with lab.up(rooms=REAL_CHANNELS) as client:
        await client.act(PROCESS_ACTION_STOP, ["qc-n0-n1"])
        report = await client.set_link("n0-n1", LinkSettings(extra_loss_db=4))
        assert not report.HasField("quantum")
        assert report.HasField("classical")
        assert report.desired_quantum == LinkSettings(extra_loss_db=4)
        await client.act(PROCESS_ACTION_START, ["qc-n0-n1"])
        await client.wait_for(["qc-n0-n1"], [PROCESS_STATE_HEALTHY], 20)
        assert (await client.get_link("n0-n1")).quantum.effective.extra_loss_db == 4


async def test_settings_of_a_paused_channel_are_told_when_it_goes_on(lab: Lab, eventually: Any) -> None:
    async with lab.up(rooms=REAL_CHANNELS) as client:
        await client.act(PROCESS_ACTION_PAUSE, ["qc-n0-n1"])
        await client.set_link("n0-n1", LinkSettings(extra_loss_db=5))
        await client.act(PROCESS_ACTION_RESUME, ["qc-n0-n1"])
        losses = []
        while 5 not in losses:
            losses.append((await client.get_link("n0-n1")).quantum.effective.extra_loss_db)
            assert len(losses) < 1000
        assert set(losses) <= {0, 5}


async def test_settings_hold_over_down_and_up(lab: Lab) -> None:
    async with lab.up(rooms=REAL_CHANNELS) as client:
        await client.set_link("n0-n1", LinkSettings(extra_loss_db=2))
    await down(lab.state)
    async with lab.up(rooms=REAL_CHANNELS) as client:
        assert (await client.get_link("n0-n1")).quantum.effective.extra_loss_db == 2
    await down(lab.state)
    # a link that is no more takes its settings with it
    topology = lab.write()
    topology["topology"]["links"][0]["name"] = "fibre"
    lab.path.write_text(json.dumps(topology))
    async with lab.up(rooms=REAL_CHANNELS, is_reconfigured=True) as client:
        assert (await client.get_link("fibre")).quantum.effective.extra_loss_db == 0
    assert json.loads(lab.layout.desired.read_text()) == {"quantum": {}, "classical": {}}


async def test_what_cannot_be_is_refused_and_changes_nothing(lab: Lab) -> None:
    async with lab.up(rooms=REAL_CHANNELS) as client:
        before = await client.set_link("n0-n1", LinkSettings(extra_loss_db=1))
        for link, quantum, error, text in (
            ("n0-n9", LinkSettings(extra_loss_db=1), NotFoundError, "no link is called n0-n9"),
            ("n0-n1", LinkSettings(extra_loss_db=-1), BadInputError, r"extra_loss_db -1 is out of range"),
            ("n0-n1", LinkSettings(efficiency=2), BadInputError, "efficiency 2 is out of range"),
            ("n0-n1", None, BadInputError, "no setting is given"),
        ):
            with pytest.raises(error, match=text):
                await client.set_link(link, quantum)
        with pytest.raises(BadInputError, match="lenght_km is no setting"):
            await client.reset_link("n0-n1", quantum_fields=["lenght_km"])
        after = await client.get_link("n0-n1")
        assert after.desired_quantum == before.desired_quantum
        assert after.quantum.settings == before.quantum.settings
