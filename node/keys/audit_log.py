"""node.keys.audit_log: the audit trail's file, and how it keeps step with the store. Edge: files, SQLite.

Entries are written twice: into the store's outbox, by the very transaction whose effects they tell, and, when that has
committed, behind the file. What a crash kept from the file is brought there from the outbox at the next start; the
outbox is emptied once the file is on the disk. So the file needs no commit of its own.

A file that is large or old is closed and another begun; the chain goes on over files. The oldest closed files go when
there is too much of them: the store gets an anchor first, so that what is left can be checked as before.
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from node.keys.audit import Head, chained, record, seal_of, seq_of, wall_of
from node.keys.audit_files import AuditFiles, AuditLimits, last_entry
from node.keys.connection import of
from qnetem.runtime import crashpoint
from qnetem.runtime.errors import StorageError
from qnetem.runtime.log import get_logger

__all__ = ["AuditLimits", "AuditLog", "anchor_of", "head_of"]

# entries in the outbox before the file is brought to the disk
_OUTBOX_ENTRIES: Final = 4096
_CUT: Final = "trail.cut"
for _when, _what in (("before", "not durable"), ("after", "durable, the files are still there")):
    crashpoint.declare(f"{_CUT}.{_when}", f"the trail has an anchor behind its oldest files: {_what}")
_log = get_logger("node.keys.audit")


def head_of(db: sqlite3.Connection) -> Head:
    """Return the last entry, as the store knows it."""
    seq, mac = db.execute("SELECT seq, mac FROM audit_head").fetchone()
    return Head(seq, bytes(mac))


def anchor_of(db: sqlite3.Connection) -> Head:
    """Return the last entry that was removed as old; the beginning when none was.

    Raises:
        StorageError: Its seal is not that of this KME.
    """
    row = db.execute("SELECT seq, mac, seal FROM audit_anchor").fetchone()
    if row is None:
        return Head()
    anchor = Head(row[0], bytes(row[1]))
    if seal_of(of(db).trail.secret, anchor) != row[2]:
        raise StorageError("the anchor of the trail was altered")
    return anchor


class AuditLog:
    """Writes the trail; used by the store's writing thread alone."""

    def __init__(
        self,
        path: Path,
        limits: AuditLimits = AuditLimits(),  # noqa: B008 frozen
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """Append to `path`, and cut it by `limits`; nothing is opened before `open`."""
        self.path = path
        self.files = AuditFiles(path)
        self._limits = limits
        self._wall_s = wall_s
        self._fd = -1
        self._is_failing = False
        self._is_stuck = False
        self._size_bytes = 0
        # it could not be closed: tried again when it has grown to this
        self._retry_bytes = 0
        # of the first entry of the file that grows; None: it is empty
        self._first: tuple[int, float] | None = None
        self._head = Head()
        self._pending: tuple[bytes, Head] | None = None
        self._first_in_outbox = 1

    def open(self, db: sqlite3.Connection) -> None:
        """Open the file that grows, made 0600 when new, and bring it what the outbox holds.

        Raises:
            StorageError: It cannot be opened; names it.
        """
        try:
            self._fd = self.files.open()
            first = os.pread(self._fd, 1 << 12, 0)
            self._first = (seq_of(first), wall_of(first)) if first else None
        except OSError as error:
            raise StorageError(f"audit trail {self.path}: {error.strerror}") from error
        self._head = head_of(db)
        self._first_in_outbox = self._head.seq + 1
        self._catch_up(db)
        with suppress(StorageError):  # who verifies is told
            self._remove(anchor_of(db))

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
        self._first = self._first or (seq_of(lines), wall_of(lines))
        try:
            while view:
                count = os.write(self._fd, view)
                self._size_bytes += count
                view = view[count:]
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
        self._size_bytes = size - len(tail) + whole
        if whole < len(tail):
            os.ftruncate(self._fd, self._size_bytes)
        lines = tail[:whole].splitlines(keepends=True)
        if not self._size_bytes:
            self._first = None
        return seq_of(lines[-1]) if lines else 0

    # cutting

    def turn(self, db: sqlite3.Connection, emulated_s: float) -> None:
        """Begin another file when the one that grows is large or old, and remove what is too much. Between commits.

        What fails here, such as a full disk, is tried again and costs nothing but the space.
        """
        if self._first is None or self._is_failing:
            return
        first_seq, first_wall_s = self._first
        is_old = self._wall_s() - first_wall_s >= self._limits.segment_s
        if self._size_bytes < self._retry_bytes or not (is_old or self._size_bytes >= self._limits.segment_bytes):
            return
        self.fold(db)
        if self._is_failing or self._first_in_outbox <= self._head.seq:
            return
        try:
            if first_seq <= anchor_of(db).seq:
                raise StorageError(f"{self.path.name} does not begin with an entry that is due")
            fd = self.files.close(first_seq)
        except (OSError, StorageError) as error:
            self._stuck(getattr(error, "strerror", None) or str(error))
            self._retry_bytes = self._size_bytes + self._limits.segment_bytes // 16
            return
        os.close(self._fd)
        self._fd, self._first, self._is_stuck = fd, None, False
        self._size_bytes = self._retry_bytes = 0
        _log.info("audit.file.closed", first_seq=first_seq, last_seq=self._head.seq)
        try:
            self._prune(db, emulated_s)
        except (OSError, StorageError) as error:
            self._stuck(getattr(error, "strerror", None) or str(error))

    def _prune(self, db: sqlite3.Connection, emulated_s: float) -> None:
        """Set an anchor behind the oldest closed files when there is too much of them, then remove them."""
        before = anchor = anchor_of(db)
        closed = self.files.closed(anchor.seq)
        left_bytes = sum(one.path.stat().st_size for one in closed)
        ends = [one.first_seq - 1 for one in closed[1:]] + [self._head.seq]
        for segment, end_seq in zip(closed, ends, strict=False):
            last = last_entry(segment.path, of(db).trail.secret, anchor)
            if last is None or last[0].seq != end_seq:
                self._stuck(f"{segment.path.name} is not what was written: nothing is removed")
                break
            if left_bytes <= self._limits.keep_bytes and self._wall_s() - last[1] <= self._limits.keep_s:
                break
            anchor = last[0]
            left_bytes -= segment.path.stat().st_size
        if anchor == before:
            return
        db.execute("BEGIN IMMEDIATE")
        try:
            record(db, "audit.cut", first_seq=before.seq + 1, last_seq=anchor.seq, last_mac=anchor.mac.hex())
            self.seal(db, emulated_s)
            sealed = seal_of(of(db).trail.secret, anchor)
            db.execute("INSERT OR REPLACE INTO audit_anchor VALUES (1, ?, ?, ?)", (anchor.seq, anchor.mac, sealed))
            crashpoint.reach(f"{_CUT}.before")
            db.execute("COMMIT")
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            self.discard(db)
            raise
        self.append(db)
        crashpoint.reach(f"{_CUT}.after")
        self._remove(anchor)

    def _remove(self, anchor: Head) -> None:
        """Remove the files of which an anchor tells."""
        try:
            for segment in self.files.closed():
                if segment.first_seq <= anchor.seq:
                    segment.path.unlink()
        except OSError as error:
            self._stuck(error.strerror or type(error).__name__)

    def _stuck(self, detail: str) -> None:
        if not self._is_stuck:
            _log.error("audit.file.stuck", path=str(self.path), detail=detail)
        self._is_stuck = True
