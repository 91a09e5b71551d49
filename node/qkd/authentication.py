"""node.qkd.authentication: Wegman-Carter tags of a link's sessions, paid from the pool its ends share. Wiring."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from node.keys.records import BlockRole, Piece
from node.keys.store import KeyStore
from node.qkd.errors import LinkTroubleError
from node.qkd.transcript import HASH_BYTES, BlockHashes, Transcript
from qnetem.runtime.errors import BadInputError, ConflictError, DeniedError
from qnetem.v1 import key_exchange_pb2, link_session_pb2, process_pb2

__all__ = [
    "AUTHENTICATION",
    "AUTH_STARVED",
    "BLOCK_TAG_BITS",
    "PRESHARED_BITS",
    "RESERVE_BITS",
    "LinkAuthentication",
    "LinkSecrets",
    "authenticated",
]

PRESHARED_BITS: Final = 65_536
# what one end pays for a block: a tag of the stream, and one of the block
BLOCK_TAG_BITS: Final = 256
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

    async def tags(self, hashes: BlockHashes) -> link_session_pb2.Tags:
        """Pay for a block's tags and return them.

        Raises:
            PadsExhaustedError: Nothing is left to pay with.
            StorageError: The store cannot be written.
        """
        pad = await self._store.authentication.take_pad(self.peer_node, BLOCK_TAG_BITS, self._link_id)
        return link_session_pb2.Tags(
            pad=[
                key_exchange_pb2.KeyPiece(block_id=p.block_id, offset_bits=p.offset_bits, length_bits=p.length_bits)
                for p in pad.pieces
            ],
            stream=_xor(hashes.stream, pad.value[:HASH_BYTES]),
            block=_xor(hashes.block, pad.value[HASH_BYTES:]),
        )

    async def check(self, block_id: str, hashes: BlockHashes | None, tags: link_session_pb2.Tags) -> None:
        """Check the peer's tags of a block; what they are padded with is spent, whatever comes of it.

        Raises:
            LinkTroubleError: They are missing or wrong, or so is their pad: what was heard is not what was said.
            StorageError: The store cannot be written.
        """
        pieces = [Piece(p.block_id, p.offset_bits, p.length_bits) for p in tags.pad]
        try:
            if hashes is None or not pieces:
                raise BadInputError("no tags")
            pad = await self._store.authentication.claim_pad(self.peer_node, pieces, BLOCK_TAG_BITS, self._link_id)
        except (BadInputError, ConflictError, DeniedError) as error:
            await self._failed(block_id, error.reason)
            raise LinkTroubleError(AUTHENTICATION) from error
        expected = _xor(hashes.stream, pad[:HASH_BYTES]) + _xor(hashes.block, pad[HASH_BYTES:])
        if not hmac.compare_digest(expected, tags.stream + tags.block):
            await self._failed(block_id, "WRONG_TAG")
            raise LinkTroubleError(AUTHENTICATION)

    async def _failed(self, block_id: str, reason: str) -> None:
        await self._store.audit.record("authentication.failed", link_id=self._link_id, subject=block_id, reason=reason)


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


def _xor(value: bytes, pad: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(value, pad, strict=True))
