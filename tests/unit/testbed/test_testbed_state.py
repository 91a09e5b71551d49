"""The state folder: private, durable, locked by one, and honest about damage."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qnetem.runtime.errors import ConflictError, StartError, StorageError
from qnetem.testbed import linux
from qnetem.testbed.desired import Desired
from qnetem.testbed.layout import Layout
from qnetem.testbed.run_folder import RunFolder
from qnetem.testbed.state import Launch, State
from qnetem.testbed.timekeeping import ClockRecord
from qnetem.v1.parameters_pb2 import LinkSettings


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(Layout(tmp_path / ".qnetem" / "metro"))
    state.create()
    yield state
    state.run_folder.remove()


def test_everything_is_for_its_owner_alone(state: State) -> None:
    state.secret(None)
    state.write_desired(Desired(quantum={"a-b": LinkSettings(length_km=1)}))
    state.write_clock(ClockRecord("boot", 0, 1.0, 5, is_final=True))
    for folder, _, files in os.walk(state.layout.root):
        assert Path(folder).stat().st_mode & 0o777 == 0o700, folder
        for file in files:
            assert (Path(folder) / file).stat().st_mode & 0o777 == 0o600, file


def test_the_secret_is_drawn_once_and_not_at_all_when_keys_are_reproducible(state: State) -> None:
    assert state.secret(42) == state.secret(42) != state.secret(43)
    assert not state.layout.secret.exists()
    secret = state.secret(None)
    assert len(secret) == 16
    assert state.secret(None) == secret


def test_what_was_written_is_read_back(state: State) -> None:
    assert state.desired() == Desired()
    assert state.ports() == {}
    assert state.plan() is None
    assert state.launch() is None
    assert state.clock() is None
    state.write_ports({"a/peer": 20000})
    assert state.ports() == {"a/peer": 20000}
    launch = Launch("id", os.getpid(), linux.start_ticks(os.getpid()) or 0, "/s", "/t.yaml")
    state.write_launch(launch)
    assert state.launch() == launch
    state.clear_launch()
    assert state.launch() is None


@pytest.mark.parametrize("name", ["plan.json", "launch.json", "clock.json", "ports.json", "desired.json", "secret"])
def test_a_damaged_file_is_named(state: State, name: str) -> None:
    (state.layout.root / name).write_text("{")
    read: Callable[[], object] = {
        "plan.json": state.plan,
        "launch.json": state.launch,
        "clock.json": state.clock,
        "ports.json": state.ports,
        "desired.json": state.desired,
        "secret": lambda: state.secret(None),
    }[name]
    with pytest.raises(StorageError, match=name):
        read()


def test_one_has_the_lock_until_all_who_share_it_let_go(state: State) -> None:
    lock_fd = state.try_lock()
    assert lock_fd is not None
    shared_fd = os.dup(lock_fd)
    assert state.try_lock() is None
    os.close(lock_fd)
    assert state.is_locked()
    with pytest.raises(ConflictError, match="is running"):
        state.purge()
    os.close(shared_fd)
    assert not state.is_locked()
    state.purge()
    assert not state.layout.root.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / ".qnetem").write_text("a file is in the way")
    with pytest.raises(StorageError, match=r"\.qnetem"):
        State(Layout(tmp_path / ".qnetem" / "metro")).create()


def test_a_process_is_known_by_its_start_and_not_by_its_pid_alone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        ticks = linux.start_ticks(process.pid)
        assert ticks is not None
        assert linux.is_alive(process.pid, ticks)
        assert not linux.is_alive(process.pid, ticks - 1)
        assert not linux.kill_exactly(process.pid, ticks - 1), "another process had that pid before"
        assert process.poll() is None
        assert linux.kill_exactly(process.pid, ticks)
        assert process.wait() == -9
        assert not linux.is_alive(process.pid, ticks)
        assert not linux.kill_exactly(process.pid, ticks)


def test_what_a_killed_launch_left_is_found_by_its_mark() -> None:
    launch = Launch("0123456789abcdef", 2**22 - 1, 1, "", "")
    environment = {**os.environ, "QNETEM_LAUNCH": launch.id}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment) as process:
        assert launch.end() == [process.pid]
        assert process.wait() == -9
        assert launch.end() == []


def test_running_testbeds_of_a_user_do_not_choose_the_same_ports(tmp_path: Path) -> None:
    one, other = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "other")
    try:
        with one.choosing_ports():
            one.take_ports({"a/peer": 20000})
        with other.choosing_ports() as taken:
            assert 20000 in taken
        with one.choosing_ports() as taken:
            assert 20000 not in taken, "one's own ports are no obstacle"
        assert one.path != other.path
        assert len(os.fsencode(one.notify_socket(10_000))) < 108
    finally:
        one.remove()
        other.remove()


def test_a_run_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "one")
    folder.create()
    try:
        folder.path.chmod(0o755)
        with pytest.raises(StartError, match="not a folder of this user alone"):
            folder.create()
    finally:
        folder.remove()
