"""node.qkd.monitor: what the transmitter concludes from test trains, from trains, and from errors. Pure."""

from dataclasses import dataclass
from typing import Final

from node.link_state import LinkState, QberWindow

__all__ = ["NO_LIGHT", "QBER", "CommissioningTally", "Monitor"]

NO_LIGHT: Final = "no-light"
QBER: Final = "qber"
TOO_FAINT: Final = "too-faint"
_DARK_TRAINS: Final = 3
_WINDOW_BITS: Final = 2000
_TEST_BITS: Final = 200
_TEST_TRAINS: Final = 10


@dataclass
class CommissioningTally:
    """What the test trains of a commissioning have shown so far."""

    abort_prob: float
    train_count: int = 0
    click_count: int = 0
    sifted_count: int = 0
    error_count: int = 0

    def add(self, click_count: int, sifted_count: int, error_count: int) -> None:
        """Count one test train."""
        self.train_count += 1
        self.click_count += click_count
        self.sifted_count += sifted_count
        self.error_count += error_count

    @property
    def needs_more(self) -> bool:
        """Whether another test train is due before a verdict: there is light, but little."""
        return self.click_count > 0 and self.sifted_count < _TEST_BITS and self.train_count < _TEST_TRAINS

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
        return QBER if self.qber_prob >= self.abort_prob else ""


class Monitor:
    """Watches a link in service."""

    def __init__(self, degraded_prob: float, abort_prob: float) -> None:
        """Judge the error rate by these two thresholds."""
        self._degraded_prob = degraded_prob
        self._abort_prob = abort_prob
        self._dark_trains = 0
        self._window = QberWindow(_WINDOW_BITS)
        self._is_barren = False

    def see_train(self, click_count: int) -> None:
        """Take note of a whole train."""
        self._dark_trains = 0 if click_count else self._dark_trains + 1

    def see_x_bits(self, compared_count: int, error_count: int) -> None:
        """Take note of the receiver's running totals in X."""
        self._window.update(compared_count, error_count)

    def see_block(self, secret_bits: int) -> None:
        """Take note of a block: one that makes no key degrades the link until one does."""
        self._is_barren = secret_bits == 0

    @property
    def qber_prob(self) -> float | None:
        """The error rate in X over the last bits; None before there are enough."""
        return self._window.qber_prob

    @property
    def trouble(self) -> str:
        """Why the link has to leave service; empty when it need not."""
        if self._dark_trains >= _DARK_TRAINS:
            return NO_LIGHT
        qber_prob = self.qber_prob
        return QBER if qber_prob is not None and qber_prob >= self._abort_prob else ""

    @property
    def verdict(self) -> tuple[LinkState, str]:
        """The state that the link is in while it stays in service."""
        qber_prob = self.qber_prob
        if qber_prob is not None and qber_prob >= self._degraded_prob:
            return LinkState.DEGRADED, QBER
        if self._is_barren:
            return LinkState.DEGRADED, "no-key"
        return LinkState.OPERATING, ""
