"""qnetem.topology.fields: what can be said of a link, field by field: key, place on the wire, kind of value. Pure.

These three tables are the only place where a field is spelled: validation, JSON schema, merging, rendering and
differences all read them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from qnetem.topology.units import Quantity

__all__ = ["CLASSICAL", "DURATION", "PROBABILITY", "PROTOCOL", "QUANTUM", "Field"]

_TIMES: Final = {"ps": 0, "ns": 3, "us": 6, "µs": 6, "μs": 6, "ms": 9, "s": 12}
LENGTH: Final = Quantity(name="a length", units={"m": -3, "km": 0}, minimum=0, maximum=10_000, example="25km")
ATTENUATION: Final = Quantity(name="an attenuation", units={"dB/km": 0}, minimum=0, maximum=100, example="0.2dB/km")
LOSS: Final = Quantity(name="a loss", units={"dB": 0}, minimum=0, maximum=200, example="2dB")
_RATES: Final = {"Hz": 0, "kHz": 3, "MHz": 6, "GHz": 9}
CLOCK: Final = Quantity(name="a rate", units=_RATES, minimum=1e3, maximum=2e10, example="1GHz")
RATE: Final = Quantity(name="a rate", units=_RATES, minimum=0, maximum=1e9, example="500Hz")
JITTER: Final = Quantity(name="a time", units=_TIMES, minimum=0, maximum=1e4, example="50ps")
DEAD_TIME: Final = Quantity(name="a time", units=_TIMES, minimum=0, maximum=10**10, is_whole=True, example="10us")
DURATION: Final = Quantity(name="a time", units=_TIMES, minimum=0, maximum=60 * 10**12, is_whole=True, example="125us")
PROBABILITY: Final = Quantity(name="a probability", units={"%": -2}, minimum=0, maximum=1, is_bare=True, example="2%")
CHOICE: Final = Quantity(
    name="a probability",
    units={"%": -2},
    minimum=0,
    maximum=1,
    is_minimum_open=True,
    is_maximum_open=True,
    is_bare=True,
    example="0.8",
)
QBER: Final = Quantity(
    name="an error rate", units={"%": -2}, minimum=0, maximum=0.5, is_minimum_open=True, is_bare=True, example="5%"
)
EPSILON: Final = Quantity(name="a probability", units={}, minimum=1e-30, maximum=1e-3, is_bare=True, example="1.0e-10")
SCALE: Final = Quantity(name="a number", units={}, minimum=1e-3, maximum=1e3, is_bare=True, example="1")
PHOTONS: Final = Quantity(
    name="a mean photon number", units={}, minimum=0, maximum=10, is_minimum_open=True, is_bare=True, example="0.2"
)
COUNT: Final = Quantity(name="a count", units={}, minimum=0, maximum=1000, is_whole=True, is_bare=True, example="2")
BLOCKS: Final = Quantity(
    name="a count", units={}, minimum=1, maximum=65_536, is_whole=True, is_bare=True, example="192"
)
_SIZES: Final = {"bit": 0, "kbit": 3, "Mbit": 6, "Gbit": 9}
BLOCK: Final = Quantity(name="a size", units=_SIZES, minimum=1000, maximum=10**8, is_whole=True, example="100kbit")
POOL: Final = Quantity(name="a size", units=_SIZES, minimum=1000, maximum=10**12, is_whole=True, example="4Mbit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a block of a link. `wire` names the field of the block's protobuf message."""

    key: str
    wire: str
    quantity: Quantity
    doc: str
    # Holds a list of such values; `check` raises ValueError for a list whose entries do not go together.
    is_list: bool = False
    check: Callable[[Sequence[float]], None] | None = None

    def checked(self, values: list[float]) -> list[float]:
        """Return the entries of a list when they go together. Raises ValueError."""
        if self.check is not None:
            self.check(values)
        return values


def _descending(intensities: Sequence[float]) -> None:
    if any(first <= second for first, second in pairwise(intensities)):
        raise ValueError("must fall, the largest first")


def _sum_to_one(probs: Sequence[float]) -> None:
    if abs(sum(probs) - 1) > 1e-9:
        raise ValueError(f"must sum to 1, not {sum(probs):.10g}")


def _rising(sizes: Sequence[float]) -> None:
    if any(first > second for first, second in pairwise(sizes)):
        raise ValueError("must not become smaller")


