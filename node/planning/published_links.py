"""node.planning.published_links: expected counts of the link models of the finite-key papers, to compare with. Pure.

They differ from our own channel, in afterpulses and in dead time (PHYSICS 4), and replay published figures only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1

from node.ranges import refuse_not_positive, refuse_unless_prob
from qnetem.runtime.errors import BadInputError

__all__ = ["ExpectedBlock", "lim_block", "rusca_block"]


@dataclass(frozen=True, slots=True)
class ExpectedBlock:
    """Counts to be expected when a block is full, per intensity; and the pulses that it takes.

    Attributes:
        pulse_count: Pulses sent until then.
        key_counts, key_error_counts: Sifted bits of the key's basis, and errors.
        test_counts, test_error_counts: The same in the other basis.
    """

    pulse_count: float
    key_counts: tuple[float, ...]
    key_error_counts: tuple[float, ...]
    test_counts: tuple[float, ...]
    test_error_counts: tuple[float, ...]

    @property
    def key_error_prob(self) -> float:
        """Error rate of the key's bits."""
        return sum(self.key_error_counts) / sum(self.key_counts)


def lim_block(
    *,
    block_bits: float,
    survival_prob: float,
    dark_prob: float,
    afterpulse_prob: float,
    misalignment_prob: float,
    key_basis_prob: float,
    intensities: Sequence[float],
    intensity_probs: Sequence[float],
) -> ExpectedBlock:
    """Return the expected block of Lim et al. 2014.

    Args:
        block_bits: Sifted bits of the key's basis.
        survival_prob: eta, detector included: the printed error model has the channel's alone, with which the paper's
            own figures do not come out.
        dark_prob: Per detector and gate; two detectors.
        afterpulse_prob, misalignment_prob: p_ap and e_mis.
        key_basis_prob: qx, at both ends.
        intensities, intensity_probs: As sent.

    Raises:
        BadInputError: A value is out of its range.

    Source: D_k = 1-(1-2 p_dc) e^(-eta k), R_k = D_k (1+p_ap), e_k = p_dc + e_mis (1-e^(-eta k)) + p_ap D_k/2.
    """
    refuse_unless_prob(
        survival_prob=survival_prob,
        dark_prob=dark_prob,
        afterpulse_prob=afterpulse_prob,
        misalignment_prob=misalignment_prob,
    )
    sent = _sent(intensities, intensity_probs)
    gains, errors = [], []
    for mean, prob in sent:
        seen = -expm1(-survival_prob * mean)
        direct = 2.0 * dark_prob + (1.0 - 2.0 * dark_prob) * seen
        gains.append(prob * direct * (1.0 + afterpulse_prob))
        errors.append(prob * (dark_prob + misalignment_prob * seen + afterpulse_prob * direct / 2.0))
    return _filled(block_bits, key_basis_prob, gains, errors, 1.0)


def rusca_block(
    *,
    block_bits: float,
    survival_prob: float,
    dark_prob: float,
    misalignment_prob: float,
    key_basis_prob: float,
    intensities: Sequence[float],
    intensity_probs: Sequence[float],
    clock_hz: float,
    dead_time_s: float,
) -> ExpectedBlock:
    """Return the expected block of Rusca et al. 2018.

    Args:
        block_bits: Sifted bits of Z.
        survival_prob: eta, detector included.
        dark_prob: Per gate, of all detectors together.
        misalignment_prob: p_err.
        key_basis_prob: p_Z, at both ends.
        intensities, intensity_probs: As sent.
        clock_hz, dead_time_s: The paper's correction counts the clicks of Z alone: separate detectors.

    Raises:
        BadInputError: A value is out of its range.

    Source: D_k = p_k (1-e^(-k eta) + p_dc), errors p_k ((1-e^(-k eta)) p_err + p_dc/2), dead time
    c = 1/(1 + R sum_k D_k p_Z^2 t_dead).
    """
    refuse_unless_prob(survival_prob=survival_prob, dark_prob=dark_prob, misalignment_prob=misalignment_prob)
    if not (clock_hz > 0 and dead_time_s >= 0):
        raise BadInputError(f"clock {clock_hz:g} Hz, dead time {dead_time_s:g} s")
    sent = _sent(intensities, intensity_probs)
    seen = [-expm1(-survival_prob * mean) for mean, _ in sent]
    gains = [prob * (light + dark_prob) for light, (_, prob) in zip(seen, sent, strict=True)]
    errors = [prob * (light * misalignment_prob + dark_prob / 2.0) for light, (_, prob) in zip(seen, sent, strict=True)]
    live = 1.0 / (1.0 + clock_hz * sum(gains) * key_basis_prob**2 * dead_time_s)
    return _filled(block_bits, key_basis_prob, gains, errors, live)


def _sent(intensities: Sequence[float], probs: Sequence[float]) -> list[tuple[float, float]]:
    if len(intensities) != len(probs) or not intensities or not (min(intensities) >= 0 and min(probs) >= 0):
        raise BadInputError(f"intensities {list(intensities)} with probabilities {list(probs)}")
    if not abs(sum(probs) - 1.0) < 1e-9:
        raise BadInputError(f"intensity probabilities {list(probs)} are not 1 together")
    return list(zip(intensities, probs, strict=True))


def _filled(
    block_bits: float, key_basis_prob: float, gains: Sequence[float], errors: Sequence[float], live: float
) -> ExpectedBlock:
    refuse_not_positive(block_bits=block_bits, key_basis_prob=key_basis_prob, gain=sum(gains))
    refuse_unless_prob(key_basis_prob=key_basis_prob)
    share = block_bits / sum(gains)
    tested = ((1.0 - key_basis_prob) / key_basis_prob) ** 2
    return ExpectedBlock(
        pulse_count=share / (live * key_basis_prob**2),
        key_counts=tuple(share * gain for gain in gains),
        key_error_counts=tuple(share * error for error in errors),
        test_counts=tuple(share * tested * gain for gain in gains),
        test_error_counts=tuple(share * tested * error for error in errors),
    )
