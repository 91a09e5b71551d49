"""qnetem.runtime.liveness: tells whoever started a process that it serves. Edge: a socket, a file."""

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["HEARTBEAT", "NOTIFY_SOCKET", "Liveness"]

# a unix datagram socket, as in sd_notify(3)
NOTIFY_SOCKET: Final = "NOTIFY_SOCKET"
# a file whose age says how long ago the process served: a shell can look at it, without a client or a certificate
HEARTBEAT: Final = "QNETEM_HEARTBEAT"


class Liveness:
    """Speaks on the ways that the environment names; on none, it says nothing. Who listens never disturbs us."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Take the ways from `environment`."""
        self._heartbeat = Path(environment[HEARTBEAT]) if environment.get(HEARTBEAT) else None
        self._socket: socket.socket | None = None
        address = environment.get(NOTIFY_SOCKET)
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """Say that the process serves from now on."""
        self._say("READY=1")
        self._beat()

    def alive(self) -> None:
        """Say that it still does; to be called every second."""
        self._say("WATCHDOG=1")
        self._beat()

    def stopping(self) -> None:
        """Say that it is about to end."""
        self._say("STOPPING=1")
        if self._heartbeat is not None:
            with contextlib.suppress(OSError):
                self._heartbeat.unlink(missing_ok=True)

    def _say(self, text: str) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(f"{text}\nMAINPID={os.getpid()}".encode(), self._address)

    def _beat(self) -> None:
        if self._heartbeat is not None:
            with contextlib.suppress(OSError):
                self._heartbeat.touch(mode=0o600)

    def close(self) -> None:
        """Let go of the socket."""
        if self._socket is not None:
            self._socket.close()
