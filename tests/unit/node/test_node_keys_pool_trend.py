"""How fast pools fill and empty, and when one is exhausted at that."""

import pytest

from node.keys.pool_trend import PoolTrend, Trend
from node.keys.records import Pool


def test_one_look_says_nothing() -> None:
    trend = PoolTrend()
    assert trend.of("peer") == Trend()
    trend.see(10.0, [Pool("peer", 1000, available_bits=1000)])
    trend.see(10.0, [Pool("peer", 2000, available_bits=2000)])
    assert trend.of("peer") == Trend()


def test_rates_and_exhaustion_follow_from_the_first_look_and_the_last() -> None:
    trend = PoolTrend()
    trend.see(10.0, [Pool("peer", 10_000, available_bits=10_000), Pool("other", 0)])
    trend.see(12.0, [Pool("peer", 10_000, available_bits=1)])
    trend.see(20.0, [Pool("peer", 11_000, available_bits=8_000, delivered_bits=2_000, tags_bits=500, voided_bits=500)])
    found = trend.of("peer")
    assert (found.made_hz, found.spent_hz, found.window_s) == (100.0, 300.0, 10.0)
    assert found.exhausted_in_s == pytest.approx(8_000 / 200.0)


def test_a_pool_that_does_not_fall_is_not_exhausted() -> None:
    trend = PoolTrend()
    for second in range(3):
        trend.see(float(second), [Pool("still", 10, available_bits=10), Pool("fills", second, available_bits=second)])
    assert trend.of("still").exhausted_in_s is None
    assert trend.of("fills").exhausted_in_s is None
    assert trend.of("fills").made_hz == 1.0


def test_what_is_long_ago_does_not_count() -> None:
    trend = PoolTrend()
    for second in range(100):
        trend.see(float(second), [Pool("peer", 100 * second if second < 50 else 5000)])
    assert trend.of("peer").made_hz == 0.0
    assert trend.of("peer").window_s == 30.0
