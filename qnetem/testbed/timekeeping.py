"""qnetem.testbed.timekeeping: emulated time goes on where it stood, however the last run ended. Pure."""

import math
from dataclasses import dataclass
from typing import Final

__all__ = ["HORIZON_S", "ClockRecord", "epoch_of"]

# how far ahead a running supervisor records the time, seconds of the host
HORIZON_S: Final = 60
# a scaled clock computes in floats
_MARGIN_NS: Final = 1000


@dataclass(frozen=True, slots=True)
class ClockRecord:
    """What is known of emulated time.

    Attributes:
        boot_id: Names the run of the machine whose CLOCK_MONOTONIC `epoch_ns` is a reading of.
        epoch_ns: When emulated time was 0.
        scale: Emulated seconds in one of the host.
        reached_ps: Emulated time that was certainly not passed when the record was written, nor for HORIZON_S after it.
        is_final: Written when all had ended: `reached_ps` is where time stands.
    """

    boot_id: str
    epoch_ns: int
    scale: float
    reached_ps: int
    is_final: bool


def epoch_of(record: ClockRecord | None, boot_id: str, now_ns: int, scale: float) -> int:
    """Return the epoch, as a reading of CLOCK_MONOTONIC, with which emulated time goes on now and never back.

    Args:
        record: Of the last run; None: time starts now.
        boot_id: This run of the machine.
        now_ns: CLOCK_MONOTONIC now.
        scale: Emulated seconds in one of the host, from now on.
    """
    if record is None:
        return now_ns
    reached_ps = record.reached_ps
    if not record.is_final and record.boot_id == boot_id:
        # the run was killed: its own clock says how far it can have come
        reached_ps = math.ceil((now_ns - record.epoch_ns) * 1000 * record.scale)
    return now_ns - math.ceil(reached_ps / 1000 / scale) - _MARGIN_NS
