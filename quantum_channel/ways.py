"""quantum_channel.ways: every way in which a slot can click, and what each means. Pure.

Samplers draw the *code* of a way and nothing else; what it means is looked up afterwards, by array. Codes 0 .. 3 are
afterpulses of detector 0 .. 3; then come the ways that pulses click in, as many as are possible under the conditions
of a block; then those of clicks that jitter carried into another slot, where the transmitter's own detectors matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["AFTERPULSE_CODES", "STRAY", "UNIFORM", "Sets", "Ways", "ways_to_click"]

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

AFTERPULSE_CODES: Final = 4
# instead of the number of a landing: anywhere in the slot, as a dark count
UNIFORM: Final = 255
# instead of what the transmitter's detectors registered: to be drawn for the slot that the click landed in
STRAY: Final = 255


@dataclass(frozen=True, slots=True)
class Sets:
    """Clicks of one kind.

    Attributes:
        probs: Shape (classes..., transmitter's sets, receiver's sets), float64; the receiver's set 0 is no click.
        landing: Number of the landing, or UNIFORM.
        is_forced: By an eavesdropper's bright light, which leaves nothing behind that could make an afterpulse.
    """

    probs: F64
    landing: int
    is_forced: bool = False


@dataclass(frozen=True, slots=True)
class Ways:
    """What codes mean. Shapes (codes,), uint8.

    Attributes:
        detectors: The set of the receiver's detectors: Clicks.detectors.
        partners: The set of the transmitter's own detectors, or STRAY.
        landings: Number of the landing, or UNIFORM.
        strays: The code of the same click in another slot than its own.
        begets: 1 where an afterpulse may follow.
    """

    detectors: U8
    partners: U8
    landings: U8
    strays: U8
    begets: U8


def ways_to_click(kinds: Sequence[Sets]) -> tuple[F64, Ways]:
    """Return the ways that are possible in any class, and what codes mean.

    Returns:
        Probabilities. Shape (classes..., ways), float64; way w has code AFTERPULSE_CODES + w; at least one.
    """
    columns: list[F64] = []
    found: list[tuple[int, int, int, int]] = []
    for kind in kinds:
        partners, sets = kind.probs.shape[-2:]
        for partner in range(partners):
            for detectors in range(1, sets):
                probs = kind.probs[..., partner, detectors]
                if probs.any():
                    columns.append(probs)
                    found.append((detectors, partner, kind.landing, 0 if kind.is_forced else 1))
    if not found:
        columns, found = [np.zeros(kinds[0].probs.shape[:-2])], [(1, 0, UNIFORM, 1)]
    has_partners = any(partner for _, partner, _, _ in found)
    alone = STRAY if has_partners else 0
    afterpulses = [(1 << d, alone, UNIFORM, 0) for d in range(AFTERPULSE_CODES)]
    codes = afterpulses + found
    strays = list(range(len(codes)))
    if has_partners:
        places: dict[tuple[int, int], int] = {}
        for code, (detectors, _, landing, begets) in enumerate(codes):
            # what lands anywhere in its slot stays there
            if landing != UNIFORM:
                strays[code] = places.setdefault((detectors, begets), len(strays) + len(places))
        codes = codes + [(detectors, STRAY, UNIFORM, begets) for detectors, begets in places]
        strays += list(places.values())
    meaning = np.array(codes, dtype=np.uint8).T
    detectors, partners, landings, begets = (row.copy() for row in meaning)
    return np.stack(columns, axis=-1), Ways(detectors, partners, landings, np.array(strays, dtype=np.uint8), begets)
