"""Secrets taken out of texts, however they are written there; and a look of another make that would find them."""

import base64
import json
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from secret_search import is_in

from qnetem.runtime.pki import create_authority
from qnetem.testbed.known_secrets import known_secrets
from qnetem.testbed.layout import Layout
from qnetem.testbed.redaction import MARK, Redactor

SECRET = bytes(range(240, 256))
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "hex": lambda secret: secret.hex().encode(),
    "HEX": lambda secret: secret.hex().upper().encode(),
    "base64": base64.b64encode,
    "base64 unpadded": lambda secret: base64.b64encode(secret).rstrip(b"="),
    "base64 for addresses": base64.urlsafe_b64encode,
    "base64 after one byte": lambda secret: base64.b64encode(b"x" + secret + b"yz"),
    "base64 after two bytes": lambda secret: base64.b64encode(b"xy" + secret + b"z"),
    "repr": lambda secret: repr(secret).encode(),
    "repr in JSON": lambda secret: json.dumps(repr(secret)).encode(),
    "text in JSON": lambda secret: json.dumps(secret.decode("latin-1")).encode(),
    "text in UTF-8": lambda secret: secret.decode("latin-1").encode(),
    "numbers": lambda secret: str(list(secret)).encode(),
    "numbers, close": lambda secret: ",".join(map(str, secret)).encode(),
}


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@given(
    # hypothesis tries what it finds in the source too
    secret=st.binary(min_size=16, max_size=40).filter(lambda secret: secret not in MARK),
    before=st.sampled_from(["", "key=", "a", "ab", '{"x": "', "b'"]),
)
@example(secret=b"aaaaaaaaaaaaaaaaa", before="aaaaaaaaaaaaa")
@example(secret=b"0123456789abcdef", before="7,")
@example(secret=b"a pass phrase, all plain", before="")
@example(secret=b"hunter22", before="")
def test_no_encoding_of_a_secret_is_left(encode: Callable[[bytes], bytes], secret: bytes, before: str) -> None:
    line = before.encode() + encode(secret)
    text = b"one line\n" + line + b"\nanother\n"
    cleaned, count = Redactor([secret]).clean(text)
    assert count >= 1
    assert MARK in cleaned
    assert encode(secret) not in cleaned
    assert cleaned.startswith(b"one line\n")
    assert cleaned.endswith(b"another\n")


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_the_other_look_finds_it_before_and_not_after(encode: Callable[[bytes], bytes]) -> None:
    text = b'{"event": "x", "value": "' + encode(SECRET) + b'"}\n'
    assert is_in(SECRET, text)
    assert not is_in(SECRET, Redactor([SECRET]).clean(text)[0])


def test_what_is_no_secret_stays_as_it_is() -> None:
    path = Path(__file__)
    data = path.read_bytes() + bytes(range(256)) + b"7c9e6679-7425-40de-944b-e07fc1f90ae7 /a/b/c\n"
    data = data.replace(SECRET, b"")
    assert Redactor([secrets.token_bytes(16) for _ in range(50)]).clean(data) == (data, 0)
    # what is too short would be found everywhere
    assert Redactor([b"alice", b""]).clean(b"alice and bob") == (b"alice and bob", 0)


def test_many_secrets_cost_no_more_than_the_text_is_long() -> None:
    many = [secrets.token_bytes(16) for _ in range(2000)]
    line = b'{"wall": "2026-01-01T00:00:00.000+00:00", "event": "link.state.changed", "link_id": "alice-bob"}\n'
    text = line * 20_000 + many[7].hex().encode() + b"\n"
    cleaned, count = Redactor(many).clean(text)
    assert (cleaned, count) == (line * 20_000 + MARK + b"\n", 1)


def test_the_secrets_of_a_state_folder_are_known(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "lab")
    for folder in (layout.pki / "mqtt", layout.party("node", "alice"), layout.config("alice").parent):
        folder.mkdir(parents=True)
    layout.secret.write_bytes(SECRET)
    authority = create_authority("lab")
    layout.authority_key.write_bytes(authority.pem.key)
    layout.authority.write_bytes(authority.pem.certificate)
    issued = authority.issue("spiffe://lab/node/alice")
    (layout.party("node", "alice") / "https-key.pem").write_bytes(issued.key)
    layout.mqtt_password("alice").write_text("a-password-of-alice\n")
    layout.mqtt_users("embedded").write_text("alice:digest\n")
    outside = tmp_path / "outside"
    outside.write_text("a-password-of-a-user")
    device, nature = b"d" * 16, b"n" * 16

    def field(secret: bytes) -> str:
        return base64.b64encode(secret).decode()

    config = {
        "testbed": "lab",
        "telemetry": {"passwordPath": str(outside)},
        "node": {"links": [{"linkId": "alice-bob", "deviceSecret": field(device)}], "reproducibleSecret": ""},
        "quantumChannel": {"links": [{"natureSecret": field(nature)}]},
    }
    layout.config("alice").write_text(json.dumps(config))
    found, unread = known_secrets(layout)
    keys = [line for pem in (authority.pem.key, issued.key) for line in pem.splitlines()[1:-1]]
    assert set(found) == {SECRET, device, nature, b"a-password-of-alice", b"a-password-of-a-user", *keys}
    assert unread == []


def test_a_configuration_that_is_none_is_told(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "lab")
    layout.config("alice").parent.mkdir(parents=True)
    layout.config("alice").write_text('{"half')
    assert known_secrets(layout) == ([], [f"{layout.config('alice')}: not JSON"])
