"""qnetem.testbed.supervisor.lease: the supervisor's socket to whoever launches it. Edge.

Packets are JSON. Out, at once: {"pid": n, "ticks": n}, who this is. In, once: the order {"state_dir": ...}, with the
lock of the state folder as a descriptor. Out: {"socket": ...} when it serves there, or {"error": ..., "reason": ...}.
In: {"detach": true} when the testbed is to outlive the launcher. The end of the socket before that takes everything
down.
"""

import asyncio
import contextlib
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qnetem.runtime.errors import QnetemError
from qnetem.testbed import linux

__all__ = ["PACKET_BYTES", "Lease", "Order"]

PACKET_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Order:
    """What to run. `lock_fd` holds the state folder for as long as this process lives."""

    state_dir: Path
    lock_fd: int


class Lease:
    """Held by a launcher until it detaches or ends."""

    def __init__(self, control: socket.socket) -> None:
        """Listen to the launcher's seqpacket socket."""
        control.setblocking(False)
        self._socket = control
        self.is_held = True

    async def _packet(self) -> tuple[bytes, list[int]]:
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()

        def read() -> None:
            loop.remove_reader(self._socket)
            if not readable.done():
                readable.set_result(None)

        loop.add_reader(self._socket, read)
        try:
            await readable
        finally:
            loop.remove_reader(self._socket)
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, PACKET_BYTES, 1)
        except OSError:
            return b"", []
        return data, list(descriptors)

    async def order(self) -> Order | None:
        """Wait for the order; None: the launcher has ended."""
        data, descriptors = await self._packet()
        if not data:
            return None
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return Order(Path(json.loads(data)["state_dir"]), descriptors[0])

    def introduce(self) -> None:
        """Tell the launcher which process this is."""
        self._say({"pid": os.getpid(), "ticks": linux.start_ticks(os.getpid())})

    def serves(self, path: Path) -> None:
        """Tell the launcher that the supervisor serves at this socket."""
        self._say({"socket": str(path)})

    def failed(self, error: QnetemError) -> None:
        """Tell the launcher why there will be no testbed."""
        self._say({"error": str(error), "reason": error.reason})

    def _say(self, message: dict[str, str | int | None]) -> None:
        with contextlib.suppress(OSError):  # gone: its end is dealt with where it is waited for
            self._socket.send(json.dumps(message).encode())

    async def ended(self) -> None:
        """Wait until the launcher has ended without detaching; never returns when it detaches."""
        data, _ = await self._packet()
        if not data:
            return
        self.is_held = False
        # standard input: nothing else may get its number
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(null, self._socket.fileno(), inheritable=False)
        os.close(null)
        await asyncio.Event().wait()
