"""Loops on gate and power."""

import math

import pytest

from node.control.tuning import GateScan, IntensityTrim, gate_step_ps
from qnetem.runtime.errors import BadInputError


@pytest.mark.parametrize("light_ps", [0.0, 130.0, -420.0, 499.0])
def test_a_scan_puts_the_gate_where_the_light_is(light_ps: float) -> None:
    width_ps, sigma_ps, period_ps = 300.0, 30.0, 1000.0
    scan = GateScan(period_ps, width_ps)
    while (place_ps := scan.next_ps) is not None:
        off_ps = (light_ps - place_ps + period_ps / 2) % period_ps - period_ps / 2
        inside = [math.erf((edge - off_ps) / sigma_ps / math.sqrt(2)) / 2 for edge in (-width_ps / 2, width_ps / 2)]
        scan.measured(0.01 * (inside[1] - inside[0]) + 1e-7)
    missed_ps = (scan.best_ps - light_ps + period_ps / 2) % period_ps - period_ps / 2
    assert abs(missed_ps) < width_ps / 4


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
