"""What holds on a classical link, and what befalls traffic on it."""

import statistics

import pytest

from classical_channel.path import (
    Conditions,
    Transit,
    check_parameters,
    check_settings,
    merged_settings,
    reset_settings,
)
from qnetem.runtime.errors import BadInputError
from qnetem.v1.parameters_pb2 import ClassicalParameters, ClassicalSettings

MS_PS = 10**9
SECRET = bytes(range(16))


def transit(delay_ps: int, jitter_ps: int = 0, scale: float = 1.0, from_node: str = "alice") -> Transit:
    planned = ClassicalParameters(delay_ps=delay_ps, jitter_ps=jitter_ps)
    return Transit(Conditions.of(planned, ClassicalSettings(), scale), SECRET, from_node)


def test_settings_override_what_was_planned() -> None:
    planned = ClassicalParameters(delay_ps=5 * MS_PS, jitter_ps=7)
    conditions = Conditions.of(planned, ClassicalSettings(delay_ps=9 * MS_PS), 1.0)
    assert conditions.effective == ClassicalParameters(delay_ps=9 * MS_PS, jitter_ps=7)
    assert conditions.is_up
    assert not Conditions.of(planned, ClassicalSettings(is_up=False), 1.0).is_up


def test_a_setting_of_zero_is_a_setting() -> None:
    conditions = Conditions.of(ClassicalParameters(delay_ps=5), ClassicalSettings(delay_ps=0), 1.0)
    assert conditions.effective.delay_ps == 0


def test_settings_merge_and_come_off_by_name() -> None:
    held = merged_settings(ClassicalSettings(delay_ps=3), ClassicalSettings(is_up=False))
    assert held == ClassicalSettings(delay_ps=3, is_up=False)
    assert reset_settings("l", held, ["is_up"]) == ClassicalSettings(delay_ps=3)
    assert reset_settings("l", held, []) == ClassicalSettings()
    assert held == ClassicalSettings(delay_ps=3, is_up=False)


def test_a_wrong_name_meets_the_near_one() -> None:
    with pytest.raises(BadInputError, match=r"link a-b: no setting 'delay'; did you mean delay_ps\?"):
        reset_settings("a-b", ClassicalSettings(), ["delay"])


@pytest.mark.parametrize(
    ("delay_ps", "is_good"), [(-1, False), (0, True), (3600 * 10**12, True), (3600 * 10**12 + 1, False)]
)
def test_a_delay_is_from_nothing_to_an_hour(delay_ps: int, is_good: bool) -> None:
    if is_good:
        check_settings("a-b", ClassicalSettings(delay_ps=delay_ps))
        check_parameters("a-b", ClassicalParameters(delay_ps=delay_ps))
        return
    with pytest.raises(BadInputError, match=rf"link a-b: delay_ps {delay_ps} is not in 0 \.\. 3600000000000000"):
        check_settings("a-b", ClassicalSettings(delay_ps=delay_ps))
    with pytest.raises(BadInputError, match="delay_ps"):
        check_parameters("a-b", ClassicalParameters(delay_ps=delay_ps))


@pytest.mark.parametrize("loss_prob", [-0.01, 1.01, float("nan")])
def test_a_loss_is_a_probability(loss_prob: float) -> None:
    with pytest.raises(BadInputError, match="link a-b: loss_prob"):
        check_parameters("a-b", ClassicalParameters(loss_prob=loss_prob))


def test_below_a_millisecond_of_wall_time_a_delay_is_told_not_slept() -> None:
    short = transit(MS_PS - 1)
    assert short.is_immediate
    assert short.next_delay_s() == 0.0
    assert short.conditions.unslept_delay_ps == MS_PS - 1
    long = transit(MS_PS)
    assert not long.is_immediate
    assert long.next_delay_s() == pytest.approx(1e-3)
    assert long.conditions.unslept_delay_ps == 0


def test_the_scale_decides_what_can_be_slept() -> None:
    assert transit(5 * MS_PS, scale=10.0).is_immediate
    slow = transit(MS_PS // 10, scale=0.01)
    assert not slow.is_immediate
    assert slow.next_delay_s() == pytest.approx(0.01)


def test_jitter_is_uniform_around_the_delay() -> None:
    delays_s = [path.next_delay_s() for path in [transit(20 * MS_PS, 5 * MS_PS)] for _ in range(20_000)]
    assert min(delays_s) >= 0.015
    assert max(delays_s) <= 0.025
    # uniform: sigma = half-width / sqrt 3
    sigma_s = 0.005 / 3**0.5
    assert statistics.fmean(delays_s) == pytest.approx(0.020, abs=5 * sigma_s / 20_000**0.5)
    assert statistics.pstdev(delays_s) == pytest.approx(sigma_s, rel=0.02)


def test_jitter_never_makes_a_delay_negative() -> None:
    path = transit(2 * MS_PS, 50 * MS_PS)
    delays_s = [path.next_delay_s() for _ in range(2_000)]
    assert min(delays_s) == 0.0
    assert max(delays_s) <= 0.052


def test_jitter_follows_the_secret_and_the_direction() -> None:
    def drawn(from_node: str) -> list[float]:
        path = transit(20 * MS_PS, 5 * MS_PS, from_node=from_node)
        return [path.next_delay_s() for _ in range(1500)]

    assert drawn("alice") == drawn("alice")
    assert drawn("alice") != drawn("bob")
