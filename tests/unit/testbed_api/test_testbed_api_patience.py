"""How long is waited, what counts as "not yet", and what the error says."""

import pytest

from qnetem import NotInTimeError
from qnetem.runtime.errors import BadInputError, DeadlineError, NotFoundError, UnavailableError
from qnetem.testbed.api.patience import Patience, seconds, text_of


@pytest.mark.parametrize(("within", "s"), [("30s", 30.0), ("250ms", 0.25), ("1.5 s", 1.5), ("0s", 0.0)])
def test_a_time_is_read_with_its_unit(within: str, s: float) -> None:
    assert seconds(within) == pytest.approx(s, rel=1e-12)


@pytest.mark.parametrize("within", ["30", "-1s", "5 parsec", "", "nan s", "90000s"])
def test_a_time_without_a_unit_or_out_of_range_is_refused(within: str) -> None:
    with pytest.raises(BadInputError, match=r"^within: "):
        seconds(within)


def test_a_bare_number_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"within: 30 has no unit \(expected ms or s, such as 30s\)"):
        seconds(30)  # type: ignore[arg-type]


def test_the_deadline_counts_from_the_start() -> None:
    patience = Patience("rain", "2s", now_s=10.0)
    assert not patience.is_over(11.9)
    assert patience.is_over(12.0)


def test_only_what_is_true_holds() -> None:
    patience = Patience("rain", "2s", 0.0)
    empty: list[object] = [False, None, 0, [], ""]
    assert not any(patience.is_held(value) for value in empty)
    assert patience.is_held([0])
    assert patience.is_held(0, lambda value: value == 0)


def test_what_may_pass_by_itself_is_not_yet_and_what_will_not_is_raised() -> None:
    patience = Patience("rain", "2s", 0.0)
    for passing in (AssertionError("dry"), UnavailableError("away"), DeadlineError("slow")):
        patience.excuse(passing)
    for lasting in (NotFoundError("no such cloud"), ZeroDivisionError()):
        with pytest.raises(type(lasting)):
            patience.excuse(lasting)


def test_the_error_says_what_was_waited_for_and_seen_last_and_carries_the_evidence() -> None:
    patience = Patience("rain", "2s", 0.0)
    patience.is_held(False)
    patience.is_held({"clouds": 3}, lambda _: False)
    error = patience.error(["last log lines:", "  drip"])
    assert str(error).splitlines() == ["not within 2s: rain", "seen last: {'clouds': 3}", "last log lines:", "  drip"]
    assert isinstance(error, AssertionError)
    assert isinstance(error, DeadlineError)
    assert type(error) is NotInTimeError


def test_a_condition_that_only_asserts_is_told_what_it_lacks() -> None:
    patience = Patience("rain", "2s", 0.0)
    patience.is_held(None)
    assert "seen last: None (a condition that only asserts has to return True)" in str(patience.error([]))


def test_an_assertion_is_shown_by_its_text_and_a_long_value_is_cut() -> None:
    patience = Patience("rain", "2s", 0.0)
    patience.excuse(AssertionError("only 3 clouds"))
    assert "seen last: only 3 clouds" in str(patience.error([]))
    patience.is_held("x" * 10_000, lambda _: False)
    assert len(str(patience.error([]))) < 700


def test_a_value_that_cannot_be_shown_is_no_new_trouble() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    patience = Patience("rain", "2s", 0.0)
    patience.is_held(Broken(), lambda _: False)
    assert "a Broken whose repr raises ZeroDivisionError" in str(patience.error([]))


def test_a_condition_is_called_by_its_own_words() -> None:
    def it_rains() -> bool:
        return True

    def documented() -> bool:
        """It pours. Cats and dogs."""
        return True

    assert text_of(it_rains) == "it rains"
    assert text_of(documented) == "It pours. Cats and dogs"
    dry = text_of(lambda: 1 + 1 == 3)
    assert "lambda: 1 + 1 == 3" in dry
