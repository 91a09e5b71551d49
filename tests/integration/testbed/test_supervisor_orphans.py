"""kill -9 of the supervisor, of the zygote, and of what they run: nothing is left over, nothing is lost."""

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qnetem.runtime.errors import StartError, UnavailableError
from qnetem.testbed.client import NotRunningError, connect
from qnetem.testbed.launching import down
from qnetem.v1.supervisor_pb2 import PROCESS_ACTION_KILL, PROCESS_ACTION_STOP, PROCESS_STATE_HEALTHY

Lab = Any


def zygote_of(lab: Lab) -> int | None:
    return next((pid for pid, command in lab.processes().items() if "qnetem.testbed.zygote" in command), None)


async def test_nothing_survives_the_supervisor(lab: Lab, eventually: Callable[..., Any]) -> None:
    async with lab.up() as client:
        testbed = await client.get()
    assert len(lab.processes()) == 6
    os.kill(testbed.supervisor_pid, signal.SIGKILL)
    await eventually(lambda: not lab.processes())
    with pytest.raises(NotRunningError):
        async with connect(lab.state):
            pass
    assert await down(lab.state), "it was not taken down before"
    assert not lab.state.run_folder.path.exists()
    assert not await down(lab.state)


async def test_up_recovers_what_a_killed_supervisor_left(lab: Lab) -> None:
    async with lab.up() as client:
        before = await client.get()
    before_ps = lab.journal()[-1]["emulated_ps"]
    os.kill(before.supervisor_pid, signal.SIGKILL)
    async with lab.up() as client:
        after = await client.get()
    assert after.supervisor_pid != before.supervisor_pid
    assert [one.listeners for one in after.processes] == [one.listeners for one in before.processes]
    assert lab.journal()[-1]["emulated_ps"] > before_ps


async def test_what_a_process_started_dies_with_it(lab: Lab, eventually: Callable[..., Any]) -> None:
    lab.behave("n0", "helper")
    async with lab.up() as client:
        helper = int((lab.layout.state("n0") / "helper-pid").read_text())
        assert helper in lab.processes()
        testbed = await client.get()
    os.kill(testbed.supervisor_pid, signal.SIGKILL)
    await eventually(lambda: set(lab.processes()) <= {helper})
    assert helper in lab.processes(), "in a session of its own: only its mark finds it"
    await down(lab.state)
    await eventually(lambda: not lab.processes())


async def test_what_a_process_started_is_gone_when_the_testbed_is_down(
    lab: Lab, eventually: Callable[..., Any]
) -> None:
    lab.behave("n0", "helper")
    async with lab.up():
        pass
    assert await down(lab.state)
    await eventually(lambda: not lab.processes())


async def test_a_supervisor_reaps_what_its_descendants_leave(lab: Lab, eventually: Callable[..., Any]) -> None:
    lab.behave("n0", "helper")
    async with lab.up() as client:
        helper = int((lab.layout.state("n0") / "helper-pid").read_text())
        await client.act(PROCESS_ACTION_STOP, ["n0"])
        testbed = await client.get()
        assert f"PPid:\t{testbed.supervisor_pid}\n" in Path(f"/proc/{helper}/status").read_text()
        os.kill(helper, signal.SIGKILL)
        await eventually(lambda: not Path(f"/proc/{helper}").exists())


async def test_processes_live_on_when_the_zygote_dies_and_a_new_one_starts_others(
    lab: Lab, eventually: Callable[..., Any]
) -> None:
    async with lab.up() as client:
        before = {one.name: one.pid for one in (await client.get()).processes}
        zygote = zygote_of(lab)
        assert zygote is not None
        os.kill(zygote, signal.SIGKILL)
        await eventually(lambda: zygote_of(lab) not in (None, zygote))
        assert {one.name: one.pid for one in (await client.get()).processes} == before
        await client.act(PROCESS_ACTION_KILL, ["n0"])
        after = await client.wait_for(["n0"], [PROCESS_STATE_HEALTHY], 20)
        assert after["n0"].pid != before["n0"]
    assert "zygote.restarted" in [line["event"] for line in lab.journal()]


async def test_a_zygote_that_was_stopped_is_replaced(lab: Lab, eventually: Callable[..., Any]) -> None:
    async with lab.up() as client:
        zygote = zygote_of(lab)
        assert zygote is not None
        os.kill(zygote, signal.SIGSTOP)
        await client.act(PROCESS_ACTION_KILL, ["n0"])
        await client.wait_for(["n0"], [PROCESS_STATE_HEALTHY], 30)
        assert zygote not in lab.processes()


async def test_whenever_the_zygote_dies_every_process_runs_once(lab: Lab, eventually: Callable[..., Any]) -> None:
    dice = random.Random(7)
    async with lab.up() as client:
        testbed = await client.get()
        names = [one.name for one in testbed.processes]
        for _ in range(6):
            await client.act(PROCESS_ACTION_KILL, names)
            # while they are being forked, before, or after: every moment has to be right
            await asyncio.sleep(dice.uniform(0.08, 0.14))
            zygote = zygote_of(lab)
            if zygote is not None:
                os.kill(zygote, signal.SIGKILL)
            after = await client.wait_for(names, [PROCESS_STATE_HEALTHY], 30)
            pids = {one.pid for one in after.values()}
            assert len(pids) == len(names)
            await eventually(lambda: zygote_of(lab) is not None)
            strangers = set(lab.processes()) - pids - {testbed.supervisor_pid, zygote_of(lab)}
            assert not strangers


async def test_a_supervisor_killed_while_it_starts_leaves_nothing(lab: Lab, eventually: Callable[..., Any]) -> None:
    for after_s in (0.0, 0.05, 0.2):
        up = asyncio.ensure_future(_up(lab))
        await eventually(lambda: lab.layout.launch.exists())
        await asyncio.sleep(after_s)  # a moment of the start, whichever it is: not a synchronisation
        launch = lab.state.launch()
        if launch is not None:
            os.kill(launch.supervisor_pid, signal.SIGKILL)
        with pytest.raises((UnavailableError, StartError, NotRunningError)):
            await up
        await eventually(lambda: not lab.processes())
        # up had succeeded when the moment was a late one: then there is something to take down
        await down(lab.state)
        assert not lab.state.run_folder.path.exists()
        assert lab.state.launch() is None


async def _up(lab: Lab) -> None:
    async with lab.up() as client:
        await client.wait(lambda _: False, 30)
