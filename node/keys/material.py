"""node.keys.material: the bits themselves: which are spent, reading them, overwriting them. Edge: SQLite."""

import sqlite3
from collections.abc import Iterable, Sequence

__all__ = ["Span", "claim", "destroy", "is_claimed", "read", "unclaimed"]

# (row id of the block, offset, length), bits, whole bytes
Span = tuple[int, int, int]


def read(db: sqlite3.Connection, spans: Sequence[Span]) -> bytes:
    """Return the bits of the spans, concatenated. They are whole bytes, so packing (first bit lowest) is kept."""
    return b"".join(_read(db, block, offset, length) for block, offset, length in spans)


def _read(db: sqlite3.Connection, block: int, offset_bits: int, length_bits: int) -> bytes:
    with db.blobopen("secrets", "secret", block, readonly=True) as blob:
        blob.seek(offset_bits // 8)
        return blob.read(length_bits // 8)


def destroy(db: sqlite3.Connection, spans: Iterable[Span]) -> None:
    """Overwrite the spans with zeros; a secret of which nothing has a value any more is deleted."""
    for block, offset_bits, length_bits in spans:
        if length_bits == 0:
            continue
        with db.blobopen("secrets", "secret", block) as blob:
            blob.seek(offset_bits // 8)
            blob.write(bytes(length_bits // 8))
        (live,) = db.execute(
            "UPDATE blocks SET live_bits = live_bits - ? WHERE id = ? RETURNING live_bits", (length_bits, block)
        ).fetchone()
        if live == 0:
            db.execute("DELETE FROM secrets WHERE block = ?", (block,))


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
