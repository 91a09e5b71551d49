"""The embedded broker alone: client ids, what it grants, what it writes, how it ends."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import aiomqtt
import pytest
from broker_lab import PASSWORDS, Running, next_message, running_broker

from qnetem.runtime import pki

REFUSED = 0x80


@pytest.fixture
def broker(
    tmp_path: Path, short_dir: Path, authority: pki.Authority, free_port: Callable[[], int]
) -> Iterator[Running]:
    """The embedded broker, not started yet."""
    with running_broker(tmp_path / "broker", short_dir, authority, free_port()) as running:
        yield running


async def test_a_filter_for_what_one_may_not_read_is_refused(broker: Running) -> None:
    broker.start()
    async with broker.client("alice") as alice:
        asked = ["qnetem/lab/bob/#", "#", "qnetem/lab/+/x", "qnetem/lab/alice/#"]
        granted = [tuple(await alice.subscribe(topic, qos=1)) for topic in asked]
    assert granted == [(REFUSED,), (REFUSED,), (REFUSED,), (1,)]


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


def test_a_malformed_users_file_ends_it_with_3(broker: Running) -> None:
    users = Path(broker.config.broker.users_path)
    users.write_text("alice:alice-secret\n")
    process = broker.start_unready()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert errors == f"qnetem: {users}:1: not username:sha256 in hex\n"


def test_a_port_in_use_ends_it_with_4_and_one_line(broker: Running) -> None:
    listen = broker.config.broker.listen
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(listen.rpartition(":")[2])))
        taken.listen()
        process = broker.start_unready()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 4
    assert errors == f"qnetem: cannot listen on {listen}: Address already in use\n"


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


async def test_a_will_on_another_partys_topic_is_refused(broker: Running) -> None:
    broker.start()
    with pytest.raises(aiomqtt.MqttCodeError, match="Not authorized"):
        async with broker.client("alice", will=aiomqtt.Will("qnetem/lab/bob/state", b"dead")):
            pass
    async with broker.client("alice", will=aiomqtt.Will("qnetem/lab/alice/state", b"dead")):
        pass
