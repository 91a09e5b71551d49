"""`python -m quantum_channel`: how it starts, refuses to, stops, and what a death of it means to those it serves."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from qnetem.runtime import identity, rpc
from qnetem.runtime.clock import Clock
from qnetem.runtime.errors import UnavailableError
from qnetem.v1 import process_pb2
from quantum_channel.client import QuantumChannelClient

LINK = "alice-bob"


@pytest.fixture
def start(tmp_path: Path, short_dir: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process; wait until it says that it is ready, unless it is not to become so."""
    started: list[subprocess.Popen[str]] = []
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notify:
        notify.bind(str(short_dir / "n"))
        notify.settimeout(90)  # a machine that has not compiled the kernels yet does so now

        def run(config: process_pb2.ProcessConfig, is_ready: bool = True) -> subprocess.Popen[str]:
            path = tmp_path / "config.json"
            path.write_text(json_format.MessageToJson(config))
            command = [sys.executable, "-m", "quantum_channel", "--config", str(path)]
            environment = {**os.environ, "NOTIFY_SOCKET": str(short_dir / "n")}
            started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
            while is_ready and not notify.recv(200).startswith(b"READY=1"):
                pass
            return started[-1]

        yield run
        for process in started:
            process.kill()
            process.communicate()


async def test_it_serves_until_sigterm_and_its_log_holds_no_secret(
    start: Callable[..., subprocess.Popen[str]], process_config: Any, link_config: Any, tmp_path: Path
) -> None:
    link = link_config()
    process = start(process_config(link))
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "quantum_channel.link.ready" in log
    written = log + (tmp_path / "qc.journal").read_text()
    for secret in (link.nature_secret, link.transmitter_secret, link.receiver_secret):
        assert secret.hex() not in written
        assert repr(secret)[2:-1] not in written


async def test_a_parameter_that_cannot_be_is_exit_3_and_one_line(
    start: Callable[..., subprocess.Popen[str]], process_config: Any, link_config: Any
) -> None:
    process = start(process_config(link_config(efficiency=1.5)), is_ready=False)
    _, log = process.communicate(timeout=90)
    assert process.returncode == 3
    assert log.splitlines()[-1] == "qnetem: link alice-bob: efficiency 1.5 is not in 0 .. 1"


async def test_a_port_in_use_is_exit_4_and_named(
    start: Callable[..., subprocess.Popen[str]], process_config: Any, link_config: Any
) -> None:
    config = process_config(link_config())
    host, port = config.listeners.peer.split(":")
    with closing(socket.create_server((host, int(port)))):
        process = start(config, is_ready=False)
        _, log = process.communicate(timeout=90)
    assert process.returncode == 4
    assert f"cannot listen on {config.listeners.peer}: Address already in use" in log


async def test_killed_it_ends_the_streams_and_started_again_it_makes_the_same_clicks(
    start: Callable[..., subprocess.Popen[str]], process_config: Any, link_config: Any, credentials_of: Any
) -> None:
    config = process_config(link_config())
    clock = Clock(config.clock)
    target = identity.dns_name("lab", "quantum-channel", "qc")
    address = config.listeners.peer
    process = start(config)
    async with (
        rpc.dial(address, credentials_of("node", "alice"), target=target) as to_alice,
        rpc.dial(address, credentials_of("node", "bob"), target=target) as to_bob,
    ):
        alice, bob = QuantumChannelClient(to_alice), QuantumChannelClient(to_bob)
        async with bob.receive(LINK) as receiver, alice.transmit(LINK) as transmitter:
            await transmitter.send(5, 1000, clock.now_ps())
            stretches = aiter(receiver)
            first = await anext(stretches)
            process.kill()
            process.wait()
            with pytest.raises(UnavailableError):
                await anext(transmitter.done())
            with pytest.raises(UnavailableError):
                async for _ in stretches:
                    pass
        start(config)
        async with bob.receive(LINK) as receiver, alice.transmit(LINK) as transmitter:
            await transmitter.send(5, 1000, clock.now_ps())
            again = await anext(aiter(receiver))
    assert again.offsets.tobytes() == first.offsets.tobytes()
    assert again.detectors.tobytes() == first.detectors.tobytes()
