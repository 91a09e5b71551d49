"""node.qkd.train: a train on its way, at the transmitter. Wiring."""

import asyncio
from dataclasses import dataclass, field

from node.qkd.monitor import CommissioningTally

__all__ = ["Train"]


@dataclass
class Train:
    """A train on its way.

    Attributes:
        blocks: Pulse blocks.
        start_ps: Emission of the first pulse, emulated.
        tally: Where the outcome of a test train goes; None for a train that makes key.
        is_slipped: It is a test train, and the receiver named its slots wrongly: it is no verdict on the link.
        is_dark: Darks alone may have made its clicks so far.
        is_sifted: Set when its last part was answered.
    """

    blocks: range
    start_ps: int
    tally: CommissioningTally | None
    next_part: int = 0
    last_index: int = -1
    click_count: int = 0
    is_slipped: bool = False
    is_dark: bool = False
    is_sifted: asyncio.Event = field(default_factory=asyncio.Event)
