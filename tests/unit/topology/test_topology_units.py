"""Quantities: what is read, what is refused with which words, and that writing loses nothing."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qnetem.topology import fields, quantities
from qnetem.topology.units import Choice, Quantity

STEADY = settings(deadline=None, derandomize=True)
QUANTITIES = {
    f"{table}.{field.key}": field.quantity
    for table, members in (
        ("quantum", fields.QUANTUM),
        ("classical", fields.CLASSICAL),
        ("protocol", fields.PROTOCOL),
    )
    for field in members
    if isinstance(field.quantity, Quantity)
}
CHOICES = [field for field in (*fields.QUANTUM, *fields.PROTOCOL) if isinstance(field.quantity, Choice)]
LENGTH, DEAD_TIME, DURATION = quantities.LENGTH, quantities.DEAD_TIME, quantities.DURATION


@pytest.mark.parametrize(
    ("quantity", "given_", "expected"),
    [
        (LENGTH, "25km", 25.0),
        (LENGTH, "  25 km ", 25.0),
        (LENGTH, "500m", 0.5),
        (LENGTH, "2.5e1km", 25.0),
        (LENGTH, ".5km", 0.5),
        (LENGTH, "0km", 0.0),
        (LENGTH, "10000km", 10_000.0),
        (DURATION, "125us", 125_000_000),
        (DURATION, "125µs", 125_000_000),
        (DURATION, "125μs", 125_000_000),
        (DURATION, "0.001ns", 1),
        (DURATION, "60s", 60 * 10**12),
        (quantities.JITTER, "0.5ps", 0.5),
        (quantities.ATTENUATION, "0.2dB/km", 0.2),
        (quantities.LOSS, "3 dB", 3.0),
        (quantities.CLOCK, "1GHz", 1e9),
        (quantities.RATE, "0.5kHz", 500.0),
        (quantities.BLOCK, "100kbit", 100_000),
        (quantities.POOL, "1.5Gbit", 1_500_000_000),
        (quantities.PROBABILITY, 0, 0.0),
        (quantities.PROBABILITY, 1, 1.0),
        (quantities.PROBABILITY, 0.02, 0.02),
        (quantities.PROBABILITY, "2%", 0.02),
        (quantities.PROBABILITY, "100 %", 1.0),
        (quantities.PROBABILITY, "0.02", 0.02),
        (quantities.SPAN, "10min", 600.0),
        (quantities.SPAN, "1.5h", 5400.0),
        (quantities.SPAN, "250ms", 0.25),
        (quantities.DAY, "1d", 86_400.0),
        (quantities.ELEVATION, "90deg", math.pi / 2),
        (quantities.ELEVATION, "30deg", pytest.approx(math.pi / 6, rel=1e-15)),
        (quantities.GATE_OFFSET, "-50ps", -50.0),
        (quantities.SKEW, "-2ppm", -2000.0),
        (quantities.WHITE_FM, "1ps/sqrt(s)", 1.0),
        (quantities.RAMAN, "3e-9/km/nm", 3e-9),
        (quantities.EVENTS, "0.3mHz", 3e-4),
        (quantities.COUNT, 2, 2),
        (quantities.COUNT, 2.0, 2),
    ],
)
def test_a_value_with_its_unit_is_read(quantity: Quantity, given_: object, expected: float) -> None:
    value = quantity.parse(given_)
    assert value == expected
    assert isinstance(value, int if quantity.is_whole else float)


@pytest.mark.parametrize(
    ("quantity", "given_", "text"),
    [
        (LENGTH, 25, "25 has no unit (expected m or km, such as 25km)"),
        (LENGTH, 0, "0 has no unit (expected m or km, such as 25km)"),
        (LENGTH, "25", "'25' has no unit (expected m or km, such as 25km)"),
        (LENGTH, "25kn", "'25kn' has the unknown unit 'kn' (expected m or km, such as 25km)"),
        (LENGTH, "25KM", "'25KM' has the unknown unit 'KM' (did you mean km?)"),
        (LENGTH, "25kmm", "'25kmm' has the unknown unit 'kmm' (did you mean km?)"),
        (LENGTH, "-1km", "'-1km' is out of range (0km to 10000km)"),
        (LENGTH, "10001km", "'10001km' is out of range (0km to 10000km)"),
        (LENGTH, "1e999km", "'1e999km' is out of range (0km to 10000km)"),
        (LENGTH, "nankm", "expected a length, got 'nankm' (m or km, such as 25km)"),
        (LENGTH, "far", "expected a length, got 'far' (m or km, such as 25km)"),
        (LENGTH, "", "expected a length, got '' (m or km, such as 25km)"),
        (LENGTH, "25km\n25km", "expected a length, got '25km\\n25km' (m or km, such as 25km)"),
        (LENGTH, "1_000km", "'1_000km' has the unknown unit '_000km' (expected m or km, such as 25km)"),
        (LENGTH, "1e9999km", "'1e9999km' has the unknown unit '9km' (did you mean km?)"),
        (LENGTH, "٣km", "expected a length, got '٣km' (m or km, such as 25km)"),
        (LENGTH, None, "expected a length, got nothing (m or km, such as 25km)"),
        (LENGTH, True, "expected a length, got true (m or km, such as 25km)"),
        (LENGTH, ["25km"], "expected a length, got a list (m or km, such as 25km)"),
        (LENGTH, float("nan"), "nan has no unit (expected m or km, such as 25km)"),
        (DEAD_TIME, "0.5ps", "'0.5ps' is not a whole number of ps"),
        (DEAD_TIME, "10Us", "'10Us' has the unknown unit 'Us' (did you mean us?)"),
        (DEAD_TIME, "2s", "'2s' is out of range (0ps to 10ms)"),
        (quantities.CLOCK, "1Ghz", "'1Ghz' has the unknown unit 'Ghz' (did you mean GHz?)"),
        (quantities.CLOCK, "10Hz", "'10Hz' is out of range (1kHz to 20GHz)"),
        (quantities.LOSS, "3dBm", "'3dBm' has the unknown unit 'dBm' (did you mean dB?)"),
        (quantities.PROBABILITY, 1.5, "1.5 is out of range (0 to 1)"),
        (quantities.PROBABILITY, -0.1, "-0.1 is out of range (0 to 1)"),
        (quantities.PROBABILITY, "101%", "'101%' is out of range (0 to 1)"),
        (quantities.PROBABILITY, float("nan"), "nan is out of range (0 to 1)"),
        (quantities.PROBABILITY, float("inf"), "inf is out of range (0 to 1)"),
        (quantities.PROBABILITY, 10**400, "a huge number is out of range (0 to 1)"),
        (quantities.PROBABILITY, "2dB", "'2dB' has the unknown unit 'dB' (expected a number or %, such as 2%)"),
        (quantities.PROBABILITY, False, "expected a probability, got false (a number or %, such as 2%)"),
        (quantities.CHOICE, 0, "0 is out of range (above 0, below 1)"),
        (quantities.CHOICE, 1, "1 is out of range (above 0, below 1)"),
        (quantities.CHOICE, "1e-400", "'1e-400' is out of range (above 0, below 1)"),
        (quantities.QBER, 0, "0 is out of range (above 0, up to 0.5)"),
        (quantities.EPSILON, "1%", "expected a probability, got '1%' (a number, such as 1.0e-10)"),
        (quantities.EPSILON, 0.5, "0.5 is out of range (1E-30 to 0.001)"),
        (quantities.SPAN, 10, "10 has no unit (expected ms, s, min, h or d, such as 10min)"),
        (quantities.SPAN, "10mins", "'10mins' has the unknown unit 'mins' (did you mean min?)"),
        (quantities.ELEVATION, "91deg", "'91deg' is out of range (1mrad to 1.5707963267948966rad)"),
        (quantities.FILTER, "0nm", "'0nm' is out of range (above 0nm, up to 1000nm)"),
        (quantities.COUNT, 1.5, "1.5 is not a whole number"),
        (quantities.COUNT, "2", "expected a count, got '2' (a number, such as 2)"),
        (quantities.BLOCK, "100kB", "'100kB' has the unknown unit 'kB' (did you mean kbit?)"),
        (
            quantities.BLOCK,
            "1TB",
            "'1TB' has the unknown unit 'TB' (expected bit, kbit, Mbit or Gbit, such as 100kbit)",
        ),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(quantity: Quantity, given_: object, text: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        quantity.parse(given_)
    assert str(refused.value) == text


@pytest.mark.parametrize(
    ("quantity", "value", "text"),
    [
        (LENGTH, 25.0, "25km"),
        (LENGTH, 0.5, "500m"),
        (LENGTH, 0.0, "0km"),
        (LENGTH, 1e-300, "1E-297m"),
        (DURATION, 122_434_701, "122.434701us"),
        (DURATION, 10**12, "1s"),
        (DURATION, 0, "0ps"),
        (quantities.JITTER, 0.25, "0.25ps"),
        (quantities.CLOCK, 1e9, "1GHz"),
        (quantities.BLOCK, 100_000, "100kbit"),
        (quantities.PROBABILITY, 0.02, 0.02),
    ],
)
def test_a_value_is_written_in_its_nearest_unit(quantity: Quantity, value: float, text: str | float) -> None:
    assert quantity.render(value) == text


@pytest.mark.parametrize("field", CHOICES, ids=lambda field: field.key)
def test_a_word_is_read_and_written_back(field: fields.Field) -> None:
    choice = field.quantity
    assert isinstance(choice, Choice)
    assert [choice.render(choice.parse(word)) for word in choice.words] == list(choice.words)
    with pytest.raises(ValueError, match=f"expected {choice.name}, got 7"):
        choice.parse(7)


def test_a_wrong_word_meets_the_near_one() -> None:
    with pytest.raises(ValueError, match=r"a kind of receiver, got 'pasive' \(did you mean 'passive'\?\)"):
        quantities.RECEIVER.parse("pasive")


@pytest.mark.parametrize("name", QUANTITIES)
@STEADY
@given(data=st.data())
def test_writing_and_reading_loses_nothing(name: str, data: st.DataObject) -> None:
    quantity = QUANTITIES[name]
    low, high = quantity.minimum, quantity.maximum
    value: float = data.draw(
        st.integers(int(low), int(high))
        if quantity.is_whole
        else st.floats(low, high, exclude_min=quantity.is_minimum_open, exclude_max=quantity.is_maximum_open)
    )
    read = quantity.parse(quantity.render(value))
    assert (read, type(read)) == (value, type(value))


@STEADY
@given(st.text(max_size=12), st.sampled_from(sorted(QUANTITIES)))
def test_any_text_is_read_into_the_range_or_refused(text: str, name: str) -> None:
    quantity = QUANTITIES[name]
    try:
        value = quantity.parse(text)
    except ValueError as error:
        told = str(error)
    else:
        told = "in range" if quantity.minimum <= value <= quantity.maximum else "\n"
    assert told.isprintable()
