"""Processes under a supervisor: killed, stopped, paused, crashed, silent, of another make."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qnetem.runtime.errors import BadInputError, ConflictError, NotFoundError
from qnetem.testbed.client import connect
from qnetem.testbed.launching import down
from qnetem.v1.supervisor_pb2 import (
    PROCESS_ACTION_KILL,
    PROCESS_ACTION_PAUSE,
    PROCESS_ACTION_RESTART,
    PROCESS_ACTION_RESUME,
    PROCESS_ACTION_START,
    PROCESS_ACTION_STOP,
    PROCESS_ACTION_UNSPECIFIED,
    PROCESS_STATE_FAILED,
    PROCESS_STATE_HEALTHY,
    PROCESS_STATE_PAUSED,
    PROCESS_STATE_STARTING,
    PROCESS_STATE_STOPPED,
    PROCESS_STATE_UNHEALTHY,
)

Lab = Any


async def statuses(client: Any) -> dict[str, Any]:
    return {one.name: one for one in (await client.get()).processes}


async def test_a_killed_process_comes_back_as_another(lab: Lab) -> None:
    async with lab.up() as client:
        before = (await statuses(client))["n0"]
        (killed,) = await client.act(PROCESS_ACTION_KILL, ["n0"])
        assert killed.last_end == "killed by SIGKILL"
        after = (await client.wait_for(["n0"], [PROCESS_STATE_HEALTHY], 20))["n0"]
        assert after.pid != before.pid
        assert after.restart_count == 1
        assert after.listeners == before.listeners


async def test_a_process_killed_from_outside_comes_back_too(lab: Lab) -> None:
    async with lab.up() as client:
        pid = (await statuses(client))["n1"].pid
        os.kill(pid, signal.SIGKILL)
        after = await client.wait(lambda all_: all_["n1"].state == PROCESS_STATE_HEALTHY and all_["n1"].pid != pid, 20)
        assert after["n1"].last_end == "killed by SIGKILL"


async def test_a_stopped_process_stays_away_until_started(lab: Lab) -> None:
    async with lab.up() as client:
        (stopped,) = await client.act(PROCESS_ACTION_STOP, ["n0"])
        assert (stopped.state, stopped.pid, stopped.last_end) == (PROCESS_STATE_STOPPED, 0, "exit 0")
        (again,) = await client.act(PROCESS_ACTION_STOP, ["n0"])
        assert again.state == PROCESS_STATE_STOPPED
        await client.wait_until_healthy(20)  # of those that are wanted
        (started,) = await client.act(PROCESS_ACTION_START, ["n0"])
        assert started.pid > 0
        await client.wait_for(["n0"], [PROCESS_STATE_HEALTHY], 20)
        (same,) = await client.act(PROCESS_ACTION_START, ["n0"])
        assert same.pid == started.pid
        assert same.restart_count == 0, "an operator's start is no restart"


async def test_several_processes_are_restarted_at_once(lab: Lab) -> None:
    async with lab.up() as client:
        before = await statuses(client)
        after = await client.act(PROCESS_ACTION_RESTART, ["n0", "n1", "n0"])
        assert [one.name for one in after] == ["n0", "n1"]
        assert {one.state for one in after} <= {PROCESS_STATE_STARTING, PROCESS_STATE_HEALTHY}
        assert all(one.pid not in (0, before[one.name].pid) for one in after)
        await client.wait_until_healthy(20)


async def test_a_paused_process_stands_still_and_goes_on(lab: Lab) -> None:
    async with lab.up() as client:
        (paused,) = await client.act(PROCESS_ACTION_PAUSE, ["n0"])
        assert paused.state == PROCESS_STATE_PAUSED
        assert "State:\tT" in Path(f"/proc/{paused.pid}/status").read_text()
        (resumed,) = await client.act(PROCESS_ACTION_RESUME, ["n0"])
        assert (resumed.state, resumed.pid) == (PROCESS_STATE_HEALTHY, paused.pid)
        await client.act(PROCESS_ACTION_PAUSE, ["n0"])
        (stopped,) = await client.act(PROCESS_ACTION_STOP, ["n0"])
        assert (stopped.state, stopped.last_end) == (PROCESS_STATE_STOPPED, "exit 0"), "woken to end well"
        with pytest.raises(ConflictError, match="n0 does not run"):
            await client.act(PROCESS_ACTION_PAUSE, ["n0"])


async def test_what_cannot_be_done_is_refused_and_nothing_else_happens(lab: Lab) -> None:
    async with lab.up() as client:
        before = await statuses(client)
        with pytest.raises(NotFoundError, match="no process is called n7"):
            await client.act(PROCESS_ACTION_KILL, ["n0", "n7"])
        with pytest.raises(BadInputError, match="no process is named"):
            await client.act(PROCESS_ACTION_KILL, [])
        with pytest.raises(BadInputError, match="no action is given"):
            await client.act(PROCESS_ACTION_UNSPECIFIED, ["n0"])
        assert {n: one.pid for n, one in (await statuses(client)).items()} == {n: one.pid for n, one in before.items()}


async def test_a_process_that_cannot_use_its_configuration_any_more_fails_and_says_why(lab: Lab) -> None:
    async with lab.up() as client:
        lab.layout.config("n0").write_text("{")
        await client.act(PROCESS_ACTION_KILL, ["n0"])
        failed = (await client.wait_for(["n0"], [PROCESS_STATE_FAILED], 20))["n0"]
        assert failed.last_end == f"exit 3: {lab.layout.config('n0')}: not a ProcessConfig in proto-JSON"
        assert failed.pid == 0
        assert (await statuses(client))["n1"].state == PROCESS_STATE_HEALTHY


async def test_a_process_that_crashes_on_and_on_is_given_up_until_started(lab: Lab) -> None:
    async with lab.up() as client:
        lab.behave("n0", "refuse the disk is full")
        await client.act(PROCESS_ACTION_KILL, ["n0"])
        failing = await client.wait(lambda all_: all_["n0"].restart_count >= 3, 20)
        assert failing["n0"].last_end == "exit 4: the disk is full"
        lab.behave("n0", "")
        await client.act(PROCESS_ACTION_START, ["n0"])
        await client.wait_for(["n0"], [PROCESS_STATE_HEALTHY], 20)


async def test_a_silent_process_is_unhealthy_and_healthy_again_when_it_speaks(lab: Lab) -> None:
    lab.behave("n0", "hang 7")
    async with lab.up() as client:
        pid = (await statuses(client))["n0"].pid
        await client.wait_for(["n0"], [PROCESS_STATE_UNHEALTHY], 20)
        after = await client.wait_for(["n0"], [PROCESS_STATE_HEALTHY], 20)
        assert after["n0"].pid == pid, "nobody killed it"
    events = [line["event"] for line in lab.journal() if line.get("name") == "n0"]
    assert events == ["process.starting", "process.healthy", "process.unhealthy", "process.healthy"]


async def test_a_process_that_does_not_end_is_killed_after_its_grace(lab: Lab) -> None:
    lab.behave("n0", "stubborn")
    async with lab.up() as client:
        (stopped,) = await client.act(PROCESS_ACTION_STOP, ["n0"])
        assert stopped.last_end == "killed by SIGKILL"


async def test_nodes_run_as_programs_of_their_own_when_the_topology_says_so(lab: Lab) -> None:
    topology = lab.write()
    nodes = {"n0": {"spawn": "exec"}, "n1": {}}
    lab.write(topology={**topology["topology"], "nodes": nodes})
    async with lab.up() as client:
        pids = {name: one.pid for name, one in (await statuses(client)).items()}
        assert f"-m qnetem_test_room --config {lab.layout.config('n0')}" in lab.processes()[pids["n0"]]
        assert "--config" not in lab.processes()[pids["n1"]]
        await client.act(PROCESS_ACTION_KILL, ["n0"])
        await client.wait_for(["n0"], [PROCESS_STATE_HEALTHY], 20)


STRANGER = """
import json, os, signal, socket, sys, time
config = json.load(open(sys.argv[sys.argv.index("--config") + 1]))
print("hello from", config["name"], flush=True)
told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
told.connect(os.environ["NOTIFY_SOCKET"])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    told.send(b"READY=1")
    time.sleep(0.5)
