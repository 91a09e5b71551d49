"""node.keys.audit: what the audit trail of a KME says, and how to say it. Pure.

TO RECORD, from inside an operation on the store (a function of its connection): `record(db, event, key_id=..., ...)`.
The entry becomes durable with the operation's effect, in one commit, and vanishes with it when the operation fails:
there is never an effect without its entry, nor an entry without its effect. From elsewhere (a refusal, a decision of
policy): `await store.audit.record(event, key_id=..., ...)`, which returns when the entry is durable.

Fields are names, numbers and reasons, never key material; `value` is not written: the entry carries a keyed digest of
it (HMAC-SHA256 under a secret of this KME, 128 bits), for a plain digest of a short key reveals it.

AN ENTRY is one line of JSON: `seq` (1, 2, 3, ..), `wall_s`, `emulated_s`, `event`, `key_id` (when it is about a key),
`digest` (when a value was named), the fields, and last `mac`: HMAC-SHA256, under a secret of the KME, of the mac before
it and the line up to `,"mac"`. Altering, leaving out, inserting or moving a line breaks the chain; the last line's seq
and mac lie in the sealed store, so that cutting the file short shows too.

AN ANCHOR is what the chain begins behind when its oldest entries were removed: seq and mac of the last of them, in the
store under a seal of the same secret, so that nobody else can move it.
"""

import hmac
import json
import sqlite3
from dataclasses import dataclass
from typing import Any, Final

from qnetem.runtime.errors import BadInputError

__all__ = [
    "EVENTS",
    "FIRST_MAC",
    "Field",
    "Head",
    "Note",
    "Trail",
    "chained",
    "digest_of",
    "mac_of",
    "record",
    "seal_of",
    "seq_of",
    "split_line",
    "wall_of",
]

Field = str | int | float | bool | None

# Event, and what it says. Others add theirs here: a name that is not listed is refused.
EVENTS: Final[dict[str, str]] = {
    "audit.cut": "The oldest entries were removed as old: first_seq, last_seq, and last_mac of the last of them.",
    "store.key.rotated": "The store is sealed under a new storage key.",
    "block.available": "Key bits were made with a peer: link_id, block_id, bits.",
    "block.quarantined": "Key bits that the peer does not hold, or holds otherwise, were destroyed.",
    "key.reserved": "Issue: bits were taken for a key; master, peer_node (empty: drawn here), size_bits.",
    "key.assigned": "Issue, at the slave's KME: it holds the key for the slaves named.",
    "key.delivered": "The key left this KME: party (SAE), role (master or slave).",
    "key.voided": "The key was given up before its master had it; its bits are burned.",
    "key.void.confirmed": "The peer has voided it too.",
    "key.expired": "Nobody collected it in time; its bits are destroyed.",
    "key.refused": "An SAE asked and was refused: party, call, reason.",
    "relay.sent": "A relayed key left its source, sealed for the next hop: next_hop, target, path.",
    "relay.taken": "A relayed key reached this node: from_hop.",
    "relay.forwarded": "A middle node sealed it for the next hop: from_hop, next_hop.",
    "relay.held": "The target holds it: from_hop, source.",
    "relay.acknowledged": "The source knows that the target holds it: target, ack_status.",
    "relay.voided": "A relayed key was given up: reason.",
    "stream.opened": "An application opened a key stream: stream_id, party, side.",
    "stream.closed": "An application closed it: stream_id, party, side.",
    "stream.chunk": "A key was made for an index of a stream: stream_id, index.",
    "policy.decided": "What a policy decided on a request: party, policy, decision.",
    "pads.spent": "Bits of a pool were taken to authenticate: link_id, bits.",
    "pads.taken": "Bits that the peer authenticates with were taken out: link_id, bits.",
    "pads.provisioned": "Pre-shared bits were installed on a link: generation, bits.",
    "authentication.failed": "Tags of the peer did not verify: link_id, subject.",
}
FIRST_MAC: Final = bytes(32)
_RESERVED: Final = frozenset({"seq", "wall_s", "emulated_s", "event", "key_id", "digest", "mac"})
_END: Final = b',"mac":"'
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be recorded: the part of an entry that does not depend on its place."""

    event: str
    key_id: str
    digest: str
    fields: dict[str, Field]


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a trail."""

    seq: int = 0
    mac: bytes = FIRST_MAC


