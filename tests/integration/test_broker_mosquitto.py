"""A mosquitto that the testbed runs, and brokers that it does not run: what comes there, what their faults cost."""

import asyncio
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from broker_lab import MOSQUITTO, NO_MOSQUITTO, PASSWORDS, Running, next_message, running_broker
from cli_lab import Cli
from testbed_lab import Lab, running

from qnetem.runtime import pki
from qnetem.topology import ring

pytestmark = pytest.mark.timeout(240)
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason=NO_MOSQUITTO)
BURST = 3000


def pair(telemetry: dict[str, Any]) -> dict[str, Any]:
    return ring(2, name="pair") | {"time": {"scale": 4}, "telemetry": telemetry}


def children_of(pid: int) -> dict[int, str]:
    """Return pid and state, as Linux calls it, of the children of a process."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found[int(path.parent.name)] = fields[0]
    return found


async def child_of(lab: Lab, name: str) -> int:
    (child,) = children_of((await lab.process(name)).pid)
    return child


async def told_operating(host: str, port: int, username: str, password: str, ca: Path, topic: str) -> None:
    """Read a topic until it tells of a link in service: messages of its way there may come first."""
    tls = ssl.create_default_context(cafile=str(ca))
    async with (
        asyncio.timeout(60),
        aiomqtt.Client(host, port, username=username, password=password, tls_context=tls) as client,
    ):
        await client.subscribe(topic)
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            if json.loads(message.payload)["state"] == "OPERATING":
                return


@pytest.fixture
def broker(
    tmp_path: Path, short_dir: Path, authority: pki.Authority, free_port: Callable[[], int]
) -> Iterator[Running]:
    """A mosquitto, not started yet."""
    with running_broker(tmp_path / "broker", short_dir, authority, free_port(), MOSQUITTO or "") as running:
        yield running


@needs_mosquitto
async def test_a_burst_for_a_reader_that_is_slow_loses_nothing(broker: Running) -> None:
    broker.start()
    async with broker.reader() as operator, broker.client("alice", max_queued_outgoing_messages=0) as alice:
        for number in range(BURST):
            await alice.publish("qnetem/lab/alice/n", str(number).encode(), qos=1)
        assert [int((await next_message(operator))[1]) for _ in range(BURST)] == list(range(BURST))


@needs_mosquitto
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda it: Path(it.config.credentials.key_path).write_text("no key"), "not usable|Unable to load server key"),
        (lambda it: setattr(it.config.broker, "program", "/no/mosquitto"), "/no/mosquitto: No such file or directory"),
        (lambda it: Path(it.config.broker.users_path).unlink(), "users: No such file or directory"),
    ],
)
async def test_a_mosquitto_that_does_not_start_says_why_and_exits_with_4(
    broker: Running, spoil: Callable[[Running], object], why: str
) -> None:
    spoil(broker)
    process = broker.start_unready()
    _, errors = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 4
    assert re.search(why, errors) or "not a private key" in errors, errors


@needs_mosquitto
async def test_a_port_in_use_is_told(broker: Running) -> None:
    port = int(broker.config.broker.listen.rpartition(":")[2])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        process = broker.start_unready()
        _, errors = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 4
    assert errors.splitlines()[-1] == f"qnetem: mosquitto for 127.0.0.1:{port} ended: Error: Address already in use"


@needs_mosquitto
async def test_it_ends_with_its_keeper_and_its_keeper_with_it(broker: Running) -> None:
    keeper = broker.start()
    (child,) = children_of(keeper.pid)
    keeper.kill()
    keeper.wait()
    await until(lambda: not Path(f"/proc/{child}").exists() or state_of(child) == "Z")
    keeper = broker.start()
    (child,) = children_of(keeper.pid)
    os.kill(child, signal.SIGKILL)
    _, errors = await asyncio.to_thread(keeper.communicate, timeout=30)
    assert keeper.returncode == 1
    assert '"event": "broker.mosquitto.ended", "code": -9' in errors


@needs_mosquitto
async def test_one_that_does_not_answer_any_more_is_given_up(broker: Running) -> None:
    keeper = broker.start()
    (child,) = children_of(keeper.pid)
    os.kill(child, signal.SIGSTOP)
    _, errors = await asyncio.to_thread(keeper.communicate, timeout=60)
    assert keeper.returncode == 1
    assert '"event": "broker.mosquitto.silent"' in errors
    assert not Path(f"/proc/{child}").exists()


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not reached():  # noqa: ASYNC110 (nothing tells it)
            await asyncio.sleep(0.02)


@pytest.mark.processes("the broker of containers is the embedded one, and sees no files of this machine")
@needs_mosquitto
async def test_a_testbed_with_a_mosquitto_tells_its_operator_and_the_broker_is_a_process_like_others(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, pair({"broker": "mosquitto"})) as lab:
        await lab.in_service()
        told = json.loads(lab.layout.config("n0").read_text())["telemetry"]
        password = lab.layout.mqtt_password("operator").read_text().strip()
        topic = "qnetem/pair/n0/link/n0-n1/metrics"
        place = (told["host"], told["port"], "operator", password, lab.layout.authority, topic)
        await told_operating(*place)

        # what is done to `broker` is done to the program
        child = await child_of(lab, "broker")
        await lab.act("PAUSE", "broker")
        await until(lambda: state_of(child) == "T")
        await lab.act("RESUME", "broker")
        await until(lambda: state_of(child) == "S")
        await lab.act("KILL", "broker")
        await until(lambda: state_of(child) in ("gone", "Z"))
        await lab.healthy_again("broker", 0)
        await told_operating(*place)
        assert await child_of(lab, "broker") != child

        usages = {usage.name: usage for usage in (await lab.client.inspect(has_usage=True)).usages}
        assert usages["broker"].thread_count > 1  # the keeper and the program
        last = await child_of(lab, "broker")
    assert state_of(last) == "gone"
    secrets = {path.read_text().strip() for path in (lab.layout.pki / "mqtt").iterdir() if "." not in path.name}
    log = lab.layout.log("broker").read_text()
    assert not [secret for secret in secrets if secret in log]


@pytest.mark.processes("the broker of containers is the embedded one, and sees no files of this machine")
def test_without_the_program_up_ends_with_4_and_one_line(tmp_path: Path) -> None:
    """On a machine where it is, it is hidden."""
    (tmp_path / "net.yaml").write_text(json.dumps(pair({"broker": "mosquitto"})))
    code = (
        "import sys, shutil; shutil.which = lambda *_, **__: None;"
        "from qnetem.cli.__main__ import main; sys.exit(main(['up', '-t', 'net.yaml']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr == (
        "qnetem: telemetry.broker: no program mosquitto here (install it, or take the embedded broker)\n"
    )
    assert Cli(tmp_path).left_running() == []


@pytest.fixture(
    params=["embedded", pytest.param("mosquitto", marks=pytest.mark.skipif(MOSQUITTO is None, reason=NO_MOSQUITTO))]
)
def outside(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    short_dir: Path,
    authority: pki.Authority,
    free_port: Callable[[], int],
) -> Iterator[Running]:
    """A broker that is none of the testbed's; its users may use what is below qnetem/lab/<user>/."""
    program = (MOSQUITTO or "") if request.param == "mosquitto" else ""
    with running_broker(tmp_path / "outside", short_dir, authority, free_port(), program) as broker:
        yield broker


