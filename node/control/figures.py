"""node.control.figures: what the loops and monitors of one end show of its link. Pure."""

from dataclasses import dataclass, field

from node.control.reading import Reading

__all__ = ["LoopFigures"]


@dataclass
class LoopFigures:
    """Fields as in node.proto's NodeLinkStatus; what an end does not have stays 0.

    Attributes:
        readings: Of the monitors of this end.
        steps_s: Emulated seconds of each step of the last commissioning.
    """

    qber_baseline_prob: float = 0.0
    qber_now_prob: float = 0.0
    alignments_count: int = 0
    clock_offset_ps: float = 0.0
    clock_skew_ppb: float = 0.0
    is_clock_locked: bool = False
    quantum_round_trip_ps: float = 0.0
    gate_offset_ps: float = 0.0
    intensity_trim_ratio: float = 0.0
    readings: list[Reading] = field(default_factory=list)
    steps_s: dict[str, float] = field(default_factory=dict)