class Trail:
    """The notes of the transaction under way, and the secret of this KME's digests and chain."""

    __slots__ = ("notes", "secret")

    def __init__(self, secret: bytes) -> None:
        """Digest under `secret`."""
        self.secret = secret
        self.notes: list[Note] = []

    def __repr__(self) -> str:
        return f"Trail({len(self.notes)} notes)"


def record(
    db: sqlite3.Connection, event: str, *, key_id: str = "", value: bytes | bytearray | None = None, **fields: Field
) -> None:
    """Record an event with the transaction under way on the store's connection.

    Args:
        db: The connection that the operation was given.
        event: One of EVENTS.
        key_id: The key that it is about.
        value: The key's value; only its keyed digest is recorded.
        **fields: What else there is to say, in plain words and numbers.

    Raises:
        BadInputError: The event is not listed, or a field's name is one of an entry's own.
    """
    if event not in EVENTS:
        raise BadInputError(f"audit event {event!r} is not listed in node.keys.audit.EVENTS")
    if not _RESERVED.isdisjoint(fields):
        raise BadInputError(f"audit event {event}: {', '.join(sorted(_RESERVED & set(fields)))} is not free to use")
    trail: Trail = getattr(db, "trail")  # noqa: B009 the store's own kind of connection
    digest = digest_of(trail.secret, key_id, value) if value is not None else ""
    trail.notes.append(Note(event, key_id, digest, fields))


def digest_of(secret: bytes, key_id: str, value: bytes | bytearray) -> str:
    """Return the keyed digest of a key, 128 bits in hexadecimal."""
    return hmac.digest(secret, b"digest\0" + key_id.encode() + b"\0" + value, "sha256").hex()[:32]


def chained(secret: bytes, head: Head, notes: list[Note], wall_s: float, emulated_s: float) -> tuple[bytes, Head]:
    """Return the lines that the notes become behind `head`, and the new head."""
    lines = []
    seq, mac = head.seq, head.mac
    for note in notes:
        seq += 1
        entry: dict[str, Any] = {"seq": seq, "wall_s": round(wall_s, 6), "emulated_s": round(emulated_s, 9)}
        entry["event"] = note.event
        if note.key_id:
            entry["key_id"] = note.key_id
        if note.digest:
            entry["digest"] = note.digest
        body = _ENCODER.encode(entry | note.fields).encode()[:-1]
        mac = mac_of(secret, mac, body)
        lines.append(body + _END + mac.hex().encode() + b'"}\n')
    return b"".join(lines), Head(seq, mac)


def mac_of(secret: bytes, before: bytes, body: bytes) -> bytes:
    """Return the mac of a line, `body` being all of it up to its own mac."""
    return hmac.digest(secret, b"chain\0" + before + body, "sha256")


def split_line(line: bytes) -> tuple[bytes, bytes] | None:
    """Return a line's body and mac; None when it has not the form of one."""
    body, found, rest = line.rpartition(_END)
    if not found or len(rest) != 67 or not rest.endswith(b'"}\n'):
        return None
    try:
        return body, bytes.fromhex(rest[:64].decode())
    except ValueError:
        return None


def seal_of(secret: bytes, anchor: Head) -> bytes:
    """Return the seal of an anchor."""
    return hmac.digest(secret, b"anchor\0" + anchor.seq.to_bytes(8, "big") + anchor.mac, "sha256")


def seq_of(line: bytes) -> int:
    """Return the seq of a line; 0 when it has none."""
    digits = line.removeprefix(b'{"seq":').partition(b",")[0]
    return int(digits) if digits.isdigit() else 0


def wall_of(line: bytes) -> float:
    """Return the wall second of a line; 0 when it has none."""
    text = line.partition(b'"wall_s":')[2].partition(b",")[0]
    try:
        return float(text)
    except ValueError:
        return 0.0
