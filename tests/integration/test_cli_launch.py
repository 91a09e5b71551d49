"""`up` that cannot, is interrupted, is killed or is held: what it says, and that nothing is left."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def until(condition: Callable[[], object], within_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.05)


class Folder:
    """A folder with the topology `pair` in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path / "pair.yaml"
        text = (ROOT / "topologies" / "pair.yaml").read_text()
        self.file.write_text(text + "telemetry: {broker: none}\n")

    def change(self, old: str, new: str) -> None:
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QNETEM_")}
        command = [sys.executable, "-m", "qnetem.cli", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.path, stdout=pipe, stderr=pipe, text=True, env=clean)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=90)
        return process.returncode, out, err

    def running(self) -> list[str]:
        """Return the command lines of processes that have to do with the folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
                except OSError:
                    continue
                if os.fsencode(self.path) in command + environment:
                    found.append(command.replace(b"\0", b" ").decode())
        return found

    def has_node(self) -> bool:
        """Whether some process of the testbed has begun to live."""
        return any((self.path / ".qnetem" / "pair" / "journals").glob("alice.jsonl"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    made.run("down", "--purge")
    until(lambda: not made.running())


def test_a_port_in_use_is_named_and_nothing_is_left(folder: Folder) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        folder.change("alice: {}", f"alice: {{ports: {{https: {port}}}}}")
        code, out, err = folder.run("up")
    assert (code, out) == (4, "")
    assert err.splitlines()[-1].startswith(f"qnetem: port {port} of alice")
    assert "Traceback" not in err
    until(lambda: not folder.running(), 10)


def test_a_broken_authority_is_named_and_nothing_is_left(folder: Folder) -> None:
    assert folder.run("up")[0] == 0
    assert folder.run("down")[0] == 0
    pki = folder.path / ".qnetem" / "pair" / "pki"
    shutil.rmtree(pki / "node")
    (pki / "ca.pem").write_text("not a certificate\n")
    code, out, err = folder.run("up")
    assert (code, out) == (4, "")
    assert "pki/ca.pem: not a usable certificate" in err.splitlines()[-1]
    until(lambda: not folder.running(), 10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_up_that_is_ended_takes_back_what_it_began(folder: Folder, number: signal.Signals) -> None:
    up = folder.start("up")
    until(lambda: len(folder.running()) >= 2)  # the supervisor and at least one more
    up.send_signal(number)
    _, err = up.communicate(timeout=60)
    # it may have been done that very moment
    if up.returncode != 0:
        until(lambda: not folder.running(), 30)
        if number == signal.SIGINT:
            assert up.returncode == 130
            assert err.endswith("qnetem: interrupted\n")
    assert folder.run("up")[0] == 0


def test_an_interrupted_wait_takes_back_what_it_began(folder: Folder) -> None:
    folder.change("25km", "400km")  # never in service, and not given up within the next seconds
    up = folder.start("up", "--wait")
    assert up.stderr is not None
    seen = ""
    while "0 of 1 links in service" not in seen:
        line = up.stderr.readline()
        assert line, seen
        seen += line
    up.send_signal(signal.SIGINT)
    _, err = up.communicate(timeout=60)
    assert (up.returncode, err.splitlines()[-1]) == (130, "qnetem: interrupted")
    until(lambda: not folder.running(), 30)


def test_a_link_that_cannot_be_is_a_deviation_and_is_left_up(folder: Folder) -> None:
    folder.change("25km", "400km")
    code, out, err = folder.run("up", "--wait")
    assert code == 1
    assert out.startswith("testbed pair is up: ")
    assert re.search(r"^qnetem: alice-bob is DOWN: [a-z-]+$", err, re.MULTILINE)
    assert json.loads(folder.run("inspect", "-f", "json")[1])["links"][0]["state"] != "OPERATING"


def test_too_little_time_is_inconclusive(folder: Folder) -> None:
    assert folder.run("up")[0] == 0
    assert folder.run("stop", "bob")[0] == 0
    code, _, err = folder.run("up", "--wait", "--timeout", "1s")
    assert code == 2
    assert "qnetem: not in service in time: alice-bob is UNKNOWN: bob: " in err
    assert folder.run("inspect")[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_held_testbed_ends_with_who_holds_it(folder: Folder, number: signal.Signals) -> None:
    up = folder.start("up", "--foreground")
    assert up.stdout is not None
    assert up.stdout.readline().startswith("testbed pair is up: ")
    assert json.loads(folder.run("inspect", "-f", "json")[1])["is_held"] is True
    up.send_signal(number)
    up.communicate(timeout=60)
    assert up.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    until(lambda: not folder.running(), 30)


def test_who_holds_a_testbed_sees_it_end(folder: Folder) -> None:
    up = folder.start("up", "--foreground")
    assert up.stdout is not None
    assert up.stdout.readline().startswith("testbed pair is up: ")
    assert folder.run("down")[0] == 0
    up.communicate(timeout=60)
    assert up.returncode == 0


def test_after_the_supervisor_was_killed_up_recovers(folder: Folder) -> None:
    assert folder.run("up")[0] == 0
    pid = json.loads(folder.run("inspect", "-f", "json")[1])["supervisor_pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not folder.running(), 10)
    code, _, err = folder.run("inspect")
    assert (code, err) == (1, "qnetem: testbed pair is not running\n")
    assert "its supervisor was killed" in folder.run("doctor")[1]
    assert folder.run("up")[0] == 0
    assert folder.run("inspect")[0] == 0


def test_a_changed_file_is_taken_on_demand(folder: Folder) -> None:
    assert folder.run("up")[0] == 0
    folder.change("25km", "10km")
    code, _, err = folder.run("up")
    assert code == 3
    assert "10km" in err
    assert folder.run("up", "--reconfigure")[0] == 0
    shown = json.loads(folder.run("link", "show", "alice-bob", "-f", "json")[1])
    assert shown["quantum"]["parameters"]["length"] == "10km"
