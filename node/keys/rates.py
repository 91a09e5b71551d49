"""node.keys.rates: the levels of token buckets in the store, so that a restart fills none of them. Edge: SQLite.

What a request takes is durable before anything is made of it: a process that is killed and started again, however
often, lets no more through than its policies do. What it gives back is not: that is noted with the next request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from node.keys.group_commit import declare_step
from node.keys.store import KeyStore
from node.keys.token_bucket import TokenBucket

__all__ = ["Level", "Rates"]

_NOTE: Final = declare_step("rates.note", "what a request takes of its rates is noted")
Level = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rates:
    """The buckets of one KME as its store knows them."""

    store: KeyStore

    async def known(self) -> Mapping[str, Level]:
        """Return bits and emulated time of every bucket that was noted, by name."""
        return await self.store.run(None, _known)

    async def note(self, buckets: Mapping[str, TokenBucket]) -> None:
        """Make the levels of buckets durable, by name.

        Raises:
            StorageError: They cannot be: what was taken is to be given back.
        """
        if buckets:
            rows = [(name, *bucket.noted) for name, bucket in buckets.items()]
            await self.store.run(_NOTE, lambda db: _note(db, rows))


def _known(db: Any) -> dict[str, Level]:
    return {name: (level, at) for name, level, at in db.execute("SELECT name, level_bits, at_s FROM buckets")}


def _note(db: Any, rows: list[tuple[str, float, float]]) -> None:
    db.executemany("INSERT INTO buckets VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET level_bits = ?2, at_s = ?3", rows)
