"""node.qkd.block: what the two ends of a key block's post-processing have in common. Wiring."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from node.context import NodeContext
from node.keys.records import BlockRole
from node.link_state import LinkRecord
from node.qkd import bits as packed
from node.qkd.authentication import AUTH_STARVED
from node.qkd.errors import LinkTroubleError, SessionRefusedError
from node.qkd.protocols import Protocol
from node.qkd.sifting import RawBlock
from node.qkd.transcript import BLOCK_TAG_BITS
from node.qkd.wire import Wire
from qnetem.runtime import crashpoint
from qnetem.v1 import process_pb2

__all__ = [
    "COMMITTED_RECEIVER",
    "COMMITTED_TRANSMITTER",
    "PREPARED_RECEIVER",
    "PREPARED_TRANSMITTER",
    "BlockJob",
    "shortened",
]

PREPARED_TRANSMITTER: Final = crashpoint.declare(
    "session.transmitter.prepared", "The transmitter holds the block PREPARED; the receiver has not got the seed."
)
PREPARED_RECEIVER: Final = crashpoint.declare(
    "session.receiver.prepared", "The receiver holds the block PREPARED; the transmitter does not know it."
)
COMMITTED_TRANSMITTER: Final = crashpoint.declare(
    "session.transmitter.committed", "The transmitter holds the block AVAILABLE; the receiver does not know it."
)
COMMITTED_RECEIVER: Final = crashpoint.declare(
    "session.receiver.committed", "Both hold the block AVAILABLE; the transmitter does not know that the receiver does."
)


_INBOX_LIMIT: Final = 4
# post-processing of one block may take so long, wall seconds, and so much more for each bit
_LIMIT_S: Final = 60.0
_LEAST_BITS_PER_S: Final = 100_000
_REASON_CHARS: Final = 64


def shortened(reason: str) -> str:
    """Return a peer's words, no longer than a reason is."""
    return reason[:_REASON_CHARS]


