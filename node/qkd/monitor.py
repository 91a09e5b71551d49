"""node.qkd.monitor: what the transmitter concludes from test trains, trains, errors and findings. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from node.control.reasons import (
    ABORTING,
    CLOCK_LOST,
    DEGRADING,
    NO_KEY,
    NO_LIGHT,
    QBER,
    TOO_FAINT,
    most_telling,
)
from node.link_state import LinkState
from node.qkd.error_watch import WINDOW_BITS, ErrorWatch

__all__ = ["NO_LIGHT", "QBER", "TOO_FAINT", "CommissioningTally", "Monitor"]

_DARK_TRAINS: Final = 3
# what is left of the clicks when light is as good as gone: commissioning finds out what the link is still worth
_FAINT_SHARE: Final = 0.02
# and when the link is worth a warning: 13 dB
_DIM_SHARE: Final = 0.05
_TEST_BITS: Final = 200
_TEST_TRAINS: Final = 10
# a link that left for its errors has to be so much better, over as many bits as they were seen in, to come back
_BETTER_PROB: Final = 0.01
# what a monitor has to see again before it may say that all is well
_EVIDENCE_CLICKS: Final = 200_000
_EVIDENCE_TRAINS: Final = 32
# errors that only bits of other pulses make: an eavesdropper who measures every pulse makes 25 %
_SLIPPED_PROB: Final = 0.35


@dataclass
class CommissioningTally:
    """What the test trains of a commissioning have shown so far.

    Attributes:
        abort_prob: Error rate from which there is no service.
        least_clicks: Clicks that a verdict takes, besides sifted bits.
        least_bits: Sifted bits that it takes, as long as there is light for them.
    """

    abort_prob: float
    least_clicks: int = 0
    least_bits: int = _TEST_BITS
    train_count: int = 0
    click_count: int = 0
    sifted_count: int = 0
    error_count: int = 0

    def add(self, click_count: int, sifted_count: int, error_count: int) -> None:
        """Count what a part of a test train showed; the trains are counted by who sees them end."""
        self.click_count += click_count
        self.sifted_count += sifted_count
        self.error_count += error_count

    @property
    def needs_more(self) -> bool:
        """Whether another test train is due before a verdict: there is light, but little."""
        is_little = self.sifted_count < self.least_bits or self.click_count < self.least_clicks
        limit = _EVIDENCE_TRAINS if self.least_clicks else _TEST_TRAINS * self.least_bits // _TEST_BITS
        return self.click_count > 0 and is_little and self.train_count < limit

    @property
    def qber_prob(self) -> float:
        """Errors over sifted bits; 0.5, which tells nothing, when there are none."""
        return self.error_count / self.sifted_count if self.sifted_count else 0.5

    @property
    def trouble(self) -> str:
        """Why the link cannot be put into service; empty when it can."""
        if self.click_count == 0:
            return NO_LIGHT
        if self.sifted_count < _TEST_BITS:
            return TOO_FAINT
        if self.qber_prob >= max(_SLIPPED_PROB, self.abort_prob):
            return CLOCK_LOST
        return QBER if self.qber_prob >= self.abort_prob or self.sifted_count < self.least_bits else ""

    @classmethod
    def after(cls, reason: str, abort_prob: float) -> "CommissioningTally":
        """Return the tally for a link that is DOWN for `reason`: what a monitor saw takes clicks to rule out."""
        if reason == QBER:
            return cls(max(abort_prob - _BETTER_PROB, abort_prob / 2.0), least_bits=WINDOW_BITS)
        is_plain = reason in (NO_LIGHT, TOO_FAINT, CLOCK_LOST) or reason not in ABORTING
        return cls(abort_prob, 0 if is_plain else _EVIDENCE_CLICKS)


class Monitor:
    """Watches a link in service."""

    def __init__(self, degraded_prob: float, abort_prob: float) -> None:
        """Judge the error rate by these two thresholds."""
        self._degraded_prob = degraded_prob
        self._dark_trains = self._dim_trains = 0
        self._errors = ErrorWatch(abort_prob)
        self._is_barren = False
        self._usual_count = 0.0
        self._found: frozenset[str] = frozenset()
        self._degrading: frozenset[str] = frozenset()
        self._own: frozenset[str] = frozenset()

    def expect_clicks(self, click_count: float) -> None:
        """Take note of what a train showed when the link was put into service."""
        self._usual_count = click_count

    def see_train(self, click_count: int) -> None:
        """Take note of a whole train."""
        self._dark_trains = self._dark_trains + 1 if click_count <= self._usual_count * _FAINT_SHARE else 0
        self._dim_trains = self._dim_trains + 1 if click_count <= self._usual_count * _DIM_SHARE else 0

    def see_x_bits(self, compared_count: int, error_count: int, aligned_count: int) -> None:
        """Take note of the receiver's running totals in X; `aligned_count` of them are from before it last aligned."""
        self._errors.see_x_bits(compared_count, error_count, aligned_count)

    def see_block(self, secret_bits: int, qber_prob: float) -> None:
        """Take note of a block and its error rate in Z: one that makes no key degrades the link until one does."""
        self._is_barren = secret_bits == 0
        self._errors.see_block(qber_prob)

    def see_findings(self, aborting: Iterable[str], degrading: Iterable[str]) -> None:
        """Take note of what the receiver's monitors find now; words that are no reasons say nothing."""
        self._found, self._degrading = frozenset(aborting), frozenset(degrading)

    def see_alarms(self, alarms: frozenset[str]) -> None:
        """Take note of what the transmitter's own monitors find now."""
        self._own = alarms

    @property
    def found(self) -> frozenset[str]:
        """Reasons to end service that monitors of either end see now."""
        return (self._found | self._own) & frozenset(ABORTING)

    @property
    def qber_prob(self) -> float | None:
        """The error rate in X over the last bits; None before there are enough."""
        return self._errors.qber_prob

    @property
    def trouble(self) -> str:
        """Why the link has to leave service, the most telling reason; empty when it need not."""
        found = set(self.found)
        if self._dark_trains >= _DARK_TRAINS:
            found.add(NO_LIGHT)
        if self._errors.worst_prob >= _SLIPPED_PROB:
            found.add(CLOCK_LOST)
        if self._errors.is_over:
            found.add(QBER)
        return most_telling(found, ABORTING)

    @property
    def verdict(self) -> tuple[LinkState, str]:
        """The state that the link is in while it stays in service."""
        found = set(self._degrading)
        if self._errors.worst_prob >= self._degraded_prob:
            found.add(QBER)
        if self._dim_trains >= _DARK_TRAINS:
            found.add(TOO_FAINT)
        if self._is_barren:
            found.add(NO_KEY)
        reason = most_telling(found, DEGRADING)
        return (LinkState.DEGRADED, reason) if reason else (LinkState.OPERATING, "")
