"""node.keys.audit_files: the files that an audit trail lies in, one behind the other. Edge: files.

The last one, `keys.audit.jsonl`, grows. Those before it are closed and named by their first entry,
`keys.audit.000000000001.jsonl`; nothing is ever written to them again.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from node.keys.audit import FIRST_MAC, Head, mac_of, seq_of, split_line, wall_of
from qnetem.runtime import crashpoint
from qnetem.runtime.durable import sync_folder

__all__ = ["AuditFiles", "AuditLimits", "Segment", "last_entry", "lines_about"]

# more than two entries
_TAIL_BYTES: Final = 1 << 17
_CLOSED: Final = crashpoint.declare("trail.closed", "a file of the audit trail has its lasting name, no other is begun")


@dataclass(frozen=True, slots=True)
class AuditLimits:
    """How the trail is cut, and what of it is kept. Host time.

    Attributes:
        segment_bytes: A file that has grown to this is closed.
        segment_s: So is one whose first entry is so old.
        keep_bytes: The oldest closed files go while all together are larger.
        keep_s: And those whose last entry is older; infinity: never.
    """

    segment_bytes: int = 64_000_000
    segment_s: float = 86_400.0
    keep_bytes: int = 1_000_000_000
    keep_s: float = float("inf")


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed file, and its first entry."""

    path: Path
    first_seq: int


class AuditFiles:
    """The files of one trail."""

    def __init__(self, path: Path) -> None:
        """Name the one that grows; nothing is opened."""
        self.path = path
        self._next = path.with_suffix(".next")
        self._name = re.compile(re.escape(path.stem) + r"\.([0-9]{12,})" + re.escape(path.suffix))

    def closed(self, after_seq: int = 0) -> list[Segment]:
        """Return the closed files whose first entry is above `after_seq`, in order. Raises OSError."""
        found = ((entry, self._name.fullmatch(entry.name)) for entry in self.path.parent.iterdir())
        segments = [Segment(path, int(name[1])) for path, name in found if name is not None]
        return sorted((one for one in segments if one.first_seq > after_seq), key=lambda one: one.first_seq)

    def open(self) -> int:
        """Open the one that grows, made 0600 when it is not there; return its descriptor. Raises OSError."""
        self._next.unlink(missing_ok=True)
        return self._opened(self.path)

    def opened(self, after_seq: int) -> list[BinaryIO]:
        """Open all for reading, in order: what becomes of them meanwhile changes nothing. Raises OSError."""
        files: list[BinaryIO] = []
        try:
            for path in (*(one.path for one in self.closed(after_seq)), self.path):
                files.append(path.open("rb"))
        except OSError:
            for file in files:
                file.close()
            raise
        return files

    def close(self, first_seq: int) -> int:
        """Close the one that grows, all of which is on the disk, and begin another; return its descriptor.

        Killed in between, `open` begins it.

        Raises:
            OSError: It cannot be: the old one goes on growing.
        """
        lasting = self.path.with_name(f"{self.path.stem}.{first_seq:012}{self.path.suffix}")
        if lasting.exists():
            raise FileExistsError(17, "a file of that name is there", str(lasting))
        fd = self._opened(self._next)
        try:
            self.path.rename(lasting)
            crashpoint.reach(_CLOSED)
            try:
                self._next.rename(self.path)
            except OSError:
                lasting.rename(self.path)
                raise
            sync_folder(self.path.parent)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _opened(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def last_entry(path: Path, secret: bytes, before: Head) -> tuple[Head, float] | None:
    """Return the last entry of a closed file and its wall second; None when its mac says that it is not genuine.

    Args:
        path: The file.
        secret: Of the chain.
        before: The entry before the file's first.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        lines = file.read().splitlines(keepends=True)
    if not lines or (last := split_line(lines[-1])) is None:
        return None
    if len(lines) > 1:
        earlier = split_line(lines[-2])
        before_mac = earlier[1] if earlier is not None else FIRST_MAC
    else:
        before_mac = before.mac
    if mac_of(secret, before_mac, last[0]) != last[1]:
        return None
    return Head(seq_of(lines[-1]), last[1]), wall_of(lines[-1])


def lines_about(files: list[BinaryIO], key_id: str) -> Iterator[bytes]:
    """Yield the entries about a key, in order; the files are closed. Raises OSError."""
    wanted = b'"key_id":"%s"' % key_id.encode()
    for file in files:
        with file:
            yield from (line for line in file if wanted in line)
