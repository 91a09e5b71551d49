"""What processes use, as /proc tells it, and what two readings say together."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from qnetem.testbed.inspected import inspected_values
from qnetem.testbed.supervisor.usage import read_usages
from qnetem.v1 import supervisor_pb2 as wire

MIB = 2**20
# holds 40 MiB, starts a second process of its group that holds as much, and says so when both do
GREEDY = """
import subprocess, sys
held = bytes(range(256)) * (40 * 4096)
if sys.argv[1:]:
    other = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    other.stdout.readline()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def greedy() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", GREEDY, GREEDY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        os.killpg(process.pid, 9)


def test_a_process_is_told_with_what_it_has_started(greedy: subprocess.Popen[bytes]) -> None:
    (usage,) = read_usages({"greedy": greedy.pid})
    assert (usage.name, usage.pid, usage.thread_count) == ("greedy", greedy.pid, 2)
    assert 80 * MIB < usage.memory_bytes < 160 * MIB
    assert 0 < usage.cpu_s < 10


def test_this_process_has_its_threads_and_its_cpu_time() -> None:
    is_over = threading.Event()
    others = [threading.Thread(target=is_over.wait) for _ in range(3)]
    try:
        (before,) = read_usages({"me": os.getpid()})
        for other in others:
            other.start()
        begun_s = time.process_time()
        while time.process_time() - begun_s < 0.3:
            pass
        (after,) = read_usages({"me": os.getpid()})
    finally:
        is_over.set()
        for other in others:
            other.join()
    assert after.thread_count == before.thread_count + 3
    # Linux counts in hundredths of a second
    assert 0.28 < after.cpu_s - before.cpu_s < 1.0
    assert after.at_s > before.at_s


def test_a_process_that_is_gone_is_left_out() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert [usage.name for usage in read_usages({"gone": ended.pid, "me": os.getpid()})] == ["me"]


def response(*usages: wire.ProcessUsage) -> wire.InspectResponse:
    processes = [wire.ProcessStatus(name=name) for name in ("alice", "bob")]
    return wire.InspectResponse(testbed=wire.GetTestbedResponse(processes=processes), usages=usages)


def test_two_readings_give_a_load_in_cores() -> None:
    before = response(wire.ProcessUsage(name="alice", pid=7, cpu_s=10, at_s=100))
    after = response(wire.ProcessUsage(name="alice", pid=7, cpu_s=10.5, at_s=102, memory_bytes=5, thread_count=3))
    alice, bob = inspected_values(after, before)["processes"]
    assert alice["usage"] == {"cpu_load": 0.25, "cpu_s": 10.5, "memory_bytes": 5, "thread_count": 3}
    assert (bob["usage"], bob["lag_s"]) == (None, None)


@pytest.mark.parametrize(
    ("earlier", "load"),
    [
        (None, None),
        (wire.ProcessUsage(name="alice", pid=6, cpu_s=1, at_s=100), None),  # another process of that name
        (wire.ProcessUsage(name="alice", pid=7, cpu_s=1, at_s=102), None),  # at the same time
        (wire.ProcessUsage(name="alice", pid=7, cpu_s=11, at_s=100), 0.0),  # a helper of it has ended
    ],
)
def test_a_load_that_cannot_be_known_is_not_told(earlier: wire.ProcessUsage | None, load: float | None) -> None:
    after = response(wire.ProcessUsage(name="alice", pid=7, cpu_s=10.5, at_s=102))
    values = inspected_values(after, None if earlier is None else response(earlier))
    assert values["processes"][0]["usage"]["cpu_load"] == load
