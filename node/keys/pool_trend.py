"""node.keys.pool_trend: how fast pools fill and empty, and when one is exhausted at that. Pure."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from node.keys.records import Pool
from node.keys.relay_conservation import spent_bits

__all__ = ["PoolTrend", "Trend"]

_SAMPLES: Final = 31


@dataclass(frozen=True, slots=True)
class Trend:
    """Of one pool over `window_s` emulated seconds; rates in bits per emulated second, both halves.

    Attributes:
        made_hz: Bits made.
        spent_hz: Bits spent in any way.
        window_s: What it was measured over; 0: nothing yet.
        exhausted_in_s: Until nothing is left to give as keys, falling on as it did; None: it does not fall.
    """

    made_hz: float = 0.0
    spent_hz: float = 0.0
    window_s: float = 0.0
    exhausted_in_s: float | None = None


class PoolTrend:
    """Looks at the pools again and again, and back over the last thirty times."""

    def __init__(self) -> None:
        """Begin with no look."""
        self._seen: dict[str, deque[tuple[float, Pool]]] = {}

    def see(self, emulated_s: float, pools: Iterable[Pool]) -> None:
        """Take a look; a time that is not later than the last look is none."""
        for pool in pools:
            seen = self._seen.setdefault(pool.peer_node, deque(maxlen=_SAMPLES))
            if not seen or emulated_s > seen[-1][0]:
                seen.append((emulated_s, pool))

    def of(self, peer_node: str) -> Trend:
        """Return the trend of the pool shared with a peer."""
        seen = self._seen.get(peer_node)
        if seen is None or len(seen) < 2:
            return Trend()
        (first_s, first), (last_s, last) = seen[0], seen[-1]
        window_s = last_s - first_s
        falling_hz = (first.available_bits - last.available_bits) / window_s
        return Trend(
            made_hz=(last.made_bits - first.made_bits) / window_s,
            spent_hz=(spent_bits(last) - spent_bits(first)) / window_s,
            window_s=window_s,
            exhausted_in_s=last.available_bits / falling_hz if falling_hz > 0.0 else None,
        )
