"""node.keys.material: the bits themselves: sealing, reading and overwriting them; which are spent. Edge: SQLite.

A block's secret lies in chunks of 1 KiB, each sealed by itself: a key is read, and its bits are overwritten, without
opening or writing more than the chunk or two that it lies in. A chunk of which nothing has a value any more is deleted.
Bits that nobody may give are never stored.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from node.keys.connection import of
from qnetem.runtime.errors import StorageError

__all__ = ["Span", "claim", "destroy", "forget", "is_claimed", "read", "spend", "unclaimed", "write"]

# (row id of the block, offset, length), bits, whole bytes
Span = tuple[int, int, int]
CHUNK_BYTES: Final = 1024
# chunk ids of a block: block << _SHIFT | position
_SHIFT: Final = 20


def place_of(chunk: int) -> bytes:
    """Return what binds a sealed chunk to its place."""
    return b"secret %d" % chunk


def write(db: sqlite3.Connection, block: int, secret: bytes, given: Sequence[tuple[int, int]]) -> None:
    """Store a block's secret, of which the intervals `given`, bits [start, end) in whole bytes, can be given.

    Args:
        db: The store.
        block: Its row id.
        secret: Packed bits.
        given: Disjoint, ascending or not.
    """
    vault = of(db).vault
    kept = bytearray(len(secret))
    for start, end in given:
        kept[start // 8 : end // 8] = secret[start // 8 : end // 8]
    rows = []
    for at in range(0, len(secret), CHUNK_BYTES):
        live = sum(max(0, min(end // 8, at + CHUNK_BYTES) - max(start // 8, at)) for start, end in given)
        if live:
            chunk = block << _SHIFT | at // CHUNK_BYTES
            rows.append((chunk, live, vault.seal(kept[at : at + CHUNK_BYTES], place_of(chunk))))
    db.executemany("INSERT INTO secrets VALUES (?, ?, ?)", rows)
    _wipe(kept)


def read(db: sqlite3.Connection, spans: Iterable[Span]) -> bytearray:
    """Return the bits of the spans, concatenated, in a buffer that the caller wipes.

    They are whole bytes, so packing (first bit lowest) is kept.
    """
    value = bytearray()
    for span in spans:
        for chunk, start, end in _chunks(span):
            _, plain = _open(db, chunk)
            value += memoryview(plain)[start:end]
            _wipe(plain)
    return value


def spend(db: sqlite3.Connection, spans: Iterable[Span]) -> bytearray:
    """Return the bits of the spans as `read` does, and overwrite them as `destroy` does, opening each chunk once."""
    value = bytearray()
    _overwrite(db, spans, value)
    return value


def destroy(db: sqlite3.Connection, spans: Iterable[Span]) -> None:
    """Overwrite the spans with zeros; a chunk of which nothing has a value any more is deleted."""
    _overwrite(db, spans, None)


def _overwrite(db: sqlite3.Connection, spans: Iterable[Span], value: bytearray | None) -> None:
    vault = of(db).vault
    for span in spans:
        block, _, length_bits = span
        for chunk, start, end in _chunks(span):
            live, plain = _open(db, chunk)
            if value is not None:
                value += memoryview(plain)[start:end]
            live -= end - start
            if live <= 0:
                db.execute("DELETE FROM secrets WHERE id = ?", (chunk,))
            else:
                plain[start:end] = bytes(end - start)
                db.execute(
                    "UPDATE secrets SET live_bytes = ?, sealed = ? WHERE id = ?",
                    (live, vault.seal(plain, place_of(chunk)), chunk),
                )
            _wipe(plain)
        if length_bits:
            db.execute("UPDATE blocks SET live_bits = live_bits - ? WHERE id = ?", (length_bits, block))


def forget(db: sqlite3.Connection, block: int) -> None:
    """Delete a block's secret as a whole."""
    db.execute("DELETE FROM secrets WHERE id >= ? AND id < ?", (block << _SHIFT, (block + 1) << _SHIFT))


def _chunks(span: Span) -> Iterator[tuple[int, int, int]]:
    """Yield the chunks that a span lies in, each with the bytes [start, end) of it."""
    block, offset_bits, length_bits = span
    at, end = offset_bits // 8, (offset_bits + length_bits) // 8
    while at < end:
        position, start = divmod(at, CHUNK_BYTES)
        stop = min(CHUNK_BYTES, start + end - at)
        yield block << _SHIFT | position, start, stop
        at += stop - start


def _open(db: sqlite3.Connection, chunk: int) -> tuple[int, bytearray]:
    row = db.execute("SELECT live_bytes, sealed FROM secrets WHERE id = ?", (chunk,)).fetchone()
    if row is None:
        raise StorageError("bits were asked for that have no value any more")
    return row[0], of(db).vault.open(row[1], place_of(chunk))


def _wipe(buffer: bytearray) -> None:
    buffer[:] = bytes(len(buffer))


def is_claimed(db: sqlite3.Connection, span: Span) -> bool:
    """Return whether a bit of the span, in the peer's half, was given before."""
    block, start, length = span
    row = db.execute(
        "SELECT end_bits FROM used WHERE block = ? AND start_bits < ? ORDER BY start_bits DESC LIMIT 1",
        (block, start + length),
    ).fetchone()
    return row is not None and row[0] > start


def claim(db: sqlite3.Connection, span: Span) -> None:
    """Mark the span, none of whose bits is claimed, as given by the peer. Neighbouring intervals are merged."""
    block, start, length = span
    end = start + length
    db.execute("UPDATE blocks SET peer_left_bits = peer_left_bits - ? WHERE id = ?", (length, block))
    behind = db.execute(
        "DELETE FROM used WHERE block = ? AND start_bits = ? RETURNING end_bits", (block, end)
    ).fetchone()
    if behind is not None:
        end = behind[0]
    grown = db.execute("UPDATE used SET end_bits = ? WHERE block = ? AND end_bits = ?", (end, block, start))
    if grown.rowcount == 0:
        db.execute("INSERT INTO used VALUES (?, ?, ?)", (block, start, end))


def unclaimed(db: sqlite3.Connection, block: int, start: int, end: int) -> list[Span]:
    """Return what of [start, end), the peer's half, was not given."""
    spans: list[Span] = []
    for used_start, used_end in db.execute(
        "SELECT start_bits, end_bits FROM used WHERE block = ? ORDER BY start_bits", (block,)
    ):
        if start < used_start:
            spans.append((block, start, used_start - start))
        start = used_end
    if start < end:
        spans.append((block, start, end - start))
    return spans
