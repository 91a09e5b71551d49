"""node.planning.tuning: the best settings of a link's source and bases for blocks of a size. Pure.

Both ends get the same basis bias: sifted counts go with its product in Z and with that of the complements in X, and of
all pairs with one product, equal ones leave the most for the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from node.planning.prospect import Prospect, prospect
from node.planning.simplex import Point, maximum
from node.qkd.protocols import BBM92, Protocol
from qnetem.runtime.errors import BadInputError
from quantum_channel.parameters import BadLinkError, Parameters

__all__ = ["Agreed", "tuned"]

# a second decoy this faint is vacuum for all purposes, and pulses can be made of it
_FAINT_PHOTONS: Final = 0.001
_DIGITS: Final = 4
_SHARE: Final = (0.01, 0.99)
_PHOTONS: Final = (0.02, 1.5)
_BRIGHTNESS: Final = (0.001, 1.0)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both ends have agreed on: secrecy and correctness per block."""

    eps_sec: float
    eps_cor: float


def tuned(parameters: Parameters, protocol: Protocol, agreed: Agreed, block_bits: float) -> Prospect:
    """Return the settings that make the most secret bits per second in blocks of `block_bits`, less their tags.

    Args:
        parameters: The link; its own intensities, probabilities, basis bias and brightness do not count.
        protocol: By which a block is worth what it is.
        agreed: Epsilons.
        block_bits: Sifted bits of a block.

    Raises:
        BadInputError: There is no light.
    """

    def outlook(point: Point) -> Prospect:
        chosen = _applied(parameters, protocol, point)
        return prospect(chosen, protocol, block_bits, eps_sec=agreed.eps_sec, eps_cor=agreed.eps_cor)

    def value(point: Point) -> float:
        try:
            seen = outlook(point)
        except (BadInputError, BadLinkError):
            return -2.0
        if seen.secret_net_hz > 0:
            return seen.secret_net_hz
        if seen.secret_fraction > 0:  # key, but less than tags
            return max(seen.secret_fraction - seen.tag_fraction, -0.4)
        # where there is no key, the way to one: more single photons known, and fewer phase errors
        return seen.single_prob / 2 - seen.phase_error_prob - 1.0

    starts, bounds = _starts(protocol, len(parameters.intensities))
    found = [maximum(value, start, bounds) for start in starts]
    best, _ = max(found, key=lambda one: one[1])
    # what is pasted into a topology is what was judged
    return outlook(_rounded(best, bounds))


def _rounded(point: Point, bounds: Sequence[tuple[float, float]]) -> Point:
    return tuple(min(max(round(x, _DIGITS), low), high) for x, (low, high) in zip(point, bounds, strict=True))


def _starts(protocol: Protocol, level_count: int) -> tuple[list[Point], list[tuple[float, float]]]:
    """Return where searches begin, and the bounds of each number, as `_applied` reads them."""
    if protocol.has_pairs:
        return [(0.05, 0.7), (0.2, 0.9)], [_BRIGHTNESS, _SHARE]
    if _levels(protocol, level_count) == 2:
        return [(0.4, 0.3, 0.35, 0.8), (0.2, 0.25, 0.25, 0.8), (0.6, 0.2, 0.7, 0.93)], [_PHOTONS, *[_SHARE] * 3]
    return [(0.4, 0.25, 0.4, 0.7, 0.75), (0.5, 0.2, 0.7, 0.6, 0.9)], [_PHOTONS, *[_SHARE] * 4]


def _levels(protocol: Protocol, level_count: int) -> int:
    """Return with how many intensities a protocol is planned: those of the link when they fit."""
    return level_count if level_count in protocol.level_counts else min(protocol.level_counts)


def _applied(parameters: Parameters, protocol: Protocol, point: Point) -> Parameters:
    """Return a link with the numbers of a search: brightness or intensities, probabilities, basis bias."""
    if protocol.name == BBM92:
        brightness, p_z = point
        return replace(parameters, pair_brightness=brightness, transmitter_p_z=p_z, receiver_p_z=p_z)
    signal, ratio, p_signal, *more, p_z = point
    means: tuple[float, ...] = (signal, round(signal * ratio, _DIGITS))
    probs: tuple[float, ...] = (p_signal, round(1 - p_signal, 9))
    if more:
        means = (*means, _FAINT_PHOTONS / 2 if means[1] <= 2 * _FAINT_PHOTONS else _FAINT_PHOTONS)
        p_decoy = round((1 - p_signal) * more[0], _DIGITS)
        probs = (p_signal, p_decoy, round(1 - p_signal - p_decoy, 9))
    return replace(
        parameters,
        intensities=means,
        intensity_probs=probs,
        pair_brightness=0.0,
        transmitter_p_z=p_z,
        receiver_p_z=p_z,
    )
