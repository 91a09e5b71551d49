"""The life of a process: exit codes, readiness, crash points, what it leaves behind."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf import json_format

from qnetem.v1 import process_pb2

ROOM = """
import sys
from contextlib import asynccontextmanager
from qnetem.runtime import crashpoint, process, rpc

crashpoint.declare("room.test.started", "the room serves")
crashpoint.declare("room.test.never", "never reached")

@asynccontextmanager
async def serve(it):
    async with rpc.serve(it.config.listeners.management, it.credentials, it.health.registrations([], it.operators)):
        crashpoint.reach("room.test.started")
        if "crash" in sys.argv:
            raise ValueError("secret 1234")
        yield

sys.exit(process.main(serve, sys.argv[1:3]))
"""


@pytest.fixture
def config(
    tmp_path: Path, credential_paths_of: Callable[..., process_pb2.CredentialPaths], free_port: Callable[[], int]
) -> process_pb2.ProcessConfig:
    return process_pb2.ProcessConfig(
        testbed="lab",
        name="alice",
        state_dir=str(tmp_path / "alice"),
        journal_path=str(tmp_path / "alice.journal"),
        credentials=credential_paths_of("node", "alice"),
        clock={"epoch_ns": 0, "scale": 1, "source": process_pb2.ClockConfig.SOURCE_MONOTONIC},
        listeners={"management": f"127.0.0.1:{free_port()}", "metrics": f"127.0.0.1:{free_port()}"},
    )


@pytest.fixture
def supervisor_socket(short_dir: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(short_dir / "n"))
        notify.settimeout(30)
        yield notify


def start(config: process_pb2.ProcessConfig, tmp_path: Path, notify: str = "", *extra: str) -> subprocess.Popen[str]:
    path = tmp_path / "config.json"
    path.write_text(json_format.MessageToJson(config))
    environment = {**os.environ, "NOTIFY_SOCKET": notify}
    command = [sys.executable, "-c", ROOM, "--config", str(path), *extra]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_a_process_says_ready_and_ends_with_0_on_sigterm(
    config: process_pb2.ProcessConfig, tmp_path: Path, supervisor_socket: socket.socket
) -> None:
    process = start(config, tmp_path, supervisor_socket.getsockname())
    first = supervisor_socket.recv(200).decode()
    assert first == f"READY=1\nMAINPID={process.pid}"
    assert supervisor_socket.recv(200).decode().startswith("WATCHDOG=1")
    process.send_signal(signal.SIGTERM)
    code, errors = outcome(process)
    assert code == 0, errors
    events = [json.loads(line)["event"] for line in Path(config.journal_path).read_text().splitlines()]
    assert events == ["process.started", "process.stopping"]
    assert Path(config.journal_path).stat().st_mode & 0o777 == 0o600


def test_a_crash_point_kills_once_and_the_next_start_goes_on(
    config: process_pb2.ProcessConfig, tmp_path: Path, supervisor_socket: socket.socket
) -> None:
    Path(config.state_dir).mkdir()
    armed = Path(config.state_dir) / "crash-at"
    armed.write_text("room.test.started")
    code, _ = outcome(start(config, tmp_path))
    assert code == -signal.SIGKILL
    assert not armed.exists()
    process = start(config, tmp_path, supervisor_socket.getsockname())
    assert supervisor_socket.recv(200).startswith(b"READY=1")
    process.terminate()
    assert outcome(process)[0] == 0


@pytest.mark.parametrize(
    ("spoil", "code", "line"),
    [
        (lambda c, p: p.write_text("room.test.none"), 3, "no crash point is called 'room.test.none'"),
        (lambda c, p: setattr(c.clock, "scale", -1.0), 3, "time scale -1.0 is not above 0"),
        (lambda c, p: Path(c.credentials.key_path).write_text("nonsense"), 4, "key.pem: not a private key"),
        (lambda c, p: Path(c.credentials.certificate_path).unlink(), 4, "cert.pem: No such file or directory"),
        (lambda c, p: setattr(c, "journal_path", str(p / "no" / "journal")), 4, "/no/journal: "),
    ],
)
def test_what_cannot_start_says_why_in_one_line(
    config: process_pb2.ProcessConfig,
    tmp_path: Path,
    spoil: Callable[[process_pb2.ProcessConfig, Path], object],
    code: int,
    line: str,
) -> None:
    Path(config.state_dir).mkdir()
    spoil(config, Path(config.state_dir) / "crash-at")
    returned, errors = outcome(start(config, tmp_path))
    assert returned == code, errors
    assert len(errors.splitlines()) == 1
    assert line in errors


@pytest.mark.parametrize("listener", ["management", "metrics"])
def test_a_port_in_use_is_named_and_exits_with_4(
    config: process_pb2.ProcessConfig, tmp_path: Path, listener: str
) -> None:
    address = getattr(config.listeners, listener)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        taken.listen()
        code, errors = outcome(start(config, tmp_path))
    assert code == 4, errors
    assert errors.splitlines()[-1].startswith(f"qnetem: cannot listen on {address}: ")


def test_a_config_that_is_none_exits_with_3(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    for content in ("", "{}", '{"secret": 12}', "\x00\xff"):
        path.write_text(content)
        run = subprocess.run(
            [sys.executable, "-c", ROOM, "--config", str(path)], capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == 3
        assert len(run.stderr.splitlines()) == 1
        assert run.stderr.startswith(f"qnetem: {path}: ")


def test_a_crash_exits_with_1_and_is_in_the_log(config: process_pb2.ProcessConfig, tmp_path: Path) -> None:
    code, errors = outcome(start(config, tmp_path, "", "crash"))
    assert code == 1
    assert json.loads(errors.splitlines()[-1])["event"] == "process.crashed"
