"""What holds on a classical link, and what befalls traffic on it."""

import statistics
from dataclasses import dataclass

import pytest

from classical_channel.path import Conditions, Transit
from classical_channel.settings import (
    Direction,
    check_layer,
    check_parameters,
    check_settings,
    effective,
    is_gone,
    merged_settings,
    reset_settings,
)
from qnetem.runtime.errors import BadInputError
from qnetem.v1.parameters_pb2 import ClassicalLayer, ClassicalParameters, ClassicalSettings, EmulatedTime

MS_PS = 10**9
S_PS = 10**12
SECRET = bytes(range(16))
PLANNED = ClassicalParameters(delay_ps=4 * MS_PS)


@dataclass
class Steady:
    """Conditions that stay."""

    conditions: Conditions


def transit(
    delay_ps: int, jitter_ps: int = 0, scale: float = 1.0, stream: str = "alice", loss_prob: float = 0.0
) -> Transit:
    parameters = ClassicalParameters(delay_ps=delay_ps, jitter_ps=jitter_ps, loss_prob=loss_prob)
    return Transit(Steady(Conditions(parameters, True, scale)), SECRET, stream)


def now(
    settings: ClassicalSettings, *layers: ClassicalLayer, at_s: float = 0.0, direction: Direction = "forth"
) -> ClassicalParameters:
    """What holds on a link that was planned with a delay of 4 ms."""
    return effective(PLANNED, settings, layers, direction, round(at_s * S_PS))[0]


def test_settings_override_what_was_planned() -> None:
    planned = ClassicalParameters(delay_ps=5 * MS_PS, jitter_ps=7)
    values, is_up = effective(planned, ClassicalSettings(delay_ps=9 * MS_PS, loss_prob=0.5), (), "forth", 0)
    assert values == ClassicalParameters(delay_ps=9 * MS_PS, jitter_ps=7, loss_prob=0.5)
    assert is_up
    assert not effective(planned, ClassicalSettings(is_up=False), (), "back", 0)[1]


def test_a_setting_of_zero_is_a_setting() -> None:
    assert now(ClassicalSettings(delay_ps=0)).delay_ps == 0


def test_what_is_for_one_way_is_over_what_is_for_both() -> None:
    settings = ClassicalSettings(delay_ps=9, forth_delay_ps=5, back_loss_prob=0.25)
    assert now(settings) == ClassicalParameters(delay_ps=5)
    assert now(settings, direction="back") == ClassicalParameters(delay_ps=9, loss_prob=0.25)


def test_a_layer_comes_in_a_line_holds_and_goes() -> None:
    layer = ClassicalLayer(
        settings=ClassicalSettings(delay_ps=8 * MS_PS, is_up=False),
        start=EmulatedTime(seconds=10),
        ramp_s=4,
        duration_s=20,
    )
    delays = {at_s: now(ClassicalSettings(), layer, at_s=at_s).delay_ps for at_s in (9, 10, 11, 14, 29.9, 30)}
    assert delays == {9: 4 * MS_PS, 10: 4 * MS_PS, 11: 5 * MS_PS, 14: 8 * MS_PS, 29.9: 8 * MS_PS, 30: 4 * MS_PS}
    is_up = [effective(PLANNED, ClassicalSettings(), [layer], "forth", at_s * S_PS)[1] for at_s in (9, 10, 29, 30)]
    assert is_up == [True, False, False, True], "what is no number does not ramp"
    assert [is_gone(layer, at_s * S_PS) for at_s in (9, 29, 30)] == [False, False, True]


def test_layers_ramp_from_what_is_below_them() -> None:
    first = ClassicalLayer(settings=ClassicalSettings(delay_ps=8 * MS_PS), ramp_s=4)
    second = ClassicalLayer(settings=ClassicalSettings(forth_delay_ps=0), start=EmulatedTime(seconds=2), ramp_s=2)
    assert now(ClassicalSettings(), first, second, at_s=3).delay_ps == 7 * MS_PS // 2
    assert now(ClassicalSettings(), first, second, at_s=3, direction="back").delay_ps == 7 * MS_PS
    assert now(ClassicalSettings(), first, second, at_s=4).delay_ps == 0
    endless = ClassicalLayer(settings=ClassicalSettings(delay_ps=1))
    assert not is_gone(endless, 10**9 * S_PS)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (ClassicalLayer(ramp_s=-1), "ramp_s -1.0 is not 0 or more"),
        (ClassicalLayer(duration_s=float("nan")), "duration_s nan is not 0 or more"),
        (ClassicalLayer(start=EmulatedTime(picoseconds=-1)), "picoseconds -1 are not in"),
        (ClassicalLayer(settings=ClassicalSettings(back_jitter_ps=-1)), "back_jitter_ps -1 is not in 0"),
    ],
)
def test_a_layer_that_cannot_be_is_refused(layer: ClassicalLayer, text: str) -> None:
    with pytest.raises(BadInputError, match=f"link a-b: {text}"):
        check_layer("a-b", layer)


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
    with pytest.raises(BadInputError, match="link a-b: forth_loss_prob"):
        check_settings("a-b", ClassicalSettings(forth_loss_prob=loss_prob))


def test_below_a_millisecond_of_wall_time_a_delay_is_told_not_slept() -> None:
    short = transit(MS_PS - 1)
    assert short.is_immediate
    assert short.next_delay_s() == 0.0
    assert Conditions(ClassicalParameters(delay_ps=MS_PS - 1), True, 1.0).unslept_delay_ps == MS_PS - 1
    long = transit(MS_PS)
    assert not long.is_immediate
    assert long.next_delay_s() == pytest.approx(1e-3)
    assert Conditions(ClassicalParameters(delay_ps=MS_PS), True, 1.0).unslept_delay_ps == 0


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
    def drawn(stream: str) -> list[float]:
        path = transit(20 * MS_PS, 5 * MS_PS, stream=stream)
        return [path.next_delay_s() for _ in range(1500)]

    assert drawn("alice") == drawn("alice")
    assert drawn("alice") != drawn("bob")


def test_a_lost_chunk_is_sent_again_after_a_time_out_that_doubles() -> None:
    lossy = transit(10 * MS_PS, loss_prob=1.0, scale=0.5)
    # emulated 200 ms, doubling up to two minutes, in wall time at this scale, and a round trip
    time_outs_s = [lossy.next_loss_s(lost_count) for lost_count in (0, 1, 2, 9, 10, 99)]
    assert time_outs_s == pytest.approx([one / 0.5 + 0.04 for one in (0.2, 0.4, 0.8, 102.4, 120, 120)])
    assert lossy.lost_count == 6
    assert lossy.next_delay_s() == pytest.approx(0.02)


def test_as_many_chunks_are_lost_as_was_asked_for() -> None:
    count, loss_prob = 20_000, 0.1
    lossy = transit(0, loss_prob=loss_prob)
    lost_count = sum(lossy.next_loss_s() is not None for _ in range(count))
    assert lost_count == lossy.lost_count
    assert lost_count == pytest.approx(count * loss_prob, abs=5 * (count * loss_prob * (1 - loss_prob)) ** 0.5)
    assert transit(0).next_loss_s() is None


def test_loss_keeps_chunks_though_the_delay_is_only_told() -> None:
    assert not transit(0, loss_prob=0.5).is_immediate
    assert transit(0).is_immediate