def external(broker: Running, folder: Path, password: str) -> dict[str, Any]:
    """Return a topology whose processes publish there: a testbed `lab` with a node `alice`, which is also a user."""
    (folder / "password").write_text(password + "\n")
    telemetry = {
        "broker": "external",
        "address": broker.config.broker.listen,
        "ca": broker.config.credentials.authority_path,
        "username": "alice",
        "password_file": "password",
    }
    text = json.dumps(ring(2, name="lab") | {"time": {"scale": 4}, "telemetry": telemetry})
    topology: dict[str, Any] = json.loads(text.replace('"n0"', '"alice"').replace('"n1"', '"bob"'))
    return topology


@pytest.mark.processes("the broker of containers is the embedded one, and sees no files of this machine")
async def test_an_external_broker_is_published_to(outside: Running, tmp_path: Path) -> None:
    outside.start()
    host, _, port = outside.config.broker.listen.rpartition(":")
    ca = Path(outside.config.credentials.authority_path)
    async with running(tmp_path, external(outside, tmp_path, PASSWORDS["alice"])) as lab:
        assert {one.name for one in (await lab.client.get()).processes} == {"alice", "bob", "cc", "qc-alice-bob"}
        await lab.in_service()
        topic = "qnetem/lab/alice/link/alice-bob/metrics"
        await told_operating(host, int(port), "operator", PASSWORDS["operator"], ca, topic)


@pytest.mark.processes("the broker of containers is the embedded one, and sees no files of this machine")
async def test_a_wrong_password_costs_telemetry_alone_and_is_told_once(outside: Running, tmp_path: Path) -> None:
    outside.start()
    async with running(tmp_path, external(outside, tmp_path, "a-wrong-password")) as lab:
        await lab.in_service()
        made = {end: status.blocks_made_count for end, status in (await lab.ends()).items()}

        async def more() -> bool:
            return all(status.blocks_made_count > made[end] for end, status in (await lab.ends()).items())

        await lab.until(more, "blocks without telemetry")
        lines = [json.loads(line) for line in lab.layout.log("alice").read_text().splitlines()]
        told = [line for line in lines if line["event"].startswith("telemetry")]
        assert [line["event"] for line in told] == ["telemetry.broker.lost"]
        assert "Not authorized" in told[0]["detail"]
        assert "a-wrong-password" not in lab.layout.log("alice").read_text()


@pytest.mark.processes("the broker of containers is the embedded one, and sees no files of this machine")
async def test_a_ca_that_is_none_costs_telemetry_alone_and_is_told_once(outside: Running, tmp_path: Path) -> None:
    topology = external(outside, tmp_path, PASSWORDS["alice"])
    topology["telemetry"]["ca"] = "password"
    async with running(tmp_path, topology) as lab:
        await lab.in_service()
        told = [line for line in lab.layout.log("alice").read_text().splitlines() if '"telemetry.' in line]
        assert len(told) == 1
        assert json.loads(told[0])["event"] == "telemetry.broker.lost"
