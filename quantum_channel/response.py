"""quantum_channel.response: the conditions of a block as the tables that the samplers draw from. Pure.

A pulse falls into one of CLASSES by the choices at both ends: ((intensity x 2 + transmitter basis) x 2 + receiver
basis) x 2 + bit, bases 0 = Z, 1 = X. For each class a table says how probable a click is and how it looks.
Probabilities are thresholds to compare 32-bit words with, so that both samplers decide alike to the last bit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from qnetem.runtime.rng import intensity_thresholds, prob_threshold
from quantum_channel.alias import alias_bits, alias_table
from quantum_channel.clicks import bin_width_ps, click_table, landing_offsets_ps
from quantum_channel.conditions import Conditions, conditions
from quantum_channel.detector import registered_prob
from quantum_channel.isolated_bins import bin_landing
from quantum_channel.parameters import Parameters
from quantum_channel.timing import Landing, landing
from quantum_channel.ways import Ways

__all__ = ["Landings", "Response", "respond"]

F64 = npt.NDArray[np.float64]
I32 = npt.NDArray[np.int32]
U64 = npt.NDArray[np.uint64]

# From this many candidates lost to each dead time on it pays to skip them (sampler.py). Part of the draw layout.
_SKIP_FROM: Final = 8.0


@dataclass(frozen=True, slots=True)
class Landings:
    """Several landing tables, one behind the other: landing n begins at n x 2^bits.

    Attributes:
        cells: Alias tables (alias.py). Shape (landings x 2^bits,), uint64.
        shifts, arrivals_ps: As in timing.Landing, filled up. Shape (landings x 2^bits,), int32.
        bits: Upper bits of a word that are its cell.
        reach_slots: Largest absolute shift.
    """

    cells: U64
    shifts: I32
    arrivals_ps: I32
    bits: int
    reach_slots: int

    @classmethod
    def of(cls, tables: Sequence[Landing]) -> "Landings":
        """Return the tables as one; they have the same number of outcomes, as a link's landings do."""
        size = len(tables[0].cells)
        room = [(0, size - len(tables[0].shifts))]
        return cls(
            np.concatenate([table.cells for table in tables]),
            np.concatenate([np.pad(table.shifts, room) for table in tables]),
            np.concatenate([np.pad(table.arrivals_ps, room) for table in tables]),
            alias_bits(size),
            max(table.reach_slots for table in tables),
        )


@dataclass(frozen=True, slots=True)
class Response:
    """What samplers need to know of a block.

    Attributes:
        candidate_prob: Upper bound of the click probability over all classes.
        gap_scale: 1/log(1 - candidate_prob): a uniform's logarithm times this is a geometric gap. <= 0.
        basis_thresholds: Words below are Z: transmitter, receiver. Shape (2,), uint64.
        intensity_thresholds: Shape (intensities - 1,), uint64.
        accept: A candidate is kept when its word is below. Shape (classes,), uint64.
        accept_intensity: The largest of `accept` of each intensity. Shape (intensities,), uint64.
        cells: Alias tables (alias.py) of the ways to click, given a click. Shape (classes, 2^n), uint64.
        ways: What the codes of ways mean.
        stray_thresholds: The same for the transmitter's detectors where a click is not its own pulse's. Shape (3,),
            uint64.
        partner_probs: Of the sets of the transmitter's detectors, whatever the receiver's do. Shape (4,).
        has_partners: The transmitter has detectors too.
        landings: Where clicks land.
        slot_ps: How long detectors are open in a slot, rounded: where darks and afterpulses fall.
        dead_slots: Slots blanked after a click.
        is_skipping: Candidates within a dead time are not drawn at all.
        afterpulse_threshold: A click begets an afterpulse when its word is below.
        afterpulse_tau_slots: Mean delay of afterpulses behind the dead time, slots.
        detector_shift: The upper 32 - `detector_shift` bits of a word choose a detector.
        click_prob: Mean click probability of a live slot.
        registered_prob: Mean clicks registered per slot.
    """

    candidate_prob: float
    gap_scale: float
    basis_thresholds: U64
    intensity_thresholds: U64
    accept: U64
    accept_intensity: U64
    cells: U64
    ways: Ways
    stray_thresholds: U64
    partner_probs: F64
    has_partners: bool
    landings: Landings
    slot_ps: int
    dead_slots: int
    is_skipping: bool
    afterpulse_threshold: int
    afterpulse_tau_slots: float
    detector_shift: int
    click_prob: float
    registered_prob: float


def _thresholds(probs: F64) -> U64:
    return np.round(np.clip(probs, 0.0, 1.0) * 2.0**32).astype(np.uint64)


def _ways(cells: F64) -> U64:
    """Return the alias table of the ways to click of each class."""
    clicks = cells.sum(axis=-1, keepdims=True)
    given_click = np.cumsum(cells, axis=-1) / np.where(clicks > 0.0, clicks, 1.0)
    rows = _thresholds(given_click).astype(np.int64).reshape(-1, cells.shape[-1])[:, :-1]
    return np.stack([alias_table(np.diff(row, prepend=0, append=1 << 32).tolist()) for row in rows])


def _landing(p: Parameters, nature: Conditions, offset_ps: float) -> Landing:
    if p.bin_separation_ps:
        return bin_landing(nature.sigma_ps, p.bin_separation_ps, bin_width_ps(p), offset_ps)
    return landing(nature.sigma_ps, p.period_ps, offset_ps)


def respond(parameters: Parameters, nature: Conditions | None = None) -> Response:
    """Return the tables for blocks of a link under `nature` (by default that of an undisturbed link)."""
    p = parameters
    nature = nature or conditions(p)
    table = click_table(p, nature)
    clicks = table.cells.sum(axis=-1)
    # probabilities that add up to one may come out above it by rounding
    bound = min(1.0, float(clicks.max()))
    accept = _thresholds(clicks / bound if bound > 0.0 else clicks)
    mean = float((clicks * table.class_probs).sum())
    landings = [_landing(p, nature, offset_ps) for offset_ps in landing_offsets_ps(nature)]
    return Response(
        candidate_prob=bound,
        gap_scale=0.0 if bound >= 1.0 else (1.0 / math.log1p(-bound) if bound > 0.0 else -math.inf),
        basis_thresholds=np.array([prob_threshold(p.transmitter_p_z), prob_threshold(p.receiver_p_z)], dtype=np.uint64),
        intensity_thresholds=intensity_thresholds(p.intensity_probs),
        accept=accept.reshape(-1),
        accept_intensity=accept.reshape(len(p.intensities), -1).max(axis=1),
        cells=_ways(table.cells),
        ways=table.ways,
        stray_thresholds=_thresholds(np.cumsum(table.stray_probs)[:-1]),
        partner_probs=table.partner_probs,
        has_partners=p.pair_brightness > 0.0,
        landings=Landings.of(landings),
        slot_ps=round(min(p.gate_width_ps or p.period_ps, p.period_ps)),
        dead_slots=nature.dead_slots,
        is_skipping=bound * nature.dead_slots >= _SKIP_FROM,
        afterpulse_threshold=prob_threshold(nature.afterpulse_prob),
        afterpulse_tau_slots=nature.afterpulse_tau_slots,
        detector_shift=30 if p.is_passive else 31,
        click_prob=mean,
        registered_prob=registered_prob(min(1.0, mean * (1.0 + nature.afterpulse_prob)), nature.dead_slots),
    )
