"""node.entanglement.heralding: how often a photonic link makes a pair, how good it is, how fast it tries. Pure.

States as in `bell`, after the correction that turns Psi into Phi.
"""

import math
from dataclasses import dataclass

import numpy as np

from node.entanglement.bell import F64
from node.ranges import refuse_negative, refuse_not_positive, refuse_unless_prob
from qnetem.runtime.errors import BadInputError
from quantum_channel.fibre import latency_ps

__all__ = ["Heralded", "attempt_period_s", "double_click", "multiplexed_prob", "pair_rate_hz", "single_click"]

_S_PER_PS = 1e-12


@dataclass(frozen=True, slots=True)
class Heralded:
    """An attempt. success_prob: it is heralded; state: of the pair then, shape (4,); neither protocol's is Werner."""

    success_prob: float
    state: F64

    @property
    def fidelity(self) -> float:
        """Fidelity of the pair with Phi+."""
        return float(self.state[0])


def single_click(
    bright_population: float,
    arm_efficiency: float,
    *,
    visibility: float = 1.0,
    dark_prob: float = 0.0,
    phase_sigma_rad: float = 0.0,
) -> Heralded:
    """Return an attempt of the single-click protocol, heralded by exactly one click of two detectors.

    Args:
        bright_population: alpha, in (0, 1): each qubit is in its bright state with it.
        arm_efficiency: eta: a photon that was emitted is detected.
        visibility: V of the interference.
        dark_prob: p per gate and detector.
        phase_sigma_rad: Standard deviation of the optical phase between the arms.

    Raises:
        BadInputError: A value is out of its range, or no click ever heralds.

    Source: nd = 1-p, c = sqrt(V) e^(-s^2/2), one = 2 alpha (1-alpha): s_one = one (eta nd + (1-eta) 2p nd),
    s_bb = alpha^2 (eta^2 (1+V)/2 nd + 2 eta (1-eta) nd + (1-eta)^2 2p nd), s_00 = (1-alpha)^2 2p nd; P their sum,
    F = one (eta nd (1+c)/2 + (1-eta) p nd)/P. What both or neither emitted is half Phi+ and half Phi- (twirled).
    """
    refuse_unless_prob(
        bright_population=bright_population, arm_efficiency=arm_efficiency, visibility=visibility, dark_prob=dark_prob
    )
    refuse_negative(phase_sigma_rad=phase_sigma_rad)
    alpha, eta, p = bright_population, arm_efficiency, dark_prob
    coherence = math.sqrt(visibility) * math.exp(-(phase_sigma_rad**2) / 2.0)
    one = 2.0 * alpha * (1.0 - alpha)
    right, wrong = (one * (eta * (1.0 + sign * coherence) / 2.0 + (1.0 - eta) * p) for sign in (1.0, -1.0))
    both = alpha**2 * (eta**2 * (1.0 + visibility) / 2.0 + 2.0 * eta * (1.0 - eta) + (1.0 - eta) ** 2 * 2.0 * p)
    like = both + (1.0 - alpha) ** 2 * 2.0 * p
    weights = np.array([right, wrong, like / 2.0, like / 2.0])
    total = float(weights.sum())
    if not total * (1.0 - p) > 0.0:
        raise BadInputError("no click ever heralds a pair")
    return Heralded(total * (1.0 - p), weights / total)


def double_click(arm_efficiencies: tuple[float, float], visibility: float = 1.0) -> Heralded:
    """Return an attempt of the double-click protocol, heralded by two clicks; without darks.

    Args:
        arm_efficiencies: A photon of each end is detected.
        visibility: V of the interference.

    Raises:
        BadInputError: A value is not in 0 .. 1.

    Source: Barrett, Kok 2005: p = eta_A eta_B/2, weights (1+V)/2 and (1-V)/2.
    """
    eta_a, eta_b = arm_efficiencies
    refuse_unless_prob(eta_a=eta_a, eta_b=eta_b, visibility=visibility)
    return Heralded(eta_a * eta_b / 2.0, np.array([(1.0 + visibility) / 2.0, (1.0 - visibility) / 2.0, 0.0, 0.0]))


def attempt_period_s(length_km: float, preparation_s: float, *, is_midpoint: bool = True) -> float:
    """Return the time from attempt to attempt, s.

    Args:
        length_km: From node to node.
        preparation_s: Of the qubits, per attempt.
        is_midpoint: The herald comes from half-way; else from the other node, so that light goes all the way and back.

    Raises:
        BadInputError: A value is negative, or the period 0.

    Source: t_prep + L n_g/c, and t_prep + 2 L n_g/c.
    """
    refuse_negative(length_km=length_km, preparation_s=preparation_s)
    period_s = preparation_s + (1 if is_midpoint else 2) * latency_ps(length_km) * _S_PER_PS
    refuse_not_positive(period_s=period_s)
    return period_s


def multiplexed_prob(success_prob: float, mode_count: int) -> float:
    """Return the probability that at least one of M modes succeeds in an attempt, 1 - (1-p)^M.

    Raises:
        BadInputError: The probability is not in 0 .. 1, or there is no mode.
    """
    refuse_unless_prob(success_prob=success_prob)
    if mode_count < 1:
        raise BadInputError(f"mode_count {mode_count} is not 1 or more")
    return -math.expm1(mode_count * math.log1p(-success_prob)) if success_prob < 1.0 else 1.0


def pair_rate_hz(success_prob: float, period_s: float, duty_cycle: float = 1.0) -> float:
    """Return the pairs per second of a link that tries all the time, or a part of it.

    Args:
        success_prob: Per attempt.
        period_s: From attempt to attempt.
        duty_cycle: Share of the time in which the link tries; 0.03 to 0.41 in experiments.

    Raises:
        BadInputError: A value is out of its range.
    """
    refuse_unless_prob(success_prob=success_prob, duty_cycle=duty_cycle)
    refuse_not_positive(period_s=period_s)
    return duty_cycle * success_prob / period_s
