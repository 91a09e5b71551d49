"""node.link_state: the life of a link as one end sees it, and the figures it reports. Pure.

COMMISSIONING -> OPERATING <-> DEGRADED -> DOWN -> COMMISSIONING. The transmitter decides; the receiver follows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

from node.control.figures import LoopFigures
from node.rates import WindowedRate
from qnetem.runtime.clock import PS_PER_S
from qnetem.v1 import link_session_pb2

__all__ = ["LinkRecord", "LinkState", "QberWindow"]

_RATE_WINDOW_S = 10.0


class LinkState(IntEnum):
    """States by the numbers they have on the wire."""

    COMMISSIONING = link_session_pb2.LINK_STATE_COMMISSIONING
    OPERATING = link_session_pb2.LINK_STATE_OPERATING
    DEGRADED = link_session_pb2.LINK_STATE_DEGRADED
    DOWN = link_session_pb2.LINK_STATE_DOWN


@dataclass
class LinkRecord:
    """What one end knows of its link.

    Attributes:
        link_id: The link.
        now_ps: Reads emulated time.
        on_change: Called after the state or its reason changed.
    """

    link_id: str
    now_ps: Callable[[], int]
    on_change: Callable[["LinkRecord"], None]
    state: LinkState = LinkState.DOWN
    reason: str = "starting"
    since_ps: int = 0
    time_to_service_s: float = 0.0
    qber_prob: float = 0.0
    blocks_made_count: int = 0
    blocks_dropped_count: int = 0
    secret_bits_total: int = 0
    epsilon_total: float = 0.0
    round_trip_s: float = 0.0
    lag_s: float = 0.0
    is_idle: bool = False
    discarded_trains_count: int = 0
    clicks: WindowedRate = field(default_factory=lambda: WindowedRate(_RATE_WINDOW_S))
    sifted: WindowedRate = field(default_factory=lambda: WindowedRate(_RATE_WINDOW_S))
    secret_fraction: float = 0.0
    tag_fraction: float = 0.0
    tags_bits_total: int = 0
    is_auth_starved: bool = False
    loops: LoopFigures = field(default_factory=LoopFigures)
    _commissioning_since_ps: int = 0

    def enter(self, state: LinkState, reason: str = "") -> None:
        """Enter a state, or give it another reason; nothing when both are as they were."""
        if (state, reason) == (self.state, self.reason):
            return
        if state is not self.state:
            self.since_ps = self.now_ps()
            if state is LinkState.COMMISSIONING:
                self._commissioning_since_ps = self.since_ps
            if state is LinkState.OPERATING and self.state is LinkState.COMMISSIONING:
                self.time_to_service_s = (self.since_ps - self._commissioning_since_ps) / PS_PER_S
        self.state, self.reason = state, reason
        self.on_change(self)

    @property
    def is_in_service(self) -> bool:
        """Whether the link makes keys: OPERATING, or DEGRADED, which still does."""
        return self.state in (LinkState.OPERATING, LinkState.DEGRADED)

    def secret_gross_hz(self, now_ps: int) -> float:
        """Return secret bits per emulated second: the sifted rate, at the yield of the last block."""
        return self.sifted.per_s(now_ps) * self.secret_fraction

    def secret_net_hz(self, now_ps: int) -> float:
        """Return secret bits per emulated second less the tags that they cost both ends; below 0 when those cost more.

        A link without tags, and one that makes no key, costs nothing.
        """
        return self.sifted.per_s(now_ps) * (self.secret_fraction - self.tag_fraction)

    def count_tags(self, sifted_bits: int, tags_bits: int) -> None:
        """Count the tags that this end paid for a block that was made; the peer pays as much."""
        self.tags_bits_total += tags_bits
        self.tag_fraction = 2 * tags_bits / sifted_bits
        self.is_auth_starved = False

    def count_block(self, sifted_bits: int, secret_bits: int, epsilon: float, qber_prob: float) -> None:
        """Count a key block that was made (`secret_bits` > 0) or dropped (0)."""
        self.qber_prob = qber_prob
        self.secret_fraction = secret_bits / sifted_bits
        self.tag_fraction = 0.0
        if secret_bits > 0:
            self.blocks_made_count += 1
            self.secret_bits_total += secret_bits
            self.epsilon_total += epsilon
        else:
            self.blocks_dropped_count += 1


class QberWindow:
    """The error rate over the last bits that were compared, told as running totals."""

    def __init__(self, window_bits: int) -> None:
        """Look back at least `window_bits` compared bits."""
        self._window_bits = window_bits
        self._totals = [(0, 0)]

    def update(self, compared_count: int, error_count: int) -> None:
        """Take new running totals."""
        if compared_count > self._totals[-1][0]:
            self._totals.append((compared_count, error_count))
        while len(self._totals) > 2 and compared_count - self._totals[1][0] >= self._window_bits:
            self._totals.pop(0)

    @property
    def qber_prob(self) -> float | None:
        """The error rate over the window; None before it is full."""
        compared = self._totals[-1][0] - self._totals[0][0]
        if compared < self._window_bits:
            return None
        return (self._totals[-1][1] - self._totals[0][1]) / compared
