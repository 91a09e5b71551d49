"""node.control.expectation: what an honest link of the planned kind shows, from the rate at which it clicks. Pure.

Nothing here depends on the loss of the link, which drifts: from the clicks per pulse follows the light that reaches
the detectors, and from that all the rest. Tolerances are for what drifts within a stretch and for second orders; each
is of what is expected, not of what commissioning saw.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from node.control.evidence import Interval, poisson_nats
from node.ranges import refuse_not_positive
from qnetem.v1 import parameters_pb2
from quantum_channel.raman import backward_w, detected_per_gate, forward_w

__all__ = ["Expectation", "Rate"]

_DOUBLES_TOLERANCE: Final = 0.03
_DARK_TOLERANCE: Final = 0.01
# of afterpulses, for each of them that a click begets: how they blank each other is reckoned to the first order
_AFTERPULSE_TOLERANCE: Final = 0.3
_MATCH_TOLERANCE: Final = 0.003
_DECOY_TOLERANCE: Final = 0.01
# a polarisation that drifts makes double clicks of single ones: up to the error rate that ends service
_DRIFTED_PROB: Final = 0.11
_NEWTON_STEPS: Final = 8
_RENEWAL_STEPS: Final = 4
_SATURATED_SHARE: Final = 0.95
_SIGMAS: Final = 5.5
# of a slot's opening: less is no place to count darks in
_LEAST_OUTSIDE: Final = 0.1
# light in an isolated bin is cut sharply; a clock is taken off it to so much
_BIN_MARGIN_PS: Final = 25.0
_FWHM_PER_SIGMA: Final = 2.3548
# a link that may come into service shows five times as many clicks as its darks: this much with three of them
_LIGHT_NATS: Final = 12.0
# planned values whose 0 stands for another
_WAVELENGTH_NM: Final = 1550.0
_RAMAN_PER_KM_NM: Final = 3e-9
_FILTER_NM: Final = 0.1


@dataclass(frozen=True, slots=True)
class Rate:
    """What a rate of clicks tells.

    Attributes:
        click: A live slot clicks with this probability, afterpulses apart.
        live: Share of slots that are not blanked.
        after: Afterpulses for each other click.
    """

    click: float
    live: float
    after: float


@dataclass(frozen=True)
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

    def rate(self, clicks_per_pulse: float) -> Rate:
        """Return what a rate of clicks tells, dead time and afterpulses considered.

        Source: renewal with k slots blanked after each click, of afterpulses those whose slot is live:
        node.planning.expected_clicks.
        """
        others, live, after = clicks_per_pulse, 1.0, 0.0
        for _ in range(_RENEWAL_STEPS):
            others = clicks_per_pulse / (1.0 + after)
            live = max(1.0 - clicks_per_pulse * self._dead_slots - others * after, 1e-9)
            after = self._afterpulses(min(others / live, 1.0), after)
        return Rate(min(others / live, 1.0), live, after)

    def detected_photons(self, clicks_per_pulse: float) -> float:
        """Return photons detected per photon sent, from the clicks per pulse."""
        return self._kept(self.rate(clicks_per_pulse))

    def match_share(self, clicks_per_pulse: float) -> Interval:
        """Return the share of clicks whose bases match.

        A passive receiver's darks and afterpulses come in either basis, whatever its splitter. Those of a link with
        pairs have no partner, mostly, and count little: how little is left open.
        """
        p = self.planned
        a, shares = p.transmitter_p_z, [p.receiver_p_z]
        if p.is_passive:
            shares = [self._z_share(clicks_per_pulse)] + ([p.receiver_p_z] if self.has_pairs else [])
        matches = [a * share + (1.0 - a) * (1.0 - share) for share in shares]
        return Interval(max(min(matches) - _MATCH_TOLERANCE, 0.0), min(max(matches) + _MATCH_TOLERANCE, 1.0))

    def decoy_share(self, clicks_per_pulse: float) -> Interval | None:
        """Return the share of the decoy among clicks of signal and decoy, the two brightest; None without two of them.

        Splitting photon numbers lowers it to p2 k2^2 / (p1 k1^2 + p2 k2^2); clicks in slots of other pulses raise it.
        """
        p = self.planned
        if self.has_pairs or len(p.intensities) < 2:
            return None
        rate = self.rate(clicks_per_pulse)
        kept = self._kept(rate)
        signal, decoy = (
            prob * (1.0 - self._quiet * math.exp(-kept * mean) + rate.after * rate.click)
            for mean, prob in list(zip(p.intensities, p.intensity_probs, strict=True))[:2]
        )
        return Interval(decoy / (signal + decoy) * (1.0 - _DECOY_TOLERANCE), 1.0) if signal + decoy > 0.0 else None

    def double_share(self, clicks_per_pulse: float) -> Interval | None:
        """Return the share of double clicks among all, two detectors of one basis; None where the rate does not tell.

        A receiver that is blanked nearly always clicks at the same rate in any light.
        """
        if self.has_pairs or clicks_per_pulse * self._dead_slots > _SATURATED_SHARE:
            return None
        rate = self.rate(clicks_per_pulse)
        if rate.click <= 0.0:
            return Interval(0.0, 0.0)
        kept, wrong = self._kept(rate), self._wrong_prob
        drifted = wrong * (1.0 - _DRIFTED_PROB) + _DRIFTED_PROB * (1.0 - wrong)
        low, high = (self._double_prob(kept, each) / rate.click / (1.0 + rate.after) for each in (wrong, drifted))
        return Interval(low * (1.0 - _DOUBLES_TOLERANCE), min(high * (1.0 + _DOUBLES_TOLERANCE), 1.0))

    def dark_events(self, pulse_count: int, click_count: int, sigma_ps: float) -> tuple[float, Interval] | None:
        """Return where darks are seen alone, and how many clicks there should be: theirs, and afterpulses.

        Args:
            pulse_count: Slots that were open.
            click_count: Clicks in them.
            sigma_ps: Standard deviation of arrivals of light.

        Returns:
            The distance from the middle of the slot beyond which no light comes, ps, and the events there; None where
            light comes everywhere.

        Raises:
            BadInputError: There are no slots.
        """
        refuse_not_positive(pulse_count=pulse_count)
        p = self.planned
        edge_ps = _SIGMAS * sigma_ps
        if p.bin_separation_ps:
            edge_ps = (p.bin_width_ps or p.bin_separation_ps) / 2.0 + _BIN_MARGIN_PS
        outside = 1.0 - 2.0 * edge_ps / self._open_ps
        if outside < _LEAST_OUTSIDE:
            return None
        rate = self.rate(click_count / pulse_count)
        # light that comes with a dark says when
        alone = (1.0 - rate.click) / self._quiet * (1.0 - self._quiet)
        darks, afterpulses = (pulse_count * outside * rate.live * each for each in (alone, rate.after * rate.click))
        either = _DARK_TOLERANCE * (darks + afterpulses) + _AFTERPULSE_TOLERANCE * rate.after * afterpulses
        return edge_ps, Interval(max(darks + afterpulses - either, 0.0), darks + afterpulses + either)

    def is_dark(self, click_count: int, pulse_count: int) -> bool:
        """Whether darks alone may have made so many clicks: there is no light, or none to speak of."""
        dark = 1.0 - self._quiet
        after = self._afterpulses(dark, self.planned.afterpulse_prob)
        clicks = pulse_count * dark * (1.0 + after) / (1.0 + dark * (self._dead_slots * (1.0 + after) + after))
        return poisson_nats(click_count, Interval(0.0, clicks)) < _LIGHT_NATS

    def _afterpulses(self, click_prob: float, after: float) -> float:
        """Return afterpulses registered for each other click, live slots clicking with `click_prob`.

        Those that blank each other are counted to the first order, by `after`, what there are of them as far as known.
        """
        p = self.planned
        if not (p.afterpulse_prob and p.afterpulse_tau_ps):
            return p.afterpulse_prob
        stays = math.exp(-1e12 / (p.afterpulse_tau_ps * p.clock_hz))
        blanked = stays ** (self._dead_slots + 1)
        clicks = click_prob * (1.0 + after * blanked / (1.0 + stays))
        return p.afterpulse_prob * (1.0 - stays) / (1.0 - stays + clicks * (stays - blanked))

    def _kept(self, rate: Rate) -> float:
        p, kept = self.planned, 0.0
        # Newton; the clicks rise ever more slowly with the light, so that it comes from below
        for _ in range(_NEWTON_STEPS):
            unlit = [
                prob * self._quiet * math.exp(-kept * mean)
                for mean, prob in zip(p.intensities, p.intensity_probs, strict=True)
            ]
            slope = sum(mean * share for mean, share in zip(p.intensities, unlit, strict=True))
            kept = min(max(kept + (rate.click - 1.0 + sum(unlit)) / slope, 0.0), 1.0) if slope > 0.0 else 0.0
        return kept

    def _double_prob(self, kept: float, wrong: float) -> float:
        """Return the probability that both detectors of one basis click in a live slot."""
        p = self.planned
        doubles = 0.0
        for mean, prob in zip(p.intensities, p.intensity_probs, strict=True):
            for weight, share, arm, darks in self._meetings(wrong):
                light = mean * kept * arm
                one, other = (
                    1.0 - math.exp(-light * part * ratio) * (1.0 - dark)
                    for part, ratio, dark in zip((1.0 - share, share), self._ratios, darks, strict=True)
                )
                # a passive receiver that clicks in the other basis too may take that one
                taken = 1.0 - (1.0 - arm) * -math.expm1(-mean * kept * (1.0 - arm))
                doubles += prob * weight * one * other * taken
        # intensities that fluctuate count squared where two photons are needed
        return doubles * (1.0 + p.intensity_sigma_ratio**2)

    def _meetings(self, wrong: float) -> Iterator[tuple[float, float, float, tuple[float, ...]]]:
        """Yield how light meets detectors: (weight, share at the other one, part of the light, darks of the two)."""
        p, darks = self.planned, self._dark_probs
        for sent_z, chance_sent in ((True, p.transmitter_p_z), (False, 1.0 - p.transmitter_p_z)):
            for read_z, chance_read in ((True, p.receiver_p_z), (False, 1.0 - p.receiver_p_z)):
                share = wrong if sent_z == read_z else 0.5
                if p.is_passive:
                    yield chance_sent, share, chance_read, darks[:2] if read_z else darks[2:]
                else:
                    yield chance_sent * chance_read, share, 1.0, darks

    def _z_share(self, clicks_per_pulse: float) -> float:
        """Return the share of a passive receiver's clicks that are taken for Z."""
        p, rate = self.planned, self.rate(clicks_per_pulse)
        kept, b = self._kept(rate), p.receiver_p_z
        quiet_z, quiet_x = ((1.0 - one) * (1.0 - other) for one, other in (self._dark_probs[:2], self._dark_probs[2:]))
        in_z = in_x = 0.0
        for mean, prob in zip(p.intensities, p.intensity_probs, strict=True):
            z, x = 1.0 - quiet_z * math.exp(-kept * mean * b), 1.0 - quiet_x * math.exp(-kept * mean * (1.0 - b))
            # clicks in both are given one by chance
            in_z += prob * z * (1.0 - x * (1.0 - b))
            in_x += prob * x * (1.0 - z * b)
        if in_z + in_x <= 0.0:
            return b
        return (in_z / (in_z + in_x) + rate.after / 2.0) / (1.0 + rate.after)

    @cached_property
    def _open_ps(self) -> float:
        """How long a detector is open in a slot."""
        period_ps = 1e12 / self.planned.clock_hz
        return min(self.planned.gate_width_ps or period_ps, period_ps)

    @cached_property
    def _dark_probs(self) -> tuple[float, ...]:
        """Return the probability that each detector clicks in a slot without light of the source."""
        p = self.planned
        dark_prob = -math.expm1(-p.dark_count_hz * self._open_ps / 1e12)
        arms = (p.receiver_p_z, 1.0 - p.receiver_p_z) if p.is_passive else (1.0,)
        noise = self._noise_photons
        return tuple(
            1.0 - (1.0 - dark_prob) * math.exp(-noise * arm / 2.0 * ratio)
            for arm in arms
            for ratio in (1.0, 1.0 - p.efficiency_mismatch_ratio)
        )

    @cached_property
    def _noise_photons(self) -> float:
        """Return photons of classical channels in the same fibre that are detected in a slot."""
        p = self.planned
        if p.divergence_rad:
            return 0.0
        fibre = (
            p.length_km, p.attenuation_db_per_km, p.raman_per_km_nm or _RAMAN_PER_KM_NM, p.filter_nm or _FILTER_NM
        )  # fmt: skip
        power_w = forward_w(p.coexisting_forward_mw / 1e3, *fibre) + backward_w(p.coexisting_backward_mw / 1e3, *fibre)
        efficiency = p.efficiency * 10.0 ** (-p.receiver_loss_db / 10.0)
        return detected_per_gate(power_w, self._open_ps / 1e12, efficiency, p.wavelength_nm or _WAVELENGTH_NM)

    @cached_property
    def _quiet(self) -> float:
        """Return the probability that no detector clicks in a slot without light."""
        return math.prod(1.0 - dark for dark in self._dark_probs)

    @cached_property
    def _ratios(self) -> tuple[float, float]:
        """Return the efficiencies of the two detectors of a basis against their mean."""
        less = self.planned.efficiency_mismatch_ratio
        return 2.0 / (2.0 - less), 2.0 * (1.0 - less) / (2.0 - less)

    @cached_property
    def _wrong_prob(self) -> float:
        """Return the share of light that is at the wrong detector, bases being equal: in the other time bin too."""
        p = self.planned
        if not p.bin_separation_ps:
            return p.misalignment_prob
        fwhm_ps = math.hypot(p.source_jitter_fwhm_ps, p.detector_jitter_fwhm_ps, p.link_jitter_fwhm_ps)
        reach = (fwhm_ps / _FWHM_PER_SIGMA) * math.sqrt(2.0)
        half_ps = (p.bin_width_ps or p.bin_separation_ps) / 2.0
        own, other = (
            0.5 * (math.erfc((apart_ps - half_ps) / reach) - math.erfc((apart_ps + half_ps) / reach)) if reach else away
            for apart_ps, away in ((0.0, 1.0), (p.bin_separation_ps, 0.0))
        )
        wrong = p.misalignment_prob
        return (wrong * own + (1.0 - wrong) * other) / (own + other)

    @cached_property
    def _dead_slots(self) -> int:
        return math.floor(self.planned.dead_time_ps * self.planned.clock_hz / 1e12 + 1e-6)
