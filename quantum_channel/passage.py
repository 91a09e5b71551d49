"""quantum_channel.passage: runs of blocks pass: what clicks, how it is tagged, what monitors read meanwhile. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from qnetem.runtime.rng import BLOCK_PULSES
from quantum_channel.course import Run
from quantum_channel.drift import Weather, has_clock
from quantum_channel.drift_chance import Chance, Process
from quantum_channel.raw_time import FirstSlot, in_raw_time
from quantum_channel.sampler import COLD, Carry, Keys, Sample, Sampler
from quantum_channel.train import Train

__all__ = ["START", "Left", "Passed", "Readings", "Sampled", "bias_ratio", "pass_runs", "sample_ahead"]

# detectors that an eavesdropper keeps blind draw so many times their current
_BLINDED_BIAS: Final = 10.0
_POWER_NOISE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Left:
    """What a stretch leaves to the next one of its train."""

    carry: Carry
    first: FirstSlot


START: Final = Left(COLD, FirstSlot())
_COLUMNS: Final = ("block_counts", "offsets", "detectors", "arrivals_ps", "partners")
# within a train, unlike at its start, clicks may land before the stretch that they belong to
_NOTHING: Final = Carry(-(1 << 31), COLD.due_slots, COLD.due_detectors, COLD.due_arrivals_ps)
# of each run of a stretch: what clicks in it, and what it leaves to the next one
Sampled = list[tuple[Sample, Carry]]


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
    return Sample(*(np.concatenate([getattr(sample, name) for sample in samples]) for name in _COLUMNS))


def _sampled(sampler: Sampler, keys: Keys, runs: Sequence[Run], carry: Carry) -> Sampled:
    sampled = []
    for run in runs:
        response = run.cell.response
        if response is None:
            # what is dark leaves nothing behind
            sample, carry = _dark(run.block_count), COLD
        else:
            sample, carry = sampler(response, keys, run.first_block, run.block_count, carry)
        sampled.append((sample, carry))
    return sampled


def sample_ahead(sampler: Sampler, keys: Keys, runs: Sequence[Run]) -> Sampled | None:
    """Return what clicks in the runs of a stretch if nothing before it is felt in it; None where much may be."""
    response = runs[0].cell.response
    # where slots that are blanked are passed over, the first one moves all that come after it
    if response is None or response.is_skipping or response.afterpulse_threshold:
        return None
    return _sampled(sampler, keys, runs, _NOTHING)


def _with_what_is_left(
    sampler: Sampler, keys: Keys, runs: Sequence[Run], ahead: Sampled, carry: Carry
) -> Sampled | None:
    """Return what clicks in a stretch that was sampled ahead, given what was left to it; None where that is unknown."""
    response, (sample, behind) = runs[0].cell.response, ahead[0]
    if response is None or len(carry.due_slots) or not len(sample.offsets):
        return None
    blocks_before = int(np.argmax(sample.block_counts > 0))
    if blocks_before * BLOCK_PULSES + int(sample.offsets[0]) > carry.blanked_to:
        return ahead
    # what is blanked moves the clicks behind it, up to the first one that stays: in the same block, but by rare chance
    count = int(sample.block_counts[0])
    if not count:
        return None
    first, left = sampler(response, keys, runs[0].first_block, 1, carry)
    if left.blanked_to != int(sample.offsets[count - 1]) + response.dead_slots - BLOCK_PULSES:
        return None
    rest = Sample(*(getattr(sample, name)[count if name != "block_counts" else 1 :] for name in _COLUMNS))
    return [(_joined([first, rest]), behind), *ahead[1:]]


def pass_runs(
    sampler: Sampler,
    keys: Keys,
    weather: Weather,
    train: Train,
    runs: Sequence[Run],
    left: Left,
    ahead: Sampled | None = None,
) -> tuple[Passed, Left]:
    """Return what clicks in the runs of a stretch, and what they leave to the next one.

    However a train is cut into stretches, and whether they were sampled ahead or not, its clicks are the same.
    """
    sampled = _with_what_is_left(sampler, keys, runs, ahead, left.carry) if ahead else None
    sampled = sampled or _sampled(sampler, keys, runs, left.carry)
    first = left.first
    samples, tagged = [], []
    for run, (sample, _) in zip(runs, sampled, strict=True):
        samples.append(sample)
        # where a delay has gone, tags of before still stand
        if has_clock(run.cell.parameters) or first != START.first:
            sample, first = in_raw_time(sample, train, run.first_block, run.cell.parameters, weather, first)
        tagged.append(sample)
    has_partners = runs[0].cell.parameters.pair_brightness > 0.0
    return Passed(_joined(samples), _joined(tagged), has_partners), Left(sampled[-1][1], first)


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
