"""node.keys.authentication: pads for Wegman-Carter tags, durably spent, to those who authenticate. Wiring."""

from collections.abc import Sequence
from typing import Final

from node.keys import pads, pools
from node.keys.group_commit import GroupCommit, declare_step
from node.keys.pads import Pad
from node.keys.records import BlockRole, Piece

__all__ = ["Authentication"]

_TAKE: Final = declare_step("pads.take", "bits to authenticate with are spent")
_CLAIM: Final = declare_step("pads.claim", "bits that the peer authenticates with are spent")
_INSTALL: Final = declare_step("pads.install", "bits shared beforehand are held")


class Authentication:
    """The pads of one store."""

    def __init__(self, commit: GroupCommit) -> None:
        """Spend through `commit`."""
        self._commit = commit

    async def take_pad(self, peer_node: str, bits: int, link_id: str = "") -> Pad:
        """Spend bits of the own half of what is shared with a peer, durably, and return them; see pads.take.

        Args:
            peer_node: Who is to verify.
            bits: A multiple of 8: 128 for each tag.
            link_id: The link whose pre-shared bits may be taken too; "": from the pool alone.

        Raises:
            PadsExhaustedError: Too few are left.
        """
        return await self._commit.run(_TAKE, lambda db: pads.take(db, peer_node, bits, link_id))

    async def claim_pad(self, peer_node: str, pieces: Sequence[Piece], bits: int, link_id: str = "") -> bytes:
        """Spend the bits that a peer's tags are padded with, durably, and return them; see pads.claim."""
        return await self._commit.run(_CLAIM, lambda db: pads.claim(db, peer_node, pieces, bits, link_id))

    async def install(
        self, link_id: str, peer_node: str, role: BlockRole, generation: int, secret: bytes, *, is_shared: bool
    ) -> bool:
        """Hold bits shared beforehand on a link; what was installed once never is again. See pads.install."""
        return await self._commit.run(
            _INSTALL,
            lambda db: pads.install(db, link_id, peer_node, role, generation, secret, is_shared=is_shared),
        )

    async def confirm(self, link_id: str, generation: int) -> bool:
        """Note that the peer holds what was installed too; see pads.confirm."""
        return await self._commit.run(_INSTALL, lambda db: pads.confirm(db, link_id, generation))

    async def keep(self, peer_node: str, bits: int) -> None:
        """Hold so many bits of the pool shared with a peer back from keys, to authenticate with."""
        await self._commit.run(None, lambda db: pools.keep(db, peer_node, bits))

    async def left_bits(self, link_id: str) -> tuple[int, int]:
        """Return what is left of the bits shared beforehand on a link: of the own half, of the peer's."""
        return await self._commit.run(None, lambda db: pads.left_bits(db, link_id))
