"""node.qkd.error_watch: whether the errors of a link in service are such that it has to leave it. Pure.

A polarisation that has turned away makes as many errors as an eavesdropper does. An alignment tells one from the other:
errors that are still there behind it are no drift.
"""

from typing import Final

from node.link_state import QberWindow

__all__ = ["WINDOW_BITS", "ErrorWatch"]

WINDOW_BITS: Final = 2000
# an alignment takes effect two stretches after errors were seen; so many bits and reports later there is none to come
_PATIENCE_BITS: Final = 3 * WINDOW_BITS
_PATIENCE_REPORTS: Final = 10


class ErrorWatch:
    """Watches errors in X, bit by bit, and in Z, block by block."""

    def __init__(self, abort_prob: float) -> None:
        """Judge by the error rate from which there is no service."""
        self._abort_prob = abort_prob
        self._window = QberWindow(WINDOW_BITS)
        self._block_probs = (0.0, 0.0)
        self._suspected_at: int | None = None
        self._waited_count = 0
        self._behind: tuple[int, int] | None = None
        self._is_x_over = False

    def see_x_bits(self, compared_count: int, error_count: int, aligned_count: int) -> None:
        """Take note of running totals in X.

        Args:
            compared_count, error_count: Bits, and errors among them.
            aligned_count: How many of the bits were sent before the last alignment took effect.
        """
        self._window.update(compared_count, error_count)
        if self._suspected_at is None:
            self._suspected_at = compared_count if self._is_bad(self._window.qber_prob) else None
            self._waited_count = 0
            return
        self._waited_count += 1
        if self._behind is None and aligned_count >= self._suspected_at:
            self._behind = (compared_count, error_count)
        if self._behind is not None:
            compared, errors = compared_count - self._behind[0], error_count - self._behind[1]
            if compared >= WINDOW_BITS:
                self._conclude(self._is_bad(errors / compared))
        elif not self._is_bad(self._window.qber_prob):
            self._conclude(False)
        elif compared_count - self._suspected_at >= _PATIENCE_BITS and self._waited_count >= _PATIENCE_REPORTS:
            self._conclude(True)

    def _is_bad(self, prob: float | None) -> bool:
        return prob is not None and prob >= self._abort_prob

    def _conclude(self, is_over: bool) -> None:
        self._is_x_over = is_over
        self._suspected_at = self._behind = None

    def see_block(self, qber_prob: float) -> None:
        """Take note of a key block's error rate in Z."""
        self._block_probs = (self._block_probs[1], qber_prob)

    @property
    def qber_prob(self) -> float | None:
        """The error rate in X over the last bits; None before there are enough."""
        return self._window.qber_prob

    @property
    def worst_prob(self) -> float:
        """The greater of the error rates in X and, of the last block, in Z."""
        return max(self.qber_prob or 0.0, self._block_probs[1])

    @property
    def is_over(self) -> bool:
        """Whether there are too many errors that no alignment cures. It takes two blocks: one may be from before."""
        return self._is_x_over or min(self._block_probs) >= self._abort_prob