QUANTUM: Final = (
    Field(key="length", wire="length_km", quantity=LENGTH, doc="Length of the fibre."),
    Field(key="attenuation", wire="attenuation_db_per_km", quantity=ATTENUATION, doc="Loss of the fibre per length."),
    Field(key="connectors", wire="connector_count", quantity=COUNT, doc="How many connectors the light passes."),
    Field(key="connector_loss", wire="connector_loss_db", quantity=LOSS, doc="Loss of one connector."),
    Field(key="extra_loss", wire="extra_loss_db", quantity=LOSS, doc="Loss on top of fibre and connectors."),
    Field(
        key="receiver_loss",
        wire="receiver_loss_db",
        quantity=LOSS,
        doc="Loss inside the receiver before detection.",
    ),
    Field(key="clock", wire="clock_hz", quantity=CLOCK, doc="Pulses per second."),
    Field(
        key="intensities",
        wire="intensities",
        quantity=PHOTONS,
        is_list=True,
        check=_descending,
        doc="Mean photon numbers of a pulse, the larger first.",
    ),
    Field(
        key="intensity_probabilities",
        wire="intensity_probs",
        quantity=CHOICE,
        is_list=True,
        check=_sum_to_one,
        doc="How often the transmitter chooses each intensity.",
    ),
    Field(
        key="transmitter_p_z",
        wire="transmitter_p_z",
        quantity=CHOICE,
        doc="How often the transmitter chooses the Z basis, which makes the key.",
    ),
    Field(key="receiver_p_z", wire="receiver_p_z", quantity=CHOICE, doc="How often the receiver chooses the Z basis."),
    Field(
        key="misalignment",
        wire="misalignment_prob",
        quantity=PROBABILITY,
        doc="Part of the light that goes to the wrong detector.",
    ),
    Field(key="efficiency", wire="efficiency", quantity=PROBABILITY, doc="Efficiency of a detector."),
    Field(key="dark_counts", wire="dark_count_hz", quantity=RATE, doc="Dark counts per second of each detector."),
    Field(
        key="dead_time",
        wire="dead_time_ps",
        quantity=DEAD_TIME,
        doc="How long all detectors of a receiver are blind after a click.",
    ),
    Field(
        key="afterpulse_probability",
        wire="afterpulse_prob",
        quantity=PROBABILITY,
        doc="How often a click begets another after the dead time.",
    ),
    Field(
        key="afterpulse_time",
        wire="afterpulse_tau_ps",
        quantity=DEAD_TIME,
        doc="Time constant of the exponential delay of an afterpulse.",
    ),
    Field(key="source_jitter", wire="source_jitter_fwhm_ps", quantity=JITTER, doc="Timing jitter of the source, FWHM."),
    Field(
        key="detector_jitter", wire="detector_jitter_fwhm_ps", quantity=JITTER, doc="Timing jitter of a detector, FWHM."
    ),
    Field(
        key="jitter",
        wire="link_jitter_fwhm_ps",
        quantity=JITTER,
        doc="Timing jitter of the link on top of its devices', FWHM.",
    ),
)

CLASSICAL: Final = (
    Field(key="delay", wire="delay_ps", quantity=DURATION, doc="Latency one way."),
    Field(key="jitter", wire="jitter_ps", quantity=DURATION, doc="Jitter of the latency."),
    Field(key="loss", wire="loss_prob", quantity=PROBABILITY, doc="Part of the messages that are lost."),
)

PROTOCOL: Final = (
    Field(key="eps_sec", wire="eps_sec", quantity=EPSILON, doc="Secrecy failure allowed per block."),
    Field(key="eps_cor", wire="eps_cor", quantity=EPSILON, doc="Probability allowed that a block's two keys differ."),
    Field(
        key="block_ramp",
        wire="block_ramp_bits",
        quantity=BLOCK,
        is_list=True,
        check=_rising,
        doc="Sifted Z bits of the first block, the second and so on; the last size stays.",
    ),
    Field(
        key="qber_degraded",
        wire="qber_degraded_prob",
        quantity=QBER,
        doc="Error rate in Z from which the link is DEGRADED.",
    ),
    Field(
        key="qber_abort",
        wire="qber_abort_prob",
        quantity=QBER,
        doc="Error rate in Z from which the link is DOWN.",
    ),
    Field(
        key="pool_high_water",
        wire="pool_high_water_bits",
        quantity=POOL,
        doc="The link idles while so many secret bits are available.",
    ),
    Field(
        key="train_blocks",
        wire="train_blocks",
        quantity=BLOCKS,
        doc="Blocks of 2^20 pulses that the transmitter sends in one train.",
    ),
)
