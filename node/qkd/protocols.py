"""node.qkd.protocols: which protocol a link speaks, and what a block is worth by it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from node.qkd.bbm92 import pair_key_estimate
from node.qkd.estimation import Counts, KeyEstimate, one_decoy_key_estimate
from node.qkd.study import asymptotic_key_estimate
from node.qkd.two_decoy import two_decoy_key_estimate
from qnetem.runtime.errors import BadInputError
from qnetem.v1 import process_pb2

__all__ = [
    "ASYMPTOTIC",
    "BBM92",
    "ONE_DECOY",
    "PROTOCOLS",
    "TWO_DECOYS",
    "BlockCounts",
    "Protocol",
    "level_count",
    "protocol_of",
]

ONE_DECOY: Final = "bb84-one-decoy"
TWO_DECOYS: Final = "bb84-two-decoys"
ASYMPTOTIC: Final = "bb84-asymptotic"
BBM92: Final = "bbm92"


@dataclass(frozen=True, slots=True)
class BlockCounts:
    """Sifted bits of a block and errors among them, per intensity, in Z, which makes the key, and in X."""

    z: Counts
    z_errors: Counts
    x: Counts
    x_errors: Counts


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol.

    Attributes:
        name: As ProtocolParameters name it.
        level_counts: How many intensities it may have.
        is_secure: The length of its keys is proven for blocks of finite length.
        has_pairs: The transmitter's bits are the outcomes of its own detectors.
    """

    name: str
    level_counts: tuple[int, ...]
    is_secure: bool = True
    has_pairs: bool = False

    @property
    def block_suffix(self) -> str:
        """What the ids of its blocks end with: those that are not secure say so wherever they show."""
        return "" if self.is_secure else ".insecure"

    def key_estimate(
        self,
        counts: BlockCounts,
        *,
        intensities: Sequence[float],
        intensity_probs: Sequence[float],
        eps_sec: float,
        eps_cor: float,
        leaked_bits: float,
    ) -> KeyEstimate:
        """Return the length of the secret key of a block.

        Args:
            counts: Of the block.
            intensities, intensity_probs: As sent; with pairs they do not count.
            eps_sec, eps_cor: Secrecy and correctness per block.
            leaked_bits: All that was said about the Z bits in the clear.

        Raises:
            BadInputError: Counts or parameters cannot be; names them.
        """
        if self.has_pairs:
            return pair_key_estimate(
                z_counts=counts.z,
                x_counts=counts.x,
                x_error_counts=counts.x_errors,
                eps_sec=eps_sec,
                eps_cor=eps_cor,
                leaked_bits=leaked_bits,
            )
        if not self.is_secure:
            return asymptotic_key_estimate(
                z_counts=counts.z,
                z_error_counts=counts.z_errors,
                x_counts=counts.x,
                x_error_counts=counts.x_errors,
                intensities=intensities,
                intensity_probs=intensity_probs,
                leaked_bits=leaked_bits,
            )
        if self.name == TWO_DECOYS:
            return two_decoy_key_estimate(
                key_counts=counts.z,
                test_counts=counts.x,
                test_error_counts=counts.x_errors,
                intensities=intensities,
                intensity_probs=intensity_probs,
                eps_sec=eps_sec,
                eps_cor=eps_cor,
                leaked_bits=leaked_bits,
            )
        return one_decoy_key_estimate(
            z_counts=counts.z,
            z_error_counts=counts.z_errors,
            x_counts=counts.x,
            x_error_counts=counts.x_errors,
            intensities=intensities,
            intensity_probs=intensity_probs,
            eps_sec=eps_sec,
            eps_cor=eps_cor,
            leaked_bits=leaked_bits,
        )


PROTOCOLS: Final[Mapping[str, Protocol]] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            Protocol(ONE_DECOY, (2,)),
            Protocol(TWO_DECOYS, (3,)),
            Protocol(ASYMPTOTIC, (2, 3), is_secure=False),
            Protocol(BBM92, (1,), has_pairs=True),
        )
    }
)


def protocol_of(config: process_pb2.NodeLinkConfig) -> Protocol:
    """Return the protocol that a link is configured to speak.

    Raises:
        BadInputError: There is none of that name, or the planned source does not fit it; names the link.
    """
    name, planned = config.protocol.protocol, config.planned
    protocol = PROTOCOLS.get(name)
    if protocol is None:
        raise BadInputError(f"link {config.link_id}: protocol {name!r} is none of {', '.join(PROTOCOLS)}")
    if protocol.has_pairs != (planned.pair_brightness > 0):
        needs = "needs a source of pairs" if protocol.has_pairs else "cannot use a source of pairs"
        raise BadInputError(f"link {config.link_id}: {name} {needs}, pair_brightness is {planned.pair_brightness:g}")
    count = len(planned.intensities)
    if not protocol.has_pairs and count not in protocol.level_counts:
        due = " or ".join(str(n) for n in protocol.level_counts)
        raise BadInputError(f"link {config.link_id}: {name} takes {due} intensities, got {count}")
    return protocol


def level_count(config: process_pb2.NodeLinkConfig) -> int:
    """Return how many intensities a link's clicks are counted by: with pairs one, which stands for none."""
    return 1 if PROTOCOLS[config.protocol.protocol].has_pairs else len(config.planned.intensities)
