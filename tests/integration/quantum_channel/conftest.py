"""A quantum channel that serves in this process, and the parties around it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from qnetem.runtime import identity, rng, rpc
from qnetem.runtime.clock import Clock
from qnetem.runtime.health import Health
from qnetem.runtime.journal import Journal
from qnetem.runtime.log import get_logger
from qnetem.runtime.process import Process
from qnetem.runtime.rpc import Credentials
from qnetem.runtime.telemetry import Telemetry
from qnetem.v1 import parameters_pb2, process_pb2
from quantum_channel.client import QuantumChannelClient, QuantumLinkClient
from quantum_channel.sampler import Keys
from quantum_channel.service import serve

LINK = "alice-bob"


@pytest.fixture
def planned() -> parameters_pb2.LinkParameters:
    """The profile decoy-bb84-1ghz-apd over 25 km."""
    return parameters_pb2.LinkParameters(
        length_km=25,
        attenuation_db_per_km=0.2,
        connector_count=2,
        connector_loss_db=0.3,
        receiver_loss_db=2,
        clock_hz=1e9,
        intensities=(0.2, 0.05),
        intensity_probs=(0.25, 0.75),
        transmitter_p_z=0.8,
        receiver_p_z=0.8,
        misalignment_prob=0.01,
        efficiency=0.2,
        dark_count_hz=500,
        dead_time_ps=10_000_000,
        afterpulse_prob=0.02,
        afterpulse_tau_ps=1_000_000,
        detector_jitter_fwhm_ps=150,
    )


@pytest.fixture
def link_config(planned: parameters_pb2.LinkParameters) -> Callable[..., process_pb2.QuantumLinkConfig]:
    """Make the configuration of a link: link_config("alice-bob", "alice", "bob", efficiency=0.5)."""

    def make(link_id: str = LINK, sender: str = "alice", receiver: str = "bob", **changes: object):  # type: ignore[no-untyped-def]
        parameters = parameters_pb2.LinkParameters()
        parameters.CopyFrom(planned)
        for name, value in changes.items():
            setattr(parameters, name, value)
        return process_pb2.QuantumLinkConfig(
            link_id=link_id,
            transmitter_uri=identity.uri("lab", "node", sender),
            receiver_uri=identity.uri("lab", "node", receiver),
            transmitter_secret=rng.device_secret(b"testbed secret", link_id, sender),
            receiver_secret=rng.device_secret(b"testbed secret", link_id, receiver),
            nature_secret=rng.nature_secret(42, "lab", link_id),
            planned=parameters,
        )

    return make


@pytest.fixture
def keys_of() -> Callable[[process_pb2.QuantumLinkConfig], Keys]:
    """Return the keys that a configured link samples with."""
    return lambda config: Keys.of(config.nature_secret, config.transmitter_secret, config.receiver_secret)


@pytest.fixture
def process_config(
    tmp_path: Path, free_port: Callable[[], int], credential_paths_of: Callable[..., process_pb2.CredentialPaths]
) -> Callable[..., process_pb2.ProcessConfig]:
    """Make the configuration of a channel process for some links."""

    def make(*links: process_pb2.QuantumLinkConfig, scale: float = 1.0) -> process_pb2.ProcessConfig:
        source = process_pb2.ClockConfig.SOURCE_MONOTONIC
        return process_pb2.ProcessConfig(
            testbed="lab",
            name="qc",
            kind=process_pb2.PROCESS_KIND_QUANTUM_CHANNEL,
            state_dir=str(tmp_path / "qc"),
            journal_path=str(tmp_path / "qc.journal"),
            credentials=credential_paths_of("quantum-channel", "qc"),
            clock=process_pb2.ClockConfig(epoch_ns=0, scale=scale, source=source),
            listeners=process_pb2.Listeners(peer=f"127.0.0.1:{free_port()}", management=f"127.0.0.1:{free_port()}"),
            quantum_channel=process_pb2.QuantumChannelConfig(links=links),
        )

    return make


@dataclass
class Lab:
    """A channel that serves, and ways to it."""

    process: Process
    credentials_of: Callable[..., Credentials]

    @property
    def clock(self) -> Clock:
        return self.process.clock

    def dial(
        self, kind: identity.Kind, name: str, listener: str = "peer"
    ) -> AbstractAsyncContextManager[grpc.aio.Channel]:
        """Connect to a listener as some party."""
        target = identity.dns_name("lab", "quantum-channel", "qc")
        address = getattr(self.process.config.listeners, listener)
        return rpc.dial(address, self.credentials_of(kind, name), target=target)

    @asynccontextmanager
    async def node(self, name: str) -> AsyncIterator[QuantumChannelClient]:
        async with self.dial("node", name) as channel:
            yield QuantumChannelClient(channel)

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[QuantumLinkClient]:
        async with self.dial("operator", "cli", "management") as channel:
            yield QuantumLinkClient(channel)


@pytest.fixture
def serving(
    tmp_path: Path, credentials_of: Callable[..., Credentials]
) -> Callable[[process_pb2.ProcessConfig], AbstractAsyncContextManager[Lab]]:
    """Serve a configuration while a block runs."""

    @asynccontextmanager
    async def run(config: process_pb2.ProcessConfig) -> AsyncIterator[Lab]:
        clock, metrics = Clock(config.clock), CollectorRegistry()
        with Journal(Path(config.journal_path), config.name, clock) as journal:
            process = Process(
                config,
                clock,
                Credentials.load(config.credentials),
                journal,
                Telemetry(metrics),
                metrics,
                Health(),
                get_logger("qc"),
            )
            async with serve(process):
                yield Lab(process, credentials_of)

    return run
