"""qnetem.topology.environments: where a fibre lies and what that does to it, as numbers with their reasons. Pure.

An environment lies over a link's profile, and under the file's defaults and the link itself. Values are by key of
`fields`, in base units (dB, K, s, Hz, ps, ppb, mW). Where PHYSICS 2 gives a range the number is within it; the others
are plausible magnitudes, chosen so that the loops of a node have what they have in the field to follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["ENVIRONMENTS", "Environment"]


@dataclass(frozen=True, slots=True)
class Environment:
    """What a place does to a link."""

    doc: str
    quantum: Mapping[str, float]


# Two oven-controlled oscillators, disciplined over hours: started within 50 ns of each other, half a ppb apart (0.5 ns
# in a second: a 1 GHz link that does not follow it is lost in two), ageing a tenth of that a day. 1 ps at one second
# and 0.1 ppt/sqrt(s) are good quartz. Time stamps of two-way transfer in hardware: 20 ps.
_CLOCKS: Final[dict[str, float]] = {
    "clock_offset": 50_000.0,
    "clock_skew": 0.5,
    "clock_ageing": 0.05,
    "clock_white": 1.0,
    "clock_walk": 1e-4,
    "sync_noise": 20.0,
}

ENVIRONMENTS: Final[Mapping[str, Environment]] = MappingProxyType(
    {
        "buried": Environment(
            doc="In the ground: little moves, and slowly.",
            quantum=_CLOCKS
            | {
                # The soil at a metre follows the day by a degree or two: 33 ps/km/K x 50 km x 2 K = 3.3 ns.
                "temperature_swing": 2.0,
                "loss_day": 0.05,
                "loss_wander": 0.05,
                "loss_wander_time": 3600.0,
                # PHYSICS 2: minutes to hours.
                "polarisation_time": 7200.0,
            },
        ),
        "aerial": Environment(
            doc="On poles: sun and wind.",
            quantum=_CLOCKS
            | {
                # Sun on a black cable: 25 ns a day over 50 km.
                "temperature_swing": 15.0,
                "loss_day": 0.2,
                "loss_wander": 0.15,
                "loss_wander_time": 600.0,
                # A gust bends the cable at a clamp: about one an hour, for half a minute.
                "loss_event": 1.0,
                "loss_event_rate": 3e-4,
                "loss_event_time": 30.0,
                # PHYSICS 2: seconds to minutes.
                "polarisation_time": 60.0,
            },
        ),
        "metro-day": Environment(
            doc="In ducts of a city at work: traffic, hands at patch panels, classical light in the same fibre.",
            quantum=_CLOCKS
            | {
                "temperature_swing": 5.0,
                "loss_day": 0.1,
                "loss_wander": 0.1,
                "loss_wander_time": 1800.0,
                # Somebody touches a patch cord: about one in three hours, for a minute.
                "loss_event": 0.5,
                "loss_event_rate": 1e-4,
                "loss_event_time": 60.0,
                # Trains and lorries shake ducts: the short end of what PHYSICS 2 gives for buried fibre.
                "polarisation_time": 1200.0,
                # One classical channel at -27 dBm. At 25 km, with a filter of 0.1 nm, its Raman light makes about
                # one click in 600 of those of the avalanche profile; at 0 dBm it would be nearly as many.
                "coexisting_forward": 0.002,
            },
        ),
        "storm": Environment(
            doc="On poles in wind and rain: polarisation runs away within seconds, loss comes in bursts.",
            quantum=_CLOCKS
            | {
                # Clouds take the sun away.
                "temperature_swing": 8.0,
                "loss_day": 0.2,
                "loss_wander": 0.5,
                "loss_wander_time": 60.0,
                # Gusts and wet splices: one in eight minutes, for half a minute.
                "loss_event": 3.0,
                "loss_event_rate": 2e-3,
                "loss_event_time": 30.0,
                # PHYSICS 2: the fast end of aerial fibre.
                "polarisation_time": 5.0,
            },
        ),
    }
)
