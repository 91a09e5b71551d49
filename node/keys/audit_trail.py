"""node.keys.audit_trail: a KME's audit trail to those who use it: record, verify, read. Wiring."""

import asyncio
import sqlite3
from typing import BinaryIO, Final

from node.keys import audit, audit_log
from node.keys.audit import Field, Head
from node.keys.audit_check import Verdict, verify
from node.keys.audit_files import lines_about
from node.keys.connection import of
from node.keys.group_commit import GroupCommit, declare_step
from qnetem.runtime.errors import StorageError

__all__ = ["AuditTrail"]

_RECORD: Final = declare_step("audit.record", "an event is in the audit trail")


class AuditTrail:
    """The trail of one store. What the store's own operations do they record themselves, by audit.record."""

    def __init__(self, commit: GroupCommit) -> None:
        """Record through `commit`."""
        self._commit = commit

    async def record(
        self, event: str, *, key_id: str = "", value: bytes | bytearray | None = None, **fields: Field
    ) -> None:
        """Record an event that changes nothing in the store (a refusal, a decision); see audit.record.

        Raises:
            BadInputError: The event is not one of audit.EVENTS.
            StorageError: It could not be written.
        """
        await self._commit.run(_RECORD, lambda db: audit.record(db, event, key_id=key_id, value=value, **fields))

    async def verify(self, known: Head = Head()) -> Verdict:  # noqa: B008 frozen
        """Check the trail, against an entry too that somebody outside remembers; see audit_check.verify."""

        def begun(db: sqlite3.Connection) -> tuple[bytes, Head, Head, list[BinaryIO]]:
            # by the thread that writes, cuts and removes: what is seen belongs together
            return of(db).trail.secret, audit_log.head_of(db), audit_log.anchor_of(db), self._opened(db)

        try:
            secret, head, anchor, files = await self._commit.run(None, begun)
        except StorageError as error:
            return Verdict(0, Head(), str(error))
        return await asyncio.to_thread(verify, files, secret, head, anchor, known)

    async def lines_about(self, key_id: str) -> list[bytes]:
        """Return the entries about a key, in order, as lines of JSON.

        Raises:
            StorageError: The trail cannot be read.
        """
        files = await self._commit.run(None, self._opened)
        try:
            return await asyncio.to_thread(lambda: list(lines_about(files, key_id)))
        except OSError as error:
            raise StorageError(f"audit trail {self._commit.audit_log.path}: {error.strerror}") from error

    def _opened(self, db: sqlite3.Connection) -> list[BinaryIO]:
        log = self._commit.audit_log
        try:
            return log.files.opened(audit_log.anchor_of(db).seq)
        except OSError as error:
            raise StorageError(f"{log.path.name} cannot be read: {error.strerror}") from error
