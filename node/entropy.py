"""node.entropy: what a node draws for keys: the system's generator or, on demand, a reproducible stream. Edge."""

import hashlib
import os

__all__ = ["Entropy"]


class Entropy:
    """Draws bytes; under `keys: {reproducible: true}` they follow a secret and a label, for tests that replay."""

    def __init__(self, reproducible_secret: bytes = b"") -> None:
        """Draw from the operating system; with a secret, from the secret."""
        self._secret = reproducible_secret

    def draw(self, label: str, size_bytes: int) -> bytes:
        """Return `size_bytes` bytes. A label is never used for two different things."""
        if not self._secret:
            return os.urandom(size_bytes)
        return hashlib.shake_256(self._secret + label.encode()).digest(size_bytes)
