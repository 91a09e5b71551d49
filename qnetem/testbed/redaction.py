"""qnetem.testbed.redaction: known secrets taken out of what is handed to others. Pure.

A second line: no secret should have come there. A secret is found raw, in hex, in base64 at any offset and in either
alphabet, as Python or JSON escape it, and as a list of numbers.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["MARK", "Redactor"]

MARK: Final = b"[secret removed]"
# shorter ones would be found by chance
_SHORTEST: Final = 8
# what encodings into letters and digits are made of
_WORD: Final = re.compile(rb"[A-Za-z0-9+/=_-]{%d,}" % _SHORTEST)
# where none of this is, nothing that holds it is either
_ODD: Final = re.compile(rb"[^\n\t -~]|\\[xu0-9]|(?:\d+, ?){8}")


class Redactor:
    """Takes secrets out of texts."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        """Know `secrets`, each of at least 8 bytes; shorter ones cannot be told from other texts."""
        known = {secret for secret in secrets if len(secret) >= _SHORTEST}
        self._words: dict[int, set[bytes]] = {}
        for secret in known:
            for word in _words(secret):
                self._words.setdefault(len(word), set()).add(word)
        others = sorted({other for secret in known for other in _others(secret)}, key=len, reverse=True)
        self._odd = [other for other in others if _ODD.search(other)]
        self._plain = [other for other in others if not _ODD.search(other)]

    def clean(self, data: bytes) -> tuple[bytes, int]:
        """Return the data with a mark in place of each secret, and how many there were."""
        count = 0
        for other in (*self._odd, *self._plain) if _ODD.search(data) else self._plain:
            if found := data.count(other):
                count += found
                data = data.replace(other, MARK)

        def checked(match: re.Match[bytes]) -> bytes:
            nonlocal count
            if not self._holds(match[0]):
                return match[0]
            count += 1
            return MARK  # all of it: the bits at the ends are the secret's too

        return _WORD.sub(checked, data), count

    def _holds(self, run: bytes) -> bool:
        return any(
            run[start : start + size] in words
            for size, words in self._words.items()
            for start in range(len(run) - size + 1)
        )


def _words(secret: bytes) -> Iterator[bytes]:
    """Yield what stands in a run of letters and digits that holds the secret."""
    if _WORD.fullmatch(secret):
        yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for offset in range(3):
        # inside of a longer text; the characters that hold bits of what stands before and after are left out
        whole = slice((8 * offset + 5) // 6, 8 * (offset + len(secret)) // 6)
        for alphabet in (b"+/", b"-_"):
            yield base64.b64encode(bytes(offset) + secret, alphabet)[whole]


def _others(secret: bytes) -> Iterator[bytes]:
    """Yield what the secret is in other encodings."""
    escaped = repr(secret)[2:-1]
    text = secret.decode("latin-1")
    if not _WORD.fullmatch(secret):
        yield secret
        yield text.encode()
        yield escaped.encode()
        yield json.dumps(escaped)[1:-1].encode()
        yield json.dumps(text)[1:-1].encode()
    yield ", ".join(map(str, secret)).encode()
    yield ",".join(map(str, secret)).encode()
