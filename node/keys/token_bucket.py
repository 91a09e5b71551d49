"""node.keys.token_bucket: bits that a rate lets through, with a burst. Pure: emulated time is given, never read."""

from qnetem.runtime.errors import BadInputError

__all__ = ["TokenBucket"]


class TokenBucket:
    """Fills with `rate_hz` bits a second up to `burst_bits`; full at first. Time that goes back fills nothing."""

    __slots__ = ("_at_s", "_level_bits", "burst_bits", "rate_hz")

    def __init__(
        self, rate_hz: float, burst_bits: float, now_s: float, noted: tuple[float, float] | None = None
    ) -> None:
        """Start full, or as it was noted in an earlier life.

        Args:
            rate_hz: Bits a second, > 0.
            burst_bits: Bits it holds, > 0.
            now_s: Emulated seconds.
            noted: `noted` of that life; None: there was none.

        Raises:
            BadInputError: One of the two is not above 0, or infinite.
        """
        if not (0 < rate_hz < float("inf") and 0 < burst_bits < float("inf")):
            raise BadInputError(f"a rate of {rate_hz} bit/s and a burst of {burst_bits} bits are not both above 0")
        self.rate_hz = rate_hz
        self.burst_bits = burst_bits
        level_bits, at_s = noted or (burst_bits, now_s)
        self._level_bits = float(min(level_bits, burst_bits))
        self._at_s = min(at_s, now_s)

    @property
    def noted(self) -> tuple[float, float]:
        """What is to be remembered of it: bits that may be taken, and as of which emulated second."""
        return self._level_bits, self._at_s

    def level_bits(self, now_s: float) -> float:
        """Return how many bits may be taken."""
        if now_s > self._at_s:
            self._level_bits = min(self.burst_bits, self._level_bits + (now_s - self._at_s) * self.rate_hz)
            self._at_s = now_s
        return self._level_bits

    def take(self, bits: float, now_s: float) -> float:
        """Take up to `bits`; return how many were there."""
        taken = min(bits, self.level_bits(now_s))
        self._level_bits -= taken
        return taken

    def give_back(self, bits: float) -> None:
        """Put back what was taken and not used."""
        self._level_bits = min(self.burst_bits, self._level_bits + bits)

    def wait_s(self, bits: float, now_s: float) -> float:
        """Return the emulated seconds until `bits` may be taken; infinity when they never may."""
        if bits > self.burst_bits:
            return float("inf")
        return max(0.0, (bits - self.level_bits(now_s)) / self.rate_hz)
