"""node.planning.link_plan: a link as it is planned against the same link at its best. Pure."""

from dataclasses import dataclass
from typing import Final

from node.planning.comparison import Comparison, comparison
from node.planning.prospect import Prospect, prospect
from node.planning.tuning import Agreed, tuned
from node.qkd.protocols import PROTOCOLS, Protocol
from qnetem.runtime.errors import BadInputError
from qnetem.v1 import parameters_pb2
from quantum_channel.parameters import Parameters
from quantum_channel.wire import parameters_from_message

__all__ = ["LinkPlan", "Outlook", "link_plan"]

# blocks are round numbers, as people write them
_BLOCK_BITS: Final = (*(digit * 10**power for power in (4, 5, 6) for digit in (1, 2, 5)), 10_000_000)
_RAMP_BITS: Final = (100_000, 1_000_000)
# settings decide how fast blocks fill, and the size of blocks what settings are best
_ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Outlook:
    """Settings and what they make.

    Attributes:
        full: With the blocks that stay.
        ramp_bits: Sizes of the first block, the second, ...; the last one stays.
        first_key_s: When the first block of the ramp that makes key is full; None: none does.
    """

    full: Prospect
    ramp_bits: tuple[int, ...]
    first_key_s: float | None


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """What there is, where it is of the planned protocol, what would be best, and what the loss allows."""

    protocol: Protocol
    now: Outlook | None
    best: Outlook
    limits: Comparison


def link_plan(
    planned: parameters_pb2.LinkParameters,
    agreed: parameters_pb2.ProtocolParameters,
    *,
    protocol: str | None = None,
    block_s: float = 60.0,
) -> LinkPlan:
    """Return the plan of a link.

    Args:
        planned, agreed: The link, and what its ends have agreed on, as a topology has them.
        protocol: What it shall speak; None: what it does.
        block_s: The best blocks fill within so many emulated seconds, where blocks of 10 kbit do.

    Raises:
        BadInputError: A protocol is not known, a parameter out of its range, nothing is ever sifted, or the
            transmitter has no detectors for pairs.
    """
    parameters = parameters_from_message(planned)
    epsilons = Agreed(agreed.eps_sec, agreed.eps_cor)
    spoken, wanted = (_protocol(name) for name in (agreed.protocol, protocol or agreed.protocol))
    if wanted.has_pairs and not parameters.transmitter_efficiency > 0:
        raise BadInputError(f"{wanted.name} needs detectors at the transmitter, transmitter_efficiency is 0")
    now = _outlook(parameters, spoken, epsilons, tuple(agreed.block_ramp_bits)) if spoken is wanted else None
    return LinkPlan(wanted, now, _best(parameters, wanted, epsilons, block_s), comparison(parameters))


def _protocol(name: str) -> Protocol:
    if name not in PROTOCOLS:
        raise BadInputError(f"protocol {name!r} is none of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _best(parameters: Parameters, protocol: Protocol, agreed: Agreed, block_s: float) -> Outlook:
    block_bits = _RAMP_BITS[-1]
    for _ in range(_ROUNDS):
        full = tuned(parameters, protocol, agreed, block_bits)
        fitting = (n for n in _BLOCK_BITS if n <= full.sifted_hz * block_s)
        chosen = max(fitting, default=_BLOCK_BITS[0])
        if chosen == block_bits:
            break
        block_bits = chosen
    before = (n for n in _RAMP_BITS if n < full.block_bits)
    ramp_bits = [n for n in before if _of_size(full.parameters, protocol, agreed, n).secret_net_hz > 0]
    return _outlook(full.parameters, protocol, agreed, (*ramp_bits, round(full.block_bits)))


def _outlook(parameters: Parameters, protocol: Protocol, agreed: Agreed, ramp_bits: tuple[int, ...]) -> Outlook:
    blocks = [_of_size(parameters, protocol, agreed, n) for n in ramp_bits]
    waited_s, first_key_s = 0.0, None
    for block in blocks:
        waited_s += block.block_s
        if block.secret_fraction > 0:
            first_key_s = waited_s
            break
    return Outlook(blocks[-1], ramp_bits, first_key_s)


def _of_size(parameters: Parameters, protocol: Protocol, agreed: Agreed, block_bits: float) -> Prospect:
    return prospect(parameters, protocol, block_bits, eps_sec=agreed.eps_sec, eps_cor=agreed.eps_cor)
