"""quantum_channel.passage: runs of blocks pass: what clicks, how it is tagged, what monitors read meanwhile. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from quantum_channel.course import Run
from quantum_channel.drift import Weather, has_clock
from quantum_channel.drift_chance import Chance, Process
from quantum_channel.raw_time import FirstSlot, in_raw_time
from quantum_channel.sampler import COLD, Carry, Keys, Sample, Sampler
from quantum_channel.train import Train

__all__ = ["START", "Left", "Passed", "Readings", "bias_ratio", "pass_runs"]

# detectors that an eavesdropper keeps blind draw so many times their current
_BLINDED_BIAS: Final = 10.0
_POWER_NOISE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Left:
    """What a stretch leaves to the next one of its train."""

    carry: Carry
    first: FirstSlot


START: Final = Left(COLD, FirstSlot())


@dataclass(frozen=True, slots=True)
class Passed:
    """What clicked in a stretch.

    Attributes:
        sample: In true time.
        tagged: As the receiver's clock tags it.
        has_partners: The transmitter has detectors too.
    """

    sample: Sample
    tagged: Sample
    has_partners: bool


def _dark(block_count: int) -> Sample:
    return Sample(
        np.zeros(block_count, dtype=np.uint32),
        np.zeros(0, dtype=np.int32),
        np.zeros(0, dtype=np.uint8),
        np.zeros(0, dtype=np.int32),
    )


def _joined(samples: Sequence[Sample]) -> Sample:
    if len(samples) == 1:
        return samples[0]
    names = ("block_counts", "offsets", "detectors", "arrivals_ps", "partners")
    return Sample(*(np.concatenate([getattr(sample, name) for sample in samples]) for name in names))


def pass_runs(
    sampler: Sampler, keys: Keys, weather: Weather, train: Train, runs: Sequence[Run], left: Left
) -> tuple[Passed, Left]:
    """Return what clicks in the runs of a stretch, and what they leave to the next one.

    However a train is cut into stretches, its clicks are the same.
    """
    carry, first = left.carry, left.first
    samples, tagged = [], []
    for run in runs:
        response = run.cell.response
        if response is None:
            # what is dark leaves nothing behind
            carry = COLD
            sample = _dark(run.block_count)
        else:
            sample, carry = sampler(response, keys, run.first_block, run.block_count, carry)
        samples.append(sample)
        # where a delay has gone, tags of before still stand
        if has_clock(run.cell.parameters) or first != START.first:
            sample, first = in_raw_time(sample, train, run.first_block, run.cell.parameters, weather, first)
        tagged.append(sample)
    has_partners = runs[0].cell.parameters.pair_brightness > 0.0
    return Passed(_joined(samples), _joined(tagged), has_partners), Left(carry, first)


def bias_ratio(runs: Sequence[Run]) -> float:
    """Return the mean bias current of the detectors in a stretch, against what is normal."""
    blinded = sum(run.block_count * run.cell.parameters.eve_blinding_prob for run in runs if run.cell.response)
    return 1.0 + (_BLINDED_BIAS - 1.0) * blinded / sum(run.block_count for run in runs)


class Readings:
    """What the transmitter's own monitors read over a train."""

    def __init__(self, train_id: int) -> None:
        """Begin a train."""
        self._train_id = train_id
        self._blocks = 0
        self._power = 0.0
        self._reflection = 0.0

    def add(self, run: Run) -> None:
        """Add what a run shows."""
        self._blocks += run.block_count
        self._power += run.block_count * run.cell.intensity_ratio
        self._reflection += run.block_count * run.cell.parameters.eve_trojan_photons

    @property
    def back_reflection_photons(self) -> float:
        """Mean photons a pulse that come back out of the transmitter."""
        return self._reflection / self._blocks

    def power_ratio(self, chance: Chance) -> float:
        """Return the power sent against what is set, read to 0.1 %."""
        noise = _POWER_NOISE * chance.normal(Process.POWER_READING, self._train_id)
        return self._power / self._blocks * (1.0 + noise)
