"""qnetem.topology.words: how a wrong value or name is shown to a user, and what was probably meant. Pure."""

import re
from collections.abc import Iterable
from typing import Final

__all__ = ["LABEL_PATTERN", "did_you_mean", "label", "label_of", "nearest", "shown", "word"]

_SHOWN_CHARS: Final = 60
_LISTED: Final = 24
# RFC 1123: what may stand between two dots of a host name.
LABEL_PATTERN: Final = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_WORD: Final = re.compile(r"[A-Za-z0-9_./-]{1,63}\Z")
_LABEL: Final = re.compile(LABEL_PATTERN.rstrip("$") + r"\Z")


def shown(value: object) -> str:
    """Return a value as it appears in an error: one printable line, never long."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            text = repr(value)
            return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 4] + "...'"
        case int() if value.bit_length() > 256:
            return "a huge number"
        case int() | float():
            return str(value)
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
    return f"a {type(value).__name__}"


def word(text: str) -> str:
    """Return a word of the file as it appears among others: bare when it is one, else quoted and cut."""
    return text if _WORD.match(text) else shown(text)


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    """Return the known word that a wrong one was probably meant to be; None when nothing is near."""
    from difflib import get_close_matches  # needed for errors alone

    by_lower: dict[str, str] = {}
    for each in known:
        by_lower.setdefault(each.lower(), each)
    # Long words are no typing errors of short ones, and comparing them takes quadratic time.
    found = get_close_matches(wrong.lower()[:100], by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else None


def did_you_mean(wrong: str, known: Iterable[str], otherwise: str = "known") -> str:
    """Return the hint in parentheses that follows an unknown word: the nearest known one, else what is known."""
    words = list(known)
    near = nearest(wrong, words)
    if near is not None:
        return f" (did you mean {shown(near)}?)"
    listed = [word(each) for each in words[:_LISTED]]
    rest = f" and {len(words) - _LISTED} more" if len(words) > _LISTED else ""
    return f" ({otherwise}: {', '.join(listed)}{rest})" if words else ""


def label_of(value: object) -> str | None:
    """Return a value that is a DNS label as text; None for all others."""
    # A plain YAML scalar of digits is a number to YAML and a fine name to us.
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and value < 10**63 else value
    return text if isinstance(text, str) and _LABEL.match(text) else None


def label(value: object) -> str:
    """Return `value` when it is a DNS label.

    Raises:
        ValueError: It is not; the text says what is wrong and, where one is near, which label would do.
    """
    text = label_of(value)
    if text is not None:
        return text
    if not isinstance(value, str):
        hint = " (put it in quotes)" if isinstance(value, bool | float) else ""
        raise ValueError(f"expected a name, got {shown(value)}{hint}")
    if len(value) > 63:
        raise ValueError(f"{shown(value)} has {len(value)} characters (a name is a DNS label: at most 63)")
    hint = re.sub("[^a-z0-9]+", "-", value.lower()).strip("-")
    raise ValueError(
        f"{shown(value)} is not a name: a DNS label has lower-case letters, digits and inner hyphens"
        + (f" (did you mean {hint!r}?)" if hint else "")
    )
