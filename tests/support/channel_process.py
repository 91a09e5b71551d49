"""A quantum channel that runs as a process of its own, and both ends and an operator of its links."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from google.protobuf import json_format

from qnetem.runtime import identity, pki, rng, rpc
from qnetem.runtime.clock import Clock
from qnetem.v1 import parameters_pb2, process_pb2
from quantum_channel.client import QuantumChannelClient, QuantumLinkClient

TRANSMITTER, RECEIVER = b"transmitter-----", b"receiver--------"
_START_S = 90.0  # a machine that has not compiled the kernels yet does so now


@dataclass(frozen=True)
class Ends:
    """Who uses the links."""

    alice: QuantumChannelClient
    bob: QuantumChannelClient
    operator: QuantumLinkClient
    clock: Clock


@asynccontextmanager
async def channel_process(
    links: Mapping[str, parameters_pb2.LinkParameters], scale: float, *, folder: Path, authority: pki.Authority
) -> AsyncIterator[Ends]:
    """Run it, with emulated time from 0 on, while the block runs. `folder`: for a short socket."""

    def credential_paths_of(kind: identity.Kind, name: str) -> process_pb2.CredentialPaths:
        issued = authority.issue(identity.uri("lab", kind, name), [identity.dns_name("lab", kind, name)])
        return pki.write_credentials(folder, issued, ca, f"{kind}-{name}-")

    ca = folder / "ca.pem"
    pki.write_private(ca, authority.pem.certificate)
    clock = process_pb2.ClockConfig(
        epoch_ns=time.monotonic_ns(), scale=scale, source=process_pb2.ClockConfig.SOURCE_MONOTONIC
    )
    config = process_pb2.ProcessConfig(
        testbed="lab",
        name="qc",
        kind=process_pb2.PROCESS_KIND_QUANTUM_CHANNEL,
        state_dir=str(folder / "state"),
        journal_path=str(folder / "journal"),
        credentials=credential_paths_of("quantum-channel", "qc"),
        clock=clock,
        listeners=process_pb2.Listeners(peer=f"127.0.0.1:{_free_port()}", management=f"127.0.0.1:{_free_port()}"),
    )
    for link_id, planned in links.items():
        config.quantum_channel.links.add(
            link_id=link_id,
            transmitter_uri=identity.uri("lab", "node", "alice"),
            receiver_uri=identity.uri("lab", "node", "bob"),
            transmitter_secret=TRANSMITTER,
            receiver_secret=RECEIVER,
            nature_secret=rng.nature_secret(42, "lab", link_id),
            planned=planned,
        )
    (folder / "config.json").write_text(json_format.MessageToJson(config))
    with _process(folder):
        async with AsyncExitStack() as stack:
            target = identity.dns_name("lab", "quantum-channel", "qc")

            async def dial(kind: identity.Kind, name: str, address: str) -> grpc.aio.Channel:
                own = rpc.Credentials.load(credential_paths_of(kind, name))
                return await stack.enter_async_context(rpc.dial(address, own, target=target))

            yield Ends(
                QuantumChannelClient(await dial("node", "alice", config.listeners.peer)),
                QuantumChannelClient(await dial("node", "bob", config.listeners.peer)),
                QuantumLinkClient(await dial("operator", "cli", config.listeners.management)),
                Clock(clock),
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _process(folder: Path) -> Iterator[None]:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as notify, (folder / "log").open("wb") as log:
        notify.bind(str(folder / "n"))
        notify.settimeout(_START_S)
        command = [sys.executable, "-m", "quantum_channel", "--config", str(folder / "config.json")]
        process = subprocess.Popen(command, stderr=log, env={**os.environ, "NOTIFY_SOCKET": str(folder / "n")})
        try:
            while not notify.recv(200).startswith(b"READY=1"):
                pass
            yield
        finally:
            process.kill()
            process.wait()
