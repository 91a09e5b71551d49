"""node.control.acquisition: frequency of a clock that is not followed yet, and the slot that no phase tells. Pure."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["frequency_ps_per_s", "phasor", "slot_shift"]

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

_BINS: Final = 4096
_PADDING: Final = 4
# clicks that a shift is judged by, and how many of them have to be compared
_SHIFT_CLICKS: Final = 400
_LEAST_COMPARED: Final = 60
# slots to either side; what two-way transfer and a skew of parts per million leave open
_REACH: Final = 4096
_SHIFTS_AT_ONCE: Final = 256
# standard deviations that a shift has to be better than chance by: one in 2e8 of 8193 would be; and that end the search
_SIGMAS: Final = 7.0
_SURE_SIGMAS: Final = 10.0


def phasor(late_ps: F64, period_ps: float) -> complex:
    """Return the mean of e^(2 pi i late/period): its angle is the mean phase, its length 1 for arrivals all alike."""
    angles = late_ps * (math.tau / period_ps)
    return complex(np.cos(angles).mean(), np.sin(angles).mean())


def frequency_ps_per_s(times_s: F64, late_ps: F64, period_ps: float) -> tuple[float, float]:
    """Return the slope that makes lateness most alike, and the length of the mean phasor along it.

    Args:
        times_s: Ascending. Shape (n,), n >= 1.
        late_ps: Lateness, known but for whole periods. Shape (n,).
        period_ps: Of the slots.

    Source: maximum of the periodogram of e^(2 pi i late/period), bins of time padded fourfold.
    """
    span_s = float(times_s[-1] - times_s[0])
    if span_s <= 0.0:
        return 0.0, abs(phasor(late_ps, period_ps))
    bins = np.minimum(((times_s - times_s[0]) * (_BINS / span_s)).astype(np.int64), _BINS - 1)
    angles = late_ps * (math.tau / period_ps)
    sums = np.bincount(bins, np.cos(angles), _BINS) + 1j * np.bincount(bins, np.sin(angles), _BINS)
    spectrum = np.abs(np.fft.fft(sums, _BINS * _PADDING))
    peak = int(spectrum.argmax())
    cycles = peak if peak < _BINS * _PADDING // 2 else peak - _BINS * _PADDING
    return cycles * period_ps / (span_s * _PADDING), float(spectrum[peak]) / len(times_s)


def slot_shift(
    indices: I64,
    bases: U8,
    values: U8,
    truth: Callable[[I64], tuple[U8, U8, npt.NDArray[np.bool_]]],
) -> int | None:
    """Return by how many slots the receiver names pulses too late, from what it measured in a test train.

    Args:
        indices: The pulses that were named, ascending. Shape (n,), int64.
        bases, values: What was measured there. Each (n,), uint8.
        truth: Gives basis and bit of the pulses asked for, and whether there is one.

    Returns:
        The shift; None when no shift stands out from chance.
    """
    step = max(1, len(indices) // _SHIFT_CLICKS)
    indices, bases, values = indices[::step], bases[::step], values[::step]
    best, best_sigmas = 0, 0.0
    outwards = np.arange(2 * _REACH + 1, dtype=np.int64)
    outwards = (outwards + 1) // 2 * np.where(outwards % 2, 1, -1)
    for start in range(0, len(outwards), _SHIFTS_AT_ONCE):
        shifts = outwards[start : start + _SHIFTS_AT_ONCE]
        asked = indices[None, :] - shifts[:, None]
        sent_bases, bits, is_there = truth(asked.reshape(-1))
        is_compared = ((sent_bases.reshape(asked.shape) == bases) & is_there.reshape(asked.shape)) * 1
        compared = is_compared.sum(axis=1)
        equal = (is_compared * (bits.reshape(asked.shape) == values)).sum(axis=1)
        sigmas = np.where(compared >= _LEAST_COMPARED, (2.0 * equal - compared) / np.sqrt(np.maximum(compared, 1)), 0.0)
        place = int(sigmas.argmax())
        if sigmas[place] > best_sigmas:
            best, best_sigmas = int(shifts[place]), float(sigmas[place])
        if best_sigmas >= _SURE_SIGMAS:
            break
    return best if best_sigmas >= _SIGMAS else None
