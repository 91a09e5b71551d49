"""Who may publish and read what on the broker."""

import hashlib

import pytest

from qnetem.runtime.errors import BadInputError
from qnetem.testbed.access import Access, users_from


def digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


ACCESS = Access("metro", {"alice": digest("a-secret"), "al": digest("other"), "operator": digest("o-secret")})


@pytest.mark.parametrize(
    ("username", "password", "is_known"),
    [
        ("alice", "a-secret", True),
        ("alice", "A-secret", False),
        ("alice", "", False),
        ("alice", None, False),
        ("alice", digest("a-secret"), False),
        ("bob", "a-secret", False),
        ("", "a-secret", False),
        (None, None, False),
    ],
)
def test_a_party_is_known_by_its_password(username: str | None, password: str | None, is_known: bool) -> None:
    assert ACCESS.is_known(username, password) is is_known


@pytest.mark.parametrize(
    ("username", "topic", "may_publish", "may_read"),
    [
        ("alice", "qnetem/metro/alice/links/a-b", True, True),
        ("alice", "qnetem/metro/alice/#", False, True),
        ("alice", "qnetem/metro/alice/+/x", False, True),
        ("alice", "qnetem/metro/alice", False, False),
        ("al", "qnetem/metro/alice/links", False, False),
        ("alice", "qnetem/metro/bob/links", False, False),
        ("alice", "qnetem/metro/+/links", False, False),
        ("alice", "qnetem/other/alice/links", False, False),
        ("alice", "#", False, False),
        ("operator", "#", False, True),
        ("operator", "qnetem/metro/operator/x", False, True),
        ("stranger", "qnetem/metro/stranger/x", False, False),
    ],
)
def test_a_party_keeps_to_its_own_topics(username: str, topic: str, may_publish: bool, may_read: bool) -> None:
    assert ACCESS.may_publish(username, topic) is may_publish
    assert ACCESS.may_read(username, topic) is may_read


def test_users_are_read_from_lines() -> None:
    text = f"alice:{digest('x')}\n\nqc-alice-bob:{digest('y')}\n"
    assert users_from(text, "users") == {"alice": digest("x"), "qc-alice-bob": digest("y")}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("alice:plain-password", "users:2: not username:sha256 in hex"),
        (f"al/ice:{digest('x')}", "users:2: not username:sha256 in hex"),
        (f"+:{digest('x')}", "users:2: not username:sha256 in hex"),
        (f"bob:{digest('x')}", "users:2: user bob is there twice"),
    ],
)
def test_a_bad_line_is_named_and_not_quoted(line: str, why: str) -> None:
    with pytest.raises(BadInputError) as caught:
        users_from(f"bob:{digest('b')}\n{line}\n", "users")
    assert str(caught.value) == why
