"""An honest hour, drawn from nature: no monitor alarms, and each would if what it expects were wrong by a few per cent.

Clicks come from the channel's own samplers along a course that drifts, tagged by the receiver's clock, and pass through
the receiver's loops and both ends' code. What is sampled: `BURSTS` times in the hour whole trains in a row, as in
service, and glances between them (HonestLink.hour): half a million to ten million of the hour's clicks. The monitors'
windows hold up to two million clicks or 1e5 events: what is expected wrongly shows in as many clicks as in service.
"""

import asyncio
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
from honest_link import HonestLink, config_of

from node.control import expectation
from node.control.receiver_watch import ReceiverWatch
from node.control.transmitter_watch import TransmitterWatch

NANOWIRES, PHOTODIODES = "decoy-bb84-1ghz-snspd", "decoy-bb84-1ghz-apd"
BURSTS = 5


@dataclass(frozen=True)
class Case:
    """A link, whole trains in a row, and seconds from glance to glance: few where a clock has to be followed."""

    profile: str
    length: str
    environment: str = ""
    trains: int = 3
    glance_s: int = 300
    changes: dict[str, Any] = field(default_factory=dict)


def photodiodes(length: str, environment: str = "", trains: int = 10, **changes: Any) -> Case:
    return Case(PHOTODIODES, length, environment, trains, 6 if environment else 300, changes)


def nanowires(length: str, environment: str = "", trains: int = 3, **changes: Any) -> Case:
    return Case(NANOWIRES, length, environment, trains, 6 if environment else 300, changes)


CASES = {
    "nanowires": nanowires("25km", trains=5),
    "nanowires, far": nanowires("100km", trains=8),
    "nanowires, noisy": nanowires("50km", trains=12, dark_count_hz=30_000.0),
    "nanowires, passive": nanowires("50km", is_passive=True),
    "nanowires, gated, afterpulses": nanowires("50km", gate_width_ps=500.0, afterpulse_prob=0.02),
    "nanowires that differ, source that fluctuates": nanowires(
        "50km", efficiency_mismatch_ratio=0.2, intensity_sigma_ratio=0.1
    ),
    "nanowires, passive, near": nanowires("1km", trains=1, is_passive=True),
    "nanowires, pulses that widen": nanowires("50km", pulse_fwhm_ps=30.0, dispersion_ps_per_nm_km=17.0),
    "nanowires, free space": nanowires(
        "10km", trains=1, divergence_rad=2e-5, aperture_m=0.1, pointing_sigma_rad=5e-6, saturation_hz=2e7
    ),
    "nanowires, many afterpulses": nanowires("25km", trains=2, afterpulse_prob=0.2, afterpulse_tau_ps=1_000_000),
    "nanowires, time bins": nanowires("50km", bin_separation_ps=400.0),
    "two decoys": Case("two-decoys-bb84-1ghz-snspd", "50km"),
    "pairs": Case("bbm92-1ghz-snspd", "25km"),
    "pairs, passive": Case("bbm92-1ghz-snspd", "50km", changes={"is_passive": True}),
    "photodiodes": photodiodes("25km"),
    "photodiodes, far": photodiodes("80km"),
    "photodiodes, hardly light": photodiodes("130km", trains=20),
    "photodiodes, many late afterpulses": photodiodes(
        "80km", trains=20, afterpulse_prob=0.2, afterpulse_tau_ps=30_000_000
    ),
    "photodiodes, passive": photodiodes("80km", is_passive=True),
    "photodiodes, passive, hardly light": photodiodes("130km", trains=20, is_passive=True),
    "photodiodes, gated": photodiodes("50km", gate_width_ps=500.0),
    "photodiodes, time bins": photodiodes("50km", trains=48, bin_separation_ps=500.0, bin_width_ps=300.0),
    "nanowires, buried": nanowires("50km", "buried"),
    "nanowires, aerial": nanowires("50km", "aerial"),
    "nanowires, metro-day": nanowires("50km", "metro-day"),
    "nanowires, storm": nanowires("50km", "storm"),
    "photodiodes, metro-day": photodiodes("25km", "metro-day"),
    "photodiodes, storm": photodiodes("50km", "storm"),
    "photodiodes, gated, buried": photodiodes("50km", "buried", gate_width_ps=500.0),
}


@cache
def hour_of(name: str) -> HonestLink:
    case = CASES[name]
    # nature of its own for each: what is rare is so for one of them
    secret = f"{sorted(CASES).index(name):016d}".encode()
    link = HonestLink(config_of(case.profile, case.length, case.environment, **case.changes), secret)

    async def live() -> None:
        await link.commission()
        await link.hour(BURSTS, case.trains, case.glance_s)

    asyncio.run(live())
    if name not in {case for case, *_ in PLANTS}:
        link.seen.receiver.clear()
    return link


def watched(name: str, **planted: Any) -> tuple[ReceiverWatch, TransmitterWatch, set[str]]:
    """Return monitors of another plan that were told what those of an honest hour were, and every alarm."""
    link, case = hour_of(name), CASES[name]
    planned = config_of(case.profile, case.length, case.environment, **{**case.changes, **planted}).planned
    receiver, transmitter, alarms = ReceiverWatch(planned), TransmitterWatch(planned), set[str]()
    for given, named in link.seen.receiver:
        receiver.see(*given, **named)
        alarms |= receiver.alarms
    for told in link.seen.transmitter:
        transmitter.see_report(*told)
        alarms |= transmitter.alarms
    return receiver, transmitter, alarms


