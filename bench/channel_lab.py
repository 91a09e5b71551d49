"""bench.channel_lab: a quantum channel process of its own with one link, and both ends of that. Edge."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import json_format

from qnetem.runtime import identity, pki, rng, rpc
from qnetem.runtime.clock import Clock
from qnetem.v1 import parameters_pb2, process_pb2
from quantum_channel.client import QuantumChannelClient

__all__ = ["LINK", "Lab", "lone_channel"]

LINK = "alice-bob"
_TESTBED = "bench"
_START_S = 120.0


@dataclass(frozen=True)
class Lab:
    """Both ends of a link that a channel process serves."""

    pid: int
    alice: QuantumChannelClient
    bob: QuantumChannelClient
    clock: Clock


def _free_address() -> str:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


@asynccontextmanager
async def lone_channel(parameters: parameters_pb2.LinkParameters, scale: float) -> AsyncIterator[Lab]:
    """Run a channel process with one link at a time scale, and dial both ends, while the block runs."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qn-")))
        authority = pki.create_authority(_TESTBED)
        pki.write_private(folder / "ca.pem", authority.pem.certificate)

        def credentials(kind: identity.Kind, name: str) -> process_pb2.CredentialPaths:
            issued = authority.issue(identity.uri(_TESTBED, kind, name), [identity.dns_name(_TESTBED, kind, name)])
            return pki.write_credentials(folder, issued, folder / "ca.pem", f"{name}-")

        clock = process_pb2.ClockConfig(
            epoch_ns=time.monotonic_ns(), scale=scale, source=process_pb2.ClockConfig.SOURCE_MONOTONIC
        )
        config = process_pb2.ProcessConfig(
            testbed=_TESTBED,
            name="qc",
            kind=process_pb2.PROCESS_KIND_QUANTUM_CHANNEL,
            state_dir=str(folder / "state"),
            journal_path=str(folder / "journal"),
            credentials=credentials("quantum-channel", "qc"),
            clock=clock,
            listeners=process_pb2.Listeners(peer=_free_address(), management=_free_address()),
        )
        config.quantum_channel.links.add(
            link_id=LINK,
            transmitter_uri=identity.uri(_TESTBED, "node", "alice"),
            receiver_uri=identity.uri(_TESTBED, "node", "bob"),
            transmitter_secret=rng.device_secret(b"bench", LINK, "alice"),
            receiver_secret=rng.device_secret(b"bench", LINK, "bob"),
            nature_secret=rng.nature_secret(1, _TESTBED, LINK),
            planned=parameters,
        )
        (folder / "config.json").write_text(json_format.MessageToJson(config))
        process = stack.enter_context(_process(folder))
        ends = []
        for name in ("alice", "bob"):
            own = rpc.Credentials.load(credentials("node", name))
            target = identity.dns_name(_TESTBED, "quantum-channel", "qc")
            channel = await stack.enter_async_context(rpc.dial(config.listeners.peer, own, target=target))
            ends.append(QuantumChannelClient(channel))
        yield Lab(process.pid, ends[0], ends[1], Clock(clock))


@contextmanager
def _process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the process that `folder` has the configuration of; it serves when the block begins."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notify:
        notify.bind(str(folder / "n"))
        notify.settimeout(_START_S)
        command = [sys.executable, "-m", "quantum_channel", "--config", str(folder / "config.json")]
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "n")}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log, env=environment)
        try:
            while not notify.recv(200).startswith(b"READY=1"):
                pass
            yield process
        finally:
            process.kill()
            process.wait()
