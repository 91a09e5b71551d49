"""quantum_channel.detector: what two threshold detectors do with the light of one gate. Pure.

The receiver chooses its basis actively and has two detectors: detector 0 stands for bit 0 of its basis, detector 1 for
bit 1. A detector clicks when a photon is detected or by a dark count. After any click both are blanked.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from quantum_channel.parameters import BadLinkError

__all__ = [
    "CELL_COUNT",
    "CELL_DETECTORS",
    "FIRST_DARK_CELL",
    "click_cells",
    "click_prob",
    "dark_prob",
    "dead_slots",
    "registered_prob",
    "split_means",
]

F64 = npt.NDArray[np.float64]

# The ways in which a gate can click: detectors 0, 1, both, by light (and darks besides), then the same by darks alone.
CELL_DETECTORS: Final = np.array([1, 2, 3, 1, 2, 3], dtype=np.uint8)
CELL_COUNT: Final = len(CELL_DETECTORS)
FIRST_DARK_CELL: Final = 3


def dark_prob(dark_count_hz: float, clock_hz: float) -> float:
    """Return the probability of a dark count per gate and detector; gates are contiguous, one per clock period.

    Raises:
        BadLinkError: The rate is negative or the clock not above 0.
    """
    if not (dark_count_hz >= 0.0 and clock_hz > 0.0):
        raise BadLinkError(f"dark counts {dark_count_hz:g} Hz at a clock of {clock_hz:g} Hz")
    return -math.expm1(-dark_count_hz / clock_hz)


def click_prob(mean_detected: float, dark_prob: float) -> float:
    """Return the probability that a detector clicks, `mean_detected` being the mean number of photons it detects.

    Source: 1 - (1 - p_d) e^(-m).
    """
    return -math.expm1(-mean_detected + math.log1p(-dark_prob)) if dark_prob < 1.0 else 1.0


def split_means(mean_detected: F64, wrong_prob: npt.ArrayLike) -> tuple[F64, F64]:
    """Return the means at the right and at the wrong detector, m(1-e) and me; they are independent Poisson.

    Args:
        mean_detected: Mean number of detected photons. Any shape.
        wrong_prob: Probability that a photon goes to the wrong detector: misalignment, or 1/2 in the other basis.

    Raises:
        BadLinkError: A probability is not in 0 .. 1.
    """
    wrong = np.asarray(wrong_prob, dtype=np.float64)
    if not np.all((wrong >= 0.0) & (wrong <= 1.0)):
        raise BadLinkError("misalignment is not in 0 .. 1")
    return mean_detected * (1.0 - wrong), mean_detected * wrong


def click_cells(mean_0: F64, mean_1: F64, dark_prob: float) -> F64:
    """Return the probability of each way to click (CELL_DETECTORS), given the means at the two detectors.

    Args:
        mean_0, mean_1: Mean detected photons at detector 0 and 1. Same shape (...).
        dark_prob: Per gate and detector.

    Returns:
        Shape (..., CELL_COUNT), float64. The sum over cells is the probability of any click, 1-(1-p_d)^2 e^(-m).
    """
    light_0, light_1 = -np.expm1(-mean_0), -np.expm1(-mean_1)
    dark_0, dark_1 = (1.0 - light_0) * dark_prob, (1.0 - light_1) * dark_prob
    none_0, none_1 = (1.0 - light_0) * (1.0 - dark_prob), (1.0 - light_1) * (1.0 - dark_prob)
    cells = (
        light_0 * none_1,
        none_0 * light_1,
        light_0 * light_1 + light_0 * dark_1 + dark_0 * light_1,
        dark_0 * none_1,
        none_0 * dark_1,
        dark_0 * dark_1,
    )
    return np.stack(cells, axis=-1)


def dead_slots(dead_time_ps: int, clock_hz: float) -> int:
    """Return how many slots after that of a click are blanked: those whose centre comes within the dead time.

    A slot exactly at its end is blanked, so that k = dead time x clock for whole numbers.
    """
    return math.floor(dead_time_ps * clock_hz / 1e12 + 1e-6)


def registered_prob(click_prob: float, dead_slots: int) -> float:
    """Return the clicks registered per slot, k slots being blanked after each.

    Source: renewal, p/(1 + k p); the gated form of the non-paralysable R Q/(1 + R Q tau).
    """
    return click_prob / (1.0 + dead_slots * click_prob)
