"""quantum_channel.raw_time: clicks as the receiver's own clock tags them: late, early, in other slots. Pure.

Detectors click in true time; the receiver has a clock of its own, and fibre or eavesdropper delay what comes. So each
click moves by what the clock is off when it happens, in lines between the points of a grid of absolute time.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from qnetem.runtime.compiled import loaded
from qnetem.runtime.rng import BLOCK_PULSES
from quantum_channel.drift import TICK_PS, Weather
from quantum_channel.parameters import Parameters
from quantum_channel.sampler import Sample
from quantum_channel.train import Train

__all__ = ["GRID_PS", "FirstSlot", "in_raw_time", "shift_ps"]

U32 = npt.NDArray[np.uint32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

_TICKS: Final = 4
GRID_PS: Final = _TICKS * TICK_PS
_REACH: Final = 1 << 31


@dataclass(frozen=True, slots=True)
class FirstSlot:
    """The first slot, of a train, in which the receiver can still tag a click: time tags do not go back."""

    slot: int = -_REACH


def in_raw_time(
    sample: Sample, train: Train, first_block: int, parameters: Parameters, weather: Weather, first: FirstSlot
) -> tuple[Sample, FirstSlot]:
    """Return the clicks of a run as they are tagged, and the first slot that is left to what follows.

    A click is lost when the tags before it have passed it, as after a clock is set back, or when it is 2^31 slots off.

    Args:
        sample: In true time.
        train: That it is of.
        first_block: The run's first.
        parameters: Of the run.
        weather: The link's.
        first: What the clicks of the train before these have left.
    """
    if not len(sample.offsets):
        return sample, first
    counts = sample.block_counts
    grid = train.time_ps(first_block) // GRID_PS
    before = first_block - train.first_block
    numbers = np.arange(len(counts), dtype=np.int64)
    # as Train.time_ps, from the grid's last point on
    into_train = np.rint((numbers + before) * BLOCK_PULSES * train.period_ps)
    starts_ps = into_train.astype(np.int64) + (train.start_ps - grid * GRID_PS)
    # a point more on each side: jitter may carry a click of another block beyond those of the first and the last
    lit = np.flatnonzero(counts)
    early_ps = starts_ps[lit[0]] + round(int(sample.offsets[: int(counts[lit[0]])].min()) * train.period_ps)
    late_ps = starts_ps[lit[-1]] + round(int(sample.offsets[-int(counts[lit[-1]]) :].max()) * train.period_ps)
    point = max(0, int(early_ps) // GRID_PS - 1)
    points = _points(grid + point, max(0, int(late_ps)) // GRID_PS - point + 3, parameters, weather)
    tag = _compiled() or _tag
    counts, offsets, arrivals_ps, kept, last = tag(
        counts,
        np.ascontiguousarray(sample.offsets),
        np.ascontiguousarray(sample.arrivals_ps),
        starts_ps,
        points,
        point,
        GRID_PS,
        train.period_ps,
        float(before * BLOCK_PULSES),
        float(first.slot),
        float(_REACH),
    )
    detectors, partners = sample.detectors, sample.partners
    if len(offsets) < len(detectors):
        detectors, partners = detectors[kept], partners[kept] if len(partners) else partners
    return Sample(counts, offsets, detectors, arrivals_ps, partners), FirstSlot(int(last))


def _compiled() -> Any:
    """Return the compiled loop when this process has loaded it (numba is never imported for its sake), else None."""
    module = loaded("quantum_channel.raw_time_compiled")
    return module.tag if module else None


def _tag(
    counts: U32,
    offsets: I32,
    arrivals_ps: I32,
    starts_ps: I64,
    points: F64,
    first_point: int,
    grid_ps: int,
    period_ps: float,
    first_slot: float,
    last: float,
    reach: float,
) -> tuple[U32, I32, I32, npt.NDArray[np.bool_], float]:
    """Return what raw_time_compiled.tag returns."""
    blocks = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    times_ps = np.maximum(0, starts_ps[blocks] + np.rint(offsets * period_ps).astype(np.int64))
    cells, into_ps = np.divmod(times_ps, grid_ps)
    slopes = np.diff(points) / grid_ps
    late_ps = np.rint(points[cells - first_point] + slopes[cells - first_point] * into_ps) + arrivals_ps
    shifts = np.floor(late_ps * (1.0 / period_ps) + 0.5)
    new_offsets = offsets + shifts
    slots = first_slot + blocks * float(BLOCK_PULSES) + new_offsets
    passed = np.maximum.accumulate(np.concatenate(((last,), slots)))
    kept = (slots >= passed[:-1]) & (np.abs(new_offsets) < reach)
    return (
        np.bincount(blocks[kept], minlength=len(counts)).astype(np.uint32),
        new_offsets[kept].astype(np.int32),
        np.rint(late_ps - shifts * period_ps)[kept].astype(np.int32),
        kept,
        float(passed[-1]),
    )


def shift_ps(parameters: Parameters, weather: Weather, time_ps: int) -> float:
    """Return by how much what arrives at a time comes late by the receiver's raw clock."""
    grid, into_ps = divmod(time_ps, GRID_PS)
    left, right = _points(grid, 2, parameters, weather)
    return float(left + (right - left) / GRID_PS * into_ps)


def _points(first: int, count: int, parameters: Parameters, weather: Weather) -> F64:
    """Return by how much clicks come late at points of the grid."""
    return np.array([weather.shift_ps(parameters, (first + n) * _TICKS) for n in range(count)])
