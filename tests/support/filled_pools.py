"""Pools that hold key before a testbed starts, so that tests of keys need not wait for light."""

import os
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

from google.protobuf import json_format

from node.keys.records import BlockRole
from node.keys.store import open_store
from qnetem.testbed.layout import Layout
from qnetem.v1 import process_pb2


async def fill(layout: Layout, nodes: Iterable[str], bits: int) -> None:
    """Give both ends of every link the same secret, as their sessions do. The nodes have ended."""
    configs = {
        node: json_format.Parse(layout.config(node).read_text(), process_pb2.ProcessConfig()).node for node in nodes
    }
    async with AsyncExitStack() as stack:
        stores = {
            node: await stack.enter_async_context(
                open_store(layout.state(node) / "keys.sqlite", key_path=Path(config.storage_key_path))
            )
            for node, config in configs.items()
        }
        for node, config in configs.items():
            for link in config.links:
                if link.role != process_pb2.LINK_ROLE_TRANSMITTER:
                    continue
                sender, taker = stores[node], stores[link.peer_node]
                block_id, secret = f"{link.link_id}/filled", os.urandom(bits // 8)
                await taker.prepare(block_id, link.link_id, node, secret, bits, BlockRole.RECEIVER)
                await sender.prepare(block_id, link.link_id, link.peer_node, secret, bits, BlockRole.TRANSMITTER)
                await sender.commit(block_id)
                await taker.commit(block_id)
                await sender.confirm(block_id)
