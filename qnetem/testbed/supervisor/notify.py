"""qnetem.testbed.supervisor.notify: the sockets to which processes say that they are ready and live. Edge.

One socket for each process, as in sd_notify(3): who is heard is known without asking, and one that talks too much fills
only its own queue (Linux keeps 10 datagrams).
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from qnetem.runtime.errors import StartError

__all__ = ["NotifySocket", "is_ready_message"]

_DATAGRAM_BYTES: Final = 4096


def is_ready_message(data: bytes) -> bool | None:
    """Return whether a datagram says READY=1; None when it says neither that nor WATCHDOG=1."""
    lines = data.split(b"\n")
    if b"READY=1" in lines:
        return True
    return False if b"WATCHDOG=1" in lines else None


class NotifySocket:
    """Listens for one process, whatever becomes of it."""

    def __init__(self, path: Path, heard: Callable[[bool], None]) -> None:
        """Listen at `path`; call `heard(is_ready)` in the running loop for every sign of life.

        Raises:
            StartError: The socket cannot be made.
        """
        self.path: Final = path
        self._heard = heard
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            path.unlink(missing_ok=True)
            self._socket.bind(str(path))
        except OSError as error:
            self._socket.close()
            raise StartError(f"{path}: {error.strerror}") from error
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._read)

    def _read(self) -> None:
        for data in self._pending():
            if (is_ready := is_ready_message(data)) is not None:
                self._heard(is_ready)

    def _pending(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self._socket.recv(_DATAGRAM_BYTES))
            except BlockingIOError:
                return found

    def drain(self) -> None:
        """Forget what a process that has ended said last."""
        self._pending()

    def close(self) -> None:
        """Stop listening. Idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self.path.unlink(missing_ok=True)
