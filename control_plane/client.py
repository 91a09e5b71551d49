"""control_plane.client: what operators ask of a controller. Edge."""

import grpc.aio

from qnetem.runtime import rpc
from qnetem.v1 import controller_pb2, controller_pb2_grpc

__all__ = ["ControllerClient"]


class ControllerClient:
    """Over a channel to the controller's management listener, as an operator."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float = 5.0) -> None:
        """Answer within `timeout_s` wall seconds."""
        self._stub = controller_pb2_grpc.ControllerServiceStub(channel)
        self._timeout_s = timeout_s

    async def get_network(self) -> controller_pb2.GetNetworkResponse:
        """Return the nodes that reported, and the paths that they were told.

        Raises:
            UnavailableError: The controller cannot be reached.
            DeadlineError: It does not answer.
        """
        request = controller_pb2.GetNetworkRequest()
        return await rpc.call(self._stub.GetNetwork, request, timeout_s=self._timeout_s)
