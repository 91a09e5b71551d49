"""A testbed is up with its block and down with it, also when its process is killed; or it is kept."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from qnetem import SyncTestbed, Testbed
from qnetem.runtime.errors import ConflictError, NotFoundError
from qnetem.testbed.api.testbed import OtherLoopError
from qnetem.testbed.client import NotRunningError
from qnetem.testbed.launching import TopologyChangedError, down, state_of
from qnetem.testbed.layout import Layout
from qnetem.testbed.state import State
from qnetem.topology import TopologyError

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def file(tmp_path: Path, pair: dict[str, Any]) -> Path:
    """The topology file."""
    path = tmp_path / "pair.yaml"
    path.write_text(json.dumps(pair))
    return path


def is_running(path: Path) -> bool:
    """Whether a testbed of the file runs."""
    launch = state_of(path).launch()
    return launch is not None and launch.is_running


async def test_it_is_up_in_its_block_and_down_after_it(file: Path) -> None:
    testbed = Testbed.from_file(file)
    with pytest.raises(NotRunningError, match="testbed pair is not up"):
        testbed.node("alice")

    async def used() -> None:
        async with testbed:
            assert await testbed.up() is testbed
            assert is_running(file)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await used()
    assert not is_running(file)
    with pytest.raises(NotRunningError):
        await testbed.links()
    async with testbed:  # again
        assert (await testbed.client.get()).is_held
        await testbed.down()
        assert not is_running(file)


async def test_one_that_is_kept_runs_on_and_is_found(file: Path) -> None:
    try:
        async with Testbed.from_file(file, keep=True) as testbed:
            pid = (await testbed.node("bob").status()).pid
        assert is_running(file)
        async with Testbed.from_file(file, keep=True) as testbed:
            assert (await testbed.node("bob").status()).pid == pid
            await testbed.down()
        assert not is_running(file)
    finally:
        await down(state_of(file))


async def test_a_dict_without_a_folder_leaves_nothing_and_a_seed_takes_the_place_of_its_own(
    pair: dict[str, Any],
) -> None:
    async with Testbed.from_dict(pair, seed=7) as testbed:
        root = testbed.layout.root
        assert (await testbed.client.get()).seed == testbed.seed == 7
    assert not root.parents[1].exists()


async def test_a_copy_lies_in_the_folder_that_is_given(file: Path, tmp_path: Path) -> None:
    async with Testbed.from_file(file, folder=tmp_path / "copy", seed=9) as testbed:
        assert testbed.layout.root == tmp_path / "copy" / ".qnetem" / "pair"
        assert testbed.name == "pair"
    assert not (tmp_path / ".qnetem").exists()


async def test_what_cannot_be_is_refused_before_anything_starts(file: Path, pair: dict[str, Any]) -> None:
    with pytest.raises(ConflictError, match="keep needs a folder"):
        Testbed.from_dict(pair, keep=True)
    with pytest.raises(TopologyError, match=r"missing\.yaml"):
        Testbed.from_file(file.with_name("missing.yaml"))
    with pytest.raises(TopologyError, match="<dict>"):
        Testbed.from_dict({"name": "x"})


async def test_a_file_that_has_changed_is_taken_when_that_is_meant(file: Path, pair: dict[str, Any]) -> None:
    async with Testbed.from_file(file):
        pass
    file.write_text(json.dumps(pair | {"seed": 43}))
    with pytest.raises(TopologyChangedError, match="seed"):
        async with Testbed.from_file(file):
            pass
    async with Testbed.from_file(file, reconfigure=True) as testbed:
        assert (await testbed.client.get()).seed == 43


def test_another_event_loop_is_refused_in_a_line(pair: dict[str, Any]) -> None:
    async def use(testbed: Testbed) -> None:
        with pytest.raises(OtherLoopError, match="was brought up in another event loop"):
            await testbed.links()

    with SyncTestbed.from_dict(pair) as testbed:
        asyncio.run(use(testbed.asynchronous))
        assert testbed.asynchronous.node("bob").name == "bob", "where nothing is awaited, no loop is needed"


HOLDER = """
    import time
    from qnetem import SyncTestbed

    with SyncTestbed.from_file({path!r}, keep={keep}) as testbed, testbed.link("alice-bob").fault(loss="3dB"):
        print("up", flush=True)
        time.sleep(600)
"""


def held(path: Path, *, keep: bool) -> "subprocess.Popen[str]":
    """A process that holds a testbed with a fault, and that has said so."""
    code = textwrap.dedent(HOLDER.format(path=str(path), keep=keep))
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "up\n"
    return holder


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
async def test_it_goes_down_with_the_process_that_holds_it(file: Path, number: signal.Signals) -> None:
    with held(file, keep=False) as holder:
        assert is_running(file)
        os.kill(holder.pid, number)
        holder.wait(60)
    state = State(Layout.beside(file, "pair"))
    async with asyncio.timeout(60):
        while is_running(file) or state.is_locked():  # noqa: ASYNC110 (watched from outside)
            await asyncio.sleep(0.05)


async def test_a_fault_heals_when_the_process_that_holds_it_is_killed(file: Path) -> None:
    try:
        with held(file, keep=True) as holder:
            holder.kill()
            holder.wait(60)
        async with Testbed.from_file(file, keep=True) as testbed:

            async def healed() -> bool:
                report = await testbed.client.get_link("alice-bob")
                return not report.faults and report.quantum.effective.extra_loss_db == 0

            await testbed.eventually(healed)
    finally:
        await down(state_of(file))


def test_synchronous_up_and_down_without_a_block(file: Path) -> None:
    testbed = SyncTestbed.from_file(file)
    with pytest.raises(NotRunningError, match="testbed pair is not up"):
        testbed.links()
    assert testbed.up().up() is testbed
    try:
        assert testbed.links().keys() == {"alice-bob"}
        with pytest.raises(NotFoundError):
            testbed.node("nobody")
    finally:
        testbed.down()
        testbed.down()
    assert not is_running(file)
