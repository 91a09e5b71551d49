"""qnetem.testbed.supervisor.zygote_process: a zygote's process and the socket to it. Edge; imports almost nothing.

The first zygote is started before the supervisor has imported what it needs itself: importing takes both a while.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["ZygoteProcess"]

# one thread each: a forked process keeps only the thread that forked
_ENVIRONMENT: Final = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)


class ZygoteProcess:
    """A zygote that runs, and others of its kind."""

    def __init__(self, topology_path: str, rooms: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it. Has to be called by the main thread, with which the zygote dies.

        Args:
            topology_path: Shown in process lists.
            rooms: Modules to import.
            environment: Added to its own, and so to that of every process.
        """
        self.rooms: Final = tuple(rooms)
        self._topology_path = topology_path
        self._environment = environment
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "qnetem.testbed.zygote"),
                    *(str(its.fileno()), str(os.getpid()), topology_path, *rooms),
                ],
                env={**os.environ, **environment, **_ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                pass_fds=(its.fileno(),),
                start_new_session=True,
            )
        ours.setblocking(False)
        self.socket: Final = ours

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid

    def another(self) -> "ZygoteProcess":
        """Start another one of the same kind."""
        return ZygoteProcess(self._topology_path, self.rooms, self._environment)

    def end(self) -> None:
        """Kill it and wait: what it had forked has been handed to this process then. Idempotent."""
        self.socket.close()
        self._process.kill()
        self._process.wait()
