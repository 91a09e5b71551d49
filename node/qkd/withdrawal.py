"""node.qkd.withdrawal: keys of a protocol for study that a store still holds when they are wanted no more. Edge."""

from collections.abc import Iterable
from typing import Final

from node.keys.records import Block, BlockState
from node.keys.store import KeyStore
from node.qkd.protocols import ASYMPTOTIC, PROTOCOLS
from qnetem.v1 import process_pb2

__all__ = ["withdraw_insecure"]

_MARK: Final = PROTOCOLS[ASYMPTOTIC].block_suffix


async def withdraw_insecure(store: KeyStore, links: Iterable[process_pb2.NodeLinkConfig]) -> list[Block]:
    """Take back what is not secure and was kept while a topology wanted it; return those blocks.

    A link that still gives such keys keeps them. What was given before stays with whom it was given to.
    """
    giving = {link.link_id for link in links if link.protocol.gives_insecure_keys}
    withdrawn = [block for block in await store.blocks_held(_MARK) if block.link_id not in giving]
    for block in withdrawn:
        if block.state is BlockState.PREPARED:
            await store.abort(block.block_id)
        else:
            await store.quarantine(block.block_id)
    return withdrawn
