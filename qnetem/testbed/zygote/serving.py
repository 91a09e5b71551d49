"""qnetem.testbed.zygote.serving: the zygote's loop, requests in, pids out, over a socket of its supervisor. Edge.

Packets are JSON. Out, once: {"ready": true} or {"error": "..."}. In: {"id": n, "requests": [...]}. Out: {"id": n,
"pids": [...], "error": "..."}, in the order of the requests, fewer when a fork failed. It ends with the socket.
"""

import gc
import importlib
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

from qnetem.runtime.process import EXIT_NOT_STARTED
from qnetem.testbed import linux
from qnetem.testbed.zygote.forking import ORPHANED, PACKET_BYTES, fork_all
from qnetem.testbed.zygote.preload import preload

__all__ = ["serve"]


def serve(control: socket.socket, supervisor_pid: int, rooms: Sequence[str]) -> int:
    """Serve fork requests until the supervisor closes `control`; return the exit code."""
    if not linux.die_with(supervisor_pid):
        return ORPHANED
    os.umask(0o077)
    try:
        preload(rooms)
    except Exception as error:
        _send(control, {"error": f"cannot import the rooms {', '.join(rooms)}: {error}"})
        return EXIT_NOT_STARTED
    if (count := linux.thread_count()) != 1:
        _send(control, {"error": f"importing the rooms started {count - 1} threads, which a fork would lose"})
        return EXIT_NOT_STARTED
    importlib.invalidate_caches()
    gc.collect()
    gc.freeze()
    _send(control, {"ready": True})
    while packet := control.recv(PACKET_BYTES):
        order = json.loads(packet)
        _send(control, {"id": order["id"], **fork_all(order["requests"], supervisor_pid, control.detach)})
    return 0


def _send(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())
