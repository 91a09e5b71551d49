"""node.qkd.transcript: what one end of a session said, hashed under a recycled key. Pure.

GHASH, the universal hash of AES-GCM, is a polynomial over GF(2^128) and comes compiled. Stated for other
implementations in proto/qnetem/v1/link_session.proto (AUTHENTICATION), with vectors in
tests/contract/post-processing-vectors.json.
"""

import struct
from copy import copy
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB, GCM

from qnetem.runtime.errors import BadInputError
from qnetem.v1 import link_session_pb2

__all__ = ["BLOCK_TAG_BITS", "HASH_BYTES", "BlockHashes", "Ghash", "Message", "Transcript", "forgery_prob"]

HASH_BYTES: Final = 16
# what one end pays for a block: a tag of the stream, one of the block, one of what it decides or confirms
BLOCK_TAG_BITS: Final = 3 * 8 * HASH_BYTES
_NONCE: Final = bytes(12)
_ALONE: Final = b"\xff" * 8
# before one of these the stream is cut; these have a tag of their own
_CUTS: Final = frozenset({"block_start", "block_corrected"})
_DECISIONS: Final = frozenset({"block_decision", "block_committed"})
# blocks under way at a time, at most; who opens more loses the oldest, and with it the block
_BLOCKS_LIMIT: Final = 64

Message = link_session_pb2.SessionRequest | link_session_pb2.SessionResponse


def forgery_prob(size_bytes: int) -> float:
    """Return the most that a forged transcript of that size has of passing for the true one, tag by tag.

    Source: two strings of l blocks (the length block included) are polynomials that agree on l keys of 2^128 at most.
    """
    return (-(-size_bytes // HASH_BYTES) + 1) * 2.0**-128


class Ghash:
    """GHASH of what is added, piece by piece."""

    def __init__(self, key: bytes) -> None:
        """Hash under `key`, 16 bytes.

        Raises:
            BadInputError: It is not 16 bytes long.
        """
        if len(key) != HASH_BYTES:
            raise BadInputError(f"a hash key has {HASH_BYTES} bytes, this one {len(key)}")
        cipher = AES(key)
        # a GCM tag without ciphertext is GHASH, exclusive or this block
        self._mask = Cipher(cipher, ECB()).encryptor().update(_NONCE + b"\0\0\0\1")  # noqa: S305 one block, by GCM
        self._state = Cipher(cipher, GCM(_NONCE)).encryptor()

    def add(self, data: bytes) -> None:
        """Hash on."""
        self._state.authenticate_additional_data(data)

    def value(self) -> bytes:
        """Return the hash, 16 bytes. Nothing can be added after that."""
        self._state.finalize()
        return bytes(a ^ b for a, b in zip(self._state.tag, self._mask, strict=True))


@dataclass(frozen=True, slots=True)
class BlockHashes:
    """Of one block, in one direction; 16 bytes each, to be padded before anyone sees them."""

    stream: bytes
    block: bytes


class Transcript:
    """One direction of one session, as it is written or read."""

    def __init__(self, key: bytes) -> None:
        """Hash under `key`, 16 bytes, recycled from session to session."""
        self._key = key
        self._session = b""
        self._stream = Ghash(key)
        self._stream.add(bytes(HASH_BYTES))
        self._cuts: dict[str, bytes] = {}
        self._blocks: dict[str, Ghash] = {}
        self._closed: dict[str, BlockHashes] = {}

    def see(self, message: Message) -> None:
        """Take the next message of this direction."""
        event = message.WhichOneof("event")
        if event is None or event == "heartbeat" or event in _DECISIONS:
            return
        body = getattr(message, event)
        if "block_id" not in body.DESCRIPTOR.fields_by_name:
            self._stream.add(_encoded(message))
            return
        block_id: str = body.block_id
        if block_id in self._closed:
            return
        if event in _CUTS:
            self._cut(block_id)
        if block_id not in self._blocks:
            _make_room(self._blocks)
            self._blocks[block_id] = Ghash(self._key)
        self._blocks[block_id].add(_encoded(message))
        if message.HasField("tags"):
            self.close(block_id)

    def close(self, block_id: str) -> BlockHashes | None:
        """Return the hashes of a block whose last message that counts was seen; None for one that did not begin here.

        The same again for as long as it is not forgotten.
        """
        block, stream = self._blocks.pop(block_id, None), self._cuts.pop(block_id, None)
        if block is not None and stream is not None:
            _make_room(self._closed)
            self._closed[block_id] = BlockHashes(stream, block.value())
        return self._closed.get(block_id)

    def name_session(self, incarnation: int, counter: int) -> None:
        """Say which session it is, as the transmitter's hello does: nothing of another one counts in it."""
        self._session = struct.pack("<QQ", incarnation, counter)

    def alone(self, message: Message) -> bytes:
        """Return the hash of a message by itself, 16 bytes, to be padded before anyone sees it."""
        hashed = Ghash(self._key)
        hashed.add(_ALONE + self._session + _encoded(message))
        return hashed.value()

    def forget(self, block_id: str) -> None:
        """Let go of a block that is over."""
        for held in (self._cuts, self._blocks, self._closed):
            held.pop(block_id, None)

    def _cut(self, block_id: str) -> None:
        value = self._stream.value()
        _make_room(self._cuts)
        self._cuts[block_id] = value
        self._stream = Ghash(self._key)
        self._stream.add(value)


def _make_room(held: dict[str, bytes] | dict[str, Ghash] | dict[str, BlockHashes]) -> None:
    if len(held) >= _BLOCKS_LIMIT:
        del held[next(iter(held))]


def _encoded(message: Message) -> bytes:
    """Return a message as it counts: its length and what it says, without its tags."""
    if message.HasField("tags"):
        message = copy(message)
        message.ClearField("tags")
    data = message.SerializeToString(deterministic=True)
    return struct.pack("<Q", len(data)) + data
