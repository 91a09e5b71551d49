"""node.control.expectation: what an honest link of the planned kind shows, from the rate at which it clicks. Pure.

Nothing here depends on the loss of the link, which drifts: from the clicks per pulse follows the light that reaches
the detectors, and from that all the rest.
"""

import math
from dataclasses import dataclass
from typing import Final

from node.control.evidence import Interval
from qnetem.v1 import parameters_pb2

__all__ = ["Expectation"]

# what the models leave out: afterpulses, errors that drift, dead time of this make or that
_DOUBLES_FACTOR: Final = 2.0
_DARK_FACTOR: Final = 2.0
_AFTERPULSE_FACTOR: Final = 1.5
_NEWTON_STEPS: Final = 8
_SATURATED_SHARE: Final = 0.95
_SIGMAS: Final = 5.5
_MATCH_TOLERANCE: Final = 0.02
_DECOY_TOLERANCE: Final = 0.03


@dataclass(frozen=True, slots=True)
class Expectation:
    """Honest figures of one link as planned.

    Attributes:
        planned: Devices and link.
    """

    planned: parameters_pb2.LinkParameters

    @property
    def has_pairs(self) -> bool:
        """Whether the source makes entangled pairs: nothing is known of doubles and intensities then."""
        return self.planned.pair_brightness > 0.0

    @property
    def match_share(self) -> Interval:
        """Share of clicks whose bases match.

        Darks of a passive receiver come in either basis alike, whatever its splitter: on a faint link half match.
        """
        a, b = self.planned.transmitter_p_z, self.planned.receiver_p_z
        share = a * b + (1.0 - a) * (1.0 - b)
        of_darks = 0.5 if self.planned.is_passive else share
        low, high = sorted((share, of_darks))
        return Interval(max(low - _MATCH_TOLERANCE, 0.0), min(high + _MATCH_TOLERANCE, 1.0))

    @property
    def decoy_share(self) -> Interval | None:
        """Share of the decoy among clicks of signal and decoy, the two brightest; None when there are not two.

        The least that coherent light gives, p2 k2 / (p1 k1 + p2 k2), is that of the faintest link. More light, darks
        and afterpulses raise it; splitting photon numbers lowers it to p2 k2^2 / (p1 k1^2 + p2 k2^2).
        """
        p = self.planned
        if self.has_pairs or len(p.intensities) < 2:
            return None
        signal, decoy = (p.intensity_probs[k] * p.intensities[k] for k in (0, 1))
        return Interval(decoy / (signal + decoy) * (1.0 - _DECOY_TOLERANCE), 1.0) if signal + decoy > 0.0 else None

    def detected_photons(self, clicks_per_pulse: float) -> float:
        """Return photons detected per photon sent, from the clicks per pulse; dead time considered."""
        p = self.planned
        blanked = clicks_per_pulse * self._dead_slots
        live = clicks_per_pulse / (1.0 - blanked) if blanked < 1.0 else 1.0
        quiet = (1.0 - self._dark_prob) ** self._detectors
        # afterpulses are clicks without light
        wanted = live / (1.0 + p.afterpulse_prob)
        kept = 0.0
        # Newton; the clicks rise ever more slowly with the light, so that it comes from below
        for _ in range(_NEWTON_STEPS):
            dark = [
                prob * quiet * math.exp(-kept * mean)
                for mean, prob in zip(p.intensities, p.intensity_probs, strict=True)
            ]
            slope = sum(mean * share for mean, share in zip(p.intensities, dark, strict=True))
            kept = min(max(kept + (wanted - 1.0 + sum(dark)) / slope, 0.0), 1.0)
        return kept

    def double_share(self, clicks_per_pulse: float) -> Interval | None:
        """Return the share of double clicks among all, two detectors of one basis; None where the rate does not tell.

        A receiver that is blanked nearly always clicks at the same rate in any light.
        """
        p, dark = self.planned, self._dark_prob
        if self.has_pairs or clicks_per_pulse * self._dead_slots > _SATURATED_SHARE:
            return None
        kept = self.detected_photons(clicks_per_pulse)
        wrong = p.misalignment_prob
        a, b = p.transmitter_p_z, p.receiver_p_z
        doubles = every = 0.0
        for mean, prob in zip(p.intensities, p.intensity_probs, strict=True):
            light = mean * kept
            every += prob * (1.0 - math.exp(-light) * (1.0 - dark) ** self._detectors)
            for sent_z, chance_sent in ((True, a), (False, 1.0 - a)):
                for read_z, chance_read in ((True, b), (False, 1.0 - b)):
                    share = wrong if sent_z == read_z else 0.5
                    there = light * chance_read if p.is_passive else light
                    weight = chance_sent if p.is_passive else chance_sent * chance_read
                    one = 1.0 - math.exp(-there * (1.0 - share)) * (1.0 - dark)
                    other = 1.0 - math.exp(-there * share) * (1.0 - dark)
                    doubles += prob * weight * one * other
        expected = doubles / every if every > 0.0 else 0.0
        expected /= 1.0 + p.afterpulse_prob
        return Interval(expected / _DOUBLES_FACTOR, min(expected * _DOUBLES_FACTOR, 1.0))

    def dark_events(self, pulse_count: int, click_count: int, sigma_ps: float) -> tuple[float, Interval] | None:
        """Return where darks are seen alone, and how many clicks there should be.

        Args:
            pulse_count: Slots that were open.
            click_count: Clicks in them.
            sigma_ps: Standard deviation of arrivals of light.

        Returns:
            The distance from the middle of the slot beyond which no light comes, ps, and the events there; None where
            light comes everywhere.
        """
        p = self.planned
        period_ps = 1e12 / p.clock_hz
        open_ps = min(p.gate_width_ps, period_ps) if p.gate_width_ps else period_ps
        edge_ps = _SIGMAS * sigma_ps
        outside = (open_ps - 2.0 * edge_ps) / period_ps
        if outside < 0.1 or p.bin_separation_ps:
            return None
        live = max(1.0 - click_count / pulse_count * self._dead_slots, 0.0) * pulse_count
        darks = self._detectors * self._dark_prob * live * outside
        after = p.afterpulse_prob * click_count * outside
        high = darks * _DARK_FACTOR + after * _AFTERPULSE_FACTOR
        if p.coexisting_forward_mw or p.coexisting_backward_mw:
            # light of other channels is not reckoned here
            high = float(click_count)
        return edge_ps, Interval(darks / _DARK_FACTOR, max(high, darks))

    @property
    def _detectors(self) -> int:
        return 4 if self.planned.is_passive else 2

    @property
    def _dark_prob(self) -> float:
        return -math.expm1(-self.planned.dark_count_hz / self.planned.clock_hz)

    @property
    def _dead_slots(self) -> float:
        return self.planned.dead_time_ps * self.planned.clock_hz / 1e12
