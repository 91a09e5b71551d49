"""The classical channel as a process: operators change links, strangers may not, a busy port is named."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from google.protobuf import json_format

from classical_channel.client import ClassicalChannelClient
from qnetem.runtime.errors import BadInputError, DeniedError, NotFoundError
from qnetem.runtime.rpc import Credentials
from qnetem.v1 import parameters_pb2, process_pb2

LINK = "alice-bob"
MS_PS = 10**9


@pytest.fixture
def config(
    tmp_path: Path, credential_paths_of: Callable[..., process_pb2.CredentialPaths], free_port: Callable[[], int]
) -> process_pb2.ProcessConfig:
    ports = [free_port() for _ in range(4)]
    planned = parameters_pb2.ClassicalParameters(delay_ps=MS_PS // 8)
    settings = parameters_pb2.ClassicalSettings(delay_ps=4 * MS_PS)
    paths = [
        process_pb2.ClassicalPathConfig(
            link_id=LINK,
            from_node=start,
            to_node=end,
            listen=f"127.0.0.1:{port}",
            forward_to="127.0.0.1:1",
            planned=planned,
            settings=settings,
            nature_secret=bytes(16),
        )
        for start, end, port in (("alice", "bob", ports[2]), ("bob", "alice", ports[3]))
    ]
    return process_pb2.ProcessConfig(
        testbed="lab",
        name="cc",
        kind=process_pb2.PROCESS_KIND_CLASSICAL_CHANNEL,
        state_dir=str(tmp_path / "cc"),
        journal_path=str(tmp_path / "cc.journal"),
        credentials=credential_paths_of("classical-channel", "cc"),
        clock=process_pb2.ClockConfig(epoch_ns=0, scale=1, source=process_pb2.ClockConfig.SOURCE_MONOTONIC),
        listeners=process_pb2.Listeners(management=f"127.0.0.1:{ports[0]}", metrics=f"127.0.0.1:{ports[1]}"),
        classical_channel=process_pb2.ClassicalChannelConfig(paths=paths),
    )


@pytest.fixture
def start(tmp_path: Path, short_dir: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notify:
        notify.bind(str(short_dir / "n"))
        notify.settimeout(30)

        def run(config: process_pb2.ProcessConfig, is_ready: bool = True) -> subprocess.Popen[str]:
            path = tmp_path / "config.json"
            path.write_text(json_format.MessageToJson(config))
            command = [sys.executable, "-m", "classical_channel", "--config", str(path)]
            environment = {**os.environ, "NOTIFY_SOCKET": str(short_dir / "n")}
            started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment))
            if is_ready:
                assert notify.recv(200).startswith(b"READY=1")
            return started[-1]

        yield run
        for process in started:
            process.kill()
            process.communicate()


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # our own address
        return str(answer.read().decode())


async def test_an_operator_changes_a_link_and_sees_what_holds(
    config: process_pb2.ProcessConfig,
    start: Callable[..., subprocess.Popen[str]],
    credentials_of: Callable[..., Credentials],
) -> None:
    process = start(config)
    operator = credentials_of("operator", "cli")
    async with ClassicalChannelClient.connect(config.listeners.management, operator, "lab", "cc") as client:
        state = await client.get_path(LINK)
        assert state.effective.delay_ps == 4 * MS_PS  # the setting of the configuration
        assert state.is_up
        state = await client.set_path(LINK, parameters_pb2.ClassicalSettings(is_up=False))
        assert not state.is_up
        assert state.settings == parameters_pb2.ClassicalSettings(delay_ps=4 * MS_PS, is_up=False)
        state = await client.reset_path(LINK, ["delay_ps"])
        assert state.effective.delay_ps == state.unslept_delay_ps == MS_PS // 8
        assert not state.is_up
        state = await client.set_path(LINK, parameters_pb2.ClassicalSettings(back_loss_prob=0.5), duration_s=600)
        assert state.layers[0].settings == parameters_pb2.ClassicalSettings(back_loss_prob=0.5)
        assert [way.effective.loss_prob for way in state.ways] == [0, 0.5]
        state = await client.reset_path(LINK)
        assert state.is_up
        assert not state.layers
        assert state == await client.get_path(LINK)

        with pytest.raises(NotFoundError, match="no classical link 'alice-bub' here"):
            await client.get_path("alice-bub")
        with pytest.raises(BadInputError, match=r"link alice-bob: delay_ps -1 is not in 0 \.\. "):
            await client.set_path(LINK, parameters_pb2.ClassicalSettings(delay_ps=-1))
        with pytest.raises(BadInputError, match=r"no setting 'is_upp'; did you mean is_up\?"):
            await client.reset_path(LINK, ["is_upp"])

    metrics = await asyncio.to_thread(fetched, f"http://{config.listeners.metrics}/metrics")
    assert f'qnetem_classical_delay_seconds{{link_id="{LINK}"}} 0.000125' in metrics
    assert f'qnetem_classical_forwarded_bytes_total{{link_id="{LINK}"}} 0.0' in metrics

    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    events = [json.loads(line) for line in Path(config.journal_path).read_text().splitlines()]
    changes = [(event["event"], event["delay_ps"], event["is_up"]) for event in events if "link_id" in event]
    assert changes == [
        ("classical.link.set", 4 * MS_PS, False),
        ("classical.link.reset", MS_PS // 8, False),
        ("classical.link.set", MS_PS // 8, False),
        ("classical.link.reset", MS_PS // 8, True),
    ]
    assert {event["by"] for event in events if "by" in event} == {"spiffe://lab/operator/cli"}


async def test_a_node_may_not_touch_a_link(
    config: process_pb2.ProcessConfig,
    start: Callable[..., subprocess.Popen[str]],
    credentials_of: Callable[..., Credentials],
) -> None:
    start(config)
    node = credentials_of("node", "alice")
    async with ClassicalChannelClient.connect(config.listeners.management, node, "lab", "cc") as client:
        with pytest.raises(DeniedError, match="spiffe://lab/node/alice may not call"):
            await client.set_path(LINK, parameters_pb2.ClassicalSettings(is_up=False))
        with pytest.raises(DeniedError):
            await client.get_path(LINK)


def test_a_port_in_use_ends_it_with_4_and_one_line(
    config: process_pb2.ProcessConfig, start: Callable[..., subprocess.Popen[str]]
) -> None:
    address = config.classical_channel.paths[1].listen
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(address.rpartition(":")[2])))
        taken.listen()
        process = start(config, is_ready=False)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 4
    assert errors == f"qnetem: link {LINK}: cannot listen on {address}: Address already in use\n"


def test_a_configuration_with_a_bad_delay_ends_it_with_3(
    config: process_pb2.ProcessConfig, start: Callable[..., subprocess.Popen[str]]
) -> None:
    for path in config.classical_channel.paths:
        path.planned.delay_ps = -7
    process = start(config, is_ready=False)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert errors == f"qnetem: link {LINK}: delay_ps -7 is not in 0 .. 3600000000000000 (one hour)\n"
