"""quantum_channel.raw_time: clicks as the receiver's own clock tags them: late, early, in other slots. Pure.

Detectors click in true time; the receiver has a clock of its own, and fibre or eavesdropper delay what comes. So each
click moves by what the clock is off when it happens, in lines between the points of a grid of absolute time.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from qnetem.runtime.rng import BLOCK_PULSES
from quantum_channel.drift import TICK_PS, Weather
from quantum_channel.parameters import Parameters
from quantum_channel.sampler import Sample
from quantum_channel.train import Train

__all__ = ["GRID_PS", "FirstSlot", "in_raw_time", "shift_ps"]

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
    start_ps = train.time_ps(first_block)
    grid = start_ps // GRID_PS
    numbers = np.arange(len(counts), dtype=np.int64)
    # as Train.time_ps, from the grid's last point on
    into_train = (numbers + (first_block - train.first_block)) * BLOCK_PULSES * train.period_ps
    starts_ps = np.rint(into_train).astype(np.int64) + (train.start_ps - grid * GRID_PS)
    blocks = np.repeat(numbers, counts)
    times_ps = np.maximum(0, starts_ps[blocks] + np.rint(sample.offsets * train.period_ps).astype(np.int64))
    shifts_ps = _shifts_ps(times_ps, grid, parameters, weather)

    late_ps = np.rint(shifts_ps) + sample.arrivals_ps
    shifts = np.floor(late_ps / train.period_ps + 0.5)
    offsets = sample.offsets + shifts
    slots = (blocks + (first_block - train.first_block)) * BLOCK_PULSES + offsets
    before = np.maximum.accumulate(np.concatenate(((float(first.slot),), slots)))
    kept = (slots >= before[:-1]) & (np.abs(offsets) < _REACH)
    tagged = replace(
        sample,
        block_counts=np.bincount(blocks[kept], minlength=len(counts)).astype(np.uint32),
        offsets=offsets[kept].astype(np.int32),
        detectors=sample.detectors[kept],
        arrivals_ps=np.rint(late_ps - shifts * train.period_ps)[kept].astype(np.int32),
        partners=sample.partners[kept] if len(sample.partners) else sample.partners,
    )
    return tagged, FirstSlot(int(before[-1]))


def shift_ps(parameters: Parameters, weather: Weather, time_ps: int) -> float:
    """Return by how much what arrives at a time comes late by the receiver's raw clock."""
    return float(_shifts_ps(np.array([time_ps % GRID_PS]), time_ps // GRID_PS, parameters, weather)[0])


def _shifts_ps(
    times_ps: npt.NDArray[np.int64], grid: int, parameters: Parameters, weather: Weather
) -> npt.NDArray[np.float64]:
    """Return by how much clicks come late. Times count from the grid's point number `grid`."""
    cells, into_ps = np.divmod(times_ps, GRID_PS)
    first, last = int(cells.min()), int(cells.max())
    ticks = range((grid + first) * _TICKS, (grid + last + 2) * _TICKS, _TICKS)
    points = np.array([weather.shift_ps(parameters, tick) for tick in ticks])
    at = points[cells - first]
    return np.asarray(at + (points[cells - first + 1] - at) * (into_ps / GRID_PS))
