"""The embedded broker over TLS with real clients: who gets in, who publishes and reads what, what it writes."""

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import pytest
from google.protobuf import json_format

from qnetem.runtime import identity, pki
from qnetem.v1 import process_pb2

PASSWORDS = {"alice": "alice-secret", "bob": "bob-secret", "operator": "operator-secret"}
REFUSED = 0x80


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


@pytest.fixture
def broker(
    tmp_path: Path, short_dir: Path, authority: pki.Authority, free_port: Callable[[], int]
) -> Iterator[Running]:
    folder = tmp_path / "broker"
    folder.mkdir(mode=0o700)
    ca = folder / "ca.pem"
    pki.write_private(ca, authority.pem.certificate)
    issued = authority.issue(identity.uri("lab", "broker", "broker"), ["localhost"], ["127.0.0.1"])
    users = folder / "users"
    lines = [f"{name}:{hashlib.sha256(password.encode()).hexdigest()}" for name, password in PASSWORDS.items()]
    pki.write_private(users, "\n".join(lines).encode())
    config = process_pb2.ProcessConfig(
        testbed="lab",
        name="broker",
        kind=process_pb2.PROCESS_KIND_BROKER,
        state_dir=str(folder / "state"),
        credentials=pki.write_credentials(folder, issued, ca),
        clock=process_pb2.ClockConfig(epoch_ns=0, scale=1, source=process_pb2.ClockConfig.SOURCE_MONOTONIC),
        broker=process_pb2.BrokerConfig(listen=f"127.0.0.1:{free_port()}", users_path=str(users)),
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


async def test_the_operator_reads_what_a_party_publishes(broker: Running) -> None:
    broker.start()
    async with broker.reader() as operator, broker.client("alice") as alice:
        await alice.publish("qnetem/lab/alice/links/alice-bob", b"1", qos=1)
        assert await next_message(operator) == ("qnetem/lab/alice/links/alice-bob", b"1")


@pytest.mark.parametrize(
    ("username", "password"),
    [(None, None), ("alice", "bob-secret"), ("alice", ""), ("mallory", "alice-secret")],
)
async def test_who_is_not_known_is_refused(broker: Running, username: str | None, password: str | None) -> None:
    broker.start()
    with pytest.raises(aiomqtt.MqttCodeError) as caught:
        async with broker.client(username, password):
            pass
    assert "Not authorized" in str(caught.value)


@pytest.mark.parametrize(
    ("username", "topic"),
    [
        ("alice", "qnetem/lab/bob/links/alice-bob"),
        ("alice", "qnetem/lab/alicea/x"),
        ("alice", "elsewhere"),
        ("operator", "qnetem/lab/operator/x"),
    ],
)
async def test_nothing_is_published_outside_a_partys_own_topics(broker: Running, username: str, topic: str) -> None:
    broker.start()
    async with broker.reader("#") as operator, broker.client(username) as party, broker.client("bob") as bob:
        await party.publish(topic, b"forged", qos=1)
        await bob.publish("qnetem/lab/bob/after", b"true", qos=1)
        assert await next_message(operator) == ("qnetem/lab/bob/after", b"true")


async def test_a_party_reads_its_own_topics_alone(broker: Running) -> None:
    broker.start()
    async with broker.client("alice") as alice:
        asked = ["qnetem/lab/bob/#", "#", "qnetem/lab/+/x", "qnetem/lab/alice/#"]
        granted = [tuple(await alice.subscribe(topic, qos=1)) for topic in asked]
        assert granted == [(REFUSED,), (REFUSED,), (REFUSED,), (1,)]
        async with broker.client("bob") as bob:
            await bob.publish("qnetem/lab/bob/x", b"not for alice", qos=1)
        await alice.publish("qnetem/lab/alice/x", b"own", qos=1)
        assert await next_message(alice) == ("qnetem/lab/alice/x", b"own")


async def test_retained_messages_reach_those_who_may_read_them(broker: Running) -> None:
    broker.start()
    async with broker.reader() as operator, broker.client("alice") as alice:
        await alice.publish("qnetem/lab/alice/state", b"kept", qos=1, retain=True)
        assert await next_message(operator) == ("qnetem/lab/alice/state", b"kept")
        # the operator's subscription matches; a newcomer must not be handed what it brings
        async with broker.client("bob") as bob:
            await bob.subscribe("qnetem/lab/bob/#", qos=1)
            await bob.publish("qnetem/lab/bob/x", b"own", qos=1)
            assert await next_message(bob) == ("qnetem/lab/bob/x", b"own")
        async with broker.reader("qnetem/lab/alice/#") as late:
            assert await next_message(late) == ("qnetem/lab/alice/state", b"kept")


async def test_a_will_on_another_partys_topic_is_refused(broker: Running) -> None:
    broker.start()
    with pytest.raises(aiomqtt.MqttCodeError, match="Not authorized"):
        async with broker.client("alice", will=aiomqtt.Will("qnetem/lab/bob/state", b"dead")):
            pass
    async with broker.client("alice", will=aiomqtt.Will("qnetem/lab/alice/state", b"dead")):
        pass


async def test_a_client_id_belongs_to_its_user(broker: Running) -> None:
    broker.start()
    async with broker.client("alice", identifier="same") as alice:
        await alice.subscribe("qnetem/lab/alice/#", qos=1)
        with pytest.raises(aiomqtt.MqttCodeError):
            async with broker.client("alice", "wrong", identifier="same"):
                pass
        async with broker.client("bob", identifier="same"):
            pass
        await alice.publish("qnetem/lab/alice/x", b"still here", qos=1)
        assert await next_message(alice) == ("qnetem/lab/alice/x", b"still here")


async def test_a_burst_of_acknowledged_messages_arrives_whole_and_in_order(broker: Running) -> None:
    broker.start()
    async with broker.reader() as operator, broker.client("alice") as alice:
        for number in range(500):
            await alice.publish("qnetem/lab/alice/n", str(number).encode(), qos=1)
        assert [int((await next_message(operator))[1]) for _ in range(500)] == list(range(500))


async def test_its_log_names_no_password_and_it_ends_with_0(broker: Running) -> None:
    process = broker.start()
    with contextlib.suppress(aiomqtt.MqttError):
        async with broker.client("alice", "a-wrong-password"):
            pass
    async with broker.client("alice") as alice:
        await alice.publish("qnetem/lab/bob/x", b"forged", qos=1)
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 0, errors
    assert "broker.login.refused" in errors
    for secret in (*PASSWORDS.values(), "a-wrong-password"):
        assert secret not in errors
    assert errors.count("\n") <= 5, errors


async def test_noise_on_the_port_costs_nobody_else_anything(broker: Running) -> None:
    broker.start()
    host, _, port = broker.config.broker.listen.rpartition(":")
    context = ssl.create_default_context(cafile=broker.config.credentials.authority_path)
    for noise in (
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\x0c\x00\x04MQTT\x04\xff\xff\xff\xff\xff",
        b"\x10\xff\xff\xff\x7f",
    ):
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.write(noise)
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
    async with broker.reader() as operator, broker.client("alice") as alice:
        await alice.publish("qnetem/lab/alice/x", b"1", qos=1)
        assert await next_message(operator) == ("qnetem/lab/alice/x", b"1")


def test_a_port_in_use_ends_it_with_4_and_one_line(broker: Running) -> None:
    listen = broker.config.broker.listen
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(listen.rpartition(":")[2])))
        taken.listen()
        process = broker.start_unready()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 4
    assert errors == f"qnetem: cannot listen on {listen}: Address already in use\n"


def test_a_malformed_users_file_ends_it_with_3(broker: Running) -> None:
    users = Path(broker.config.broker.users_path)
    users.write_text("alice:alice-secret\n")
    process = broker.start_unready()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert errors == f"qnetem: {users}:1: not username:sha256 in hex\n"
