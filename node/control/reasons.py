"""node.control.reasons: the words for what is wrong with a link, and what each of them means for it. Pure.

The same words in the link's state, in findings of the receiver, in monitors, metrics, the journal and docs/monitors.md.
"""

from collections.abc import Iterable
from typing import Final

__all__ = [
    "ABORTING",
    "BACK_REFLECTION",
    "BASIS_MATCH",
    "CLOCK_LOST",
    "DARK_COUNTS",
    "DECOY_STATISTICS",
    "DEGRADING",
    "DETECTOR_BLINDING",
    "DETECTOR_IMBALANCE",
    "DOUBLE_CLICKS",
    "NO_KEY",
    "NO_LIGHT",
    "PROBED",
    "QBER",
    "ROUND_TRIP",
    "TOO_FAINT",
    "most_telling",
]

NO_LIGHT: Final = "no-light"
TOO_FAINT: Final = "too-faint"
QBER: Final = "qber"
NO_KEY: Final = "no-key"
DECOY_STATISTICS: Final = "decoy-statistics"
DETECTOR_BLINDING: Final = "detector-blinding"
DETECTOR_IMBALANCE: Final = "detector-imbalance"
BACK_REFLECTION: Final = "back-reflection"
ROUND_TRIP: Final = "round-trip"
CLOCK_LOST: Final = "clock-lost"
DARK_COUNTS: Final = "dark-counts"
DOUBLE_CLICKS: Final = "double-clicks"
BASIS_MATCH: Final = "basis-match"

# what ends service, the most telling first: who blinds detectors changes the basis match too, a delay the clock
ABORTING: Final = (
    BACK_REFLECTION,
    DETECTOR_BLINDING,
    DECOY_STATISTICS,
    DETECTOR_IMBALANCE,
    ROUND_TRIP,
    BASIS_MATCH,
    NO_LIGHT,
    CLOCK_LOST,
    QBER,
)
# what only says that all is not well; darks and doubles make errors
DEGRADING: Final = (DARK_COUNTS, DOUBLE_CLICKS, QBER, TOO_FAINT, NO_KEY)
# a link that is DOWN for one of these stays so while test trains show it
PROBED: Final = frozenset({*ABORTING, TOO_FAINT})


def most_telling(found: Iterable[str], order: tuple[str, ...]) -> str:
    """Return the first of `order` that was found; empty when none was."""
    seen = set(found)
    return next((reason for reason in order if reason in seen), "")
