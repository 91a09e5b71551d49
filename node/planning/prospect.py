"""node.planning.prospect: what a link will make with given settings, by the functions that its nodes use. Pure."""

from dataclasses import dataclass
from typing import Final

from node.planning.expected_clicks import expected_clicks
from node.qkd.estimation import binary_entropy
from node.qkd.protocols import BlockCounts, Protocol
from node.qkd.transcript import BLOCK_TAG_BITS
from node.qkd.verification import HASH_BITS
from qnetem.runtime.errors import BadInputError
from quantum_channel.parameters import Parameters

__all__ = ["Prospect", "prospect", "reconciliation_leak_bits"]

# Measured on node.qkd.reconciliation over 0.5 .. 5 %: 1.07 to 1.11 times Shannon's limit at 10^4 bits, 1.05 to 1.06
# from 10^5 on.
_EFFICIENCY: Final = 1.056
_SMALL_BLOCK_LOSS: Final = 200.0


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a link is expected to make; rates per emulated second.

    Attributes:
        parameters: The link.
        block_bits: Sifted Z bits of a block.
        clicks_hz: Registered by the receiver.
        sifted_hz: Sifted Z bits.
        qber_prob: Errors in Z.
        phase_error_prob: Upper bound on the phase errors of a block; 0.5 where there is none.
        single_prob: Lower bound on the share of Z bits from single photons (pairs: all).
        secret_fraction: Secret bits per sifted bit of a block; 0 with a `reason`.
        reason: Why a block makes no key.
    """

    parameters: Parameters
    block_bits: float
    clicks_hz: float
    sifted_hz: float
    qber_prob: float
    phase_error_prob: float
    single_prob: float
    secret_fraction: float
    reason: str

    @property
    def secret_hz(self) -> float:
        """Secret bits per second once blocks of this size are made, before their tags are paid for."""
        return self.secret_fraction * self.sifted_hz

    @property
    def tag_fraction(self) -> float:
        """Bits of tags that both ends pay for a block, per sifted bit of it; one that makes no key costs none."""
        return 2 * BLOCK_TAG_BITS / self.block_bits if self.secret_fraction > 0 else 0.0

    @property
    def secret_net_hz(self) -> float:
        """Secret bits per second less the tags of their blocks; below 0 when those cost more."""
        return (self.secret_fraction - self.tag_fraction) * self.sifted_hz

    @property
    def block_s(self) -> float:
        """How long a block takes to fill, seconds."""
        return self.block_bits / self.sifted_hz


def reconciliation_leak_bits(block_bits: float, qber_prob: float) -> float:
    """Return what Cascade will disclose of a block in the mean, and the hash that compares it."""
    efficiency = _EFFICIENCY + _SMALL_BLOCK_LOSS / block_bits
    return min(efficiency * block_bits * binary_entropy(min(qber_prob, 0.5)), block_bits) + HASH_BITS


def prospect(
    parameters: Parameters, protocol: Protocol, block_bits: float, *, eps_sec: float, eps_cor: float
) -> Prospect:
    """Return what blocks of a size are worth on a link: counts at their mean, as nobody's luck has it.

    Raises:
        BadInputError: Nothing is ever sifted, or a parameter is not the protocol's.
    """
    seen = expected_clicks(parameters)
    sifted_hz = sum(seen.z_hz)
    if not (sifted_hz > 0 and block_bits >= 1):
        raise BadInputError(f"a block of {block_bits:g} bits never fills at {sifted_hz:g} sifted bits a second")
    block_s = block_bits / sifted_hz
    counts = BlockCounts(
        *([rate * block_s for rate in rates] for rates in (seen.z_hz, seen.z_errors_hz, seen.x_hz, seen.x_errors_hz))
    )
    qber_prob = sum(seen.z_errors_hz) / sifted_hz
    estimate = protocol.key_estimate(
        counts,
        intensities=parameters.intensities,
        intensity_probs=parameters.intensity_probs,
        eps_sec=eps_sec,
        eps_cor=eps_cor,
        leaked_bits=reconciliation_leak_bits(block_bits, qber_prob),
    )
    return Prospect(
        parameters=parameters,
        block_bits=block_bits,
        clicks_hz=seen.clicks_hz,
        sifted_hz=sifted_hz,
        qber_prob=qber_prob,
        phase_error_prob=estimate.phase_error_prob,
        single_prob=estimate.single_count / block_bits,
        secret_fraction=estimate.secret_bits / block_bits,
        reason=estimate.reason,
    )
