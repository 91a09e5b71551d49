"""node.qkd.authentication: Wegman-Carter tags of a link's sessions, paid from the pool its ends share. Wiring."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from node.keys.pads import Pad
from node.keys.records import BlockRole, Piece
from node.keys.store import KeyStore
from node.qkd.errors import LinkTroubleError
from node.qkd.transcript import BLOCK_TAG_BITS, HASH_BYTES, BlockHashes, Transcript
from qnetem.runtime.errors import BadInputError, ConflictError, DeniedError
from qnetem.v1 import key_exchange_pb2, link_session_pb2, process_pb2

__all__ = [
    "AUTHENTICATION",
    "AUTH_STARVED",
    "PRESHARED_BITS",
    "RESERVE_BITS",
    "LinkAuthentication",
    "LinkSecrets",
    "authenticated",
    "padded",
]

PRESHARED_BITS: Final = 65_536
# of the own half of the pool, held back from keys: 32 blocks
RESERVE_BITS: Final = 32 * BLOCK_TAG_BITS
# reasons of a link
AUTH_STARVED: Final = "auth-starved"
AUTHENTICATION: Final = "authentication"
_LABEL: Final = b"qnetem link authentication"


@dataclass(frozen=True, slots=True, repr=False)
class LinkSecrets:
    """What follows from the authentication secret of a link, as link_session.proto says. Nothing shows it.

    Attributes:
        transmitter_key: Hashes what the transmitter says; recycled.
        receiver_key: Hashes what the receiver says.
        preshared: What pads come from at first, 8192 bytes.
    """

    transmitter_key: bytes
    receiver_key: bytes
    preshared: bytes

    @classmethod
    def of(cls, secret: bytes) -> "LinkSecrets":
        """Derive it.

        Raises:
            BadInputError: The secret is not 16 bytes long.
        """
        if len(secret) != HASH_BYTES:
            raise BadInputError(f"authentication_secret has {HASH_BYTES} bytes, this one {len(secret)}")
        derived = hashlib.shake_256(_LABEL + secret).digest(2 * HASH_BYTES + PRESHARED_BITS // 8)
        return cls(derived[:HASH_BYTES], derived[HASH_BYTES : 2 * HASH_BYTES], derived[2 * HASH_BYTES :])


class LinkAuthentication:
    """Makes and checks the tags of one link at one of its ends."""

    def __init__(self, config: process_pb2.NodeLinkConfig, store: KeyStore) -> None:
        """Work under the link's authentication secret, paying from `store`."""
        secrets = LinkSecrets.of(config.authentication_secret)
        keys = secrets.transmitter_key, secrets.receiver_key
        is_transmitter = config.role == process_pb2.LINK_ROLE_TRANSMITTER
        self._own_key, self._peer_key = keys if is_transmitter else keys[::-1]
        self._preshared = secrets.preshared
        self._role = BlockRole.TRANSMITTER if is_transmitter else BlockRole.RECEIVER
        self._link_id, self.peer_node = config.link_id, config.peer_node
        self._store = store

    async def install(self) -> None:
        """Hold what was shared beforehand, unless it was held before."""
        await self._hold(0, self._preshared, is_shared=True)
        self._preshared = b""

    async def provision(self, generation: int, secret: bytes) -> bool:
        """Hold more, of which no pad is taken before `confirm`; False when that generation was held before.

        Raises:
            BadInputError: It is too little.
        """
        return await self._hold(generation, secret, is_shared=False)

    async def confirm(self, generation: int) -> bool:
        """Take pads of a generation from now on: the peer holds it too. False: it is not held here."""
        return await self._store.authentication.confirm(self._link_id, generation)

    async def _hold(self, generation: int, secret: bytes, *, is_shared: bool) -> bool:
        return await self._store.authentication.install(
            self._link_id, self.peer_node, self._role, generation, secret, is_shared=is_shared
        )

    def transcripts(self) -> tuple[Transcript, Transcript]:
        """Return the transcripts of a new session: of what this end says, and of what it hears."""
        return Transcript(self._own_key), Transcript(self._peer_key)

    async def tags(self, hashes: BlockHashes) -> tuple[link_session_pb2.Tags, bytes]:
        """Pay for a block's tags; return those of what was said, and what pads the one of what is decided.

        Raises:
            PadsExhaustedError: Nothing is left to pay with.
            StorageError: The store cannot be written.
        """
        taken = await self._store.authentication.take_pad(self.peer_node, BLOCK_TAG_BITS, self._link_id)
        of_stream, of_block, of_decision = _cut(taken.value)
        tags = link_session_pb2.Tags(
            pad=_wire_pieces(taken), stream=_xor(hashes.stream, of_stream), block=_xor(hashes.block, of_block)
        )
        return tags, of_decision

    async def check(self, block_id: str, hashes: BlockHashes | None, tags: link_session_pb2.Tags) -> bytes:
        """Check the peer's tags of a block; their pad is spent, whatever comes of it.

        Returns:
            What pads the tag of what the peer decides.

        Raises:
            LinkTroubleError: They are missing or wrong, or so is their pad: what was heard is not what was said.
            StorageError: The store cannot be written.
        """
        of_stream, of_block, of_decision = _cut(await self._claimed(block_id, tags, BLOCK_TAG_BITS))
        if hashes is None:
            raise await self._refused(block_id, "UNHEARD")
        expected = _xor(hashes.stream, of_stream) + _xor(hashes.block, of_block)
        if not hmac.compare_digest(expected, tags.stream + tags.block):
            raise await self._refused(block_id, "WRONG_TAG")
        return of_decision

    async def check_decision(self, block_id: str, value: bytes, pad: bytes, tags: link_session_pb2.Tags) -> None:
        """Check the tag of what the peer decides on a block, `value` being the hash of the message.

        Raises:
            LinkTroubleError: It is missing or wrong: somebody else decided.
        """
        if not hmac.compare_digest(_xor(value, pad), tags.alone):
            raise await self._refused(block_id, "FORGED_DECISION")

    async def settlement_tags(self, value: bytes) -> link_session_pb2.Tags:
        """Pay for the tag of a settlement and return it, `value` being the hash of the message.

        Raises:
            PadsExhaustedError: Nothing is left to pay with.
            StorageError: The store cannot be written.
        """
        taken = await self._store.authentication.take_pad(self.peer_node, 8 * HASH_BYTES, self._link_id)
        return link_session_pb2.Tags(pad=_wire_pieces(taken), alone=_xor(value, taken.value))

    async def check_settlement(self, value: bytes, tags: link_session_pb2.Tags) -> None:
        """Check the tag of the peer's settlement.

        Raises:
            LinkTroubleError: It is missing or wrong, or so is its pad.
            StorageError: The store cannot be written.
        """
        pad = await self._claimed("settlement", tags, 8 * HASH_BYTES)
        if not hmac.compare_digest(_xor(value, pad), tags.alone):
            raise await self._refused("settlement", "FORGED_DECISION")

    async def _claimed(self, subject: str, tags: link_session_pb2.Tags, bits: int) -> bytes:
        pieces = [Piece(p.block_id, p.offset_bits, p.length_bits) for p in tags.pad]
        if not pieces:
            raise await self._refused(subject, "NO_TAG")
        try:
            return await self._store.authentication.claim_pad(self.peer_node, pieces, bits, self._link_id)
        except (BadInputError, ConflictError, DeniedError) as error:
            raise await self._refused(subject, error.reason) from error

    async def _refused(self, subject: str, reason: str) -> LinkTroubleError:
        await self._store.audit.record("authentication.failed", link_id=self._link_id, subject=subject, reason=reason)
        return LinkTroubleError(AUTHENTICATION)


