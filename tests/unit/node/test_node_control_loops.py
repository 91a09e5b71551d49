"""Loops on gate and power."""

import math

import pytest

from node.control.tuning import GateScan, IntensityTrim, gate_step_ps
from qnetem.runtime.errors import BadInputError


@pytest.mark.parametrize("width_ps", [7.0, 60.0, 300.0, 499.0, 1000.0, 2500.0])
@pytest.mark.parametrize("light_ps", [0.0, 130.0, -420.0, 499.0])
def test_a_scan_puts_the_gate_where_the_light_is(light_ps: float, width_ps: float) -> None:
    sigma_ps, period_ps = 30.0, 1000.0
    scan, places = GateScan(period_ps, width_ps), 0
    while not scan.is_over:
        off_ps = (light_ps - scan.gate_ps + period_ps / 2) % period_ps - period_ps / 2
        inside = [math.erf((edge - off_ps) / sigma_ps / math.sqrt(2)) / 2 for edge in (-width_ps / 2, width_ps / 2)]
        scan.measured(0.01 * (inside[1] - inside[0]) + 1e-7)
        places += 1
    # gate beside gate, and half a gate to either side of the best
    assert max(1, period_ps / width_ps) < places <= scan.place_count <= period_ps / width_ps + 3
    missed_ps = (scan.gate_ps - light_ps + period_ps / 2) % period_ps - period_ps / 2
    assert abs(missed_ps) < max(width_ps / 4, 2.0)


def test_a_gate_follows_what_leaves_its_middle() -> None:
    assert gate_step_ps(20.0, 0.0, 300.0) is None
    assert gate_step_ps(40.0, 0.0, 300.0) == 40.0
    assert gate_step_ps(-40.0, 0.0, 300.0) == -40.0


def test_power_that_wanders_is_trimmed_back_and_stays_within_a_percent() -> None:
    trim, powers = IntensityTrim(), []
    for train in range(2000):
        power = (1.0 + 0.1 * math.sin(train / 100.0)) * trim.ratio
        powers.append(power)
        trim.see(power)
    # 0.1 % a train at most, over the eight of a reading and of what is on its way, and what is no reason to trim
    assert max(abs(power - 1.0) for power in powers[20:]) < 0.015


def test_a_laser_at_half_its_power_is_brought_back() -> None:
    trim = IntensityTrim()
    for _ in range(40):
        trim.see(0.5 * trim.ratio)
    assert trim.ratio == pytest.approx(2.0, rel=0.01)
    with pytest.raises(BadInputError, match="power_ratio 0 is not above 0"):
        trim.see(0.0)
