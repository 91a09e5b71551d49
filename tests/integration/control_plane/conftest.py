"""Controllers and nodes' ends of them in one process, over mutual TLS."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from qnetem.runtime.process import Process
from qnetem.v1 import process_pb2

Config = Callable[..., process_pb2.ProcessConfig]


@pytest.fixture
def config_of(tmp_path: Path, credential_paths_of: Any, free_port: Any) -> Config:
    """Return the configuration of a process: config_of("controller", "controller", control_plane=...)."""

    def make(kind: Any, name: str, **role: Any) -> process_pb2.ProcessConfig:
        return process_pb2.ProcessConfig(
            testbed="lab",
            name=name,
            state_dir=str(tmp_path / name),
            journal_path=str(tmp_path / f"{name}.journal"),
            credentials=credential_paths_of(kind, name),
            clock=process_pb2.ClockConfig(epoch_ns=0, scale=1, source=process_pb2.ClockConfig.SOURCE_MONOTONIC),
            listeners=process_pb2.Listeners(management=f"127.0.0.1:{free_port()}"),
            **role,
        )

    return make


@asynccontextmanager
async def no_room(process: Process) -> AsyncIterator[None]:
    """What a process stands on, and nothing that it does."""
    yield


@pytest.fixture
def empty_room() -> Any:
    """Return the room of a process that does nothing."""
    return no_room
