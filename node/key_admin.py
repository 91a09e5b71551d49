"""node.key_admin: what operators ask of a node's key manager. Edge: gRPC."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from node.keys.audit import Head
from node.keys.pool_trend import PoolTrend
from node.keys.records import Pool, is_key_id
from node.keys.store import KeyStore
from node.qkd.authentication import LinkAuthentication
from qnetem.runtime.errors import BadInputError, NotFoundError
from qnetem.v1 import key_admin_pb2 as pb
from qnetem.v1 import key_admin_pb2_grpc as pb_grpc

__all__ = ["KeyAdminServicer"]

_SUMS: Final = tuple(f.name for f in pb.KeyPool.DESCRIPTOR.fields if f.name.endswith("_bits"))
_MAC_BYTES: Final = 32


class KeyAdminServicer(pb_grpc.KeyAdminServiceServicer):
    """Tells counts, never material."""

    def __init__(self, store: KeyStore, links: Mapping[str, LinkAuthentication]) -> None:
        """Answer for `store`; `links` are those that authenticate from it, by id."""
        self._store = store
        self._links = links
        self._trend = PoolTrend()

    def see(self, emulated_s: float, pools: Sequence[Pool]) -> None:
        """Look at the pools, for their trend."""
        self._trend.see(emulated_s, pools)

    async def GetKeyStatus(self, request: pb.GetKeyStatusRequest, context: Any) -> pb.GetKeyStatusResponse:
        """Return every pool, by what became of its bits, and how fast that goes."""
        pads = []
        for link_id, link in sorted(self._links.items()):
            own, peer = await self._store.authentication.left_bits(link_id)
            pads.append(pb.LinkPads(link_id=link_id, peer_node=link.peer_node, own_bits=own, peer_bits=peer))
        insecure = await self._store.insecure_peers()
        pools = [self._pool(pool, pool.peer_node in insecure) for pool in await self._store.pools()]
        return pb.GetKeyStatusResponse(pools=pools, pads=pads)

    def _pool(self, pool: Pool, is_insecure: bool) -> pb.KeyPool:
        trend = self._trend.of(pool.peer_node)
        return pb.KeyPool(
            peer_node=pool.peer_node,
            **{name: getattr(pool, name) for name in _SUMS},
            made_hz=trend.made_hz,
            spent_hz=trend.spent_hz,
            window_s=trend.window_s,
            exhausted_in_s=trend.exhausted_in_s,
            is_insecure=is_insecure,
        )

    async def VerifyAudit(self, request: pb.VerifyAuditRequest, context: Any) -> pb.VerifyAuditResponse:
        """Check the audit trail from its first entry to its last."""
        known = Head()
        if request.known_seq:
            if len(request.known_mac) != _MAC_BYTES:
                raise BadInputError(f"known_mac has {_MAC_BYTES} bytes, this one {len(request.known_mac)}")
            known = Head(request.known_seq, request.known_mac)
        verdict = await self._store.audit.verify(known)
        return pb.VerifyAuditResponse(
            entry_count=verdict.entry_count,
            head_seq=verdict.head.seq,
            head_mac=verdict.head.mac,
            fault=verdict.fault,
            first_seq=verdict.first_seq,
        )

    async def TraceKey(self, request: pb.TraceKeyRequest, context: Any) -> pb.TraceKeyResponse:
        """Return what the audit trail says of a key."""
        if not is_key_id(request.key_id):
            raise BadInputError("key_id is not a UUID in lower case")
        lines = await self._store.audit.lines_about(request.key_id)
        return pb.TraceKeyResponse(entries=[line.decode().rstrip("\n") for line in lines])

    async def RotateStorageKey(self, request: pb.RotateStorageKeyRequest, context: Any) -> pb.RotateStorageKeyResponse:
        """Seal the store anew under the successor of its storage key."""
        return pb.RotateStorageKeyResponse(is_new=await self._store.rotate_storage_key())

    async def ProvisionLink(self, request: pb.ProvisionLinkRequest, context: Any) -> pb.ProvisionLinkResponse:
        """Hold new bits that a link authenticates with."""
        link = self._links.get(request.link_id)
        if link is None:
            raise NotFoundError(f"link {request.link_id}: does not end here, or does not authenticate by tags")
        if request.generation < 1:
            raise BadInputError(f"link {request.link_id}: generation {request.generation} is not 1 or more")
        if not request.is_shared:
            return pb.ProvisionLinkResponse(is_new=await link.provision(request.generation, request.secret))
        if not await link.confirm(request.generation):
            raise NotFoundError(f"link {request.link_id}: generation {request.generation} is not held here")
        return pb.ProvisionLinkResponse()
