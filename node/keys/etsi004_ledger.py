"""node.keys.etsi004_ledger: streams and their chunks as operations on the database. Edge: SQLite.

Run inside a transaction, as node.keys.ledger.
"""

import json
import sqlite3
from dataclasses import asdict, dataclass
from typing import Final, Literal

from node.keys import audit, ledger
from node.keys.etsi004_request import Qos
from node.keys.records import IssuedKey
from qnetem.runtime.errors import ConflictError

__all__ = [
    "Chunk",
    "Side",
    "Stream",
    "chunk_at",
    "collect",
    "find",
    "forget",
    "note_chunk",
    "note_told",
    "opened",
    "set_open",
    "skip_to",
    "stream_bucket",
]

Side = Literal["source", "destination"]
_COLUMNS: Final = (
    "stream_id, source, destination, qos, is_source_open, is_destination_open, next_source, next_destination"
)


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream, as one KME knows it."""

    stream_id: str
    source: str
    destination: str
    qos: Qos
    is_source_open: bool = False
    is_destination_open: bool = False
    next_source: int = 0
    next_destination: int = 0

    def is_open(self, side: Side) -> bool:
        """Return whether the application of a side has the stream open."""
        return self.is_source_open if side == "source" else self.is_destination_open

    def next_index(self, side: Side) -> int:
        """Return the index that a side is given next."""
        return self.next_source if side == "source" else self.next_destination


@dataclass(frozen=True, slots=True)
class Chunk:
    """The key of an index. `is_told`: the destination's KME is known to know."""

    key_id: str
    is_told: bool


def stream_bucket(stream_id: str) -> str:
    """Return the name of the token bucket of a stream's rate; see node.keys.rates."""
    return f"stream {stream_id}"


def find(db: sqlite3.Connection, stream_id: str) -> Stream | None:
    """Return the stream of that id, closed ones too."""
    row = db.execute(f"SELECT {_COLUMNS} FROM streams WHERE stream_id = ?", (stream_id,)).fetchone()  # noqa: S608
    if row is None:
        return None
    return Stream(row[0], row[1], row[2], Qos(**json.loads(row[3])), row[4] == 1, row[5] == 1, row[6], row[7])


def opened(db: sqlite3.Connection, wanted: Stream, side: Side, now_s: float) -> Stream | None:
    """Open a side of a stream, which is made when new.

    Returns:
        The stream; None when the id is in use: for others, for a side that has it open, or by a stream that is over.
    """
    known = find(db, wanted.stream_id)
    if known is None:
        values = (wanted.stream_id, wanted.source, wanted.destination, json.dumps(asdict(wanted.qos)))
        db.execute(
            f"INSERT INTO streams ({_COLUMNS}, changed_s) VALUES (?, ?, ?, ?, 0, 0, 0, 0, ?)",  # noqa: S608
            (*values, now_s),
        )
    else:
        is_over = not known.is_source_open and not known.is_destination_open
        is_same = (known.source, known.destination) == (wanted.source, wanted.destination)
        if not is_same or is_over or known.is_open(side):
            return None
    set_open(db, wanted.stream_id, side, True, now_s)
    audit.record(db, "stream.opened", stream_id=wanted.stream_id, party=getattr(wanted, side), side=side)
    return find(db, wanted.stream_id)


def set_open(db: sqlite3.Connection, stream_id: str, side: Side, is_open: bool, now_s: float) -> None:
    """Note whether a side has the stream open."""
    db.execute(
        f"UPDATE streams SET is_{side}_open = ?, changed_s = ? WHERE stream_id = ?",  # noqa: S608 a Side
        (is_open, now_s, stream_id),
    )


def chunk_at(db: sqlite3.Connection, stream_id: str, index: int) -> Chunk | None:
    """Return which key an index is; None when it is not known here."""
    row = db.execute(
        "SELECT key_id, is_told FROM chunks WHERE stream_id = ? AND position = ?", (stream_id, index)
    ).fetchone()
    return None if row is None else Chunk(row[0], row[1] == 1)


def note_chunk(db: sqlite3.Connection, stream_id: str, index: int, key_id: str) -> None:
    """Note which key an index is; the same again is accepted.

    Raises:
        ConflictError: It is another, or the stream is not known here.
    """
    known = chunk_at(db, stream_id, index)
    if find(db, stream_id) is None or (known is not None and known.key_id != key_id):
        raise ConflictError(f"stream {stream_id}: index {index} is another key, or the stream is not known")
    if known is None:
        db.execute("INSERT INTO chunks VALUES (?, ?, ?, 0)", (stream_id, index, key_id))


def note_told(db: sqlite3.Connection, stream_id: str, index: int) -> None:
    """Note that the destination's KME knows which key an index is."""
    db.execute("UPDATE chunks SET is_told = 1 WHERE stream_id = ? AND position = ?", (stream_id, index))


def skip_to(db: sqlite3.Connection, stream_id: str, side: Side, index: int) -> None:
    """Give a side no index below this one of itself any more."""
    db.execute(
        f"UPDATE streams SET next_{side} = max(next_{side}, ?) WHERE stream_id = ?",  # noqa: S608 a Side
        (index, stream_id),
    )


def collect(
    db: sqlite3.Connection, stream: Stream, side: Side, index: int, key_id: str, now_s: float, emulated_s: float
) -> IssuedKey:
    """Hand the key of an index to a side, once, and go on behind it.

    Raises:
        KeysNotFoundError: The side has it, or it has expired.
    """
    party = stream.source if side == "source" else stream.destination
    [key] = ledger.collect(db, party, stream.source, [key_id], now_s, emulated_s)
    skip_to(db, stream.stream_id, side, index + 1)
    return key


def forget(db: sqlite3.Connection, before_s: float) -> int:
    """Forget streams that have lacked a side since then, wall seconds; until then their ids are not used again."""
    rows = db.execute(
        "SELECT stream_id FROM streams WHERE (is_source_open = 0 OR is_destination_open = 0) AND changed_s <= ?",
        (before_s,),
    ).fetchall()
    for table in ("chunks", "streams"):
        db.executemany(f"DELETE FROM {table} WHERE stream_id = ?", rows)  # noqa: S608 of the literals above
    db.executemany("DELETE FROM buckets WHERE name = ?", [(stream_bucket(stream_id),) for (stream_id,) in rows])
    return len(rows)
