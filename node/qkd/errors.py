"""node.qkd.errors: why a session ends. Pure."""

from qnetem.runtime.errors import ConflictError, UnavailableError

__all__ = ["LinkTroubleError", "PeerSilentError", "SessionRefusedError"]


class LinkTroubleError(UnavailableError):
    """The link cannot make keys now; `why` is the reason that its state then carries."""

    reason = "LINK_TROUBLE"

    def __init__(self, why: str) -> None:
        """Say why in the words of a link's reason."""
        super().__init__(why)
        self.why = why


class PeerSilentError(LinkTroubleError):
    """Nothing was heard from the peer for the agreed time."""

    reason = "PEER_SILENT"

    def __init__(self, why: str = "peer-silent") -> None:
        """Name the reason."""
        super().__init__(why)


class SessionRefusedError(ConflictError):
    """The two ends do not agree on what to do; names what differs."""

    reason = "SESSION_REFUSED"
