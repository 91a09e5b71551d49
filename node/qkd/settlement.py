"""node.qkd.settlement: what becomes of key blocks in doubt after a session ended. Pure.

The transmitter coordinates. It never made AVAILABLE what it did not decide to commit, so what it does not hold as
AVAILABLE is aborted; unknown means abort.
"""

from collections.abc import Iterable, Mapping

from qnetem.v1 import link_session_pb2

__all__ = ["Holding", "decide"]

Holding = link_session_pb2.BlockInDoubt


def decide(
    asked: Iterable[str], held: Mapping[str, bool]
) -> dict[str, link_session_pb2.BlockInDoubt.Holding.ValueType]:
    """Return the transmitter's answer for each block that the receiver asks about.

    Args:
        asked: Ids of blocks that the receiver holds PREPARED.
        held: The transmitter's blocks by id: whether each is AVAILABLE.

    Returns:
        AVAILABLE (commit) or ABORTED for each.
    """
    return {
        block_id: Holding.HOLDING_AVAILABLE if held.get(block_id, False) else Holding.HOLDING_ABORTED
        for block_id in asked
    }
