"""node.client: how others reach a node's management side. Edge."""

from collections.abc import AsyncIterator

import grpc.aio

from qnetem.runtime import rpc
from qnetem.v1 import controller_pb2, controller_pb2_grpc, key_admin_pb2, key_admin_pb2_grpc, node_pb2, node_pb2_grpc

__all__ = ["KeyAdminClient", "NodeClient", "PathClient"]


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


class KeyAdminClient:
    """Over a channel to the node's management listener, as an operator: what its key manager tells and takes."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float = 10.0) -> None:
        """Answer within `timeout_s` wall seconds."""
        self._stub = key_admin_pb2_grpc.KeyAdminServiceStub(channel)
        self._timeout_s = timeout_s

    async def status(self) -> key_admin_pb2.GetKeyStatusResponse:
        """Return every pool, by what became of its bits, and how fast that goes."""
        request = key_admin_pb2.GetKeyStatusRequest()
        return await rpc.call(self._stub.GetKeyStatus, request, timeout_s=self._timeout_s)

    async def verify_audit(
        self, known_seq: int = 0, known_mac: bytes = b"", timeout_s: float = 120.0
    ) -> key_admin_pb2.VerifyAuditResponse:
        """Have the whole audit trail checked, against an entry remembered from before too."""
        request = key_admin_pb2.VerifyAuditRequest(known_seq=known_seq, known_mac=known_mac)
        return await rpc.call(self._stub.VerifyAudit, request, timeout_s=timeout_s)

    async def trace(self, key_id: str, timeout_s: float = 60.0) -> list[str]:
        """Return what the audit trail says of a key: lines of JSON, in order.

        Raises:
            BadInputError: It is no key id.
        """
        request = key_admin_pb2.TraceKeyRequest(key_id=key_id)
        return list((await rpc.call(self._stub.TraceKey, request, timeout_s=timeout_s)).entries)

    async def rotate_storage_key(self, timeout_s: float = 60.0) -> bool:
        """Have the store sealed anew under the successor of its storage key; whether there was anything to do.

        Raises:
            StorageError: It cannot be: the old key still opens everything.
        """
        request = key_admin_pb2.RotateStorageKeyRequest()
        return (await rpc.call(self._stub.RotateStorageKey, request, timeout_s=timeout_s)).is_new

    async def provision_link(self, link_id: str, generation: int, secret: bytes = b"") -> bool:
        """Bring a link new bits to authenticate with; without them, say that both ends hold them. Whether they are new.

        Raises:
            NotFoundError: The link does not end there.
            BadInputError: They are too few.
        """
        request = key_admin_pb2.ProvisionLinkRequest(
            link_id=link_id, generation=generation, secret=secret, is_shared=not secret
        )
        return (await rpc.call(self._stub.ProvisionLink, request, timeout_s=self._timeout_s)).is_new


class PathClient:
    """Over a channel to the node's management listener, as an operator: the paths that it relays keys on."""

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float = 5.0) -> None:
        """Answer within `timeout_s` wall seconds."""
        self._stub = controller_pb2_grpc.PathServiceStub(channel)
        self._timeout_s = timeout_s

    async def get(self) -> controller_pb2.GetPathsResponse:
        """Return the paths in force, and the hops that are gone around."""
        request = controller_pb2.GetPathsRequest()
        return await rpc.call(self._stub.GetPaths, request, timeout_s=self._timeout_s)

    async def install(self, paths: controller_pb2.PathSet) -> None:
        """Put paths in force in the place of all that were.

        Raises:
            BadInputError: They are no paths from there.
            ConflictError: It takes its paths from a controller, or the version is not above the operator's in force.
            StorageError: It cannot write them; those before stay in force.
        """
        request = controller_pb2.InstallPathsRequest(paths=paths)
        await rpc.call(self._stub.InstallPaths, request, timeout_s=self._timeout_s)
