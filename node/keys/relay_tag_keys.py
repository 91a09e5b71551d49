"""node.keys.relay_tag_keys: hash keys that hops are tagged under: drawn, taken over, given up. Edge: SQLite.

Run inside a transaction, as node.keys.ledger. Who sends over a hop draws its hash key from its own half of the pool and
recycles it from tag to tag, each padded with bits of its own. It is named by the bits that it is, and every request and
every burn names it: the node behind the hop takes it out of the pool when it first hears of it. So a hash key that was
drawn is counted at both ends once every transfer has ended, whatever was lost or came twice; and one that was lost is
refused by name, and another drawn.
"""

import sqlite3
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from node.keys import audit, ledger, material, pools, transfers
from node.keys.connection import of
from node.keys.material import Span
from node.keys.records import Piece
from node.keys.relay_frame import TAG_KEY_BITS, UnknownTagKeyError, wipe
from qnetem.runtime.errors import BadInputError

__all__ = ["TAGS_PER_KEY", "current", "forget", "learn", "of_peer"]

TAGS_PER_KEY: Final = 1 << 16
# of each neighbour: what is sent again may have been tagged before the last renewals
_PEER_KEYS_KEPT: Final = 4


def current(db: sqlite3.Connection, next_node: str) -> tuple[tuple[Piece, ...], bytearray]:
    """Return the hash key for one more tag towards a neighbour, drawn when there is none, and its name.

    Raises:
        PoolExhaustedError: Another is due, and there are too few bits for it; names both.
    """
    row = db.execute(
        "UPDATE tag_keys SET tags_count = tags_count + 1 WHERE peer_node = ? AND is_own = 1 AND tags_count < ?"
        " RETURNING name, sealed",
        (next_node, TAGS_PER_KEY),
    ).fetchall()
    if row:
        [(name, sealed)] = row
        return _pieces(name), of(db).vault.open(sealed, _place(name))
    db.execute("DELETE FROM tag_keys WHERE peer_node = ? AND is_own = 1", (next_node,))
    [taken] = ledger.take(db, next_node, 1, TAG_KEY_BITS)
    pools.move(db, next_node, "available", "tags", TAG_KEY_BITS)
    pieces = tuple(Piece(block_id, span[1], span[2]) for block_id, span in taken)
    value = _hold(db, next_node, pieces, [span for _, span in taken], is_own=True)
    audit.record(db, "pads.spent", link_id="", peer_node=next_node, bits=TAG_KEY_BITS, use="relay.tag_key")
    return pieces, value


def forget(db: sqlite3.Connection, next_node: str, pieces: Sequence[Piece]) -> None:
    """Tag nothing more under a hash key: the neighbour does not hold it, or refused a tag under it."""
    db.execute(
        "DELETE FROM tag_keys WHERE name = ? AND peer_node = ? AND is_own = 1",
        (_name(pieces), next_node),
    )


def of_peer(db: sqlite3.Connection, previous_node: str, pieces: Sequence[Piece]) -> bytearray:
    """Return the hash key of that name that a neighbour tags under; the first time it is taken out of the pool.

    Raises:
        BadInputError: It is not TAG_KEY_BITS long, or a piece is not whole bytes of the neighbour's half.
        DeniedError: A block is not shared with the neighbour.
        BlockPendingError: A block of it is not AVAILABLE here yet.
        UnknownTagKeyError: It is not held here, and its bits cannot be had (any more).
    """
    known = _known(db, previous_node, pieces)
    if known is not None:
        return of(db).vault.open(known, _place(_name(pieces)))
    spans = _unspent(db, previous_node, pieces)
    if spans is None:
        raise UnknownTagKeyError(f"KME {previous_node} tags under a hash key that is not held here")
    return _take_over(db, previous_node, pieces, spans)


def learn(db: sqlite3.Connection, previous_node: str, pieces: Sequence[Piece]) -> None:
    """Hold the hash key of a request that may never come, unless it is held or cannot be.

    Raises:
        QnetemError: As of_peer, but for UnknownTagKeyError.
    """
    if _known(db, previous_node, pieces) is not None:
        return
    spans = _unspent(db, previous_node, pieces)
    if spans is not None:
        wipe(_take_over(db, previous_node, pieces, spans))


def _known(db: sqlite3.Connection, previous_node: str, pieces: Sequence[Piece]) -> bytes | None:
    row = db.execute(
        "SELECT sealed FROM tag_keys WHERE name = ? AND peer_node = ? AND is_own = 0", (_name(pieces), previous_node)
    ).fetchone()
    return None if row is None else bytes(row[0])


def _unspent(db: sqlite3.Connection, previous_node: str, pieces: Sequence[Piece]) -> list[Span] | None:
    """Return where the bits lie; None when one of them is spent or not held here."""
    if sum(piece.length_bits for piece in pieces) != TAG_KEY_BITS:
        raise BadInputError(f"a hash key is not of {TAG_KEY_BITS} bits")
    spans: list[Span] = []
    for piece in pieces:
        span = transfers.given_span(db, previous_node, piece)
        if span is None or material.is_claimed(db, span):
            return None
        spans.append(span)
    if any(a[0] == b[0] and a[1] + a[2] > b[1] for a, b in pairwise(sorted(spans))):
        raise BadInputError("a hash key names a bit twice")
    return spans


def _take_over(db: sqlite3.Connection, previous_node: str, pieces: Sequence[Piece], spans: Sequence[Span]) -> bytearray:
    for span in spans:
        material.claim(db, span)
    pools.move(db, previous_node, "peer_available", "tags", TAG_KEY_BITS)
    value = _hold(db, previous_node, pieces, spans, is_own=False)
    db.execute(
        "DELETE FROM tag_keys WHERE peer_node = ?1 AND is_own = 0 AND id NOT IN (SELECT id FROM tag_keys"
        " WHERE peer_node = ?1 AND is_own = 0 ORDER BY id DESC LIMIT ?2)",
        (previous_node, _PEER_KEYS_KEPT),
    )
    audit.record(db, "pads.taken", link_id="", peer_node=previous_node, bits=TAG_KEY_BITS, use="relay.tag_key")
    return value


def _hold(
    db: sqlite3.Connection, peer_node: str, pieces: Sequence[Piece], spans: Sequence[Span], *, is_own: bool
) -> bytearray:
    value = material.read(db, spans)
    material.destroy(db, spans)
    name = _name(pieces)
    db.execute(
        "INSERT INTO tag_keys (name, peer_node, is_own, tags_count, sealed) VALUES (?, ?, ?, ?, ?)",
        (name, peer_node, is_own, int(is_own), of(db).vault.seal(value, _place(name))),
    )
    return value


def _name(pieces: Sequence[Piece]) -> str:
    return "\n".join(f"{piece.block_id}/{piece.offset_bits}/{piece.length_bits}" for piece in pieces)


def _pieces(name: str) -> tuple[Piece, ...]:
    parts = (line.rsplit("/", 2) for line in name.split("\n"))
    return tuple(Piece(block_id, int(offset), int(length)) for block_id, offset, length in parts)


def _place(name: str) -> bytes:
    return b"tag key " + name.encode()
