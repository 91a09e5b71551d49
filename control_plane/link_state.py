"""control_plane.link_state: what a hop costs, from what the nodes at its ends say. Pure.

    cost = 1 + scarcity + slowness + staleness + trouble

    scarcity   8192 / (available bits + 1024): an empty pool costs as much as 8 hops, one of 8 kbit as 0.9
    slowness   1000 / (secret bits a second + 250): a link that makes none costs 4 hops
    staleness  a tenth of the report's age in seconds, at most 4
    trouble    100 where the near end cannot reach the far one, or either is silent

Nothing that is known is ever left out: a path that is bad now is still worth having when it is the last.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from control_plane.inventory import Known

__all__ = ["TROUBLE", "HopState", "cost", "hop_states"]

TROUBLE: Final = 100.0


@dataclass(frozen=True, slots=True)
class HopState:
    """A hop in one direction: what its near end may spend towards its far end."""

    available_bits: int
    secret_hz: float
    age_s: float
    round_trip_s: float
    is_sound: bool


def hop_states(known: Mapping[str, Known], now_s: float) -> dict[tuple[str, str], HopState]:
    """Return every hop between nodes that reported, by (from, to). Parallel links have one pool; their rates add up."""
    states: dict[tuple[str, str], HopState] = {}
    for name, one in known.items():
        for link in one.report.links:
            other = known.get(link.peer_node)
            if other is None:
                continue
            is_sound = link.is_reachable and not one.is_silent(now_s) and not other.is_silent(now_s)
            before = states.get((name, link.peer_node))
            states[name, link.peer_node] = HopState(
                available_bits=link.available_bits,
                secret_hz=link.secret_hz + (before.secret_hz if before is not None else 0.0),
                age_s=max(0.0, now_s - one.at_s),
                round_trip_s=min(link.round_trip_s, before.round_trip_s) if before is not None else link.round_trip_s,
                is_sound=is_sound or (before is not None and before.is_sound),
            )
    return states


def cost(hop: HopState) -> float:
    """Return what a hop costs, in hops: at least 1."""
    scarcity = 8192 / (max(0, hop.available_bits) + 1024)
    slowness = 1000 / (max(0.0, hop.secret_hz) + 250)
    staleness = min(hop.age_s / 10, 4.0)
    return 1 + scarcity + slowness + staleness + (0.0 if hop.is_sound else TROUBLE)
