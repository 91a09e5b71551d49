"""`up` and `down`: idempotent, complete, and without a trace when they fail."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qnetem.runtime.errors import BadInputError, ConflictError, NotFoundError, StartError
from qnetem.testbed.client import NotRunningError, connect
from qnetem.testbed.launching import TopologyChangedError, down, state_of
from qnetem.testbed.plan import ROOMS
from qnetem.testbed.progress import Progress
from qnetem.v1 import supervisor_pb2

Lab = Any
NAMES = ["cc", "qc-n0-n1", "n0", "n1"]


async def test_up_is_done_when_all_is_healthy_and_leaves_it_running(lab: Lab) -> None:
    steps: list[Progress] = []
    async with lab.up(on_progress=steps.append) as client:
        testbed = await client.get()
        assert [one.name for one in testbed.processes] == NAMES
        assert {one.state for one in testbed.processes} == {supervisor_pb2.PROCESS_STATE_HEALTHY}
        assert testbed.name == "ring"
        assert testbed.seed == 42
        assert 0 < testbed.healthy_after_s < 30
        assert not testbed.is_held
        pids = {one.pid for one in testbed.processes}
    assert steps[0].total_count == 4
    assert steps[-1].is_healthy
    assert pids < set(lab.processes())
    async with connect(lab.state) as client:
        assert {one.pid for one in (await client.get()).processes} == pids


async def test_processes_are_children_of_the_supervisor_and_say_who_they_are(lab: Lab) -> None:
    async with lab.up() as client:
        testbed = await client.get()
        for one in testbed.processes:
            status = Path(f"/proc/{one.pid}/status").read_text()
            assert f"PPid:\t{testbed.supervisor_pid}\n" in status
            assert f"Name:\t{one.name}\n" in status
            assert one.name in lab.processes()[one.pid]
            assert os.getsid(one.pid) == one.pid
            held = {fd.readlink() for fd in Path(f"/proc/{one.pid}/fd").iterdir() if fd.exists()}
            assert Path(f"/proc/{one.pid}/fd/0").readlink() == Path("/dev/null")
            assert lab.layout.lock not in held, "a child that held the lock would outlive its testbed"


async def test_up_finds_what_is_up(lab: Lab) -> None:
    async with lab.up() as client:
        before = await client.get()
    async with lab.up() as client:
        after = await client.get()
    assert [one.pid for one in after.processes] == [one.pid for one in before.processes]
    assert after.supervisor_pid == before.supervisor_pid


async def test_two_ups_at_once_make_one_testbed(lab: Lab) -> None:
    async def up() -> int:
        async with lab.up() as client:
            return int((await client.get()).supervisor_pid)

    assert len(set(await asyncio.gather(up(), up(), up()))) == 1


async def test_down_leaves_nothing_and_can_be_said_twice(lab: Lab, eventually: Callable[..., Any]) -> None:
    async with lab.up():
        pass
    assert await down(lab.state) is True
    assert not lab.processes()
    assert not lab.state.run_folder.path.exists()
    assert await down(lab.state) is False
    with pytest.raises(NotRunningError, match="testbed ring is not running"):
        async with connect(lab.state):
            pass


async def test_ports_secrets_and_time_go_on_over_down_and_up(lab: Lab) -> None:
    async with lab.up() as client:
        before = await client.get()
    configs = {name: json.loads(lab.layout.config(name).read_text()) for name in NAMES}
    await down(lab.state)
    reached_ps = json.loads(lab.layout.clock.read_text())["reached_ps"]
    async with lab.up() as client:
        after = await client.get()
    assert [one.listeners for one in after.processes] == [one.listeners for one in before.processes]
    for name, config in configs.items():
        new = json.loads(lab.layout.config(name).read_text())
        assert new.pop("clock") != config.pop("clock")
        assert new == config
    first = next(line for line in reversed(lab.journal()) if line["event"] == "testbed.starting")
    assert first["emulated_ps"] >= reached_ps > 0


async def test_a_process_that_cannot_start_is_named_and_everything_rolled_back(lab: Lab) -> None:
    lab.behave("n1", "refuse cannot listen on 127.0.0.1:20001: in use")
    with pytest.raises(StartError) as refusal:
        async with lab.up():
            pass
    assert str(refusal.value) == "n1: exit 4: cannot listen on 127.0.0.1:20001: in use"
    assert not lab.processes()
    assert not lab.state.run_folder.path.exists()


async def test_a_process_that_crashes_at_its_start_is_tried_again_and_then_named(lab: Lab) -> None:
    lab.behave("n0", "crash of the test")
    with pytest.raises(StartError) as refusal:
        async with lab.up():
            pass
    assert str(refusal.value) == "n0: exit 1: RuntimeError: of the test"
    assert sum(line["event"] == "process.starting" and line["name"] == "n0" for line in lab.journal()) == 3
    assert not lab.processes()


async def test_a_process_that_is_never_ready_is_named_when_time_is_up(lab: Lab) -> None:
    async with lab.up() as client:
        lab.behave("n0", "never-ready")
        await client.act(supervisor_pb2.PROCESS_ACTION_RESTART, ["n0"])
        with pytest.raises(StartError, match=r"^n0: not healthy after 0\.5 s\nn0: exit 0$"):
            await client.wait_until_healthy(0.5)


async def test_a_room_that_cannot_be_imported_is_named(lab: Lab) -> None:
    with pytest.raises(StartError, match="cannot import the rooms no_such_room: No module named 'no_such_room'"):
        async with lab.up(rooms=dict.fromkeys(ROOMS, "no_such_room")):
            pass
    assert not lab.processes()


async def test_a_fixed_port_in_use_is_named_before_anything_starts(lab: Lab) -> None:
    topology = lab.write()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        topology["topology"]["nodes"]["n1"] = {"ports": {"https": port}}
        lab.path.write_text(json.dumps(topology))
        with pytest.raises(StartError) as refusal:
            async with lab.up():
                pass
    assert str(refusal.value) == f"port {port} of n1/https is in use"
    assert not lab.processes()
    assert not lab.layout.log("n0").exists()


async def test_a_malformed_topology_starts_nothing_and_leaves_nothing(lab: Lab, eventually: Callable[..., Any]) -> None:
    lab.path.write_text("apiVersion: qnetem/v1\nname: [")
    with pytest.raises(BadInputError, match=r"topology\.yaml:3:1: not YAML"):
        async with lab.up():
            pass
    assert not lab.layout.root.parent.exists()
    await eventually(lambda: not lab.processes())
    with pytest.raises(NotFoundError, match="was never brought up"):
        state_of(lab.path)


async def test_a_changed_topology_is_refused_with_what_changed_until_it_is_wanted(lab: Lab) -> None:
    async with lab.up() as client:
        before = await client.get()
    lab.write(3)
    with pytest.raises(TopologyChangedError, match="node n2: added") as refusal:
        async with lab.up():
            pass
    assert "--reconfigure" in str(refusal.value).splitlines()[0]
    async with connect(lab.state) as client:
        assert (await client.get()).supervisor_pid == before.supervisor_pid, "refused: nothing has happened"
    await down(lab.state)
    with pytest.raises(TopologyChangedError, match="node n2: added"):
        async with lab.up():
            pass
    async with lab.up(is_reconfigured=True) as client:
        after = await client.get()
    old = {one.name: one.listeners for one in before.processes}
    new = {one.name: one.listeners for one in after.processes}
    assert new["n0"] == old["n0"]
    assert "n2" in new


async def test_a_running_testbed_is_reconfigured_in_one_go(lab: Lab) -> None:
    async with lab.up() as client:
        before = (await client.get()).supervisor_pid
    lab.write(3)
    async with lab.up(is_reconfigured=True) as client:
        testbed = await client.get()
    assert testbed.supervisor_pid != before
    assert "n2" in [one.name for one in testbed.processes]


async def test_a_held_testbed_ends_with_the_block(lab: Lab) -> None:
    async with lab.up(is_held=True) as client:
        assert (await client.get()).is_held
    assert not lab.processes()


async def test_one_who_holds_a_testbed_that_was_up_takes_it_down_too(lab: Lab) -> None:
    async with lab.up():
        pass
    async with lab.up(is_held=True) as client:
        assert (await client.get()).is_held
    assert not lab.processes()


SCRIPT = """
import asyncio, sys
from qnetem.testbed.launching import launch
from qnetem.testbed.plan import ROOMS

