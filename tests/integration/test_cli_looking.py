"""Looking at a running testbed through the command line: watched, wide, drawn, and from where a node stands."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import termios
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_lab import ROOT, Cli, until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A running testbed of two nodes, its link in service."""
    folder = tmp_path_factory.mktemp("looking")
    shutil.copy(ROOT / "topologies" / "pair.yaml", folder)
    cli = Cli(folder)
    try:
        cli.fine("up", "--wait")
        yield cli
    finally:
        cli.fine("down", "--purge")
        until(lambda: cli.left_running() == [])


class Terminal:
    """qnetem on a terminal of its own."""

    def __init__(self, cli: Cli, *arguments: str) -> None:
        self.shown = ""
        self._ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("QNETEM_")}
        # a session of its own with this terminal, so that Ctrl-C arrives as for a user
        code = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        code += "os.execv(sys.executable, [sys.executable, '-m', 'qnetem.cli', *sys.argv[1:]])"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=cli.folder,
            stdin=its,
            stdout=its,
            stderr=its,
            env={**environment, "TERM": "xterm"},
        )
        os.close(its)
        os.set_blocking(self._ours, False)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):  # OSError: nobody writes to it any more
            while data := os.read(self._ours, 65536):
                self.shown += data.decode()

    def until(self, is_shown: Callable[[str], object]) -> None:
        def look() -> bool:
            self._read()
            return bool(is_shown(self.shown))

        until(look)

    def press_ctrl_c(self) -> int:
        os.write(self._ours, b"\x03")
        self.until(lambda _: self.process.poll() is not None)
        self._read()
        return self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def terminal_of() -> Iterator[Callable[..., Terminal]]:
    with contextlib.ExitStack() as stack:

        def open_(cli: Cli, *arguments: str) -> Terminal:
            terminal = Terminal(cli, *arguments)
            stack.callback(terminal.close)
            return terminal

        yield open_


def test_wide_tells_what_each_process_uses(pair: Cli) -> None:
    values = pair.json("inspect", "--wide")
    usages = {one["name"]: one["usage"] for one in (*values["processes"], *values["own_processes"])}
    assert set(usages) == {"alice", "bob", "qc-alice-bob", "cc", "broker", "supervisor", "zygote"}
    for name, usage in usages.items():
        assert 0 <= usage["cpu_load"] < 4, name
        assert 2 * 2**20 < usage["memory_bytes"] < 2**30, name
        assert 1 <= usage["thread_count"] < 100, name
    lags = {one["name"]: one["lag_s"] for one in values["processes"]}
    assert (lags["cc"], lags["broker"]) == (None, None)
    assert lags["alice"] == lags["bob"] == lags["qc-alice-bob"] >= 0
    table = pair.fine("inspect", "--wide")
    assert re.search(r"^all .* \d+ % +[\d.]+ MiB ", table, re.MULTILINE)
    assert "usage" not in pair.json("inspect")["processes"][0]


def test_every_process_tells_prometheus_what_it_uses(pair: Cli) -> None:
    used = {one["name"]: one["usage"] for one in pair.json("inspect", "--wide")["processes"]}
    for name, one in pair.processes().items():
        with urllib.request.urlopen(f"http://{one['listeners']['metrics']}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(r"^process_cpu_seconds_total (\S+)$", text, re.MULTILINE)
        assert found is not None, name
        # read a moment later, and of one process alone: a container has an init and an entrypoint besides
        beside_s = 0.02 if os.environ.get("QNETEM_RUNTIME", "process") == "process" else 0.3
        assert used[name]["cpu_s"] - beside_s <= float(found[1]) < used[name]["cpu_s"] + 5
        resident = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
        assert resident is not None, name
        assert float(resident[1]) > 2**20


def test_watching_on_a_terminal_changes_in_place_and_ends_with_ctrl_c(
    pair: Cli, terminal_of: Callable[..., Terminal]
) -> None:
    terminal = terminal_of(pair, "inspect", "--watch", "--every", "200ms")
    erased = "\x1b[2K\x1b[1A"
    terminal.until(lambda shown: shown.count("alice-bob") >= 6 and erased in shown)
    assert terminal.press_ctrl_c() == 0
    # the cursor is there again, and nothing was complained of
    assert terminal.shown.rstrip().endswith("\x1b[?25h")
    assert "qnetem: " not in terminal.shown


def test_watching_elsewhere_appends(pair: Cli) -> None:
    with (pair.folder / "watched").open("w") as out:
        watching = pair.start("inspect", "--watch", "--every", "200ms", "-f", "json", out=out)
    try:
        until(lambda: (pair.folder / "watched").read_text().count("\n") >= 3)
    finally:
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (0, "")
    looks = [json.loads(line) for line in (pair.folder / "watched").read_text().splitlines()]
    assert {look["name"] for look in looks} == {"pair"}
    code, out_text, err = pair.run("inspect", "--watch", "--every", "1ms")
    assert (code, out_text, err) == (3, "", "qnetem: --every is at least 100ms\n")


def test_a_drawing_tells_the_states_of_a_running_testbed(pair: Cli, terminal_of: Callable[..., Terminal]) -> None:
    pair.fine("up", "--wait")
    assert re.search(r'-->\|"alice-bob<br/>25km<br/>(OPERATING|DEGRADED)"\|', pair.fine("graph"))
    assert '"alice" [label="alice\\napp-1\\nHEALTHY", color="#' in pair.fine("graph", "-f", "dot")
    assert pair.fine("graph", "--static").endswith('n_alice -->|"alice-bob<br/>25km"| n_bob\n')
    terminal = terminal_of(pair, "graph")
    terminal.until(lambda _: terminal.process.poll() is not None)
    terminal.until(lambda shown: re.search(r"  <- alice  25km  alice-bob  \x1b\[3[23]m(OPERATING|DEGRADED)", shown))
    pair.fine("stop", "qc-alice-bob")
    try:
        until(lambda: "<br/>qc-alice-bob STOPPED" in pair.fine("graph"))
    finally:
        pair.fine("start", "qc-alice-bob")


def test_a_command_runs_where_its_node_stands(pair: Cli) -> None:
    bob = pair.processes()["bob"]
    found = json.loads(
        pair.fine("exec", "bob", "--", sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))")
    )
    state = pair.folder / ".qnetem" / "pair" / "processes" / "bob" / "state"
    assert pair.fine("exec", "bob", "pwd").strip() == str(state) == found["QNETEM_STATE_DIR"] == found["PWD"]
    assert (found["QNETEM_TESTBED"], found["QNETEM_NODE"]) == ("pair", "bob")
    for listener, address in bob["listeners"].items():
        assert found[f"QNETEM_{listener.upper()}_ADDRESS"] == address
    # paths that are there, and that only their owner reads
    for name in ("QNETEM_CERTIFICATE_PATH", "QNETEM_KEY_PATH", "QNETEM_AUTHORITY_PATH", "QNETEM_MQTT_PASSWORD_PATH"):
        path = Path(found[name])
        assert path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for secret in (path.read_text().strip() for path in (state.parents[2] / "pki" / "mqtt").iterdir()):
        assert bool(secret in json.dumps(found)) is False


