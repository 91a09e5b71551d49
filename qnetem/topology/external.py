"""qnetem.topology.external: the quantities of a link whose keys KMEs of another make give. Pure."""

from typing import Final

from qnetem.topology import quantities
from qnetem.topology.field import Field

__all__ = ["EXTERNAL"]

EXTERNAL: Final = (
    Field(
        key="key_size",
        wire="key_size_bits",
        quantity=quantities.KEY_SIZE,
        default=256,
        doc="Length of the keys that are asked for; a multiple of 8bit.",
    ),
    Field(
        key="pool_high_water",
        wire="pool_high_water_bits",
        quantity=quantities.POOL,
        default=4_000_000,
        doc="No more is taken while so many secret bits are available.",
    ),
)
