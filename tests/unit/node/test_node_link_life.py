"""The life of a link: states, figures, what the monitor concludes, how doubt is settled, what is drawn."""

import pytest

from node.entropy import Entropy
from node.link_state import LinkRecord, LinkState, QberWindow
from node.qkd.error_watch import ErrorWatch
from node.qkd.monitor import NO_LIGHT, QBER, TOO_FAINT, CommissioningTally, Monitor
from node.qkd.settlement import Holding, decide
from node.rates import WindowedRate
from qnetem.runtime.clock import PS_PER_S


class Time:
    def __init__(self) -> None:
        self.ps = 0

    def __call__(self) -> int:
        return self.ps


def test_time_to_service_is_the_time_from_commissioning_to_operating() -> None:
    now = Time()
    seen: list[tuple[str, str]] = []
    record = LinkRecord("a-b", now, lambda r: seen.append((r.state.name, r.reason)))
    now.ps = 5 * PS_PER_S
    record.enter(LinkState.COMMISSIONING)
    now.ps = 7 * PS_PER_S
    record.enter(LinkState.OPERATING)
    assert record.time_to_service_s == 2.0
    record.enter(LinkState.OPERATING)
    now.ps = 9 * PS_PER_S
    record.enter(LinkState.DEGRADED, "qber")
    record.enter(LinkState.OPERATING)
    assert record.time_to_service_s == 2.0
    assert seen == [("COMMISSIONING", ""), ("OPERATING", ""), ("DEGRADED", "qber"), ("OPERATING", "")]


def test_a_new_reason_in_the_same_state_is_told_and_keeps_the_time() -> None:
    now = Time()
    record = LinkRecord("a-b", now, lambda _: None)
    record.enter(LinkState.COMMISSIONING)
    now.ps = PS_PER_S
    record.enter(LinkState.COMMISSIONING, "no-light")
    assert (record.since_ps, record.reason) == (0, "no-light")


def test_only_a_link_that_makes_keys_is_in_service() -> None:
    record = LinkRecord("a-b", Time(), lambda _: None)
    in_service = []
    for state in LinkState:
        record.enter(state, "x")
        in_service.append((state.name, record.is_in_service))
    assert dict(in_service) == {"COMMISSIONING": False, "OPERATING": True, "DEGRADED": True, "DOWN": False}


def test_blocks_are_counted_with_their_epsilon() -> None:
    record = LinkRecord("a-b", Time(), lambda _: None)
    record.count_block(10_000, 1000, 1e-10, 0.02)
    record.count_block(10_000, 0, 0.0, 0.12)
    assert (record.blocks_made_count, record.blocks_dropped_count, record.secret_bits_total) == (1, 1, 1000)
    assert record.epsilon_total == 1e-10
    assert record.qber_prob == 0.12


def test_a_rate_looks_back_one_window() -> None:
    rate = WindowedRate(10.0)
    assert rate.per_s(0) == 0.0
    for second in range(40):
        rate.add(100, second * PS_PER_S)
    assert rate.per_s(40 * PS_PER_S) == pytest.approx(100, rel=0.11)
    assert rate.per_s(60 * PS_PER_S) == 0.0


def test_the_secret_rate_is_the_sifted_rate_at_the_yield_of_the_last_block() -> None:
    now = Time()
    record = LinkRecord("a-b", now, lambda _: None)
    for second in range(21):
        now.ps = second * PS_PER_S
        record.sifted.add(1000, now.ps)
    assert record.secret_gross_hz(now.ps) == 0.0
    record.count_block(10_000, 2_500, 1e-10, 0.02)
    assert record.secret_gross_hz(now.ps) == pytest.approx(250, rel=0.11)
    record.count_block(10_000, 0, 0.0, 0.12)
    assert record.secret_gross_hz(now.ps) == 0.0


def test_the_net_rate_pays_both_ends_tags_and_can_be_below_zero() -> None:
    now = Time()
    record = LinkRecord("a-b", now, lambda _: None)
    for second in range(21):
        now.ps = second * PS_PER_S
        record.sifted.add(1000, now.ps)
    assert record.secret_net_hz(now.ps) == 0.0
    record.count_block(10_000, 2_500, 1e-10, 0.02)
    record.count_tags(10_000, 256)
    assert record.secret_net_hz(now.ps) == pytest.approx(record.secret_gross_hz(now.ps) * (2500 - 512) / 2500)
    record.count_block(10_000, 100, 1e-10, 0.02)
    record.count_tags(10_000, 256)
    assert record.secret_net_hz(now.ps) == pytest.approx(record.secret_gross_hz(now.ps) * (100 - 512) / 100)
    assert record.secret_net_hz(now.ps) < 0.0
    assert record.tags_bits_total == 512
    record.count_block(10_000, 0, 0.0, 0.12)
    assert record.secret_net_hz(now.ps) == 0.0


def test_a_qber_window_forgets_what_is_older() -> None:
    window = QberWindow(1000)
    window.update(500, 50)
    assert window.qber_prob is None
    for step in range(1, 21):
        window.update(500 + 200 * step, 50 + 4 * step)
    assert window.qber_prob == pytest.approx(0.02)


def test_a_monitor_tells_degraded_from_trouble() -> None:
    monitor = Monitor(0.05, 0.11)
    assert monitor.verdict == (LinkState.OPERATING, "")
    monitor.see_x_bits(2000, 140, 0)
    assert (monitor.verdict, monitor.trouble) == ((LinkState.DEGRADED, QBER), "")
    monitor.see_x_bits(4000, 540, 0)
    assert (monitor.verdict, monitor.trouble) == ((LinkState.DEGRADED, QBER), "")
    monitor.see_x_bits(4500, 640, 4200)
    monitor.see_x_bits(6500, 1040, 4200)
    assert monitor.trouble == QBER


