"""node.client: how others reach a node's management side. Edge."""

from collections.abc import AsyncIterator

import grpc.aio

from qnetem.runtime import rpc
from qnetem.v1 import node_pb2, node_pb2_grpc

__all__ = ["NodeClient"]


class NodeClient:
    """Over a channel to the node's management listener, as an operator."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float = 5.0) -> None:
        """Answer within `timeout_s` wall seconds."""
        self._stub = node_pb2_grpc.NodeServiceStub(channel)
        self._timeout_s = timeout_s

    async def get_node(self) -> node_pb2.GetNodeResponse:
        """Return the node's links and pools.

        Raises:
            UnavailableError: The node cannot be reached.
            DeadlineError: It does not answer.
        """
        return await rpc.call(self._stub.GetNode, node_pb2.GetNodeRequest(), timeout_s=self._timeout_s)

    async def watch_links(self) -> AsyncIterator[node_pb2.NodeLinkStatus]:
        """Yield the state of every link now, then each change."""
        async for response in rpc.stream(self._stub.WatchLinks(node_pb2.WatchLinksRequest())):
            yield response.link
