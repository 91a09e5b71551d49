"""qnetem.testbed.known_secrets: every secret that the state folder of a testbed holds in plain. Edge."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qnetem.testbed.layout import Layout

__all__ = ["known_secrets"]


def known_secrets(layout: Layout) -> tuple[list[bytes], list[str]]:
    """Return the secrets, and what could not be read: keys in the stores of the nodes are not among them.

    They are the testbed secret, secrets of devices and of nature, lines of private keys, passwords of the broker.
    """
    secrets: list[bytes] = []
    unread: list[str] = []

    def read(path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            unread.append(f"{path}: {error.strerror}")
            return b""

    secrets.append(read(layout.secret))
    secrets += [read(path).strip() for path in sorted(layout.storage_keys.glob("*/*"))]
    for path in sorted(layout.pki.rglob("*key.pem")):
        secrets += [line for line in read(path).splitlines() if not line.startswith(b"-----")]
    passwords = {path for path in (layout.pki / "mqtt").glob("*") if "." not in path.name}
    for path in sorted(layout.processes.glob("*/config.json")):
        try:
            config = json.loads(read(path) or b"{}")
        except ValueError:  # half of it, or somebody else's
            unread.append(f"{path}: not JSON")
            continue
        secrets += _in_config(config)
        if password_path := config.get("telemetry", {}).get("passwordPath"):
            passwords.add(Path(password_path))
    secrets += [read(path).strip() for path in sorted(passwords)]
    return [secret for secret in dict.fromkeys(secrets) if secret], unread


def _in_config(value: Any) -> Iterator[bytes]:
    """Yield the bytes of every field of a ProcessConfig that is called a secret."""
    import base64

    match value:
        case dict():
            for name, each in value.items():
                if name.lower().endswith("secret") and isinstance(each, str):
                    yield base64.b64decode(each)
                else:
                    yield from _in_config(each)
        case list():
            for each in value:
                yield from _in_config(each)
