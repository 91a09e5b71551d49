"""qnetem.testbed.access: who may publish and read what on the broker. Pure."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Final

from qnetem.runtime.errors import BadInputError

__all__ = ["READER", "Access", "users_from"]

# reads everything, publishes nothing
READER: Final = "operator"
_LINE: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,128}):(?P<digest>[0-9a-f]{64})")


def users_from(text: str, source: str) -> dict[str, str]:
    """Return the digest of each user's password, from lines "username:sha256(password) in hex".

    Raises:
        BadInputError: A line is not of that form or a user is there twice; names the line, never quotes it.
    """
    users: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise BadInputError(f"{source}:{number}: not username:sha256 in hex")
        if match["name"] in users:
            raise BadInputError(f"{source}:{number}: user {match['name']} is there twice")
        users[match["name"]] = match["digest"]
    return users


class Access:
    """The rules: a party publishes and reads below its own topic, the operator reads everything."""

    def __init__(self, testbed: str, users: Mapping[str, str]) -> None:
        """Let in `users` (digest of the password by name)."""
        self._prefix = f"qnetem/{testbed}/"
        self._users = dict(users)

    def is_known(self, username: str | None, password: str | None) -> bool:
        """Return whether the password is the user's."""
        if not username or password is None:
            return False
        given = hashlib.sha256(password.encode("utf-8", "surrogateescape")).hexdigest()
        # an unknown user takes as long as a wrong password
        return hmac.compare_digest(self._users.get(username, "-" * len(given)), given)

    def may_publish(self, username: str, topic: str) -> bool:
        """Return whether the user may publish on the topic (which holds no wildcard)."""
        return username != READER and self._is_own(username, topic) and not {"+", "#"} & set(topic)

    def may_read(self, username: str, topic_filter: str) -> bool:
        """Return whether the user may read what matches the filter."""
        return username == READER or self._is_own(username, topic_filter)

    def _is_own(self, username: str, topic: str) -> bool:
        return username in self._users and topic.startswith(f"{self._prefix}{username}/")
