"""qnetem.testbed.mosquitto: a mosquitto as the broker of a testbed, kept by a process of ours. Edge.

It is a child in our process group: whatever ends or stops us, ends or stops it. It serves while its port answers.
"""

import asyncio
import contextlib
import os
import pwd
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from prometheus_client import ProcessCollector

from qnetem.runtime import rpc
from qnetem.runtime.errors import StartError, StorageError, UnavailableError
from qnetem.runtime.process import Process
from qnetem.runtime.tasks import background
from qnetem.testbed.mosquitto_files import access_text, config_text, usernames_in
from qnetem.testbed.state import write_quickly

__all__ = ["mosquitto"]

_START_S: Final = 10.0
_START_POLL_S: Final = 0.02
_POLL_S: Final = 1.0
_ANSWER_S: Final = 3.0
# unanswered in a row, after which it is given up
_SILENCES: Final = 3
_GRACE_S: Final = 3.0


@asynccontextmanager
async def mosquitto(process: Process) -> AsyncIterator[None]:
    """Run the program that the configuration names while the block runs.

    Raises:
        StartError: It does not start, or its port does not answer in time; says what it said.
        StorageError: What it has to be told cannot be written.
        UnavailableError: It has ended, or does not answer any more; ends the block.
    """
    host, port = rpc.split_address(process.config.broker.listen)
    config = _written(process, host, port)
    tls = ssl.create_default_context(cafile=process.config.credentials.authority_path)
    # Debian's says READY=1 itself, before anybody can log in
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "qnetem.testbed.tethered"),
        *(str(os.getpid()), process.config.broker.program, "-c", str(config)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    said = _Said(process)
    try:
        async with background() as start:
            start(said.listen(child))
            await _until_answered(child, said, host, port, tls)
            ProcessCollector(namespace="mosquitto", pid=lambda: child.pid, registry=process.metrics)
            process.journal.write("broker.mosquitto.started", pid=child.pid)
            start(_watch(process, child, host, port, tls))
            yield
    finally:
        await _end(child)


def _written(process: Process, host: str, port: int) -> Path:
    """Write what it is told; return the path of its configuration."""
    paths, users = process.config.credentials, Path(process.config.broker.users_path)
    access, config = process.state_dir / "access", process.state_dir / "mosquitto.conf"
    try:
        usernames = usernames_in(users.read_text())
        write_quickly(access, access_text(process.testbed, usernames).encode())
        text = config_text(
            host,
            port,
            certificate=paths.certificate_path,
            key=paths.key_path,
            authority=paths.authority_path,
            users=str(users),
            access=str(access),
            user=_user(),
        )
        write_quickly(config, text.encode())
    except OSError as error:
        raise StorageError(f"{error.filename or config}: {error.strerror}") from error
    return config


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user without a name, and so not root: it stays who it is
        return "nobody"


class _Said:
    """Passes on to our log what it writes to standard error."""

    def __init__(self, process: Process) -> None:
        self._log = process.log
        self._last = ""
        self._is_over = asyncio.Event()

    async def listen(self, child: asyncio.subprocess.Process) -> None:
        assert child.stderr is not None  # noqa: S101 (a pipe)
        async for line in child.stderr:
            self._last = line.decode("utf-8", "replace").strip()
            self._log.warning("broker.mosquitto.said", text=self._last)
        self._is_over.set()

    async def last(self) -> str:
        """Return what one that has ended said last."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await self._is_over.wait()
        return self._last or "no word"


async def _answers(host: str, port: int, tls: ssl.SSLContext) -> bool:
    try:
        async with asyncio.timeout(_ANSWER_S):
            _, writer = await asyncio.open_connection(host, port, ssl=tls)
    except (OSError, TimeoutError):  # ssl's errors are OSErrors
        return False
    writer.transport.abort()
    return True


async def _until_answered(
    child: asyncio.subprocess.Process, said: _Said, host: str, port: int, tls: ssl.SSLContext
) -> None:
    try:
        async with asyncio.timeout(_START_S):
            while not await _answers(host, port, tls):
                if child.returncode is not None:
                    raise StartError(f"mosquitto for {host}:{port} ended: {await said.last()}")
                await asyncio.sleep(_START_POLL_S)
    except TimeoutError:
        raise StartError(f"mosquitto does not answer on {host}:{port} within {_START_S:g} s") from None


async def _watch(
    process: Process, child: asyncio.subprocess.Process, host: str, port: int, tls: ssl.SSLContext
) -> None:
    """Raise when it ends, or has not answered several times."""
    silences = 0
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL_S):
                await child.wait()
        if child.returncode is not None:
            process.log.error("broker.mosquitto.ended", code=child.returncode)
            raise UnavailableError(f"mosquitto ended with {child.returncode}")
        silences = 0 if await _answers(host, port, tls) else silences + 1
        if silences >= _SILENCES:
            process.log.error("broker.mosquitto.silent")
            raise UnavailableError("mosquitto does not answer")


async def _end(child: asyncio.subprocess.Process) -> None:
    """End it with SIGTERM, with SIGKILL when that takes too long."""
    for stop in (child.terminate, child.kill):
        with contextlib.suppress(ProcessLookupError):
            stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await child.wait()
                return
