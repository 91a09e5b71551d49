"""node.qkd.idle_watch: test trains of a link that makes no key because its pool is full: when, and what they say. Pure.

Clocks and polarisation drift, and eavesdroppers come, whether key is made or not: a real link goes on measuring itself.
"""

from typing import Final

from node.qkd.monitor import CommissioningTally
from qnetem.runtime.clock import PS_PER_S

__all__ = ["IdleWatch", "short_train_blocks"]

# from one test train to the next, emulated seconds, and wall seconds at most; and when the last one was bad
_TEST_S: Final = 3.0
_AGAIN_S: Final = 0.5
# clicks that a train is cut down to: what follows clock and polarisation needs no more
_CLICKS: Final = 20_000
# verdicts in a row that end service: the first of them has the receiver align
_BAD_LIMIT: Final = 3


class IdleWatch:
    """Watches one link while it idles.

    Attributes:
        tally: What the test trains since the last verdict have shown.
        due_ps: When the next is due, emulated.
        trouble: Why service has to end; empty when it need not.
    """

    def __init__(self, abort_prob: float, scale: float, now_ps: int) -> None:
        """Begin to idle, at a time scale, with a link that ends service from an error rate on."""
        self._abort_prob = abort_prob
        self._pace_ps = PS_PER_S * min(1.0, scale)
        self._bad_count = self._seen_clicks = 0
        self.tally = CommissioningTally(abort_prob)
        self.due_ps = now_ps + round(_TEST_S * self._pace_ps)
        self.trouble = ""

    def see(self, now_ps: int) -> None:
        """Take note that a test train is over; what it showed is in the tally."""
        is_dark = self.tally.click_count == self._seen_clicks
        self._seen_clicks = self.tally.click_count
        if not self.tally.needs_more:
            # that a link is dark the monitor says
            trouble = self.tally.trouble if self.tally.click_count else ""
            self._bad_count = self._bad_count + 1 if trouble else 0
            self.trouble = trouble if self._bad_count >= _BAD_LIMIT else ""
            self.tally, self._seen_clicks = CommissioningTally(self._abort_prob), 0
        pace_s = _AGAIN_S if is_dark or self._bad_count else _TEST_S
        self.due_ps = now_ps + round(pace_s * self._pace_ps)


def short_train_blocks(train_blocks: int, usual_clicks: float) -> int:
    """Return the blocks of a test train, whole ones of `train_blocks` having so many clicks."""
    return train_blocks if usual_clicks <= _CLICKS else max(1, round(train_blocks * _CLICKS / usual_clicks))