@dataclass
class BlockJob:
    """One key block on its way, at one end.

    Attributes:
        block_id: As BlockStart says.
        raw: The sifted block.
        config: The link.
        protocol: What it speaks.
        node: What the node's links share.
        record: The link's figures.
        wire: The session.
        error_count: Errors in Z that reconciliation found; None at the transmitter, and before it is over.
    """

    block_id: str
    raw: RawBlock
    config: process_pb2.NodeLinkConfig
    protocol: Protocol
    node: NodeContext
    record: LinkRecord
    wire: Wire[Any, Any]
    error_count: int | None = None
    _inbox: asyncio.Queue[Any] = field(default_factory=lambda: asyncio.Queue(_INBOX_LIMIT))

    def deliver(self, message: Any) -> None:
        """Take a message of the peer about this block.

        Raises:
            SessionRefusedError: The peer sends more than the protocol has room for.
        """
        try:
            self._inbox.put_nowait(message)
        except asyncio.QueueFull:
            raise SessionRefusedError(f"block {self.block_id}: more messages than are asked for") from None

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Bound post-processing: a peer whose heart beats may yet never answer.

        Raises:
            LinkTroubleError: The block took too long.
        """
        try:
            async with asyncio.timeout(_LIMIT_S + len(self.raw.z_bits) / _LEAST_BITS_PER_S):
                yield
        except TimeoutError:
            raise LinkTroubleError("block-stalled") from None
        finally:
            self.wire.forget(self.block_id)

    async def next_message(self) -> Any:
        """Return the peer's next message about this block."""
        return await self._inbox.get()

    async def expect(self, event: str) -> Any:
        """Return the next message about this block, which must be an `event`.

        Raises:
            SessionRefusedError: It is another one.
        """
        return getattr(await self._expect(event), event)

    async def expect_tagged(self, event: str, is_tagged: Callable[[Any], bool]) -> Any:
        """Return the next message about this block, an `event`, once its tags verify where it says it has any.

        Raises:
            SessionRefusedError: It is another one.
            LinkTroubleError: The tags are missing or wrong.
        """
        message = await self._expect(event)
        body = getattr(message, event)
        if self.is_kept and is_tagged(body):
            await self.wire.check_tags(self.block_id, message.tags)
        return body

    async def expect_decided(self, event: str) -> Any:
        """Return the next message about this block, an `event`, once the tag of what it decides verifies.

        Raises:
            SessionRefusedError: It is another one.
            LinkTroubleError: The tag is missing or wrong.
        """
        message = await self._expect(event)
        if self.is_kept:
            await self.wire.check_decided(self.block_id, message)
        return getattr(message, event)

    async def _expect(self, event: str) -> Any:
        message = await self.next_message()
        kind = message.WhichOneof("event")
        if kind != event:
            raise SessionRefusedError(f"block {self.block_id}: {kind} instead of {event}")
        return message

    async def send_tagged(self, **event: Any) -> None:
        """Send the message that ends what this end says of the block, with the tags of all it said.

        Raises:
            PadsExhaustedError: Nothing is left to pay for tags; nothing was sent.
        """
        if self.is_kept:
            await self.wire.send_tagged(self.block_id, **event)
        else:
            await self.wire.send(**event)

    async def send_decided(self, **event: Any) -> None:
        """Send what this end decides on the block, or confirms, with the tag that was paid with those before."""
        if self.is_kept:
            await self.wire.send_decided(self.block_id, **event)
        else:
            await self.wire.send(**event)

    @property
    def is_kept(self) -> bool:
        """Whether the block enters the key store: one that is not secure only where the topology wants it."""
        return self.protocol.is_secure or self.config.protocol.gives_insecure_keys

    async def hold(self, secret: npt.NDArray[np.uint8], role: BlockRole) -> None:
        """Hold the secret durably PREPARED; a block that is not kept is forgotten here.

        Raises:
            StorageError: It cannot be held, and is not.
        """
        if not self.is_kept:
            return
        await self.node.store.prepare(
            self.block_id, self.config.link_id, self.config.peer_node, packed.pack(secret), len(secret), role
        )

    async def commit(self) -> None:
        """Make the block AVAILABLE."""
        if self.is_kept:
            await self.node.store.commit(self.block_id)

    async def abort(self) -> None:
        """Give the block up for ever."""
        if self.is_kept:
            await self.node.store.abort(self.block_id)

    async def confirm(self) -> None:
        """Note that the peer holds the block AVAILABLE."""
        if self.is_kept:
            await self.node.store.confirm(self.block_id)

    def dropped(self, reason: str, qber_prob: float) -> None:
        """Count and record that the block makes no key."""
        self.record.count_block(len(self.raw.z_bits), 0, 0.0, qber_prob)
        self.record.is_auth_starved = reason == AUTH_STARVED
        self.node.process.journal.write(
            "key.block.dropped", link_id=self.config.link_id, block_id=self.block_id, reason=reason
        )

    def made(self, secret_bits: int, qber_prob: float) -> None:
        """Count and record that the block makes key."""
        agreed = self.config.protocol
        # where nothing is proven, nothing bounds what Eve knows
        epsilon = agreed.eps_sec + agreed.eps_cor if self.protocol.is_secure else 1.0
        self.record.count_block(len(self.raw.z_bits), secret_bits, epsilon, qber_prob)
        if self.is_kept and self.wire.authentication is not None:
            self.record.count_tags(len(self.raw.z_bits), BLOCK_TAG_BITS)
        self.node.process.journal.write(
            "key.block.made",
            link_id=self.config.link_id,
            block_id=self.block_id,
            sifted_bits=len(self.raw.z_bits),
            secret_bits=secret_bits,
            qber_prob=round(qber_prob, 6),
            is_secure=self.protocol.is_secure,
        )