def test_errors_that_an_alignment_cures_are_no_trouble() -> None:
    watch = ErrorWatch(0.11)
    watch.see_x_bits(4000, 1000, 0)
    # what had been sent before it took effect
    watch.see_x_bits(5000, 1250, 0)
    watch.see_x_bits(5400, 1254, 5000)
    watch.see_x_bits(7400, 1274, 5000)
    assert (watch.is_over, watch.qber_prob) == (False, 0.01)
    # and an alignment before they came is none that could have helped
    watch.see_x_bits(9400, 1774, 7400)
    watch.see_x_bits(11_400, 2274, 7400)
    assert not watch.is_over
    watch.see_x_bits(11_800, 2374, 11_500)
    watch.see_x_bits(13_800, 2874, 11_500)
    assert watch.is_over


def test_errors_without_any_alignment_are_trouble_after_a_while() -> None:
    watch = ErrorWatch(0.11)
    over = []
    for bits in range(2000, 12_000, 500):
        watch.see_x_bits(bits, bits // 8, 0)
        over.append(watch.is_over)
    # three windows later, and where many bits come at a time ten reports
    assert over.index(True) == 12
    many = ErrorWatch(0.11)
    for report in range(1, 12):
        many.see_x_bits(5000 * report, 625 * report, 0)
        assert many.is_over == (report == 11)
    patient = ErrorWatch(0.11)
    for bits in range(2000, 12_000, 500):
        patient.see_x_bits(bits, 250, 0)
    assert not patient.is_over


def test_dark_trains_in_a_row_are_trouble_and_one_with_light_is_not() -> None:
    monitor = Monitor(0.05, 0.11)
    for click_count in (0, 0, 5, 0, 0):
        monitor.see_train(click_count)
    assert monitor.trouble == ""
    monitor.see_train(0)
    assert monitor.trouble == NO_LIGHT


def test_trains_far_fainter_than_at_commissioning_are_as_good_as_dark() -> None:
    monitor = Monitor(0.05, 0.11)
    monitor.expect_clicks(20_000)
    for click_count in (300, 399, 5000, 400, 400):
        monitor.see_train(click_count)
    assert monitor.trouble == ""
    monitor.see_train(400)
    assert monitor.trouble == NO_LIGHT


def test_errors_of_a_block_in_z_count_as_those_in_x() -> None:
    monitor = Monitor(0.05, 0.11)
    monitor.see_x_bits(4000, 40, 0)
    monitor.see_block(100, 0.06)
    assert monitor.verdict == (LinkState.DEGRADED, QBER)
    monitor.see_block(0, 0.12)
    assert monitor.trouble == ""
    monitor.see_block(0, 0.12)
    assert monitor.trouble == QBER


def test_a_block_without_key_degrades_until_one_has_some() -> None:
    monitor = Monitor(0.05, 0.11)
    monitor.see_block(0, 0.02)
    assert monitor.verdict == (LinkState.DEGRADED, "no-key")
    monitor.see_block(100, 0.02)
    assert monitor.verdict == (LinkState.OPERATING, "")


@pytest.mark.parametrize(
    ("trains", "needs_more", "trouble"),
    [
        ([(0, 0, 0)], False, NO_LIGHT),
        ([(100, 40, 1)], True, TOO_FAINT),
        ([(100, 10, 1)] * 10, False, TOO_FAINT),
        ([(100, 40, 1)] * 5, False, ""),
        ([(1000, 400, 44)], False, QBER),
        ([(1000, 400, 43)], False, ""),
    ],
)
def test_test_trains_give_a_verdict(trains: list[tuple[int, int, int]], needs_more: bool, trouble: str) -> None:
    tally = CommissioningTally(0.11)
    for train in trains:
        tally.add(*train)
        tally.train_count += 1
    assert (tally.needs_more, tally.trouble) == (needs_more, trouble)


@pytest.mark.parametrize(
    ("trains", "needs_more", "trouble"),
    [
        ([(1000, 400, 38)] * 4, True, QBER),
        ([(1000, 400, 38)] * 5, False, ""),
        ([(1000, 400, 40)] * 5, False, QBER),
        ([(1000, 400, 43)] * 50, False, QBER),
        ([(100, 19, 1)] * 10, True, TOO_FAINT),
        ([(100, 19, 1)] * 100, False, QBER),
        ([(100, 1, 0)] * 100, False, TOO_FAINT),
    ],
)
def test_who_left_for_errors_comes_back_with_many_bits_and_fewer_errors(
    trains: list[tuple[int, int, int]], needs_more: bool, trouble: str
) -> None:
    tally = CommissioningTally.after(QBER, 0.11)
    for train in trains:
        tally.add(*train)
        tally.train_count += 1
    assert (tally.needs_more, tally.trouble) == (needs_more, trouble)


def test_only_what_the_transmitter_holds_available_is_committed() -> None:
    answers = decide(["made", "undecided", "unknown"], {"made": True, "undecided": False, "other": True})
    assert answers == {
        "made": Holding.HOLDING_AVAILABLE,
        "undecided": Holding.HOLDING_ABORTED,
        "unknown": Holding.HOLDING_ABORTED,
    }


def test_entropy_follows_a_secret_only_when_told_to() -> None:
    told = Entropy(b"s" * 16)
    assert told.draw("a", 32) == Entropy(b"s" * 16).draw("a", 32) != told.draw("b", 32)
    assert Entropy().draw("a", 32) != Entropy().draw("a", 32)
