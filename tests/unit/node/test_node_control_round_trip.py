"""The watch over the round trip: what a fibre does for a year is no attack, and a delay, however it comes, is one."""

import math
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
import pytest

from node.control.round_trip import RoundTripWatch
from node.qkd.receiver_clock import ReceiverClock
from qnetem import topology
from qnetem.runtime.errors import BadInputError
from qnetem.v1 import parameters_pb2, process_pb2
from quantum_channel.link import Link
from quantum_channel.raw_time import shift_ps
from quantum_channel.time_transfer import stamps
from quantum_channel.wire import parameters_from_message

S: Final = 10**12
DAY_S, HOUR_S = 86_400, 3_600
AROUND_PS: Final = 244_869_402.0


def planned_of(environment: str | None, length: str = "50km") -> parameters_pb2.LinkParameters:
    text: dict[str, Any] = topology.ring(2)
    text["topology"]["defaults"] = {"profile": "decoy-bb84-1ghz-apd"}
    text["topology"]["links"][0]["quantum"] = {"length": length} | ({} if environment else {"sync_noise": "20ps"})
    if environment:
        text["topology"]["links"][0]["environment"] = environment
    return topology.from_dict(text).links["n0-n1"].planned


@dataclass
class Fibre:
    """A link as the channel has it, and the watch that its receiver sets over it."""

    planned: parameters_pb2.LinkParameters

    def __post_init__(self) -> None:
        # loss and polarisation move no clock and cost time
        still = {"polarisation_tau_s": 0.0, "loss_wander_db": 0.0, "loss_event_db": 0.0}
        self.link = Link("n0-n1", replace(parameters_from_message(self.planned), **still), {}, bytes(range(16)))
        config = process_pb2.NodeLinkConfig(link_id="n0-n1", planned=self.planned)
        self.watch = ReceiverClock(config, cast(Any, None)).round_trip
        self.rng = np.random.default_rng(7)

    def look(self, at_s: float) -> bool:
        """Transfer time twice, as the receiver does, and hold it against the clicks; return whether that alarms."""
        rounds, ahead = [], []
        for n in (0, 1):
            t1, t2, t3, t4 = stamps(self.link, round(at_s * S) + n * S // 1000).read_ps
            rounds.append((t2 - t1) + (t4 - t3))
            ahead.append(((t2 - t1) - (t4 - t3)) / 2.0)
        at_ps = round(at_s * S)
        clicks_ps = shift_ps(self.link.at(at_ps), self.link.course.weather, at_ps) + self.rng.normal() * 2.0
        self.watch.see(at_s, sum(rounds) / 2.0, clicks_ps - sum(ahead) / 2.0, is_verified=False)
        return self.watch.is_alarmed

    def looks(self, start_s: float, span_s: float, step_s: float) -> float | None:
        """Look for a while; return after how long it alarms, None: never."""
        times = start_s + np.arange(0.0, span_s, step_s)
        return next((float(at_s - start_s) for at_s in times if self.look(float(at_s))), None)


def test_clicks_less_two_way_offset_are_half_a_round_trip_whoever_made_it_longer() -> None:
    # so no comparison of the two tells a fibre that warms from a delay; only what a fibre can do does
    fibre = Fibre(planned_of("aerial"))
    seen: list[tuple[float, float]] = []
    fibre.watch.see = lambda _, around, asymmetry, **__: bool(seen.append((around, asymmetry)))  # type: ignore[method-assign]
    fibre.look(HOUR_S)
    fibre.look(7 * HOUR_S)
    fibre.link.set({"eve_delay_ps": 9000.0}, 0)
    fibre.look(7 * HOUR_S)
    (first, zero), (warm, one), (delayed, two) = seen
    # 33 ps/km/K x 50 km x 15 K x (sin 105 deg - sin 15 deg), both ways
    assert warm - first == pytest.approx(2 * 24_750 * (math.sin(7 * math.pi / 12) - math.sin(math.pi / 12)), abs=200)
    assert one - zero == pytest.approx((warm - first) / 2, abs=200)
    assert delayed - warm == pytest.approx(9000, abs=1)
    assert two - one == pytest.approx(4500, abs=20)


@pytest.mark.parametrize("environment", ["buried", "aerial"])
def test_an_honest_year_is_no_attack(environment: str) -> None:
    fibre = Fibre(planned_of(environment))
    # a quarter of a day at the pace of a node, then every five hours and a bit
    assert fibre.looks(100.0, DAY_S / 4, 15.0) is None
    assert fibre.looks(DAY_S / 4 + 100, 365 * DAY_S, 5.1 * HOUR_S) is None
    assert len(fibre.watch._trusted) < 100


@pytest.mark.parametrize("hour", [0.3, 5.2, 11.1])
@pytest.mark.parametrize("environment", [None, "buried", "aerial"])
def test_a_delay_that_grows_by_a_nanosecond_in_ten_minutes_is_an_attack_until_it_goes(
    environment: str | None, hour: float
) -> None:
    fibre, start_s = Fibre(planned_of(environment)), hour * HOUR_S
    assert fibre.looks(start_s, HOUR_S, 10.0) is None
    start_s += HOUR_S
    fibre.link.set({"eve_delay_ps": 1000.0}, round(start_s * S), ramp_s=600.0)
    found_s = fibre.looks(start_s, 600.0, 10.0)
    assert found_s is not None
    # while it lasts the alarm does, and an hour more of warming does not explain it away
    assert all(fibre.look(float(at_s)) for at_s in np.arange(start_s + found_s, start_s + HOUR_S, 10.0))
    fibre.link.reset([], round((start_s + HOUR_S) * S))
    assert fibre.looks(start_s + HOUR_S, 900.0, 10.0) is None


def test_a_watch_that_forgets_is_led_astray() -> None:
    # what the ramp takes is memory: held against the last transfer alone it is a fibre that warms
    fibre = Fibre(planned_of("buried"))
    fibre.link.set({"eve_delay_ps": 1000.0}, HOUR_S * S, ramp_s=600.0)
    for at_s in np.arange(0.0, HOUR_S + 600.0, 10.0):
        assert not fibre.look(float(at_s))
        del fibre.watch._trusted[:-1]


def test_what_grows_no_faster_than_a_fibre_is_bounded_in_all() -> None:
    swing_ps, day_s = 1000.0, 1000.0
    made = RoundTripWatch(10.0, swing_ps, day_s)
    # both ways, there and back: 4 ns between the coldest and the warmest, and noise
    limit_ps = 4.0 * swing_ps + 7.0 * math.sqrt(2.0) * math.hypot(10.0, 20.0)
    for look in range(100):
        # long apart, so that neither slope nor bend tells
        grown_ps = 100.0 * look
        made.see(look * 2_000.0, AROUND_PS + grown_ps, grown_ps / 2.0, is_verified=False)
        assert made.is_alarmed is (grown_ps > limit_ps)
    assert made.reading.high == pytest.approx(limit_ps)


def watch() -> RoundTripWatch:
    made = RoundTripWatch(sigma_ps=100.0, swing_ps=16_500.0, day_s=DAY_S)
    made.see(0.0, AROUND_PS, 40.0, is_verified=True)
    return made


def test_an_hour_of_noise_and_warming_is_no_attack() -> None:
    rng = np.random.default_rng(5)
    made = watch()
    for second in range(1, HOUR_S):
        warm_ps = 16_500.0 * math.sin(math.tau * second / DAY_S)
        around_ps = AROUND_PS + 2.0 * warm_ps + rng.normal() * 100.0
        made.see(float(second), around_ps, 40.0 + warm_ps + rng.normal() * 50.0, is_verified=False)
        assert not made.is_alarmed


def test_a_delay_of_one_way_is_an_attack_until_it_goes() -> None:
    made = watch()
    delay_ps = 5000.0
    for second in range(1, 10):
        made.see(float(second), AROUND_PS + delay_ps, 40.0 + delay_ps / 2, is_verified=False)
        assert made.is_alarmed
    assert made.reading.value == delay_ps
    made.see(10.0, AROUND_PS, 40.0, is_verified=False)
    assert not made.is_alarmed


def test_an_alarm_does_not_grow_old() -> None:
    made = watch()
    made.see(1.0, AROUND_PS + 5000.0, 40.0 + 2500.0, is_verified=False)
    # in half a day the fibre could have come this far; but it has not moved
    for hour in range(1, 6):
        made.see(hour * HOUR_S, AROUND_PS + 5000.0 + 200.0 * hour, 40.0 + 2500.0 + 100.0 * hour, is_verified=True)
        assert made.is_alarmed
    made.see(5 * HOUR_S + 1.0, AROUND_PS + 1000.0, 40.0 + 500.0, is_verified=True)
    assert not made.is_alarmed


def test_what_went_so_slowly_that_nobody_saw_it_go_is_over_after_a_quarter_of_a_day() -> None:
    made = watch()
    for quarter in range(1, 33):
        left_ps = max(0.0, 7_000.0 - 1_000.0 * quarter)
        made.see(900.0 * quarter, AROUND_PS + left_ps, 40.0 + left_ps / 2.0, is_verified=False)
        assert made.is_alarmed is (quarter <= 25)


def test_a_longer_fibre_and_a_clock_that_was_set_are_none() -> None:
    made = watch()
    assert made.see(1.0, AROUND_PS + 9.8e6, 40.0, is_verified=False)
    assert not made.is_alarmed
    # seven slots that slipped are no part of what is trusted
    assert not made.see(2.0, AROUND_PS + 9.8e6, 7040.0, is_verified=False)
    assert not made.is_alarmed


def test_slots_that_slipped_unseen_do_not_hide_an_attack() -> None:
    made = watch()
    # 100 slots late: the phase shows nothing, two-way transfer half of it
    made.see(1.0, AROUND_PS + 100_000.0, 40.0 - 50_000.0, is_verified=False)
    assert not made.is_alarmed
    made.see(2.0, AROUND_PS + 100_000.0, 40.0 + 50_000.0, is_verified=True)
    assert made.is_alarmed


def test_a_day_without_length_is_refused() -> None:
    with pytest.raises(BadInputError, match="day_s 0 is not above 0"):
        RoundTripWatch(1.0, 1.0, 0.0)
