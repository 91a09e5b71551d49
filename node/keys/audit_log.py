"""node.keys.audit_log: the audit trail's file, and how it keeps step with the store. Edge: files, SQLite.

Entries are written twice: into the store's outbox, by the very transaction whose effects they tell, and, when that has
committed, behind the file. What a crash kept from the file is brought there from the outbox at the next start; the
outbox is emptied once the file is on the disk. So the file needs no commit of its own.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.keys.audit import FIRST_MAC, Head, chained, mac_of, split_line
from node.keys.connection import of
from qnetem.runtime.errors import StorageError
from qnetem.runtime.log import get_logger

__all__ = ["AuditLog", "Verdict", "head_of", "lines_about", "verify"]

# entries in the outbox before the file is brought to the disk
_OUTBOX_ENTRIES: Final = 4096
_log = get_logger("node.keys.audit")


def head_of(db: sqlite3.Connection) -> Head:
    """Return the last entry, as the store knows it."""
    seq, mac = db.execute("SELECT seq, mac FROM audit_head").fetchone()
    return Head(seq, bytes(mac))


class AuditLog:
    """Writes the trail; used by the store's writing thread alone."""

    def __init__(self, path: Path, wall_s: Callable[[], float] = time.time) -> None:
        """Append to `path`; nothing is opened before `open`."""
        self.path = path
        self._wall_s = wall_s
        self._fd = -1
        self._is_failing = False
        self._head = Head()
        self._pending: tuple[bytes, Head] | None = None
        self._first_in_outbox = 1

    def open(self, db: sqlite3.Connection) -> None:
        """Open the file, made 0600 when new, and bring it what the outbox holds.

        Raises:
            StorageError: It cannot be opened; names it.
        """
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"audit trail {self.path}: {error.strerror}") from error
        self._head = head_of(db)
        self._first_in_outbox = self._head.seq + 1
        self._catch_up(db)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def seal(self, db: sqlite3.Connection, emulated_s: float) -> None:
        """Chain the notes of the transaction under way and put them into the outbox, before it commits."""
        trail = of(db).trail
        if not trail.notes:
            return
        before = head_of(db)
        lines, head = chained(trail.secret, before, trail.notes, self._wall_s(), emulated_s)
        db.execute("INSERT INTO audit_outbox VALUES (?, ?, ?)", (head.seq, before.seq + 1, lines))
        db.execute("UPDATE audit_head SET seq = ?, mac = ?", (head.seq, head.mac))
        self._pending = lines, head

    def discard(self, db: sqlite3.Connection) -> None:
        """Forget what was sealed and noted: the transaction was rolled back."""
        of(db).trail.notes.clear()
        self._pending = None

    def append(self, db: sqlite3.Connection) -> None:
        """Write what was sealed, now that it has committed. When the file takes it not, it stays in the outbox."""
        of(db).trail.notes.clear()
        if self._pending is None:
            return
        lines, self._head = self._pending
        self._pending = None
        if self._is_failing:
            self._catch_up(db)
        elif not self._write(lines):
            self._is_failing = True
        if not self._is_failing and self._head.seq - self._first_in_outbox >= _OUTBOX_ENTRIES:
            self.fold(db)

    def fold(self, db: sqlite3.Connection) -> None:
        """Bring the file to the disk and empty the outbox. What fails here is tried again."""
        if self._is_failing:
            self._catch_up(db)
        if self._is_failing or self._first_in_outbox > self._head.seq:
            return
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._failed(error)
            return
        db.execute("DELETE FROM audit_outbox WHERE last_seq <= ?", (self._head.seq,))
        self._first_in_outbox = self._head.seq + 1

    def _write(self, lines: bytes) -> bool:
        view = memoryview(lines)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self._failed(error)
            return False
        return True

    def _failed(self, error: OSError) -> None:
        if not self._is_failing:
            _log.error("audit.file.failed", path=str(self.path), detail=error.strerror or type(error).__name__)
        self._is_failing = True

    def _catch_up(self, db: sqlite3.Connection) -> None:
        """Bring the file what it lacks; a line that a crash or a full disk tore is cut off, the outbox has it."""
        try:
            last_seq = self._cut_torn_line()
        except OSError as error:
            self._failed(error)
            return
        waiting = db.execute("SELECT first_seq, lines FROM audit_outbox ORDER BY first_seq").fetchall()
        if waiting:
            self._first_in_outbox = waiting[0][0]
        self._is_failing = False
        for first_seq, lines in waiting:
            for at, line in enumerate(lines.splitlines(keepends=True)):
                if first_seq + at > last_seq and not self._write(line):
                    return

    def _cut_torn_line(self) -> int:
        """Cut what follows the last whole line; return that line's seq, 0 for none."""
        size = os.fstat(self._fd).st_size
        span = 1 << 16
        tail = os.pread(self._fd, span, max(0, size - span))
        whole = tail.rfind(b"\n") + 1
        if whole < len(tail):
            os.ftruncate(self._fd, size - len(tail) + whole)
        lines = tail[:whole].splitlines(keepends=True)
        return _seq_of(lines[-1]) if lines else 0


def _seq_of(line: bytes) -> int:
    digits = line.removeprefix(b'{"seq":').partition(b",")[0]
    return int(digits) if digits.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of a trail found.

    Attributes:
        entry_count: Whole lines whose chain holds, from the first.
        head: The last entry as the store knows it.
        fault: What is wrong and where; empty: nothing.
    """

    entry_count: int
    head: Head
    fault: str


def verify(path: Path, secret: bytes, head: Head, known: Head = Head()) -> Verdict:  # noqa: B008 frozen
    """Check the whole trail: every mac, that no entry is missing, and that it reaches the head.

    Args:
        path: The file.
        secret: Of the KME's chain.
        head: The last entry as the sealed store knows it; the file may go on behind it by now.
        known: An entry that somebody outside remembers: what lies there must still be it.
    """
    seq, mac = 0, FIRST_MAC
    fault = ""
    try:
        with path.open("rb") as file:
            for line in file:
                parts = split_line(line)
                if parts is None:
                    return Verdict(seq, head, f"line {seq + 1}: is not an entry")
                if _seq_of(line) != seq + 1:
                    fault = f"line {seq + 1}: entry {_seq_of(line)} stands where {seq + 1} is due"
                elif mac_of(secret, mac, parts[0]) != parts[1]:
                    fault = f"entry {seq + 1}: was altered, or what stood before it"
                elif seq + 1 == known.seq and parts[1] != known.mac:
                    fault = f"entry {seq + 1}: is another one than was seen before"
                elif seq + 1 == head.seq and parts[1] != head.mac:
                    fault = f"entry {seq + 1}: is not the one that the store knows"
                if fault:
                    return Verdict(seq, head, fault)
                seq, mac = seq + 1, parts[1]
    except OSError as error:
        return Verdict(seq, head, f"cannot be read: {error.strerror}")
    if seq < head.seq:
        fault = f"cut short: ends with entry {seq}, the store knows {head.seq}"
    elif head.seq < known.seq:
        fault = f"rolled back: the store knows entry {head.seq}, {known.seq} was seen before"
    return Verdict(seq, head, fault)


def lines_about(path: Path, key_id: str) -> Iterator[bytes]:
    """Yield the entries about a key, in order.

    Raises:
        StorageError: The file cannot be read; names it.
    """
    wanted = b'"key_id":"%s"' % key_id.encode()
    try:
        with path.open("rb") as file:
            yield from (line for line in file if wanted in line)
    except OSError as error:
        raise StorageError(f"audit trail {path}: {error.strerror}") from error
