"""A broker process of either make over TLS, and clients of it, for tests."""

import asyncio
import hashlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
from google.protobuf import json_format

from qnetem.runtime import identity, pki
from qnetem.testbed.mosquitto_files import password_line
from qnetem.v1 import process_pb2

# where Debian puts it is not on everybody's PATH
MOSQUITTO = shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin")))
NO_MOSQUITTO = "mosquitto is not installed"
PASSWORDS = {"alice": "alice-secret", "bob": "bob-secret", "operator": "operator-secret"}


@dataclass
class Running:
    """A broker process and how to reach it."""

    config: process_pb2.ProcessConfig
    start: Callable[[], subprocess.Popen[str]]
    start_unready: Callable[[], subprocess.Popen[str]]

    @asynccontextmanager
    async def client(
        self, username: str | None, password: str | None = None, **options: object
    ) -> AsyncIterator[aiomqtt.Client]:
        host, _, port = self.config.broker.listen.rpartition(":")
        secret = password if password is not None or username is None else PASSWORDS[username]
        async with aiomqtt.Client(
            host,
            int(port),
            username=username,
            password=secret,
            tls_context=ssl.create_default_context(cafile=self.config.credentials.authority_path),
            timeout=10,
            **options,  # type: ignore[arg-type]
        ) as client:
            yield client

    @asynccontextmanager
    async def reader(self, topic: str = "qnetem/#") -> AsyncIterator[aiomqtt.Client]:
        async with self.client("operator") as operator:
            await operator.subscribe(topic, qos=1)
            yield operator


@contextmanager
def running_broker(
    folder: Path, short_dir: Path, authority: pki.Authority, port: int, program: str = ""
) -> Iterator[Running]:
    """Be ready to start a broker: the embedded one, or `program`, which is a mosquitto."""
    folder.mkdir(mode=0o700)
    ca = folder / "ca.pem"
    pki.write_private(ca, authority.pem.certificate)
    issued = authority.issue(identity.uri("lab", "broker", "broker"), ["localhost"], ["127.0.0.1"])
    users = folder / "users"
    lines = [
        password_line(name, password, b"twelve bytes")
        if program
        else f"{name}:{hashlib.sha256(password.encode()).hexdigest()}"
        for name, password in PASSWORDS.items()
    ]
    pki.write_private(users, "\n".join(lines).encode())
    config = process_pb2.ProcessConfig(
        testbed="lab",
        name="broker",
        kind=process_pb2.PROCESS_KIND_BROKER,
        state_dir=str(folder / "state"),
        credentials=pki.write_credentials(folder, issued, ca),
        clock=process_pb2.ClockConfig(epoch_ns=0, scale=1, source=process_pb2.ClockConfig.SOURCE_MONOTONIC),
        broker=process_pb2.BrokerConfig(listen=f"127.0.0.1:{port}", users_path=str(users), program=program),
    )
    started: list[subprocess.Popen[str]] = []
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notify:
        notify.bind(str(short_dir / "n"))
        notify.settimeout(30)

        def start() -> subprocess.Popen[str]:
            path = folder / "config.json"
            path.write_text(json_format.MessageToJson(config))
            command = [sys.executable, "-m", "qnetem.testbed.broker", "--config", str(path)]
            environment = {**os.environ, "NOTIFY_SOCKET": str(short_dir / "n")}
            started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
            return started[-1]

        def start_ready() -> subprocess.Popen[str]:
            process = start()
            assert notify.recv(200).startswith(b"READY=1")
            return process

        yield Running(config, start_ready, start)
        for process in started:
            process.kill()
            process.communicate()


async def next_message(client: aiomqtt.Client) -> tuple[str, bytes]:
    message = await asyncio.wait_for(anext(client.messages), 10)
    assert isinstance(message.payload, bytes)
    return str(message.topic), message.payload
