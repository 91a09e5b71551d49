"""qnetem.testbed.run_folder: the short-lived folder with the sockets of a running testbed. Edge.

Socket paths have to be short, so they lie in the temporary folder: <tmp>/qnetem-<uid>/<hash of the state folder>/. The
parent also tells the running testbeds of this user which ports the others have taken.
"""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from qnetem.runtime.errors import StartError

__all__ = ["RunFolder"]

# sun_path holds 108 bytes, and the names in the folder need some of them
_PATH_LIMIT: Final = 90


class RunFolder:
    """Sockets of one testbed while it runs."""

    def __init__(self, state_dir: Path) -> None:
        """Name the folder of the testbed with this absolute state folder; nothing is made yet."""
        name = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:12]
        parent = Path(tempfile.gettempdir()) / f"qnetem-{os.getuid()}"
        if len(os.fsencode(parent)) > _PATH_LIMIT - len(name):
            parent = Path(f"/tmp/qnetem-{os.getuid()}")  # noqa: S108 (checked to be ours in `create`)
        self._parent = parent
        self.path = parent / name

    @property
    def socket(self) -> Path:
        """The supervisor's gRPC socket."""
        return self.path / "s"

    def notify_socket(self, index: int) -> Path:
        """Return the socket to which the process with this number tells that it lives."""
        return self.path / f"n{index}"

    def heartbeat(self, index: int) -> Path:
        """Return the file that the process with this number may touch instead."""
        return self.path / f"h{index}"

    def create(self) -> None:
        """Make the folder, for this user alone.

        Raises:
            StartError: It cannot be made, or somebody else's thing is in its place.
        """
        for folder in (self._parent, self.path):
            try:
                folder.mkdir(mode=0o700, exist_ok=True)
                status = folder.lstat()
            except OSError as error:
                raise StartError(f"{folder}: {error.strerror}") from error
            if status.st_uid != os.getuid() or status.st_mode & 0o077:
                raise StartError(f"{folder}: not a folder of this user alone")

    def remove(self) -> None:
        """Remove the folder and what is in it. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def choosing_ports(self) -> Iterator[frozenset[int]]:
        """Give the ports that other running testbeds of this user have taken, and let no other choose meanwhile."""
        self.create()
        fd = os.open(self._parent / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            taken: set[int] = set()
            for other in self._parent.glob("*/ports.json"):
                if other.parent != self.path:
                    try:
                        taken.update(json.loads(other.read_text()))
                    except (OSError, ValueError):  # going down this moment
                        continue
            yield frozenset(taken)
        finally:
            os.close(fd)

    def pools(self) -> frozenset[str]:
        """Return the subnet pools that other running testbeds of this user have taken; inside `choosing_ports`."""
        files = (other for other in self._parent.glob("*/pool") if other.parent != self.path)
        return frozenset(other.read_text() for other in files)

    def take_pool(self, pool: str) -> None:
        """Tell the others which pool is taken; inside `choosing_ports`."""
        (self.path / "pool").write_text(pool)

    def take_ports(self, ports: Mapping[str, int]) -> None:
        """Tell the others which ports are taken; inside `choosing_ports`."""
        part = self.path / "ports.part"
        part.write_text(json.dumps(sorted(ports.values())))
        part.replace(self.path / "ports.json")