async def authenticated(links: Iterable[process_pb2.NodeLinkConfig], store: KeyStore) -> dict[str, LinkAuthentication]:
    """Return those of a node's links that authenticate by tags, ready for it, by id.

    For each the pool that it shares with its peer holds back what 32 blocks cost.
    """
    found = {link.link_id: LinkAuthentication(link, store) for link in links if link.authentication_secret}
    for link in found.values():
        await link.install()
    for peer_node, count in Counter(link.peer_node for link in found.values()).items():
        await store.authentication.keep(peer_node, count * RESERVE_BITS)
    return found


def padded(value: bytes, pad: bytes) -> link_session_pb2.Tags:
    """Return the tag of a message by itself, whose pad was named before."""
    return link_session_pb2.Tags(alone=_xor(value, pad))


def _cut(pad: bytes) -> tuple[bytes, bytes, bytes]:
    return pad[:HASH_BYTES], pad[HASH_BYTES : 2 * HASH_BYTES], pad[2 * HASH_BYTES :]


def _wire_pieces(taken: Pad) -> list[key_exchange_pb2.KeyPiece]:
    return [
        key_exchange_pb2.KeyPiece(block_id=p.block_id, offset_bits=p.offset_bits, length_bits=p.length_bits)
        for p in taken.pieces
    ]


def _xor(value: bytes, pad: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(value, pad, strict=True))
