"""Numbers as people read them."""

import pytest

from qnetem.cli.figures import count_text, percent_text, rate_text, span_text


@pytest.mark.parametrize(
    ("value_hz", "text"),
    [
        (0, "-"),
        (0.25, "0.25 b/s"),
        (12.34, "12.3 b/s"),
        (999.4, "999 b/s"),
        (999.96, "1 kb/s"),
        (1000, "1 kb/s"),
        (29_456, "29.5 kb/s"),
        (999_499, "999 kb/s"),
        (3_350_000, "3.35 Mb/s"),
        (12_400_000_000, "12.4 Gb/s"),
    ],
)
def test_a_rate_has_three_digits_and_a_prefix(value_hz: float, text: str) -> None:
    assert rate_text(value_hz, "b/s") == text


def test_a_count_of_none_is_zero() -> None:
    assert count_text(0, "bit") == "0 bit"
    assert count_text(262_144, "bit") == "262 kbit"


def test_a_percentage_has_two_decimals() -> None:
    assert percent_text(0.01936) == "1.94 %"
    assert percent_text(0) == "-"


@pytest.mark.parametrize(
    ("span_s", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (42, "42 s"),
        (59.6, "1 min 0 s"),
        (245, "4 min 5 s"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_a_span_has_its_two_largest_units(span_s: float, text: str) -> None:
    assert span_text(span_s) == text
