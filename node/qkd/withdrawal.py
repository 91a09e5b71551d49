"""node.qkd.withdrawal: keys of a protocol for study that a store still holds when they are wanted no more. Edge."""

from collections.abc import Iterable
from typing import Final

from node.keys.records import Block, BlockState
from node.keys.relay_rows import pool_link
from node.keys.store import KeyStore
from node.qkd.protocols import ASYMPTOTIC, PROTOCOLS
from qnetem.v1 import process_pb2

__all__ = ["withdraw_insecure"]

_MARK: Final = PROTOCOLS[ASYMPTOTIC].block_suffix


async def withdraw_insecure(
    store: KeyStore, links: Iterable[process_pb2.NodeLinkConfig], *, has_insecure_hops: bool = False
) -> list[Block]:
    """Take back what is not secure and was kept while a topology wanted it; return those blocks.

    A link that still gives such keys keeps them, and what was relayed stays while any link of the testbed does
    (`has_insecure_hops`). What was given before stays with whom it was given to.
    """
    giving = {link.link_id for link in links if link.protocol.gives_insecure_keys}
    held = await store.blocks_held(_MARK)
    withdrawn = [one for one in held if one.link_id not in giving and not (has_insecure_hops and _is_relayed(one))]
    for block in withdrawn:
        if block.state is BlockState.PREPARED:
            await store.abort(block.block_id)
        else:
            await store.quarantine(block.block_id)
    return withdrawn


def _is_relayed(block: Block) -> bool:
    return block.link_id == pool_link(block.peer_node)
