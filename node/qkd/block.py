"""node.qkd.block: what the two ends of a key block's post-processing have in common. Wiring."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from node.context import NodeContext
from node.keys.records import BlockRole
from node.link_state import LinkRecord
from node.qkd import bits as packed
from node.qkd.errors import SessionRefusedError
from node.qkd.sifting import RawBlock
from node.qkd.wire import Wire
from qnetem.runtime import crashpoint
from qnetem.v1 import process_pb2

__all__ = [
    "COMMITTED_RECEIVER",
    "COMMITTED_TRANSMITTER",
    "PREPARED_RECEIVER",
    "PREPARED_TRANSMITTER",
    "BlockJob",
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


@dataclass
class BlockJob:
    """One key block on its way, at one end.

    Attributes:
        block_id: "<link id>/<transmitter incarnation>.<session counter>.<number>".
        raw: The sifted block.
        config: The link.
        node: What the node's links share.
        record: The link's figures.
        wire: The session.
        inbox: Messages of the peer about this block, in order.
    """

    block_id: str
    raw: RawBlock
    config: process_pb2.NodeLinkConfig
    node: NodeContext
    record: LinkRecord
    wire: Wire[Any, Any]
    inbox: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)

    async def expect(self, event: str) -> Any:
        """Return the next message about this block, which must be an `event`.

        Raises:
            SessionRefusedError: It is another one.
        """
        message = await self.inbox.get()
        kind = message.WhichOneof("event")
        if kind != event:
            raise SessionRefusedError(f"block {self.block_id}: {kind} instead of {event}")
        return getattr(message, kind)

    async def hold(self, secret: npt.NDArray[np.uint8], role: BlockRole) -> None:
        """Hold the secret durably PREPARED.

        Raises:
            StorageError: It cannot be held, and is not.
        """
        await self.node.store.prepare(
            self.block_id, self.config.link_id, self.config.peer_node, packed.pack(secret), len(secret), role
        )

    def dropped(self, reason: str, qber_prob: float) -> None:
        """Count and record that the block makes no key."""
        self.record.count_block(len(self.raw.z_bits), 0, 0.0, qber_prob)
        self.node.process.journal.write(
            "key.block.dropped", link_id=self.config.link_id, block_id=self.block_id, reason=reason
        )

    def made(self, secret_bits: int, qber_prob: float) -> None:
        """Count and record that the block makes key."""
        protocol = self.config.protocol
        epsilon = protocol.eps_sec + protocol.eps_cor
        self.record.count_block(len(self.raw.z_bits), secret_bits, epsilon, qber_prob)
        self.node.process.journal.write(
            "key.block.made",
            link_id=self.config.link_id,
            block_id=self.block_id,
            sifted_bits=len(self.raw.z_bits),
            secret_bits=secret_bits,
            qber_prob=round(qber_prob, 6),
        )
