"""A link that idles: when it tests itself, with how much light, and what ends its service."""

import pytest

from node.qkd.idle_watch import IdleWatch, short_train_blocks
from node.qkd.monitor import CLOCK_LOST, QBER, TOO_FAINT
from qnetem.runtime.clock import PS_PER_S


def trains(watch: IdleWatch, results: list[tuple[int, int, int]]) -> list[tuple[float, str]]:
    """Let test trains of (clicks, sifted, errors) be over as they are due; return when each was, and the trouble."""
    seen = []
    for clicks, sifted, errors in results:
        now_ps = watch.due_ps
        watch.tally.add(clicks, sifted, errors)
        watch.tally.train_count += 1
        watch.see(now_ps)
        seen.append((now_ps / PS_PER_S, watch.trouble))
    return seen


@pytest.mark.parametrize(("scale", "pace_s"), [(1.0, 3.0), (20.0, 3.0), (0.1, 0.3)])
def test_a_link_that_is_well_is_tested_every_three_seconds_at_most(scale: float, pace_s: float) -> None:
    watch = IdleWatch(0.11, scale, 100 * PS_PER_S)
    seen = trains(watch, [(20_000, 13_000, 150)] * 5)
    assert [at_s for at_s, _ in seen] == pytest.approx([100 + pace_s * n for n in range(1, 6)])
    assert {trouble for _, trouble in seen} == {""}


@pytest.mark.parametrize(("errors", "reason"), [(2600, QBER), (6500, CLOCK_LOST)])
def test_errors_that_stay_after_an_alignment_end_service_within_ten_seconds(errors: int, reason: str) -> None:
    seen = trains(IdleWatch(0.11, 1.0, 0), [(20_000, 13_000, errors)] * 3)
    assert seen == [(3.0, ""), (3.5, ""), (4.0, reason)]


def test_errors_that_an_alignment_cures_do_not() -> None:
    bad, good = (20_000, 13_000, 2600), (20_000, 13_000, 130)
    seen = trains(IdleWatch(0.11, 1.0, 0), [bad, bad, good, bad, bad, good, good])
    assert {trouble for _, trouble in seen} == {""}
    assert [at_s for at_s, _ in seen] == [3.0, 3.5, 4.0, 7.0, 7.5, 8.0, 11.0]


def test_a_dark_link_is_tested_again_at_once_and_the_verdict_left_to_the_monitor() -> None:
    seen = trains(IdleWatch(0.11, 1.0, 0), [(20_000, 13_000, 130), (0, 0, 0), (0, 0, 0), (0, 0, 0)])
    assert seen == [(3.0, ""), (6.0, ""), (6.5, ""), (7.0, "")]


def test_a_faint_link_is_judged_when_it_has_shown_enough_and_one_of_noise_is_too_faint() -> None:
    watch = IdleWatch(0.11, 1.0, 0)
    seen = trains(watch, [(50, 30, 6)] * 21)
    # 200 bits are seven trains; three verdicts, the second and third sought at once
    assert [trouble for _, trouble in seen] == [""] * 20 + [QBER]
    seen = trains(IdleWatch(0.11, 1.0, 0), [(5, 3, 1)] * 30)
    assert seen[-1][1] == TOO_FAINT


@pytest.mark.parametrize(("usual_clicks", "blocks"), [(0.0, 192), (19_000.0, 192), (400_000.0, 10), (1e9, 1)])
def test_a_bright_link_is_tested_by_short_trains(usual_clicks: float, blocks: int) -> None:
    assert short_train_blocks(192, usual_clicks) == blocks
