"""node.qkd.monitor: what the transmitter concludes from test trains, from trains, and from errors. Pure."""

from dataclasses import dataclass
from typing import Final

from node.link_state import LinkState, QberWindow

__all__ = ["NO_LIGHT", "QBER", "CommissioningTally", "Monitor"]

NO_LIGHT: Final = "no-light"
QBER: Final = "qber"
TOO_FAINT: Final = "too-faint"
_DARK_TRAINS: Final = 3
# what is left of the clicks when light is as good as gone: commissioning finds out what the link is still worth
_FAINT_SHARE: Final = 0.02
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
        """Count what a part of a test train showed; the trains are counted by who sees them end."""
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
        self._block_qber_prob = 0.0
        self._faint_count = 0.0

    def expect_clicks(self, click_count: float) -> None:
        """Take note of what a train showed when the link was put into service."""
        self._faint_count = click_count * _FAINT_SHARE

    def see_train(self, click_count: int) -> None:
        """Take note of a whole train."""
        self._dark_trains = self._dark_trains + 1 if click_count <= self._faint_count else 0

    def see_x_bits(self, compared_count: int, error_count: int) -> None:
        """Take note of the receiver's running totals in X."""
        self._window.update(compared_count, error_count)

    def see_block(self, secret_bits: int, qber_prob: float) -> None:
        """Take note of a block and its error rate in Z: one that makes no key degrades the link until one does."""
        self._is_barren = secret_bits == 0
        self._block_qber_prob = qber_prob

    @property
    def qber_prob(self) -> float | None:
        """The error rate in X over the last bits; None before there are enough."""
        return self._window.qber_prob

    @property
    def _worst_prob(self) -> float:
        """The greater of the error rates in X and, of the last block, in Z."""
        return max(self.qber_prob or 0.0, self._block_qber_prob)

    @property
    def trouble(self) -> str:
        """Why the link has to leave service; empty when it need not."""
        if self._dark_trains >= _DARK_TRAINS:
            return NO_LIGHT
        return QBER if self._worst_prob >= self._abort_prob else ""

    @property
    def verdict(self) -> tuple[LinkState, str]:
        """The state that the link is in while it stays in service."""
        if self._worst_prob >= self._degraded_prob:
            return LinkState.DEGRADED, QBER
        if self._is_barren:
            return LinkState.DEGRADED, "no-key"
        return LinkState.OPERATING, ""
