"""node.keys.secret: key material that cannot be printed by accident. Pure."""

import hmac
from typing import NoReturn

__all__ = ["SecretBytes"]


class SecretBytes:
    """Bytes that show only their length; `reveal` is the one way to the value, so that every use of it can be found."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        """Wrap `value`."""
        self._value = value

    def reveal(self) -> bytes:
        """Return the value, to be sent to its owner and nowhere else."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return f"SecretBytes({len(self._value)} bytes)"

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        return isinstance(other, SecretBytes) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a hash of a short key tells the key

    def __reduce__(self) -> NoReturn:
        raise TypeError("key material is not pickled")