async def main():
    rooms = dict.fromkeys(ROOMS, "qnetem_test_room")
    is_held = sys.argv[2] == "held"
    async with launch(sys.argv[1], rooms=rooms, is_held=is_held, on_progress=lambda p: print(p, flush=True)):
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def start(lab: Lab, how: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(lab.path), how], stdout=subprocess.PIPE, text=True)


async def lines_until(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stdout is not None
    while text not in (line := await asyncio.to_thread(process.stdout.readline)):
        assert line, f"{text!r} was never said"


async def test_a_launcher_that_dies_before_all_is_healthy_takes_everything_with_it(
    lab: Lab, eventually: Callable[..., Any]
) -> None:
    lab.behave("n0", "never-ready")
    with start(lab, "free") as launcher:
        await lines_until(launcher, "healthy_count=3")
        assert len(lab.processes()) > 4
        launcher.kill()
    await eventually(lambda: not lab.processes())
    assert lab.state.launch() is None
    assert not lab.state.run_folder.path.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_a_launcher_that_is_interrupted_at_any_moment_leaves_nothing(
    lab: Lab, number: int, eventually: Callable[..., Any]
) -> None:
    for after_s in (0.05, 0.3, 0.6):
        with start(lab, "held") as launcher:
            await asyncio.sleep(after_s)  # a moment of the start, whichever it is: not a synchronisation
            launcher.send_signal(number)
        await eventually(lambda: not lab.processes())


async def test_a_launcher_that_dies_afterwards_leaves_the_testbed_up(lab: Lab) -> None:
    with start(lab, "free") as launcher:
        await lines_until(launcher, "up")
        launcher.kill()
    async with connect(lab.state) as client:
        assert {one.state for one in (await client.get()).processes} == {supervisor_pb2.PROCESS_STATE_HEALTHY}


async def test_a_holder_that_dies_takes_the_testbed_down(lab: Lab, eventually: Callable[..., Any]) -> None:
    with start(lab, "held") as launcher:
        await lines_until(launcher, "up")
        launcher.kill()
    await eventually(lambda: not lab.processes())


async def test_state_can_be_deleted_only_when_nothing_runs(lab: Lab) -> None:
    async with lab.up():
        pass
    state = lab.state
    with pytest.raises(ConflictError, match="is running"):
        state.purge()
    await down(state)
    state.purge()
    assert not lab.layout.root.exists()