def test_a_command_beside_a_node_is_that_node_to_others(pair: Cli) -> None:
    """With the paths it finds it can be a client of its node's KME, which knows it as no SAE."""
    code = (
        "import os, ssl, urllib.request as u; e = os.environ;"
        "c = ssl.create_default_context(cafile=e['QNETEM_AUTHORITY_PATH']);"
        "c.load_cert_chain(e['QNETEM_CERTIFICATE_PATH'], e['QNETEM_KEY_PATH']);"
        "u.urlopen(e['QNETEM_KME_URL'] + '/api/v1/keys/app-2/status', context=c)"
    )
    returned, _, err = pair.run("exec", "alice", "--", sys.executable, "-c", code)
    assert returned == 1
    assert "HTTP Error 401" in err


def test_a_qnetem_beside_a_node_means_the_same_testbed(pair: Cli) -> None:
    assert pair.fine("exec", "alice", sys.executable, "-m", "qnetem.cli", "graph", "--static").startswith("flowchart")


def test_the_exit_code_is_the_commands(pair: Cli) -> None:
    assert pair.run("exec", "alice", "--", "sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    assert pair.run("exec", "alice", "sh", "-c", "kill -KILL $$")[0] == -signal.SIGKILL
    assert pair.run("exec", "alice", "no-such-program") == (
        127,
        "",
        "qnetem: no-such-program: No such file or directory\n",
    )
    assert pair.run("exec", "alice", "/") == (126, "", "qnetem: /: Permission denied\n")
    # Python ignores SIGPIPE, a command must not
    code, out, _ = pair.run("exec", "alice", "--", "sh", "-c", "yes | head -1")
    assert (code, out) == (0, "y\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("alise", "ls"), "testbed pair: no node 'alise' (did you mean 'alice'?)"),
        (("cc", "ls"), "testbed pair: no node 'cc' (known: alice, bob)"),
        (("alice", "--"), "no command is given"),
    ],
)
def test_a_command_for_nothing_is_bad_input(pair: Cli, arguments: tuple[str, ...], why: str) -> None:
    assert pair.run("exec", *arguments) == (3, "", f"qnetem: {why}\n")


def test_watching_outlives_the_testbed(tmp_path: Path) -> None:
    shutil.copy(ROOT / "topologies" / "pair.yaml", tmp_path)
    cli = Cli(tmp_path)
    watched, told = tmp_path / "watched", tmp_path / "told"
    cli.fine("up")
    try:
        with watched.open("w") as out, told.open("w") as err:
            watching = cli.start("inspect", "--watch", "--wide", "--every", "200ms", out=out, err=err)
        until(lambda: "5 processes" in watched.read_text())
        cli.fine("down")
        until(lambda: "testbed pair is not running\n" in told.read_text())
        assert cli.run("exec", "alice", "ls") == (1, "", "qnetem: testbed pair is not running\n")
        assert cli.fine("graph").endswith('n_alice -->|"alice-bob<br/>25km"| n_bob\n')
        before = len(watched.read_text())
        cli.fine("up")
        until(lambda: "5 processes" in watched.read_text()[before:])
        watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0
        # once, however often it looked
        assert told.read_text().count("is not running") == 1
    finally:
        watching.kill()
        watching.wait()
        cli.fine("down", "--purge")
