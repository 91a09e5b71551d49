"""qnetem.topology.units: quantities with their units, read from text and written back without a digit lost. Pure.

A `Choice` is a value that is one of some words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from qnetem.topology.words import did_you_mean, nearest, shown

__all__ = ["Choice", "Quantity"]

_NUMBER: Final = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
_TEXT: Final = re.compile(rf"\s*({_NUMBER})\s*(\S*)\s*\Z")
_LONGEST: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A kind of value a field may hold: its units, its range, and how it is written.

    `units` maps each spelling to its power of ten over the base unit, so that reading and writing are exact. A value is
    a float in the base unit, or an int where `is_whole`. Where `is_bare`, a number without a unit is the base unit's.
    `multiples` are further units that are read, never written, each worth so many of the base unit. `name` has its
    article ("a length"): it stands in errors.
    """

    name: str
    units: Mapping[str, int]
    minimum: float
    maximum: float
    example: str
    is_minimum_open: bool = False
    is_maximum_open: bool = False
    is_whole: bool = False
    is_bare: bool = False
    multiples: Mapping[str, float] = field(default_factory=dict)

    def parse(self, given: object) -> float:
        """Return the value of what a file gives.

        Raises:
            ValueError: No number, no or an unknown unit, out of range, or finer than the field can hold.
        """
        number = self._number(given)
        is_broken = self.is_whole and number.is_finite() and number != number.to_integral_value()
        if is_broken:
            raise ValueError(f"{shown(given)} is not a whole number" + (f" of {self.base}" if self.units else ""))
        value = int(number) if self.is_whole and number.is_finite() else float(number)
        is_above = value > self.minimum or (value == self.minimum and not self.is_minimum_open)
        is_below = value < self.maximum or (value == self.maximum and not self.is_maximum_open)
        if not (is_above and is_below):  # NaN is neither
            raise ValueError(f"{shown(given)} is out of range ({self.range_text})")
        return value

    def render(self, value: float) -> str | float:
        """Return the value as a file writes it, bare ones as numbers: parse(render(value)) == value, exactly."""
        if self.is_bare:
            return value
        exact = Decimal(repr(value))
        units: dict[int, str] = {}
        for unit, power in self.units.items():
            units.setdefault(power, unit)
        powers = sorted(units, reverse=True)
        power = next((each for each in powers if abs(exact.scaleb(-each)) >= 1), 0 if not exact else powers[-1])
        return f"{_digits(exact.scaleb(-power))}{units[power]}"

    @property
    def base(self) -> str:
        """The base unit, "" for a bare number."""
        return next((unit for unit, power in self.units.items() if power == 0), "")

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every unit that is read."""
        return (*self.units, *self.multiples)

    @property
    def range_text(self) -> str:
        """The range in words: `0km to 10000km`, `above 0, up to 1`."""
        low, high = (self._limit_text(limit) for limit in (self.minimum, self.maximum))
        if not self.is_minimum_open and not self.is_maximum_open:
            return f"{low} to {high}"
        above, below = "above" if self.is_minimum_open else "from", "below" if self.is_maximum_open else "up to"
        return f"{above} {low}, {below} {high}"

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of what a file may give; ranges of texts with units are not expressible there."""
        spelled = "|".join(re.escape(unit) for unit in self.spellings)
        text = {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*({spelled})\s*$", "examples": [self.example]}
        number = {
            "type": "integer" if self.is_whole else "number",
            "exclusiveMinimum" if self.is_minimum_open else "minimum": self.minimum,
            "exclusiveMaximum" if self.is_maximum_open else "maximum": self.maximum,
        }
        if not self.is_bare:
            return text
        return {"anyOf": [number, text]} if self.units else number

    def _number(self, given: object) -> Decimal:
        """Return the number that is given, over the base unit."""
        if isinstance(given, int | float) and not isinstance(given, bool):
            if not self.is_bare:
                raise ValueError(f"{shown(given)} has no unit (expected {self._units_text})")
            return Decimal(repr(given)) if isinstance(given, float) or given.bit_length() <= 256 else Decimal("inf")
        matched = _TEXT.match(given) if isinstance(given, str) and len(given) <= _LONGEST else None
        if matched is None:
            raise ValueError(f"expected {self.name}, got {shown(given)} ({self._units_text})")
        digits, unit = matched.groups()
        if unit in self.units:
            return Decimal(digits).scaleb(self.units[unit])
        if unit in self.multiples:
            return Decimal(digits) * Decimal(repr(self.multiples[unit]))
        if self.is_bare and not self.units:
            raise ValueError(f"expected {self.name}, got {shown(given)} ({self._units_text})")
        if not unit:
            if self.is_bare:
                return Decimal(digits)
            raise ValueError(f"{shown(given)} has no unit (expected {self._units_text})")
        near = nearest(unit, self.spellings)
        hint = f"did you mean {near}?" if near else f"expected {self._units_text}"
        raise ValueError(f"{shown(given)} has the unknown unit {shown(unit)} ({hint})")

    def _limit_text(self, limit: float) -> str:
        return _digits(Decimal(repr(limit))) if self.is_bare else str(self.render(limit))

    @property
    def _units_text(self) -> str:
        if not self.units:
            return f"a number, such as {self.example}"
        *most, last = self.spellings
        listed = f"{', '.join(most)} or {last}" if most else last
        return f"{'a number or ' if self.is_bare else ''}{listed}, such as {self.example}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A kind of value that is one of some words; `words` maps each to what it means. `name` has its article."""

    name: str
    words: Mapping[str, str | bool]

    def parse(self, given: object) -> str | bool:
        """Return what a word means. Raises ValueError when it is none of them."""
        if isinstance(given, str) and given in self.words:
            return self.words[given]
        hint = did_you_mean(given, self.words) if isinstance(given, str) else f" ({self.range_text})"
        raise ValueError(f"expected {self.name}, got {shown(given)}{hint}")

    def render(self, value: str | bool) -> str:
        """Return the word for a value: parse(render(value)) == value."""
        return next(word for word, meaning in self.words.items() if meaning == value)

    @property
    def spellings(self) -> tuple[str, ...]:
        """A word has no unit."""
        return ()

    @property
    def range_text(self) -> str:
        """The words."""
        return ", ".join(self.words)

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of what a file may give."""
        return {"type": "string", "enum": list(self.words)}


def _digits(number: Decimal) -> str:
    """Return a decimal without exponent where that is short."""
    if not number:
        return "0"
    number = number.normalize()
    plain = f"{number:f}"
    return plain if len(plain) <= 24 else f"{number:E}"
