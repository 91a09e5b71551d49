"""qnetem.testbed.mosquitto_files: what a mosquitto is told: its configuration, its users, who may do what. Pure."""

import base64
import hashlib
from collections.abc import Iterable
from typing import Final

from qnetem.testbed.access import READER

__all__ = ["access_text", "config_text", "password_line", "usernames_in"]

# as mosquitto_passwd(1) hashes; passwords are 24 random bytes, which no number of rounds makes safer
_ITERATIONS: Final = 101
_HASH_BYTES: Final = 64
# by default 1000: a burst of 3,000 messages loses some
_QUEUED_COUNT: Final = 100_000


def password_line(username: str, password: str, salt: bytes) -> str:
    """Return a line of a password file: PBKDF2 with SHA-512, type 7 of mosquitto 2."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS, _HASH_BYTES)
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return f"{username}:$7${_ITERATIONS}${'$'.join(encoded)}"


def usernames_in(text: str) -> list[str]:
    """Return the users of a password file."""
    return [line.partition(":")[0] for line in text.splitlines() if line.strip()]


def access_text(testbed: str, usernames: Iterable[str]) -> str:
    """Return an access file with the rules of `access.Access`: below one's own topic, and the operator reads all."""
    lines = []
    for username in usernames:
        lines.append(f"user {username}")
        lines.append("topic read #" if username == READER else f"topic readwrite qnetem/{testbed}/{username}/+/#")
    return "\n".join(lines) + "\n"


def config_text(
    host: str,
    port: int,
    *,
    certificate: str,
    key: str,
    authority: str,
    users: str,
    access: str,
    user: str,
    is_mutual: bool = False,
) -> str:
    """Return a configuration: TLS, a password for everyone, nothing kept on disk.

    Args:
        host: Where to listen.
        port: Where to listen.
        certificate: Path, as the next four.
        key: Of the certificate.
        authority: Of clients with certificates.
        users: The password file.
        access: The access file.
        user: Whom to be when started by root; otherwise it would be one who cannot read these files.
        is_mutual: Clients have to show a certificate of the authority, besides their password.
    """
    settings = {
        "user": user,
        "persistence": "false",
        "log_dest": "stderr",
        "log_timestamp": "false",
        "max_queued_messages": str(_QUEUED_COUNT),
        "listener": f"{port} {host}",
        "allow_anonymous": "false",
        "password_file": users,
        "acl_file": access,
        "cafile": authority,
        "certfile": certificate,
        "keyfile": key,
        "tls_version": "tlsv1.2",
    }
    if is_mutual:
        settings["require_certificate"] = "true"
    lines = [f"{name} {value}" for name, value in settings.items()]
    return "\n".join([*lines, "log_type error", "log_type warning"]) + "\n"
