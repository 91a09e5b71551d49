"""quantum_channel.drift: what has become of a link at a moment: a function of nature, parameters and time alone. Pure.

Nothing depends on what was asked before, on how trains are cut, or on the process: a channel that starts again goes on
where nature is. Time is counted in ticks of 2^-6 s.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from quantum_channel.clock import time_error_ps
from quantum_channel.controls import UNTOUCHED, Controls
from quantum_channel.dispersion import thermal_delay_ps
from quantum_channel.drift_chance import Chance, Process
from quantum_channel.drift_events import Events
from quantum_channel.drift_rotation import Rotation
from quantum_channel.drift_walk import IntegratedWalk, Walk, Wander
from quantum_channel.loss_drift import DAY_S, day_loss_db
from quantum_channel.parameters import Parameters

__all__ = ["STILL", "TICK_LEVEL", "TICK_PS", "Drift", "Weather", "drifts", "has_clock"]

TICK_LEVEL: Final = -6
TICK_PS: Final = 10**12 >> -TICK_LEVEL
_PPB: Final = 1e-9
_PS_PER_PPB_S: Final = 1e3
# time constants that are remembered: those in force, and some on the way of a ramp
_REMEMBERED: Final = 16

Of = TypeVar("Of")


@dataclass(frozen=True, slots=True)
class Drift:
    """What drifts, on top of what a link is made of.

    Attributes:
        loss_db: Of either sign.
        delay_ps: Of the fibre.
        error_z_prob, error_x_prob: What the polarisation does since it was last aligned.
        clock_offset_ps: The receiver's clock is ahead of the transmitter's.
        intensity_ratio: Of the source, against what is set.
    """

    loss_db: float = 0.0
    delay_ps: float = 0.0
    error_z_prob: float = 0.0
    error_x_prob: float = 0.0
    clock_offset_ps: float = 0.0
    intensity_ratio: float = 1.0


STILL: Final = Drift()


def drifts(p: Parameters) -> bool:
    """Return whether anything drifts that decides how pulses click; clocks alone do not."""
    return bool(
        p.loss_day_db
        or (p.loss_wander_db and p.loss_wander_tau_s)
        or (p.loss_event_db and p.loss_event_hz and p.loss_event_s)
        or p.polarisation_tau_s
        or (p.intensity_wander_ratio and p.intensity_wander_tau_s)
        or (p.gate_width_ps and has_clock(p))
    )


def has_clock(p: Parameters) -> bool:
    """Return whether the receiver's raw time differs from that of the pulses."""
    return bool(
        p.clock_offset_ps
        or p.clock_skew_ppb
        or p.clock_ageing_ppb_per_day
        or p.clock_white_ps
        or p.clock_walk_ppb
        or p.eve_delay_ps
        or (p.temperature_swing_k and not p.divergence_rad)
    )


class Weather:
    """The drifts of one link; threads may ask at once."""

    def __init__(self, chance: Chance) -> None:
        """Draw by `chance`."""
        self.chance: Final = chance
        self._lock = threading.Lock()
        self._made: dict[tuple[object, ...], object] = {}
        self._white = Walk(chance, Process.CLOCK_WHITE)
        self._walk = IntegratedWalk(chance, Process.CLOCK_WALK)

    def _one(self, make: Callable[..., Of], *given: object) -> Of:
        key = (make, *given)
        made = self._made.get(key)
        if made is None:
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            made = self._made[key] = make(self.chance, *given)
        return made  # type: ignore[return-value]

    def at(self, parameters: Parameters, tick: int, controls: Controls = UNTOUCHED) -> Drift:
        """Return what has become of the link at a tick.

        Args:
            parameters: What the link is made of then.
            tick: Emulated time, 2^-6 s each, 0 or more.
            controls: When the polarisation was last aligned.
        """
        p = parameters
        with self._lock:
            error_z_prob, error_x_prob = self._errors(p, tick, controls)
            return Drift(
                loss_db=self._loss_db(p, tick),
                delay_ps=self._delay_ps(p, tick),
                error_z_prob=error_z_prob,
                error_x_prob=error_x_prob,
                clock_offset_ps=self._clock_offset_ps(p, tick),
                intensity_ratio=self._intensity_ratio(p, tick),
            )

    def shift_ps(self, parameters: Parameters, tick: int) -> float:
        """Return by how much clicks come late by the receiver's raw clock at a tick."""
        with self._lock:
            offset_ps = self._clock_offset_ps(parameters, tick)
            return offset_ps + self._delay_ps(parameters, tick) + parameters.eve_delay_ps

    def _delay_ps(self, p: Parameters, tick: int) -> float:
        """Return by how much the fibre delays more than at time 0; air does not."""
        if not p.temperature_swing_k or p.divergence_rad:
            return 0.0
        warming_k = p.temperature_swing_k * math.sin(2.0 * math.pi * _seconds(tick) / p.day_s)
        return thermal_delay_ps(p.length_km, warming_k)

    def _clock_offset_ps(self, p: Parameters, tick: int) -> float:
        offset_ps = time_error_ps(
            _seconds(tick), p.clock_offset_ps, p.clock_skew_ppb * _PPB, p.clock_ageing_ppb_per_day * _PPB / DAY_S
        )
        if p.clock_white_ps:
            offset_ps += p.clock_white_ps * self._white.value(tick, TICK_LEVEL)
        if p.clock_walk_ppb:
            offset_ps += p.clock_walk_ppb * _PS_PER_PPB_S * self._walk.value(tick, TICK_LEVEL)
        return offset_ps

    def _loss_db(self, p: Parameters, tick: int) -> float:
        loss_db = day_loss_db(_seconds(tick), p.loss_day_db, p.day_s)
        if p.loss_wander_db and p.loss_wander_tau_s:
            wander = self._one(_loss_wander, p.loss_wander_tau_s)
            loss_db += p.loss_wander_db * wander.value(tick, TICK_LEVEL)
        if p.loss_event_db and p.loss_event_hz and p.loss_event_s:
            loss_db += p.loss_event_db * self._one(Events, p.loss_event_hz, p.loss_event_s).count(_seconds(tick))
        return loss_db

    def _errors(self, p: Parameters, tick: int, controls: Controls) -> tuple[float, float]:
        if not p.polarisation_tau_s:
            return 0.0, 0.0
        rotation = self._one(Rotation, p.polarisation_tau_s)
        shift = rotation.level - TICK_LEVEL
        aligned = None if controls.aligned_ps is None else controls.aligned_ps // TICK_PS >> shift
        return rotation.errors(tick >> shift, aligned)

    def _intensity_ratio(self, p: Parameters, tick: int) -> float:
        if not p.intensity_wander_ratio or not p.intensity_wander_tau_s:
            return 1.0
        # log-normal: never below 0, of mean 1 and the deviation that was asked for
        sigma = math.sqrt(math.log1p(p.intensity_wander_ratio**2))
        wander = self._one(_intensity_wander, p.intensity_wander_tau_s)
        return math.exp(sigma * wander.value(tick, TICK_LEVEL) - sigma**2 / 2.0)


def _seconds(tick: int) -> float:
    return math.ldexp(tick, TICK_LEVEL)


def _loss_wander(chance: Chance, tau_s: float) -> Wander:
    return Wander(chance, Process.LOSS_WANDER, tau_s)


def _intensity_wander(chance: Chance, tau_s: float) -> Wander:
    return Wander(chance, Process.INTENSITY_WANDER, tau_s)
