"""qnetem.testbed.supervisor.heartbeat_file: a file that a process of another make touches as its sign of life. Edge.

Not every language can send datagrams to a unix socket; a file's time of change any can set.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from qnetem.runtime.errors import StartError

__all__ = ["HeartbeatFile"]


class HeartbeatFile:
    """Looks at the file of one process, whatever becomes of it."""

    def __init__(self, path: Path, heard: Callable[[bool], None]) -> None:
        """Have a file at `path`; `heard(True)` is called when it was touched.

        Raises:
            StartError: It cannot be made.
        """
        self.path: Final = path
        self._heard = heard
        self._seen_ns = 0
        self.reset()

    def reset(self) -> None:
        """Forget what was touched: the process is about to start.

        Raises:
            StartError: The file cannot be made.
        """
        try:
            self.path.touch(mode=0o600)
            os.utime(self.path, (0, 0))
        except OSError as error:
            raise StartError(f"{self.path}: {error.strerror}") from error
        self._seen_ns = 0

    def look(self) -> None:
        """Look whether it was touched since; to be called about every second."""
        with contextlib.suppress(FileNotFoundError):  # a process that ends takes it away
            touched_ns = self.path.stat().st_mtime_ns
            if touched_ns != self._seen_ns:
                self._seen_ns = touched_ns
                self._heard(True)