# monitor by monitor: an honest hour, and what is planned wrong
PLANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("nanowires, noisy", "dark-counts", {"dark_count_hz": 30_000.0 * 0.94}),
    ("nanowires, noisy", "detector-blinding", {"dark_count_hz": 30_000.0 * 1.06}),
    ("photodiodes, time bins", "dark-counts", {"afterpulse_prob": 0.02 * 0.92}),
    ("photodiodes, time bins", "detector-blinding", {"afterpulse_prob": 0.02 * 1.08}),
    ("nanowires, metro-day", "dark-counts", {"coexisting_forward_mw": 0.002 * 0.87}),
    ("nanowires", "detector-blinding", {"dead_time_ps": 53_000}),
    ("nanowires", "basis-match", {"transmitter_p_z": 0.78 * 1.02}),
    ("nanowires", "basis-match", {"receiver_p_z": 0.78 * 0.98}),
    ("nanowires", "decoy-statistics", {"intensities": (0.40, 0.13 * 1.04)}),
    ("nanowires", "decoy-statistics", {"intensity_probs": (0.35 * 0.97, 1.0 - 0.35 * 0.97)}),
    ("two decoys", "decoy-statistics", {"intensities": (0.45, 0.18 * 1.05, 2e-4)}),
]


@pytest.mark.parametrize("name", CASES)
def test_an_honest_hour_alarms_nobody(name: str) -> None:
    link = hour_of(name)
    assert link.alarms == set()
    # and it was an hour of trains, followed
    assert link.now_ps >= 3600 * 10**12
    assert link.clicks >= 400_000
    readings = {reading.name: reading for reading in (*link.control._watch.readings, *link.watch.readings)}
    # a gate as narrow as the jitter shows no darks alone; nor has light and dark a reading where one is blanked always
    silent = {"back-reflection"}
    if CASES[name].profile == PHOTODIODES and CASES[name].changes.get("gate_width_ps"):
        silent.add("dark-counts")
    if link.config.planned.pair_brightness or (CASES[name].profile, CASES[name].length) == (PHOTODIODES, "25km"):
        silent.add("double-clicks")
    assert {reading.name for reading in readings.values() if reading.value is None} == silent


@pytest.mark.parametrize(("name", "monitor", "planted"), PLANTS)
def test_what_is_expected_wrongly_by_a_few_per_cent_alarms(name: str, monitor: str, planted: dict[str, Any]) -> None:
    *_, alarms = watched(name)
    assert alarms == set()
    *_, alarms = watched(name, **planted)
    assert alarms == {monitor}


def test_doubles_are_expected_as_they_are_where_no_polarisation_drifts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expectation, "_DRIFTED_PROB", 0.0)
    *_, alarms = watched("nanowires")
    assert alarms == set()
    *_, alarms = watched("nanowires", dead_time_ps=47_500)
    assert alarms == {"double-clicks"}


def test_halves_of_the_slot_that_differ_by_a_few_per_cent_alarm() -> None:
    link, rng = hour_of("nanowires"), np.random.default_rng(1)
    watch, alarms = ReceiverWatch(link.config.planned), set[str]()
    for (pulses, detectors, arrivals_ps, doubles), named in link.seen.receiver:
        is_moved = (arrivals_ps > 0) & (detectors != 3) & (rng.random(len(detectors)) < 0.06)
        watch.see(pulses, np.where(is_moved, 2, detectors).astype(np.uint8), arrivals_ps, doubles, **named)
        alarms |= watch.alarms
    assert alarms == {"detector-imbalance"}


def test_readings_of_devices_a_little_out_of_bounds_alarm() -> None:
    planned = hour_of("nanowires").config.planned
    receiver, transmitter = ReceiverWatch(planned), TransmitterWatch(planned)
    for bias_ratio, photons, alarms in ((1.04, 0.95e-6, set()), (1.06, 1.05e-6, {"detector-blinding"})):
        receiver.see_bias(bias_ratio)
        transmitter.see_reflection(photons)
        assert receiver.alarms == alarms
        assert transmitter.alarms == ({"back-reflection"} if alarms else set())
    receiver.see_bias(0.94)
    assert receiver.alarms == {"detector-blinding"}


async def test_a_link_that_is_down_for_a_part_of_a_train_has_not_lost_its_darks() -> None:
    link = HonestLink(config_of(PHOTODIODES, "25km"))
    await link.commission()
    for _ in range(40):
        link.link.set({"is_up": False}, link.now_ps, duration_s=0.1)
        await link.train()
    # half of the time
    assert link.clicks == pytest.approx(40 * 97_000 * 0.1, rel=0.05)
    assert link.alarms == set()


@pytest.mark.parametrize(
    ("case", "honest_s", "within_s"),
    [(nanowires("50km"), 1.0, 2.0), (photodiodes("80km"), 20.0, 15.0)],
)
async def test_a_dark_count_rate_that_doubles_is_found_in_time(case: Case, honest_s: float, within_s: float) -> None:
    link = HonestLink(config_of(case.profile, case.length))
    await link.commission()
    until_ps = link.now_ps + honest_s * 1e12
    while link.now_ps < until_ps:
        await link.train()
    assert link.alarms == set()
    dark_count_hz = 2.0 * link.config.planned.dark_count_hz
    link.link.set({"dark_count_hz": dark_count_hz}, link.now_ps)
    until_ps = link.now_ps + within_s * 1e12
    while not link.alarms and link.now_ps < until_ps:
        await link.train()
    assert link.alarms == {"dark-counts"}
    # and forgotten when it is gone
    link.link.reset(["dark_count_hz"], link.now_ps)
    until_ps = link.now_ps + 10.0 * within_s * 1e12
    while link.control.verdict != ((), ()) and link.now_ps < until_ps:
        await link.train()
    assert link.control.verdict == ((), ())
