"""Finding a secret in a text, however it is written: what could be an encoding is decoded and looked into."""

import base64
import re
from collections.abc import Iterator

_RUN = re.compile(rb"[A-Za-z0-9+/=_-]{8,}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2})+")
_NUMBERS = re.compile(rb"(?:\d{1,3}[,\s]+)+\d{1,3}")
_ESCAPE = re.compile(rb"\\+(?:x([0-9a-fA-F]{2})|u00([0-9a-fA-F]{2})|([nrtbf'\"\\]))")
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def _unescaped(data: bytes) -> bytes:
    def byte(match: "re.Match[bytes]") -> bytes:
        number = match[1] or match[2]
        return bytes([int(number, 16)]) if number else _LETTERS.get(match[3], match[3])

    return _ESCAPE.sub(byte, data)


def _decoded(data: bytes) -> Iterator[bytes]:
    yield data
    yield data.decode("utf-8", "replace").encode("latin-1", "replace")
    yield _unescaped(data)
    yield _unescaped(_unescaped(data))
    for match in _HEX.finditer(data):
        yield bytes.fromhex(match[0].decode())
    for match in re.finditer(rb"[0-9a-fA-F]+", data):
        text = match[0][1:].decode()
        yield bytes.fromhex(text[: len(text) // 2 * 2])
    for match in _NUMBERS.finditer(data):
        numbers = [int(number) for number in re.findall(rb"\d+", match[0])]
        yield bytes(number for number in numbers if number < 256)
    for match in _RUN.finditer(data):
        run = match[0].replace(b"-", b"+").replace(b"_", b"/")
        for part in re.split(rb"=+", run):
            for start in range(4):
                whole = part[start : start + (len(part) - start) // 4 * 4]
                yield base64.b64decode(whole)
                rest = part[start:]
                yield base64.b64decode(rest + b"A" * (-len(rest) % 4))


def is_in(secret: bytes, data: bytes) -> bool:
    """Return whether a secret is in a text: raw, in hex, in base64, escaped, as numbers."""
    return any(secret in decoded for decoded in _decoded(data))
