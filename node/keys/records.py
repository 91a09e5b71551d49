"""node.keys.records: blocks, pieces, keys and pools as values, and who owns which half of a block. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final

from node.keys.policy import KeyMode
from node.keys.secret import SecretBytes
from qnetem.runtime.errors import ConflictError, DeniedError, NotFoundError, StorageError, UnavailableError

__all__ = [
    "INSECURE",
    "Assignment",
    "Block",
    "BlockPendingError",
    "BlockRole",
    "BlockState",
    "Halves",
    "IssuedKey",
    "KeyState",
    "KeysNotFoundError",
    "NotNamedError",
    "PadsExhaustedError",
    "Piece",
    "Pool",
    "PoolExhaustedError",
    "PoolFullError",
    "StoreLimits",
    "SweepCounts",
    "UnknownBlockError",
    "UnusableBlocksError",
    "is_insecure_block",
    "is_key_id",
]

_KEY_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# how ids of blocks end that a protocol for study made, or that went over links with such
INSECURE: Final = ".insecure"


def is_key_id(text: str) -> bool:
    """Return whether the text is a UUID as key ids are written: hexadecimal in lower case, with hyphens."""
    return _KEY_ID.fullmatch(text) is not None


def is_insecure_block(block_id: str) -> bool:
    """Return whether a block's id says, as that of any such block does, that its bits are not secret in earnest."""
    return block_id.endswith(INSECURE)


class BlockRole(StrEnum):
    """Which end of the link this node is."""

    TRANSMITTER = "transmitter"
    RECEIVER = "receiver"


class BlockState(StrEnum):
    """PREPARED -> AVAILABLE -> QUARANTINED, or PREPARED -> ABORTED. The last two are never left."""

    PREPARED = "prepared"
    AVAILABLE = "available"
    ABORTED = "aborted"
    QUARANTINED = "quarantined"


class KeyState(StrEnum):
    """Of a key at one KME. CONSUMED, VOIDED and EXPIRED are tombstones.

    Master's KME: RESERVED -> ASSIGNED (slaves of this KME are still to collect) -> CONSUMED, or VOID_PENDING -> VOIDED.
    Slave's KME: ASSIGNED -> CONSUMED | EXPIRED | VOIDED. Whom it was DELIVERED to is kept per party.
    """

    RESERVED = "reserved"
    ASSIGNED = "assigned"
    CONSUMED = "consumed"
    VOID_PENDING = "void_pending"
    VOIDED = "voided"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What a store holds, and for how long (wall seconds, but for the lifetime).

    Attributes:
        capacity_bits: Per peer: blocks above it are refused (PoolFullError).
        key_lifetime_s: A key that was not collected by then, emulated time, expires.
        tombstone_s: How long an ended key's id is remembered, to tell "not yours" from "not there"; and a block's,
            after the last of its bits has lost its value.
        reserve_limit_s: A reservation that was neither delivered nor voided by then is given up.
        pulse_stride: Pulse blocks reserved ahead in one durable step.
    """

    capacity_bits: int = 1 << 26
    key_lifetime_s: float = 86_400.0
    tombstone_s: float = 86_400.0
    reserve_limit_s: float = 60.0
    pulse_stride: int = 1 << 16


@dataclass(frozen=True, slots=True)
class Halves:
    """The bits of a block that this node and its peer may give as masters, as [start, end), whole bytes."""

    own_start: int
    own_end: int
    peer_start: int
    peer_end: int

    @classmethod
    def of(cls, bit_count: int, role: BlockRole) -> "Halves":
        """Split a secret of `bit_count` bits: the first half is the transmitter's, the second the receiver's.

        Pieces begin and end at multiples of 8 bits. Bits of a half that do not fill a byte are given by nobody.
        """
        middle = bit_count // 2
        first = (0, middle // 8 * 8)
        second = ((middle + 7) // 8 * 8, max(bit_count // 8 * 8, (middle + 7) // 8 * 8))
        own, peer = (first, second) if role is BlockRole.TRANSMITTER else (second, first)
        return cls(*own, *peer)

    @property
    def own_bits(self) -> int:
        """Bits that this node may give."""
        return self.own_end - self.own_start

    @property
    def peer_bits(self) -> int:
        """Bits that the peer may give."""
        return self.peer_end - self.peer_start


@dataclass(frozen=True, slots=True)
class Piece:
    """Bits [offset_bits, offset_bits + length_bits) of a block's secret."""

    block_id: str
    offset_bits: int
    length_bits: int

    @property
    def end_bits(self) -> int:
        """The first bit behind it."""
        return self.offset_bits + self.length_bits


