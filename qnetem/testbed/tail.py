"""qnetem.testbed.tail: the ends of files, and what comes after. Edge."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from qnetem.testbed.lines import Line, line_of

__all__ = ["Tail"]

_BLOCK_BYTES: Final = 1 << 16


class Tail:
    """Reads one file of whole lines that another process appends to; it may not be there yet, or be replaced."""

    def __init__(self, path: Path, process: str) -> None:
        """Follow `path`, the file of `process`."""
        self._path = path
        self._process = process
        self._offset = 0
        self._inode = 0
        self._part = b""
        self._wall = ""

    def last(self, count: int | None) -> list[Line]:
        """Return the last `count` lines (None: all); what comes later is for `more`."""
        try:
            with self._path.open("rb") as file:
                self._inode = os.fstat(file.fileno()).st_ino
                data = file.read() if count is None else _end_of(file, count)
                self._offset = file.tell()
        except FileNotFoundError:
            return []
        lines = list(self._lines(data))
        return lines if count is None else lines[len(lines) - min(count, len(lines)) :]

    def more(self) -> list[Line]:
        """Return the lines that came since."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._inode, self._offset, self._part = status.st_ino, 0, b""
                file.seek(self._offset)
                data = file.read()
                self._offset = file.tell()
        except FileNotFoundError:
            return []
        return list(self._lines(data))

    def _lines(self, data: bytes) -> Iterator[Line]:
        *whole, self._part = (self._part + data).split(b"\n")
        for raw in whole:
            text = raw.decode("utf-8", "replace").rstrip()
            if text:
                line = line_of(text, self._process, self._wall)
                self._wall = line.wall
                yield line


def _end_of(file: BinaryIO, count: int) -> bytes:
    """Read backwards until `count` whole lines are there; leave the file at its end."""
    position = end = file.seek(0, os.SEEK_END)
    data = b""
    while position > 0 and data.count(b"\n") <= count:
        size = min(_BLOCK_BYTES, position)
        position -= size
        file.seek(position)
        data = file.read(size) + data
    file.seek(end)
    # the first line may have been cut
    return data if position == 0 else data.partition(b"\n")[2]
