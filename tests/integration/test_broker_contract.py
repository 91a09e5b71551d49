"""Brokers over TLS with real clients, the embedded one and mosquitto: who gets in, who publishes and reads what."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import aiomqtt
import pytest
from broker_lab import MOSQUITTO, NO_MOSQUITTO, PASSWORDS, Running, next_message, running_broker

from qnetem.runtime import pki


@pytest.fixture(
    params=["embedded", pytest.param("mosquitto", marks=pytest.mark.skipif(MOSQUITTO is None, reason=NO_MOSQUITTO))]
)
def broker(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    short_dir: Path,
    authority: pki.Authority,
    free_port: Callable[[], int],
) -> Iterator[Running]:
    """A broker of each make, not started yet."""
    program = (MOSQUITTO or "") if request.param == "mosquitto" else ""
    with running_broker(tmp_path / "broker", short_dir, authority, free_port(), program) as running:
        yield running


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
    async with broker.client("alice") as alice, broker.client("bob") as bob:
        for topic in ("qnetem/lab/bob/#", "#", "qnetem/lab/+/x", "qnetem/lab/alice/#"):
            await alice.subscribe(topic, qos=1)
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


async def die_with_a_will(broker: Running, username: str, topic: str) -> None:
    """Log in with a will, and be gone without a word."""

    def text(value: str) -> bytes:
        return len(value).to_bytes(2) + value.encode()

    # CONNECT of MQTT 3.1.1: user name, password, will, clean session
    fields = (f"{username}-dies", topic, "dead", username, PASSWORDS[username])
    body = text("MQTT") + b"\x04\xc6\x00\x3c" + b"".join(text(field) for field in fields)
    host, _, port = broker.config.broker.listen.rpartition(":")
    context = ssl.create_default_context(cafile=broker.config.credentials.authority_path)
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(b"\x10" + bytes([len(body)]) + body)
    answer = await asyncio.wait_for(reader.read(4), 10)
    assert answer[:2] in (b"\x20\x02", b"")
    writer.transport.abort()


async def test_a_will_reaches_ones_own_topics_alone(broker: Running) -> None:
    broker.start()
    async with broker.reader() as operator, broker.client("bob") as bob:
        await die_with_a_will(broker, "alice", "qnetem/lab/bob/state")
        await die_with_a_will(broker, "alice", "qnetem/lab/alice/state")
        assert await next_message(operator) == ("qnetem/lab/alice/state", b"dead")
        await bob.publish("qnetem/lab/bob/after", b"true", qos=1)
        assert await next_message(operator) == ("qnetem/lab/bob/after", b"true")


async def test_a_burst_of_acknowledged_messages_arrives_whole_and_in_order(broker: Running) -> None:
    broker.start()
    async with broker.reader() as operator, broker.client("alice") as alice:
        for number in range(500):
            await alice.publish("qnetem/lab/alice/n", str(number).encode(), qos=1)
        assert [int((await next_message(operator))[1]) for _ in range(500)] == list(range(500))


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