@dataclass(frozen=True, slots=True)
class Assignment:
    """A key by name: its id (UUID, lower case) and the pieces that, concatenated, are its value."""

    key_id: str
    pieces: tuple[Piece, ...]

    @property
    def size_bits(self) -> int:
        """Length of the key."""
        return sum(piece.length_bits for piece in self.pieces)

    @property
    def is_insecure(self) -> bool:
        """Whether a piece is of a block of a protocol for study."""
        return any(is_insecure_block(piece.block_id) for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A key and its value, for the SAE that it is handed to, and what it is made of.

    is_insecure: Bits of a protocol for study are in it, or protected it on its way: it is for tests alone.
    """

    key_id: str
    key: SecretBytes
    mode: KeyMode = KeyMode.QKD
    is_insecure: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """A block without its secret. `is_confirmed`: the peer is known to hold it AVAILABLE."""

    block_id: str
    link_id: str
    peer_node: str
    role: BlockRole
    bit_count: int
    state: BlockState
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """Bits shared with one peer, by what became of them. made_bits is the sum of all the others.

    Of the own half, `available_bits` can be given as keys; `kept_bits` is held back to authenticate with.
    """

    peer_node: str
    made_bits: int = 0
    unconfirmed_bits: int = 0
    available_bits: int = 0
    peer_available_bits: int = 0
    reserved_bits: int = 0
    assigned_bits: int = 0
    delivered_bits: int = 0
    voided_bits: int = 0
    expired_bits: int = 0
    quarantined_bits: int = 0
    kept_bits: int = 0
    tags_bits: int = 0
    relayed_bits: int = 0

    @property
    def held_bits(self) -> int:
        """Bits that still have a value here: what counts against the capacity."""
        return (
            self.unconfirmed_bits
            + self.available_bits
            + self.kept_bits
            + self.peer_available_bits
            + self.reserved_bits
            + self.assigned_bits
        )


@dataclass(frozen=True, slots=True)
class SweepCounts:
    """What one sweep did."""

    given_up_count: int
    expired_count: int
    forgotten_count: int
    forgotten_blocks_count: int = 0


class UnknownBlockError(NotFoundError):
    """No block of that id was ever prepared here."""

    reason = "UNKNOWN_BLOCK"


class PoolFullError(StorageError):
    """The pool holds as much as it may."""

    reason = "POOL_FULL"
    is_definite = True


class PoolExhaustedError(UnavailableError):
    """The pool holds less than was asked for; nothing was taken."""

    reason = "POOL_EXHAUSTED"
    is_definite: ClassVar[bool] = True


class PadsExhaustedError(UnavailableError):
    """Nothing is left to authenticate with; nothing was taken."""

    reason = "PADS_EXHAUSTED"
    is_definite: ClassVar[bool] = True


class BlockPendingError(UnavailableError):
    """A block of the assignment is not AVAILABLE here yet: the same again later can succeed."""

    reason = "BLOCK_PENDING"
    is_definite: ClassVar[bool] = True


class UnusableBlocksError(ConflictError):
    """Blocks of the assignment are not held here, or no longer; nothing was assigned."""

    reason = "UNUSABLE_BLOCKS"

    def __init__(self, message: str, block_ids: Iterable[str] = ()) -> None:
        """Name the blocks."""
        super().__init__(message)
        self.block_ids = tuple(block_ids)


class KeysNotFoundError(NotFoundError):
    """A key is unknown, of another master, consumed, voided or expired."""

    reason = "KEYS_NOT_FOUND"


class NotNamedError(DeniedError):
    """The caller was not named when the key was issued."""

    reason = "NOT_NAMED"
