"""node.keys.audit_check: whether an audit trail is whole. Edge: files."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO

from node.keys.audit import Head, mac_of, seq_of, split_line

__all__ = ["Verdict", "verify"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of a trail found.

    Attributes:
        entry_count: Whole lines whose chain holds, from the first that is kept.
        head: The last entry as the store knows it.
        fault: What is wrong and where; empty: nothing.
        first_seq: The first entry that is kept.
    """

    entry_count: int
    head: Head
    fault: str
    first_seq: int = 1


def verify(
    files: Sequence[BinaryIO],
    secret: bytes,
    head: Head,
    anchor: Head = Head(),  # noqa: B008 frozen
    known: Head = Head(),  # noqa: B008 frozen
) -> Verdict:
    """Check the whole trail: every mac, that no entry is missing, and that it reaches the head.

    Args:
        files: Those it lies in, in order; they are closed.
        secret: Of the KME's chain.
        head: The last entry as the sealed store knows it; the files may go on behind it by now.
        anchor: The last entry that was removed as old.
        known: An entry that somebody outside remembers: what lies there must still be it.
    """
    last, fault = anchor, ""
    try:
        for line in chain.from_iterable(files):
            fault = _fault_of(line, last, secret, head, known)
            parts = split_line(line)
            if fault or parts is None:
                break
            last = Head(last.seq + 1, parts[1])
    except OSError as error:
        fault = f"cannot be read: {error.strerror}"
    finally:
        for file in files:
            file.close()
    if not fault and last.seq < head.seq:
        fault = f"cut short: ends with entry {last.seq}, the store knows {head.seq}"
    elif not fault and head.seq < known.seq:
        fault = f"rolled back: the store knows entry {head.seq}, {known.seq} was seen before"
    elif not fault and known.seq == anchor.seq and known.mac != anchor.mac:
        fault = f"entry {known.seq}: is another one than was seen before"
    return Verdict(last.seq - anchor.seq, head, fault, anchor.seq + 1)


def _fault_of(line: bytes, last: Head, secret: bytes, head: Head, known: Head) -> str:
    """Return what is wrong with the line behind an entry; empty: nothing."""
    due = last.seq + 1
    parts = split_line(line)
    if parts is None:
        return f"line {due}: is not an entry"
    if seq_of(line) != due:
        return f"line {due}: entry {seq_of(line)} stands where {due} is due"
    if mac_of(secret, last.mac, parts[0]) != parts[1]:
        return f"entry {due}: was altered, or what stood before it"
    if due == known.seq and parts[1] != known.mac:
        return f"entry {due}: is another one than was seen before"
    if due == head.seq and parts[1] != head.mac:
        return f"entry {due}: is not the one that the store knows"
    return ""
