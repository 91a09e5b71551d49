"""qnetem.topology.fields: what can be said of a link, field by field: key, place on the wire, kind of value. Pure.

These three tables are the only place where a field is spelled: validation, JSON schema, merging, rendering and
differences all read them.
"""

from typing import Final

from qnetem.topology import quantities
from qnetem.topology.field import Field, not_falling
from qnetem.topology.quantum_fields import QUANTUM

__all__ = ["CLASSICAL", "PROTOCOL", "QUANTUM", "Field"]

CLASSICAL: Final = (
    Field(key="delay", wire="delay_ps", quantity=quantities.DURATION, doc="Latency one way."),
    Field(key="jitter", wire="jitter_ps", quantity=quantities.DURATION, doc="Jitter of the latency."),
    Field(key="loss", wire="loss_prob", quantity=quantities.PROBABILITY, doc="Part of the messages that are lost."),
)

PROTOCOL: Final = (
    Field(
        key="protocol",
        wire="protocol",
        quantity=quantities.PROTOCOLS,
        doc="How keys are made; each has its needs, see below.",
    ),
    Field(key="eps_sec", wire="eps_sec", quantity=quantities.EPSILON, doc="Secrecy failure allowed per block."),
    Field(
        key="eps_cor",
        wire="eps_cor",
        quantity=quantities.EPSILON,
        doc="Probability allowed that a block's two keys differ.",
    ),
    Field(
        key="block_ramp",
        wire="block_ramp_bits",
        quantity=quantities.BLOCK,
        is_list=True,
        check=not_falling,
        doc="Sifted Z bits of the first block, the second and so on; the last size stays.",
    ),
    Field(
        key="qber_degraded",
        wire="qber_degraded_prob",
        quantity=quantities.QBER,
        doc="Error rate in Z from which the link is DEGRADED.",
    ),
    Field(
        key="qber_abort",
        wire="qber_abort_prob",
        quantity=quantities.QBER,
        doc="Error rate in Z from which the link is DOWN.",
    ),
    Field(
        key="pool_high_water",
        wire="pool_high_water_bits",
        quantity=quantities.POOL,
        doc="The link idles while so many secret bits are available.",
    ),
    Field(
        key="train_blocks",
        wire="train_blocks",
        quantity=quantities.BLOCKS,
        doc="Blocks of 2^20 pulses that the transmitter sends in one train.",
    ),
    Field(
        key="insecure_keys",
        wire="gives_insecure_keys",
        quantity=quantities.INSECURE,
        default=False,
        doc="Blocks of a protocol that is not secure: made, compared, counted and forgotten, or given like keys.",
    ),
)
