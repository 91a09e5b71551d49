"""qnetem.runtime.process: the life of a process, from its configuration file to its exit code. Wiring."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf import json_format
from prometheus_client import CollectorRegistry, ProcessCollector

from qnetem.runtime import crashpoint, identity
from qnetem.runtime.clock import Clock
from qnetem.runtime.errors import BadInputError, QnetemError, StorageError, first_known
from qnetem.runtime.health import Health
from qnetem.runtime.journal import Journal
from qnetem.runtime.liveness import Liveness
from qnetem.runtime.log import Logger, configure, get_logger
from qnetem.runtime.metrics import serve_metrics
from qnetem.runtime.rpc import Credentials
from qnetem.runtime.tasks import background
from qnetem.runtime.telemetry import Telemetry, publish_forever
from qnetem.v1 import process_pb2

__all__ = [
    "EXIT_BAD_CONFIG",
    "EXIT_CRASHED",
    "EXIT_NOT_STARTED",
    "Process",
    "Room",
    "load_config",
    "main",
    "run",
    "standing",
]

EXIT_CRASHED: Final = 1
EXIT_BAD_CONFIG: Final = 3
EXIT_NOT_STARTED: Final = 4
_WATCHDOG_S: Final = 1.0


@dataclass
class Process:
    """What every process stands on, handed to its room.

    Attributes:
        config: What it was told.
        clock: Emulated time.
        credentials: Its certificate, key and authority.
        journal: The record of what happened.
        telemetry: Hand-off to MQTT.
        metrics: Registry behind /metrics.
        health: What it says of itself.
        log: Its log.
    """

    config: process_pb2.ProcessConfig
    clock: Clock
    credentials: Credentials
    journal: Journal
    telemetry: Telemetry
    metrics: CollectorRegistry
    health: Health
    log: Logger

    @property
    def name(self) -> str:
        """Its name, unique in the testbed."""
        return self.config.name

    @property
    def testbed(self) -> str:
        """The testbed's name."""
        return self.config.testbed

    @property
    def state_dir(self) -> Path:
        """The folder that only this process writes to."""
        return Path(self.config.state_dir)

    @property
    def operators(self) -> Sequence[str]:
        """Callers that a management listener lets in."""
        return (identity.uri(self.testbed, "operator", "*"),)


Room = Callable[[Process], AbstractAsyncContextManager[None]]


def load_config(path: Path) -> process_pb2.ProcessConfig:
    """Read a ProcessConfig from a proto-JSON file.

    Raises:
        BadInputError: It cannot be read or is not one; names the file, never quotes it (it holds secrets).
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from error
    try:
        config = json_format.Parse(text, process_pb2.ProcessConfig())
    except json_format.ParseError:
        raise BadInputError(f"{path}: not a ProcessConfig in proto-JSON") from None
    for name in ("testbed", "name", "state_dir"):
        if not getattr(config, name):
            raise BadInputError(f"{path}: {name} is missing")
    return config


def main(room: Room, argv: Sequence[str] | None = None) -> int:
    """Run `room` as `<command> --config FILE`; return the exit code."""
    parser = argparse.ArgumentParser(description="A process of a qnetem testbed.")
    parser.add_argument("--config", required=True, type=Path, metavar="FILE", help="ProcessConfig as proto-JSON")
    path = parser.parse_args(argv).config
    try:
        config = load_config(path)
    except BadInputError as error:
        return _fail(error, EXIT_BAD_CONFIG)
    return run(room, config)


def _fail(error: QnetemError, code: int) -> int:
    print(f"qnetem: {error}", file=sys.stderr, flush=True)
    return code


def run(room: Room, config: process_pb2.ProcessConfig) -> int:
    """Serve `room` until SIGTERM or SIGINT; return the exit code (0, 1 crashed, 3 bad config, 4 could not start)."""
    configure(config.name)
    life = _Life()
    try:
        asyncio.run(_serve(room, config, life))
    except Exception as error:
        known = first_known(error)
        if life.was_ready or known is None:
            get_logger("runtime.process").exception("process.crashed")
            return EXIT_CRASHED
        return _fail(known, EXIT_BAD_CONFIG if isinstance(known, BadInputError) else EXIT_NOT_STARTED)
    return 0


@dataclass
class _Life:
    was_ready: bool = False


@asynccontextmanager
async def standing(room: Room, config: process_pb2.ProcessConfig) -> AsyncIterator[Process]:
    """Everything a process stands on, then its room, in order; undone in reverse."""
    state_dir = Path(config.state_dir)
    async with AsyncExitStack() as stack:
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            crashpoint.arm(state_dir)
            clock = Clock(config.clock)
            journal_path = Path(config.journal_path) if config.journal_path else None
            journal = stack.enter_context(Journal(journal_path, config.name, clock))
        except OSError as error:
            raise StorageError(f"{error.filename or state_dir}: {error.strerror}") from error
        metrics = CollectorRegistry()
        ProcessCollector(registry=metrics)
        telemetry = Telemetry(metrics)
        credentials = Credentials.load(config.credentials)
        process = Process(config, clock, credentials, journal, telemetry, metrics, Health(), get_logger(config.name))
        if config.listeners.metrics:
            await stack.enter_async_context(serve_metrics(config.listeners.metrics, metrics))
        if config.HasField("telemetry"):
            start = await stack.enter_async_context(background())
            start(publish_forever(telemetry, config.telemetry, config.credentials, config.testbed, config.name))
        await stack.enter_async_context(room(process))
        yield process


async def _serve(room: Room, config: process_pb2.ProcessConfig, life: _Life) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    liveness = Liveness(os.environ)
    try:
        async with standing(room, config) as process:
            await process.health.set_serving(True)
            process.journal.write("process.started")
            process.log.info("process.started", pid=os.getpid())
            life.was_ready = True
            liveness.ready()
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _WATCHDOG_S)
                liveness.alive()
            liveness.stopping()
            await process.health.set_serving(False)
            process.journal.write("process.stopping")
    finally:
        liveness.close()
