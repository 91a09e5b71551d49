"""qnetem.testbed.starting: a supervisor process that waits for its order, from the launcher's side. Edge.

Imports almost nothing: a supervisor is started before the launcher has imported the rest.
"""

from __future__ import annotations  # State is named in annotations alone

import asyncio
import contextlib
import json
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qnetem.runtime.errors import DeadlineError, StartError
from qnetem.testbed.launch_record import Launch, is_running
from qnetem.testbed.supervisor.lease import PACKET_BYTES

if TYPE_CHECKING:
    from qnetem.testbed.state import State

__all__ = ["PRELOADED", "StartingSupervisor", "started_early"]

# what zygotes import; the broker, of which there is one, imports what it needs itself
PRELOADED: Final = ("node.service", "quantum_channel.service", "classical_channel.service")

_ANSWER_TIMEOUT_S: Final = 30.0


class StartingSupervisor:
    """Runs at once, so that its zygote imports while the launcher reads the topology; it ends when this is closed.

    It is no child of this process: whoever is its parent then has nothing to wait for.
    """

    def __init__(self, topology_path: Path, rooms: Iterable[str]) -> None:
        """Start it; `topology_path` is shown in process lists, `rooms` are the modules that its zygote imports."""
        self._topology_path = topology_path
        self._id = secrets.token_hex(8)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `close`)
        self._control, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        self.is_detached = False
        mark = Launch(self._id, 0, 0, "", "").mark
        with its:
            # -P: a folder of the user's called `node` is not ours
            self._first = subprocess.Popen(
                [sys.executable, "-P", "-m", "qnetem.testbed.supervisor", str(topology_path), mark, *rooms],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,
            )

    async def _receive(self) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                packet = await asyncio.get_running_loop().sock_recv(self._control, PACKET_BYTES)
        except TimeoutError:
            raise DeadlineError(f"the supervisor did not answer within {_ANSWER_TIMEOUT_S:g} s") from None
        except ConnectionError:
            packet = b""
        if not packet:
            raise StartError(f"the supervisor ended: {self._last_line() or 'nothing is known of why'}")
        answer: dict[str, Any] = json.loads(packet)
        if "error" in answer:
            raise StartError(answer["error"])
        return answer

    def _last_line(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    async def order(self, state: State, lock_fd: int) -> None:
        """Have it run what is prepared in `state`, and hold its lock; return when it serves.

        Raises:
            StartError: It could not; says why.
            DeadlineError: It did not answer.
            StorageError: Who runs it cannot be recorded.
        """
        its = await self._receive()
        self._first.wait()
        launch = Launch(self._id, its["pid"], its["ticks"], str(state.run_folder.socket), str(self._topology_path))
        state.write_launch(launch)
        order = json.dumps({"state_dir": str(state.layout.root)}).encode()
        socket.send_fds(self._control, [order], [lock_fd])
        await self._receive()

    def detach(self) -> None:
        """Let it outlive this process."""
        self._control.send(json.dumps({"detach": True}).encode())
        self.is_detached = True

    async def failure(self) -> StartError:
        """Return why it ended, when that is why it cannot be reached."""
        try:
            await self._receive()
        except (StartError, DeadlineError) as error:
            return StartError(str(error))
        return StartError("the supervisor cannot be reached")

    async def close(self) -> None:
        """Let it end, with all that it runs, and wait until it has; a detached one is only let go. Idempotent."""
        if self._control.fileno() < 0:
            return
        try:
            if not self.is_detached:
                self._control.shutdown(socket.SHUT_WR)
                await self._until_ended()
        finally:
            self._control.close()
            self._errors.close()
            self._first.wait()

    async def _until_ended(self) -> None:
        # its end of the socket closes with the process
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                while await asyncio.get_running_loop().sock_recv(self._control, PACKET_BYTES):
                    pass


def started_early(topology_path: str | Path) -> StartingSupervisor | None:
    """Start a supervisor for `launch` to use, before it is even imported; None when the testbed runs.

    Its zygote takes a second to import everything, and the launcher has to import a good deal too.
    """
    path = Path(topology_path).absolute()
    if not path.is_file() or is_running(path):
        return None
    return StartingSupervisor(path, PRELOADED)
