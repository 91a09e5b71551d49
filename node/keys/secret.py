"""node.keys.secret: key material that cannot be printed by accident. Pure."""

import hmac
from typing import NoReturn

__all__ = ["SecretBytes"]


class SecretBytes:
    """Bytes that show only their length; `reveal` is the one way to the value, so that every use of it can be found."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes | bytearray) -> None:
        """Wrap `value`; a bytearray is taken over, not copied."""
        self._value = value if isinstance(value, bytearray) else bytearray(value)

    def reveal(self) -> bytes:
        """Return a copy of the value, to be sent to its owner and nowhere else."""
        return bytes(self._value)

    def wipe(self) -> None:
        """Overwrite the value with zeros and let go of it: nothing is left to reveal."""
        self._value[:] = bytes(len(self._value))
        self._value = bytearray()

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
