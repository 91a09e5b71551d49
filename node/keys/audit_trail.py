"""node.keys.audit_trail: a KME's audit trail to those who use it: record, verify, read. Wiring."""

import asyncio
from typing import Final

from node.keys import audit, audit_log
from node.keys.audit import Field, Head
from node.keys.audit_log import Verdict
from node.keys.connection import of
from node.keys.group_commit import GroupCommit, declare_step

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
        """Check the trail, against an entry too that somebody outside remembers; see audit_log.verify."""
        secret, head = await self._commit.run(None, lambda db: (of(db).trail.secret, audit_log.head_of(db)))
        return await asyncio.to_thread(audit_log.verify, self._commit.audit_log.path, secret, head, known)

    async def lines_about(self, key_id: str) -> list[bytes]:
        """Return the entries about a key, in order, as lines of JSON.

        Raises:
            StorageError: The trail cannot be read.
        """
        path = self._commit.audit_log.path
        return await asyncio.to_thread(lambda: list(audit_log.lines_about(path, key_id)))