"""


async def test_a_program_of_another_make_takes_the_place_of_a_process(lab: Lab) -> None:
    async with lab.up(commands={"n1": [sys.executable, "-c", STRANGER]}) as client:
        assert (await statuses(client))["n1"].state == PROCESS_STATE_HEALTHY
        assert lab.layout.log("n1").read_text() == "hello from n1\n"
        (stopped,) = await client.act(PROCESS_ACTION_STOP, ["n1"])
        assert stopped.last_end == "exit 0"


async def test_a_program_that_is_not_there_is_named(lab: Lab) -> None:
    with pytest.raises(Exception, match="n1: exit 127: /no/such/program: No such file or directory"):
        async with lab.up(commands={"n1": ["/no/such/program"]}):
            pass


async def test_watchers_see_the_state_and_then_every_event(lab: Lab) -> None:
    async with lab.up() as client:
        watching = client.watch()
        first = await anext(watching)
        assert {one.name for one in first.testbed.processes} == {"cc", "qc-n0-n1", "n0", "n1"}
        await client.act(PROCESS_ACTION_STOP, ["n0"])
        await client.act(PROCESS_ACTION_START, ["n0"])
        told = []
        async for response in watching:
            told.append((response.event.event, response.event.process.name, response.event.process.state))
            if response.event.event == "process.healthy":
                break
        await watching.aclose()
        assert told == [
            ("process.stopped", "n0", PROCESS_STATE_STOPPED),
            ("process.starting", "n0", PROCESS_STATE_STARTING),
            ("process.healthy", "n0", PROCESS_STATE_HEALTHY),
        ]


async def test_watching_ends_with_the_testbed_and_everything_is_in_the_journal(lab: Lab) -> None:
    async with lab.up() as client:
        await client.act(PROCESS_ACTION_KILL, ["n0"])
        await client.wait_for(["n0"], [PROCESS_STATE_HEALTHY], 20)

        async def watch() -> list[str]:
            return [response.event.event async for response in client.watch()]

        watched = asyncio.create_task(watch())
        await client.down()
        assert (await watched)[-1] == "testbed.down"
    events = [(line["event"], line.get("name")) for line in lab.journal()]
    assert events[0] == ("testbed.starting", None)
    assert events[-1] == ("testbed.down", None)
    assert events.count(("process.starting", "n0")) == 2
    assert ("process.exited", "n0") in events
    assert ("testbed.healthy", None) in events
    stopped = [name for event, name in events if event == "process.stopped"]
    assert set(stopped[:2]) == {"n0", "n1"}, "the nodes go first"
    assert set(stopped[2:]) == {"cc", "qc-n0-n1"}


async def test_a_supervisor_told_to_end_takes_everything_down(lab: Lab, eventually: Callable[..., Any]) -> None:
    async with lab.up() as client:
        pid = (await client.get()).supervisor_pid
    os.kill(pid, signal.SIGTERM)
    await eventually(lambda: not lab.processes())
    assert lab.journal()[-1]["event"] == "testbed.down"
    assert lab.state.launch() is None


async def test_stopping_many_while_they_start_stops_them(lab: Lab) -> None:
    async with lab.up() as client:
        names = [one.name for one in (await client.get()).processes]
        await client.act(PROCESS_ACTION_KILL, names)
        stopped = await client.act(PROCESS_ACTION_STOP, names)
        assert {one.state for one in stopped} == {PROCESS_STATE_STOPPED}
        async with connect(lab.state) as again:
            assert {one.pid for one in (await again.get()).processes} == {0}
    assert await down(lab.state)
